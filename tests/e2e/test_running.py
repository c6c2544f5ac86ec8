"""How tasks run: retries, slots, time limits, strays, keep-going, locks; trainings that are cut off, salvaged, edited meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tzrec_build
from tests.tiny_pipeline import config_text, write_rows

DEADLINE_S = 120


def start(project, *args: str, **env: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "doit", *args],
        cwd=project.root,
        env=project.env(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until(condition) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def step(name: str, script: str, more: str = "") -> str:
    return f"""
[step.{name}]
command = ["sh", "-c", '''{script}''', "{{outputs.o}}"]
outputs = {{ o = "o" }}
{more}
"""


def test_a_command_that_fails_is_tried_again_and_every_attempt_is_in_the_log(project):
    project.write(
        "p/pipeline.toml",
        step("flaky", 'echo x >> ../n; echo try; test "$(wc -l < ../n)" = 3 && cp ../n $0', "retries = 2"),
    )
    done = project.doit()
    assert done.ran == {"step:p:flaky"}
    log = project.path("p/build/flaky/records/log").read_text().splitlines()
    assert log == ["try", "--- attempt 2 of 3 ---", "try", "--- attempt 3 of 3 ---", "try"]


def test_when_the_last_attempt_fails_the_task_fails(project):
    project.write("p/pipeline.toml", step("bad", "echo x >> ../n; exit 7", "retries = 1"))
    done = project.doit()
    assert done.code == 1
    assert "step:p:bad: failed with exit code 7" in done.out
    assert project.path("n").read_text() == "x\nx\n"


def test_slots_are_shared_by_the_tasks_of_all_builds_in_a_workspace(project):
    """Each step fails when it meets another one."""
    meet = "mkdir ../busy || exit 9; sleep 0.2; rmdir ../busy; echo done > $0"
    project.write("workspace.toml", "[resources]\nroom = 1\n")
    project.write("p/pipeline.toml", "".join(step(f"s{i}", meet, "resources = { room = 1 }") for i in range(4)))
    builds = [start(project, "-n", "2", f"step:p:s{i}", f"step:p:s{i + 1}") for i in (0, 2)]
    assert [build.wait(DEADLINE_S) for build in builds] == [0, 0]
    assert project.doit().counts["up to date"] == 4


def test_a_time_limit_ends_a_step_with_everything_it_started(project):
    script = "setsid sleep 600 & echo $! > ../pid; sleep 600"
    project.write("p/pipeline.toml", step("slow", script, 'timeout = "1s"'))
    done = project.doit()
    assert "step:p:slow: ran longer than 1 s" in done.out
    pid = int(project.path("pid").read_text())
    wait_until(lambda: gone(pid))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_a_build_nothing_is_left_running(project, signum):
    script = "setsid sleep 600 & echo $! > ../a; sh -c 'sleep 600' & echo $! > ../b; touch ../c; wait"
    project.write("p/pipeline.toml", step("slow", script))
    build = start(project)
    wait_until(lambda: project.path("c").exists())
    build.send_signal(signum)
    assert build.wait(30) != 0
    pids = [int(project.path(name).read_text()) for name in "ab"]
    wait_until(lambda: all(gone(pid) for pid in pids))
    assert not project.path("p/build/slow").exists()


def test_a_task_that_another_build_makes_is_waited_for_and_not_made_again(project):
    project.cache = "off"
    project.write("p/pipeline.toml", step("one", "echo x >> ../n; touch ../started; sleep 1; echo 1 > $0"))
    first = start(project)
    wait_until(lambda: project.path("started").exists())
    second = project.doit()
    assert first.wait(DEADLINE_S) == 0
    assert second.code == 0, second.out
    assert second.counts["built"] == 0
    assert project.path("n").read_text() == "x\n"


def test_after_a_failure_upstream_is_mended_nothing_intact_runs(project):
    project.cache = "off"
    top = step("top", "test -e ../ok && cp ../ok $0")
    rest = step("side", "echo x >> ../n; echo 1 > $0")
    end = 'inputs = { a = "p:top/o", b = "p:side/o" }'
    project.write("p/pipeline.toml", top + rest + step("end", "echo 1 > $0", end))
    failed = project.doit("--continue")
    assert failed.ran == {"step:p:side"}
    project.write("ok", "ok\n")
    assert project.doit("--continue").ran == {"step:p:top", "step:p:end"}
    assert project.path("n").read_text() == "x\n"


POINTS = (
    *("key.after", "run.before", "run.after"),
    *("swap.before", "swap.between", "swap.after", "record.before", "record.after"),
)


@pytest.mark.parametrize("exchange", ["", "1"])
@pytest.mark.parametrize("point", POINTS)
def test_finished_work_is_not_done_again_after_a_kill_even_without_a_cache(project, point, exchange):
    project.cache = "off"
    after = 'inputs = { a = "p:a/o", f = "f" }'
    project.write("p/f", "one\n")
    project.write(
        "p/pipeline.toml",
        step("a", "echo a >> ../a; cp f $0", 'inputs = { f = "f" }') + step("b", "echo b >> ../b; cp f $0", after),
    )
    assert project.doit().code == 0
    project.write("p/f", "two\n")
    killed = project.doit("-n", "1", TZREC_FAULT=point, TZREC_NO_EXCHANGE=exchange)
    assert killed.code == -signal.SIGKILL
    done = project.doit(TZREC_NO_EXCHANGE=exchange)
    assert done.code == 0, done.out
    assert project.path("b").read_text() == "b\nb\n"
    assert project.path("a").read_text() == ("a\n" * (2 + (point == "run.after")))
    assert [project.path(f"p/build/{name}/o").read_text() for name in "ab"] == ["two\n", "two\n"]
    assert project.doit().counts == {"built": 0, "restored": 0, "up to date": 2, "failed": 0}


def test_what_a_killed_build_finished_can_be_forgotten(project):
    project.cache = "off"
    project.write("p/pipeline.toml", step("a", "echo a >> ../a; echo > $0"))
    assert project.doit(TZREC_FAULT="record.before").code == -signal.SIGKILL
    assert project.doit("forget", "step:p:a").code == 0
    assert project.doit().counts["built"] == 1
    assert project.path("a").read_text() == "a\na\n"


def test_unlock_says_what_it_did(project):
    project.write("p/pipeline.toml", step("one", "touch ../started; sleep 600"))
    assert "step:p:one: not locked" in project.doit("unlock", "step:p:one").out
    build = start(project)
    wait_until(lambda: project.path("started").exists())
    refused = project.doit("unlock", "step:p:one")
    assert refused.code == 1
    assert f"held by process {build.pid}, which runs; end it first" in refused.out
    build.kill()
    build.wait()
    assert f"lock of process {build.pid} removed" in project.doit("unlock", "step:p:one").out
    assert "'step:p:on' is no task; did you mean 'step:p:one'?" in project.doit("unlock", "step:p:on").out


TRAINING = """
[config]
path = "x.config"
[data]
train = "rows.parquet"
[train]
device = "cpu"
"""


def outputs(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "records" not in path.parts
    }


def training(project):
    project.cache = "off"
    project.write("p/pipeline.toml", TRAINING)
    project.write("p/x.config", config_text(train="num_epochs: 8 save_checkpoints_steps: 25"))
    write_rows(project.path("p/rows.parquet"))
    return project


WAITING = """from __future__ import annotations
import os, sys, time
if any("/.work/" in word for word in sys.argv):  # not where the plan tries it out
    open("../started", "w").close()
    while not os.path.exists("../go"):
        time.sleep(0.01)
