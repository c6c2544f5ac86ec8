"""What doit prints: on a terminal, in a log, when something fails; and what it writes for programs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

from tests.graph.terminal_model import Vt

CHAIN = """
[step.first]
command = ["cp", "{inputs.raw}", "{outputs.a}"]
inputs = { raw = "raw.txt" }
outputs = { a = "a.txt" }
[step.second]
command = ["cp", "{inputs.a}", "{outputs.b}"]
inputs = { a = "p:first/a.txt" }
outputs = { b = "b.txt" }
"""
BROKEN = """
[step.bad]
command = ["sh", "-c", "echo the cause; exit 3"]
outputs = { a = "a.txt" }
[step.needs]
command = ["cp", "{inputs.a}", "{outputs.b}"]
inputs = { a = "q:bad/a.txt" }
outputs = { b = "b.txt" }
"""


@pytest.fixture
def chain(project):
    project.write("p/pipeline.toml", CHAIN)
    project.write("p/raw.txt", "1\n")
    return project


def events_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def on_terminal(project, *args: str) -> list[str]:
    """Lines on a terminal after a call."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    doit = subprocess.Popen(
        [sys.executable, "-m", "doit", *args],
        cwd=project.root,
        env=project.env(TERM="xterm", NO_COLOR="1"),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # what reading gives when the other side is closed
        while chunk := os.read(master, 4096):
            seen += chunk
    os.close(master)
    assert doit.wait() == 0, seen.decode()
    vt = Vt(80)
    vt.feed(seen.decode().replace("\r\n", "\n"))
    return [line for line in vt.lines if line]


def test_a_terminal_ends_without_leftovers_of_the_drawn_lines(chain):
    lines = on_terminal(chain)
    assert [re.sub(r"[\d.]+ s", "N s", line) for line in lines if line[0] in "+<!"] == [
        "+ step:p:first  built in N s",
        "+ step:p:second  built in N s",
    ]
    assert not any(" tasks  " in line for line in lines)
    assert lines[-1].startswith("built = 2, restored = 0, up to date = 0, failed = 0 (")


def test_failures_say_what_they_held_up_and_come_again_where_they_are_out_of_sight(project):
    project.write("p/pipeline.toml", CHAIN)
    project.write("q/pipeline.toml", BROKEN)
    done = project.doit("run", "--continue", "-n", "1")
    assert done.code != 0
    lines = done.out.splitlines()
    assert "    the cause" in lines
    assert "- step:p:second  not built: a task that it needs failed (step:p:first)" in lines
    assert "- step:q:needs  not built: a task that it needs failed (step:q:bad)" in lines
    assert sum(line.startswith("! ") for line in lines) == 2
    assert done.counts == {"built": 0, "restored": 0, "up to date": 0, "failed": 2}
    project.write("q/pipeline.toml", BROKEN.replace("echo the cause", "seq 30"))
    lines = project.doit("run", "--continue", "-n", "1").out.splitlines()
    assert [line.split(":")[:3] for line in lines[-3:-1]] == [["! step", "p", "first"], ["! step", "q", "bad"]]


def test_without_continue_what_a_failure_held_up_is_named_too(project):
    project.write("q/pipeline.toml", BROKEN)
    done = project.doit()
    assert "- step:q:needs  not built: a task that it needs failed (step:q:bad)" in done.out


def test_many_artifacts_are_summed_up_per_pipeline(project):
    step = '[step.s{}]\ncommand = ["touch", "{{outputs.a}}"]\noutputs = {{ a = "a" }}\n'
    for name in ("one", "two"):
        project.write(f"{name}/pipeline.toml", "".join(step.format(i) for i in range(25)))
    out = project.doit("-n", "2").out
    assert "workspace/one  25 artifacts in build/" in out
    assert "workspace/two  25 artifacts in build/" in out


