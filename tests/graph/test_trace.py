"""The trace of a build, and the events for programs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.graph import trace
from tzrec_build.graph.console import Console
from tzrec_build.graph.events import EventFile, open_events
from tzrec_build.graph.trace import Trace


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def explain(task: str) -> dict[str, str]:
    return {"reason": f"why {task}", "key": "ab" * 32}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def console(clock):
    return Console(clock)


def build(console: Console, clock: Clock) -> None:
    """Two tasks at once, a third in the lane that is free first, a fourth that is interrupted."""
    console.started("a")
    console.phase("a", "key")
    console.started("b")
    clock.now_s += 1
    console.phase("a", "running")
    console.started_child("a", 77)
    clock.now_s += 1
    console.finished("a", "built", 2.0)
    console.started("c")
    clock.now_s += 1
    console.failed("b", "b: no")
    console.finished("c", "restored", 1.0)
    console.started("d")
    clock.now_s += 0.5


def spans(events: list[dict], kind: str) -> list[tuple]:
    return [(e["name"], e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X" and e["cat"] == kind]


def test_tasks_and_phases_lie_in_the_lane_of_their_worker(console, clock):
    listener = Trace(clock(), explain)
    console.listen(listener)
    build(console, clock)
    events = json.loads(listener.close(clock()))["traceEvents"]
    assert spans(events, "task") == [
        ("a", 1, 0, 2_000_000),
        ("b", 2, 0, 3_000_000),
        ("c", 1, 2_000_000, 1_000_000),
        ("d", 1, 3_000_000, 500_000),
    ]
    assert spans(events, "phase") == [("key", 1, 0, 1_000_000), ("running", 1, 1_000_000, 1_000_000)]
    args = {event["name"]: event["args"] for event in events if event.get("cat") == "task"}
    assert args["a"] == {"how": "built", "reason": "why a", "key": "ab" * 32, "pid": 77}
    assert args["b"]["message"] == "b: no"
    assert args["d"]["how"] == "interrupted"
    lanes = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert lanes == {1: "worker 1", 2: "worker 2"}


def test_the_counter_follows_the_running_tasks(console, clock):
    listener = Trace(clock(), explain)
    console.listen(listener)
    build(console, clock)
    events = json.loads(listener.close(clock()))["traceEvents"]
    assert [e["args"]["running"] for e in events if e["ph"] == "C"] == [1, 2, 1, 2, 1, 0, 1, 0]


def test_the_last_five_traces_are_kept(tmp_path):
    paths = [trace.keep(str(tmp_path), f'{{"n": {i}}}') for i in range(7)]
    left = sorted((tmp_path / "traces").iterdir())
    assert [str(path) for path in left] == paths[2:]
    assert json.loads(left[-1].read_text()) == {"n": 6}


def written(console, clock) -> list[dict]:
    stream = io.StringIO()
    now = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC)
    console.listen(EventFile(stream, explain, console.line, lambda: now), every_task=True)
    console.up_to_date("z")
    console.line("for people only")
    console.progress("a", "日 50 %")
    build(console, clock)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_have_the_documented_fields(console, clock):
    events = written(console, clock)
    time = "2026-01-02T03:04:05.006Z"
    more = {"reason": "why z", "key": "ab" * 32}
    assert events[0] == {
        "event": "task_end", "time": time, "task": "z", "how": "up to date", "elapsed_s": 0.0, "message": "", **more,
    }  # fmt: skip
    assert events[1] == {"event": "task_start", "time": time, "task": "a", "reason": "why a"}
    assert events[2] == {"event": "progress", "time": time, "task": "a", "line": "日 50 %"}
    assert events[3] == {"event": "phase", "time": time, "task": "a", "phase": "key"}
    assert {"event": "child", "time": time, "task": "a", "pid": 77} in events
    ends = {event["task"]: event for event in events if event["event"] == "task_end"}
    assert {task: (end["how"], end["elapsed_s"]) for task, end in ends.items()} == {
        "z": ("up to date", 0.0),
        "a": ("built", 2.0),
        "b": ("failed", 3.0),
        "c": ("restored", 1.0),
    }


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_once_and_ends_only_the_events(console, clock):
    told: list[str] = []
    console.listen(EventFile(Full(), explain, told.append))
    build(console, clock)
    assert told == ["--json-events: No space left on device; no more events are written, the build goes on"]
    assert console.counts["built"] == 1


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--json-events: must be a file that can be written, got '.*' \(Is a dir"):
        open_events(str(tmp_path))
