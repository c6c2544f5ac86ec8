"""doit's commands as we changed them: what `info`, `clean` and the end of a build print, and what each exit code means."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

TWO = """
[step.first]
command = ["sh", "-c", "echo 'one two' > $0", "{outputs.text}"]
outputs = { text = "first.txt" }

[step.second]
command = ["cp", "{inputs.text}", "{outputs.text}"]
inputs = { text = "PIPELINE:first/first.txt" }
outputs = { text = "second.txt" }
"""


@pytest.fixture
def two(project):
    """Two pipelines of two steps each."""
    for name in ("here", "there"):
        project.write(f"{name}/pipeline.toml", TWO.replace("PIPELINE", name))
    return project


def command_line(out: str) -> str:
    (line,) = [line for line in out.splitlines() if line.startswith("command")]
    return line.removeprefix("command    : ")


def test_info_shows_the_command_to_type_into_a_shell(two):
    before = two.doit("info", "step:here:first")
    assert before.code == 1
    two.doit()
    after = two.doit("info", "step:here:first")
    assert after.code == 0
    assert "\nstatus     : up-to-date\n" in after.out
    line = command_line(after.out)
    assert line == command_line(before.out)
    assert line.startswith("(cd workspace/here && sh -c ")
    two.path("here/build/first/first.txt").unlink()
    subprocess.run(["sh", "-c", line], cwd=two.root, check=True)
    assert two.path("here/build/first/first.txt").read_text() == "one two\n"


def test_info_of_one_of_our_tools_names_the_program(project):
    project.write("here/x.config", "")
    project.write("here/pipeline.toml", '[config]\npath = "x.config"\n[data]\ntrain = "a.parquet"\n')
    argv = shlex.split(command_line(project.doit("info", "config:here").out).strip("()"))
    assert argv[:5] == ["cd", "workspace/here", "&&", "tzrec-build", "project_config"]


def test_info_of_a_group_has_no_command(two):
    shown = two.doit("info", "step")
    assert "command" not in shown.out
    assert "Traceback" not in shown.out


def test_info_of_no_task_says_what_was_meant(two):
    done = two.doit("info", "step:here:frist")
    assert done.code == 3
    assert "'step:here:frist' is no task; did you mean 'step:here:first'?" in done.out
    assert "Traceback" not in done.out


def test_clean_prints_what_it_removes_and_no_object(two):
    two.doit()
    only = two.doit("clean", "-n", "step:here:first")
    assert (only.code, only.out) == (0, "step:here:first - removing workspace/here/build/first/\n")
    assert two.path("here/build/first").is_dir()
    assert two.doit("clean", "step:here:first").out == only.out
    assert not two.path("here/build/first").exists()
    assert two.path("here/build/second").is_dir()


KEPT = "step:here:first - kept workspace/here/build/first/: {}; --purge removes it\n"


def _edited(project) -> None:
    project.path("here/build/first/first.txt").write_text("my own words\n")


def _added(project) -> None:
    project.path("here/build/first/notes.txt").write_text("my own words\n")


def _lost(project) -> None:
    shutil.rmtree(project.cache)


@pytest.mark.parametrize(
    ("spoil", "env", "why"),
    [
        (_edited, {}, "the action cache has no copy of first.txt as it is now"),
        (_added, {}, "the action cache has no copy of notes.txt as it is now"),
        (_lost, {}, "the action cache has no copy"),
        (lambda _project: None, {"TZREC_CACHE": "off"}, "the action cache is off"),
    ],
    ids=["edited", "added", "lost", "off"],
)
def test_clean_keeps_what_the_cache_cannot_restore_unless_purge(two, spoil, env, why):
    two.doit()
    spoil(two)
    done = two.doit("clean", "--forget", "step:here:first", **env)
    assert (done.code, done.out) == (0, KEPT.format(why))
    assert two.path("here/build/first").is_dir()
    purged = two.doit("clean", "--purge", "step:here:first", **env)
    assert purged.out == "step:here:first - removing workspace/here/build/first/\n"
    assert not two.path("here/build/first").exists()


def test_clean_then_build_restores_everything(two):
    two.doit()
    assert two.doit("clean").code == 0
    assert not two.path("here/build/first").exists()
    again = two.doit()
    assert again.counts["restored"] == 4
    assert again.ran == set()


def test_clean_that_cannot_remove_says_where_and_goes_on(two):
    two.doit()
    stuck = two.path("here/build/first")
    stuck.rename(two.path("aside"))
    stuck.symlink_to("../../aside")  # a link in the place of the artifact is not ours to follow
    done = two.doit("clean", "--forget", "step")
    assert done.code == 1
    assert "! step:here:first: Cannot call rmtree on a symbolic link; not removed, " in done.out
    assert "Traceback" not in done.out
    assert two.path("aside/first.txt").exists()
    assert not two.path("there/build/first").exists()


def test_a_build_ends_with_what_it_looked_at_and_nothing_else(two):
    assert "workspace/there" in two.doit().out
    two.write("there/pipeline.toml", TWO.replace("PIPELINE", "there").replace("one two", "three"))
    two.path("here/build/second/second.txt").unlink()
    done = two.doit("step:here:second")
    assert done.counts == {"built": 0, "restored": 1, "up to date": 1, "failed": 0}
    assert "workspace/here\n  build/first " in done.out
    assert "\n  build/second " in done.out
    assert "there" not in done.out
    alone = two.doit("-s", "-a", "step:here:second")
    assert "build/second " in alone.out
    assert "build/first" not in alone.out


CODES = {
    "all well": (0, (), {}),
    "a task fails": (1, ("step:bad:fails",), {}),
    "an input is missing": (1, ("step:bad:lacks",), {}),
    "a variable of the cache is wrong": (3, ("step:here:first",), {"TZREC_CACHE": "no"}),
    "what needs a failed task is not built": (2, ("-c", "step:bad:needs"), {}),
    "no such task": (3, ("step:here:frist",), {}),
    "no such flag": (3, ("--frist",), {}),
}
BAD = """
[step.fails]
command = ["sh", "-c", "exit 7"]
outputs = { text = "x" }
[step.lacks]
command = ["cp", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "nowhere.txt" }
outputs = { text = "x" }
[step.needs]
command = ["cp", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "bad:fails/x" }
outputs = { text = "y" }
"""


@pytest.mark.parametrize("case", CODES)
def test_exit_codes(two, case):
    code, args, env = CODES[case]
    if code:
        two.write("bad/pipeline.toml", BAD)
    done = two.doit(*args, **env)
    assert done.code == code, done.out
    assert "Traceback" not in done.out


@pytest.mark.parametrize("command", ["run", "list", "info", "why", "clean", "graph", "forget"])
def test_a_wrong_workspace_ends_every_command_with_3_before_anything_is_done(two, command):
    two.doit()
    two.write("workspace.toml", "[resuorces]\ngpu = 1\n")
    done = two.doit(command, *(["step:there:first"] if command != "list" else []))
    assert done.code == 3
    assert "workspace/workspace.toml:1" in done.out
    assert "Traceback" not in done.out
    assert two.path("there/build/first").is_dir()


@pytest.mark.parametrize("command", ["run", "list", "info", "why", "clean", "graph", "forget"])
def test_a_wrong_pipeline_stops_no_command_on_another(two, command):
    two.write("here/pipeline.toml", TWO.replace("[step.first]", "[stpe.first]"))
    two.doit()
    done = two.doit(command, *(["step:there:first"] if command != "list" else []))
    assert done.code == 0, done.out


def test_a_build_of_all_fails_for_a_wrong_pipeline_and_builds_the_others(two):
    two.write("here/pipeline.toml", TWO.replace("[step.first]", "[stpe.first]"))
    done = two.doit("run", "--continue")
    assert done.code != 0
    assert "workspace/here/pipeline.toml:2" in done.out
    assert "Traceback" not in done.out
    assert two.path("there/build/first").is_dir()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_says_so_without_a_traceback(project, signum):
    os.mkfifo(project.write("slow/pipeline.toml", "").parent / "started")
    body = 'command = ["sh", "-c", "echo > started; sleep 600; echo > $0", "{outputs.text}"]\noutputs = { text = "never" }\n'
    project.write("slow/pipeline.toml", f"[step.sleep]\n{body}")
    command = [sys.executable, "-m", "doit"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=project.root, env=project.env(), text=True, **pipes) as build:
        project.path("slow/started").read_text()  # returns when the step has begun
        build.send_signal(signum)
        out = build.stdout.read()
    assert build.returncode == 130
    assert out.endswith("interrupted; what had ended before is kept, the next build goes on from there\n")
    assert "Traceback" not in out