def test_events_tell_the_whole_build(chain):
    path = chain.root / "events.jsonl"
    assert chain.doit("run", "--json-events", str(path), "-n", "1").code == 0
    events = events_of(path.read_text())
    assert [event["event"] for event in (events[0], events[-1])] == ["build_start", "build_end"]
    assert events[0]["tasks"] == 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)
    ends = [event for event in events if event["event"] == "task_end"]
    assert [(end["task"], end["how"], end["reason"]) for end in ends] == [
        ("step:p:first", "built", "never built here"),
        ("step:p:second", "built", "never built here"),
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", end["key"]) for end in ends)
    assert events[-1]["counts"] == {"built": 2, "restored": 0, "up to date": 0, "failed": 0}
    starts = [event["task"] for event in events if event["event"] == "task_start"]
    assert starts == ["step:p:first", "step:p:second"]


def test_events_of_a_build_with_nothing_to_do_name_each_task(chain):
    chain.doit()
    done = chain.doit("run", "--json-events", "-")
    ends = [event for event in events_of(done.out) if event["event"] == "task_end"]
    assert {(end["task"], end["how"]) for end in ends} == {
        ("step:p:first", "up to date"),
        ("step:p:second", "up to date"),
    }


def test_events_go_into_a_named_pipe(chain):
    pipe = chain.root / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    assert chain.doit("--json-events", str(pipe)).code == 0
    assert events_of(reader.communicate()[0])[-1]["event"] == "build_end"


def test_a_file_for_events_that_cannot_be_written_is_an_error_before_the_build(chain):
    done = chain.doit("run", "--json-events", "no/such/folder/x")
    assert done.code != 0
    assert "--json-events: must be a file that can be written, got 'no/such/folder/x'" in done.out
    assert "Traceback" not in done.out
    assert not chain.path("p/build").exists()


def test_a_reader_that_leaves_does_not_end_the_build(chain):
    done = chain.doit("run", "--json-events", "/dev/full")
    assert done.code == 0, done.out
    assert done.out.count("--json-events: No space left on device; no more events are written") == 1


def traces(project) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(project.path(".state/traces").glob("*.json"))]


def test_each_build_that_makes_something_leaves_a_trace_and_five_are_kept(chain):
    assert chain.doit("-n", "1").code == 0
    assert chain.doit().code == 0  # nothing to do
    (trace,) = traces(chain)
    tasks = [event for event in trace["traceEvents"] if event.get("cat") == "task"]
    assert [(event["name"], event["args"]["how"]) for event in tasks] == [
        ("step:p:first", "built"),
        ("step:p:second", "built"),
    ]
    assert tasks[1]["ts"] >= tasks[0]["ts"] + tasks[0]["dur"]
    for number in range(6):
        chain.write("p/raw.txt", f"other {number}\n")
        assert chain.doit().code == 0
    assert len(traces(chain)) == 5


def test_a_build_that_is_interrupted_leaves_a_whole_trace_and_no_failure(project):
    pipe, events = project.root / "go_on", project.root / "events.jsonl"
    os.mkfifo(pipe)
    command = f'["sh", "-c", "cat {pipe} > $0", "{{outputs.a}}"]'
    project.write("p/pipeline.toml", f'[step.slow]\ncommand = {command}\noutputs = {{ a = "a.txt" }}\n')
    argv = [sys.executable, "-m", "doit", "run", "--json-events", str(events)]
    doit = subprocess.Popen(
        argv, cwd=project.root, env=project.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    with pipe.open("w"):  # opens only when the command reads
        doit.send_signal(signal.SIGINT)
        out, _ = doit.communicate(timeout=60)
    assert doit.returncode == 130, out
    (trace,) = traces(project)
    assert [e["args"]["how"] for e in trace["traceEvents"] if e.get("cat") == "task"] == ["interrupted"]
    kinds = [event["event"] for event in events_of(events.read_text())]
    assert kinds[0] == "build_start"
    assert kinds[-1] == "build_end"
    project.doit("graph", "-o", "g.dot")
    assert "to be built; never built here" in (project.root / "g.dot").read_text()


def test_events_of_a_forced_build_say_that_it_was_forced(chain):
    chain.doit()
    chain.doit("run", "--json-events", str(chain.root / "events"), "-a")
    events = [json.loads(line) for line in (chain.root / "events").read_text().splitlines()]
    assert {event["reason"] for event in events if event["event"] == "task_end"} == {"-a was given"}