"""


def test_code_and_config_may_be_edited_while_a_tool_runs_and_the_next_build_sees_it(project, tmp_path):
    """The tool waits before it imports its modules; by then they are broken in the checkout, and so is its config."""
    package = tmp_path / "repo/tzrec_build"
    shutil.copytree(Path(tzrec_build.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    tool = package / "tools/project_config.py"
    tool.write_text(tool.read_text().replace("from __future__ import annotations\n", WAITING))
    training(project)
    code = {"PYTHONPATH": str(tmp_path / "repo")}
    build = start(project, "config:p", **code)
    wait_until(lambda: project.path("started").exists())
    config, module = project.path("p/x.config"), package / "config/load.py"
    for file in (config, module):
        file.write_text("broken(" + file.read_text())
    project.write("go", "")
    assert build.wait(DEADLINE_S) == 0
    assert "broken" not in project.path("p/build/config/pipeline.config").read_text()
    for file in (config, module):
        file.write_text(file.read_text().removeprefix("broken("))
    assert project.doit("config:p", **code).counts["up to date"] == 1
    module.write_text(module.read_text() + "ADDED = 1\n")
    assert "tzrec_build/config/load.py" in project.doit("why", "config:p", **code).out


@pytest.mark.slow
def test_a_training_that_is_killed_is_salvaged_and_then_goes_on_to_the_same_bits(project, tmp_path):
    whole = training(type(project)(tmp_path / "whole", "off"))
    assert whole.doit("train:p").code == 0
    training(project)
    build = start(project, "train:p", TZREC_RESUME_EVERY_S="0")
    steps = project.path("p/build/.work/train")
    wait_until(lambda: any(int(path.name[5:]) >= 30 for path in steps.glob("*/resume/step-*")))
    build.kill()
    build.wait()
    nothing = project.doit("salvage", "config:p")
    assert nothing.code == 1
    assert "config:p: only a training leaves checkpoints behind" in nothing.out
    salvaged = project.doit("salvage", "train:p")
    assert salvaged.code == 0, salvaged.out
    assert "train:p  partial, step " in salvaged.out
    assert (project.path("p/build/train/model.ckpt-25/model")).is_dir()
    assert "partial, salvaged at step" in project.doit("why", "train:p").out
    refused = project.doit("accept", "train:p", "--because", "long enough")
    assert refused.code == 1
    assert "train:p: must be whole to be accepted, got a training salvaged at step " in refused.out
    assert project.doit("-s", "pick:p").ran == {"pick:p"}
    build = start(project, "train:p", TZREC_RESUME_EVERY_S="0.5")
    log = lambda: "".join(path.read_text() for path in steps.glob("*/log"))  # noqa: E731
    wait_until(lambda: "resumed after step" in log() or build.poll() is not None)
    edited = project.path("p/x.config")
    edited.write_text(edited.read_text().replace("lr: 0.01", "lr: 0.02"))  # while it runs: it has its own copy
    assert build.wait(DEADLINE_S) == 0
    assert "resumed after step" in project.path("p/build/train/records/log").read_text()
    assert outputs(project.path("p/build/train")) == outputs(whole.path("p/build/train"))
    assert project.doit("why", "train:p", "--exit-code").code == 1  # the edit is seen by the next build
    assert os.listdir(steps.parent) == [] or not steps.exists()
