"""doit's own commands and options on our tasks: each does what a user of doit expects, and a wrong name is told with what was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# raw -> upper -> double ; side hangs off raw alone
CHAIN = """
[step.upper]
command = ["sh", "-c", "tr a-z A-Z < $0 > $1", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "raw.txt" }
outputs = { text = "upper.txt" }

[step.double]
command = ["sh", "-c", "cat $0 $0 > $1", "{inputs.text}", "{outputs.text}"]
inputs = { text = "p:upper/upper.txt" }
outputs = { text = "double.txt" }

[step.side]
command = ["cp", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "raw.txt" }
outputs = { text = "side.txt" }
"""
UPPER, DOUBLE, SIDE = "step:p:upper", "step:p:double", "step:p:side"
ALL = {UPPER, DOUBLE, SIDE}


@pytest.fixture
def chain(project):
    project.write("p/pipeline.toml", CHAIN)
    project.write("p/raw.txt", "hello\n")
    return project


@pytest.fixture
def built(chain):
    assert chain.doit().ran == ALL
    return chain


def status(project) -> dict[str, str]:
    """Task -> letter of ``doit list --status``, groups left out."""
    lines = project.doit("list", "--all", "--status").out.splitlines()
    return {line.split()[1]: line.split()[0] for line in lines if ":" in line.split()[1]}


def test_the_installed_commands_are_those_of_pyproject():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["doit.COMMAND"]
    found = {point.name: point.value for point in entry_points(group="doit.COMMAND")}
    assert found.items() >= wanted.items(), "the package was installed before its commands changed: python3 dodo.py"


# ------------------------------------------------------------------------------------------------ running


def test_n_runs_so_many_at_once(project):
    """Each of two steps waits for the other: with ``-n 2`` both end, and with ``-n 1`` the first one cannot."""
    body = 'outputs = {{ t = "t" }}\ncommand = ["sh", "-c", "echo > ../{me}; {wait} echo > $0", "{{outputs.t}}"]\ntimeout = "20s"\n'
    meet = "for i in $(seq 100); do test -e ../{other} && break; sleep 0.1; done; test -e ../{other} || exit 9;"
    for me, other in (("left", "right"), ("right", "left")):
        wait = meet.format(other=other)
        project.write(f"{me}/pipeline.toml", f"[step.{me}]\n" + body.format(me=me, wait=wait))
    assert project.doit("-n", "2").ran == {"step:left:left", "step:right:right"}


def test_n_1_runs_one_after_the_other(project):
    step = '[step.s{i}]\ncommand = ["sh", "-c", "mkdir ../busy && echo {i} > $0 && rmdir ../busy", "{{outputs.t}}"]\noutputs = {{ t = "t" }}\n'
    project.write("many/pipeline.toml", "".join(step.format(i=i) for i in range(6)))
    assert project.doit("-n", "1").counts == {"built": 6, "restored": 0, "up to date": 0, "failed": 0}


def test_tasks_run_in_threads_and_a_wish_for_processes_is_refused(chain):
    done = chain.doit("-P", "process", "-n", "2")
    assert (done.code, done.ran) == (3, set())
    assert "--parallel-type: must be 'thread', got 'process'" in done.out
    assert chain.doit("-P", "thread", "-n", "2").ran == ALL


def test_without_continue_the_first_failure_ends_the_build(chain):
    chain.write("p/pipeline.toml", CHAIN.replace('"tr a-z', '"exit 7; tr a-z'))
    done = chain.doit("-n", "1", DOUBLE, SIDE)
    assert done.code == 1
    assert (done.ran, done.counts["failed"]) == (set(), 1)


def test_continue_builds_what_does_not_need_the_failed_one(chain):
    chain.write("p/pipeline.toml", CHAIN.replace('"tr a-z', '"exit 7; tr a-z'))
    done = chain.doit("--continue")
    assert done.code == 2
    assert done.ran == {SIDE}
    assert f"- {DOUBLE}  not built: a task that it needs failed ({UPPER})" in done.out
    chain.write("p/pipeline.toml", CHAIN)
    assert chain.doit("--continue").ran == {UPPER, DOUBLE}


def test_always_execute_runs_the_task_and_all_that_it_needs(built):
    assert built.doit("-a", DOUBLE).ran == {UPPER, DOUBLE}
    assert built.doit("-s", "-a", DOUBLE).ran == {DOUBLE}
    assert built.doit().counts["up to date"] == 3


@pytest.mark.parametrize(
    ("names", "ran"),
    [
        ((SIDE,), {SIDE}),
        ((DOUBLE,), {UPPER, DOUBLE}),
        ((UPPER, SIDE), {UPPER, SIDE}),
        (("step",), ALL),
        (("*:p:*e",), ALL),
    ],
    ids=["one", "needs", "two", "verb", "pattern"],
)
def test_named_tasks_and_what_they_need(chain, names, ran):
    assert chain.doit(*names).ran == ran


def test_a_target_stands_for_its_task(chain):
    assert chain.doit("workspace/p/build/upper").ran == {UPPER}


# ------------------------------------------------------------------------------------------------ list, info


def test_list_status_follows_what_happens(chain):
    assert status(chain) == {UPPER: "R", DOUBLE: "M", SIDE: "R"}
    chain.doit(DOUBLE)
    assert status(chain) == {UPPER: "U", DOUBLE: "U", SIDE: "R"}
    chain.doit("ignore", SIDE)
    chain.write("p/raw.txt", "bye\n")
    assert status(chain) == {UPPER: "R", DOUBLE: "M", SIDE: "I"}
    chain.path("p/raw.txt").unlink()
    assert status(chain) == {UPPER: "E", DOUBLE: "E", SIDE: "I"}


def test_list_shows_verbs_and_with_all_their_tasks(chain):
    assert chain.doit("list").out == "step   the users' own steps ([step.NAME])\n"
    shown = chain.doit("list", "step", "--all", "--quiet").out.split()
    assert shown == ["step", DOUBLE, SIDE, UPPER]


def test_info_tells_what_the_task_reads_and_makes(chain):
    done = chain.doit("info", DOUBLE)
    assert done.code == 1
    file_deps = "file_dep   :\n - workspace/p/build/upper/upper.txt\n"
    assert f"\n{file_deps}\ntask_dep   :\n - {UPPER}\n\ntargets    :\n - workspace/p/build/double\n" in done.out
    assert "status     : maybe\n * may run\n" in done.out
    assert "meta" not in done.out
    chain.doit()
    done = chain.doit("info", DOUBLE)
    assert (done.code, "status     : up-to-date" in done.out) == (0, True)


def test_info_of_a_group_names_its_stale_tasks(built):
    assert built.doit("info", "step").code == 0
    built.write("p/raw.txt", "bye\n")
    done = built.doit("info", "step")
    assert done.code == 1
    assert f" * {UPPER}  will be built\n * {DOUBLE}  may run\n * {SIDE}  will be built\n" in done.out


@pytest.mark.parametrize("names", [(), (UPPER, SIDE)], ids=["none", "two"])
def test_info_takes_one_name(chain, names):
    done = chain.doit("info", *names)
    assert (done.code, done.out) == (3, f"ERROR: info: name one task, got {len(names)}; `doit list --all` shows them\n")


# ------------------------------------------------------------------------------------------------ clean, forget, reset-dep, ignore


def test_clean_removes_the_named_artifacts_and_the_next_build_restores_them(built):
    assert built.doit("clean", SIDE).code == 0
    assert not built.path("p/build/side").exists()
    assert built.path("p/build/double").is_dir()
    assert built.doit().restored == {SIDE}


def test_clean_of_a_task_leaves_what_it_needs_unless_asked_for(built):
    built.doit("clean", DOUBLE)
    assert built.path("p/build/upper").is_dir()
    built.doit()
    built.doit("clean", "--clean-dep", DOUBLE)
    assert not built.path("p/build/upper").exists()
    assert built.path("p/build/side").is_dir()


def test_clean_takes_options_behind_the_names_and_patterns(built):
    done = built.doit("clean", "*:p:*e", "-n")
    assert done.code == 0
    assert sorted(line.split()[0] for line in done.out.splitlines()) == [DOUBLE, SIDE]
    assert built.path("p/build/side").is_dir()


def test_forget_drops_the_record_and_not_the_artifact(built):
    assert built.doit("forget", SIDE).out == f"forgetting {SIDE}\n"
    assert built.path("p/build/side/side.txt").exists()
    assert status(built) == {UPPER: "U", DOUBLE: "U", SIDE: "R"}
    assert built.doit().restored == {SIDE}


def test_forget_without_a_cache_builds_again(chain):
    chain.doit(TZREC_CACHE="off")
    chain.doit("forget", SIDE)
    assert chain.doit(TZREC_CACHE="off").ran == {SIDE}


def test_forget_without_a_name_and_with_all(built):
    built.doit("forget")
    assert built.doit().restored == ALL
    assert built.doit("forget", "--all").out == "forgetting all tasks\n"
    assert built.doit().restored == ALL


def test_reset_dep_takes_what_lies_there_for_up_to_date(built):
    before = built.path("p/build/double/double.txt").read_text()
    built.write("p/raw.txt", "bye\n")
    done = built.doit("reset-dep")
    assert (done.code, done.out) == (0, f"processed {UPPER}\nskip {DOUBLE}\nprocessed {SIDE}\n")
    assert built.doit().counts == {"built": 0, "restored": 0, "up to date": 3, "failed": 0}
    assert built.path("p/build/double/double.txt").read_text() == before
    assert "note       : accepted by " in built.doit("info", UPPER).out


def test_reset_dep_of_one_task_leaves_the_others_stale(built):
    built.write("p/raw.txt", "bye\n")
    assert built.doit("reset-dep", SIDE).out == f"processed {SIDE}\n"
    assert status(built) == {UPPER: "R", DOUBLE: "M", SIDE: "U"}


def test_reset_dep_of_a_damaged_or_unbuilt_artifact_fails_and_says_why(chain):
    chain.doit(SIDE)
    chain.path("p/build/side/side.txt").write_text("mine\n")
    done = chain.doit("reset-dep")
    assert done.code == 1
    assert (
        f"failed {SIDE} (outputs must be as they were made to be accepted, got output build/side/side.txt" in done.out
    )
    assert f"failed {UPPER} (must have been built here to be accepted" in done.out


def test_ignore_passes_over_a_task_and_what_needs_it_until_forget(built):
    assert built.doit("ignore", UPPER).out == f"ignoring {UPPER}\n"
    built.write("p/raw.txt", "bye\n")
    done = built.doit()
    assert done.ran == {SIDE}
    assert f"~ {UPPER}  ignored\n" in done.out
    built.doit("forget", UPPER)
    assert built.doit().ran == {UPPER, DOUBLE}


def test_ignore_without_a_name_is_an_error(chain):
    done = chain.doit("ignore")
    assert (done.code, done.out) == (3, "ERROR: ignore: name the tasks; `doit list --all` shows them\n")


# ------------------------------------------------------------------------------------------------ where it is run


def test_from_a_sub_folder_with_f_and_with_k(chain):
    assert chain.doit("-f", "../dodo.py", cwd=chain.path("")).ran == ALL
    assert chain.doit("list", "-k", "--all", "--status", cwd=chain.path("p")).out.count("\nU ") == 3
    assert chain.doit("-k", "-a", SIDE, cwd=chain.path("p/build")).ran == {SIDE}
    assert chain.doit().counts["up to date"] == 3


def test_from_anywhere_with_f(chain, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert chain.doit("-f", str(chain.root / "dodo.py"), cwd=elsewhere).ran == ALL
    done = chain.doit("why", "-f", os.path.relpath(chain.root / "dodo.py", elsewhere), "--exit-code", cwd=elsewhere)
    assert (done.code, done.out) == (0, "build 0, restore 0, up to date 3\n")
    assert list(elsewhere.iterdir()) == []


# ------------------------------------------------------------------------------------------------ names that are none

COMMANDS = {
    "run": (), "list": (), "info": (), "why": (), "clean": (), "forget": (), "ignore": (), "reset-dep": (), "graph": (),
    "accept": ("--because", "x"), "lock": (), "audit": (), "unlock": (), "salvage": (),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_no_task_is_told_with_the_nearest(built, command):
    done = built.doit(command, "step:p:uper", *COMMANDS[command])
    assert done.code == 3
    assert done.out.startswith("ERROR: 'step:p:uper' is n")
    assert done.out.endswith("; did you mean 'step:p:upper'?\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_name_of_a_task_of_a_wrong_pipeline_is_told_with_what_is_wrong(built, command):
    built.write("q/pipeline.toml", CHAIN.replace("[step.upper]", "[stpe.upper]"))
    done = built.doit(command, "step:q:upper", *COMMANDS[command])
    assert done.code == 3
    first, second = done.out.splitlines()
    assert first == "ERROR: 'step:q:upper' is not known, because its pipeline is wrong; mend it first"
    assert second == "! workspace/q/pipeline.toml:2: unknown table [stpe]; did you mean 'step'?"


def test_bare_doit_takes_a_command_for_what_was_meant_too(chain):
    assert chain.doit("lsit").out == "ERROR: 'lsit' is neither a task nor a command; did you mean 'list'?\n"


def test_a_pipeline_where_tasks_are_taken(chain):
    assert chain.doit("p").out == "ERROR: 'p' is a pipeline, and this takes tasks; `doit list --all` shows them\n"


def test_an_option_behind_the_names_of_a_build(chain):
    done = chain.doit(SIDE, "-a")
    assert (done.code, done.out) == (3, "ERROR: -a: options come before the names\n")


@pytest.mark.parametrize("command", [*COMMANDS, "cache"])
def test_an_unknown_option_is_told_without_the_list_of_all(chain, command):
    done = chain.doit(command, "--frist")
    assert (done.code, done.out) == (
        3,
        f"ERROR: option --frist not recognized; `doit help {command}` lists the options\n",
    )


def test_list_warns_of_a_wrong_pipeline_on_stderr(built):
    built.write("q/pipeline.toml", "[stpe.upper]\n")
    shown = subprocess.run(
        [sys.executable, "-m", "doit", "list"],
        cwd=built.root,
        env=built.env(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr.startswith("! q is left out: workspace/q/pipeline.toml:1: unknown table [stpe]")
    assert "stpe" not in shown.stdout
    assert built.doit("list", SIDE).out == f"{SIDE}   [step.side] of p\n"


def test_info_of_a_wrong_pipeline_has_no_command(built):
    built.write("q/pipeline.toml", "[stpe.upper]\n")
    done = built.doit("info", "pipeline:q")
    assert done.code == 1
    assert "status     : error\n * would fail\n    - workspace/q/pipeline.toml:1: unknown table [stpe]" in done.out
    assert "command" not in done.out
    assert "targets" not in done.out


@pytest.mark.parametrize(
    "command", [("accept", "q", "--because", "x"), ("audit", "q"), ("lock", "q"), ("lock",), ("lock", "--check")]
)
def test_a_command_that_can_do_nothing_with_a_wrong_pipeline_says_so(built, command):
    built.doit("lock")
    lock = built.path("inputs.lock").read_text()
    built.write("q/pipeline.toml", "[stpe.upper]\n")
    done = built.doit(*command)
    assert done.code == 3
    assert done.out.startswith("ERROR: a pipeline is wrong; mend it first")
    assert "! workspace/q/pipeline.toml:1: unknown table [stpe]" in done.out
    assert built.path("inputs.lock").read_text() == lock


def test_a_build_in_which_nothing_can_run_tells_each_failure_once(built):
    built.write("q/pipeline.toml", "[stpe.upper]\n")
    done = built.doit("--continue")
    assert done.code == 1
    assert done.out.count("unknown table [stpe]") == 1
    assert "plan:" not in done.out


def test_why_names_the_cause_once(built):
    built.write("p/raw.txt", "bye\n")
    told = json.loads(built.doit("why", "--json", DOUBLE).out)["tasks"][0]["causes"]
    assert [cause["text"] for cause in told] == [
        f"{UPPER} comes before it (input raw.txt: line 1 changed, 'hello' → 'bye')"
    ]
