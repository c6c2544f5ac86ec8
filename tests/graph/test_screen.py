"""What a person sees of a build: on a terminal, in a log."""

from __future__ import annotations

import io
import os
import pty

import pytest

from tests.graph.terminal_model import Vt
from tzrec_build.graph import terminal
from tzrec_build.graph.console import Console
from tzrec_build.graph.log_lines import take_warnings
from tzrec_build.graph.outlook import Outlook
from tzrec_build.graph.screen import LOG_INTERVAL_S, Screen
from tzrec_build.logs import logger


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Stage:
    """A console with a screen on a terminal of a given size."""

    def __init__(self, stream=None, columns=100, rows=24, **env) -> None:
        self.clock = Clock()
        self.size = (columns, rows)
        self.stream = stream if stream is not None else Tty()
        self.console = Console(self.clock)
        self.screen = Screen(self.stream, self.console, {"TERM": "xterm", **env}, lambda: self.size)
        self.console.listen(self.screen)
        self.vt = Vt(columns)
        self._read = 0

    def later(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.screen.tick()

    def see(self) -> list[str]:
        text = self.stream.getvalue()
        self.vt.feed(text[self._read :])
        self._read = len(text)
        return self.vt.lines

    def resize(self, columns: int) -> None:
        self.see()
        self.size = (columns, self.size[1])
        self.vt.resize(columns)


def test_each_running_task_has_a_line_and_the_build_has_one():
    stage = Stage()
    stage.screen.outlook = Outlook({"train:a": (), "pick:a": ("train:a",)}, {"train:a": 200.0, "pick:a": 10.0}, 2)
    stage.console.phase("train:a", "running")
    stage.console.progress("train:a", "train: 1,000/5,000 rows  20 %")
    stage.later(83)
    assert stage.see() == [
        "  train:a  running      1:23  ~2 min left  train: 1,000/5,000 rows  20 %",
        "0/2 tasks  1:23  ~2 min left",
    ]


def test_what_has_ended_scrolls_above_and_the_lines_stay_at_the_bottom():
    stage = Stage()
    stage.console.started("a:p")
    stage.console.started("b:p")
    stage.later(5)
    stage.console.finished("a:p", "built", 5.0)
    stage.console.line("~ c:p  ignored")
    assert stage.see() == [
        "+ a:p  built in 5.0 s",
        "~ c:p  ignored",
        "  b:p  running       5 s",
        "1 tasks  1 built  5 s",
    ]
    stage.console.finished("b:p", "restored", 6.0)
    stage.screen.close()
    assert stage.see() == ["+ a:p  built in 5.0 s", "~ c:p  ignored", "< b:p  restored in 6.0 s", ""]


def test_more_tasks_than_rows_are_counted():
    stage = Stage(rows=6)
    for i in range(9):
        stage.console.started(f"t:{i}")
    stage.later(0)
    assert [line.split()[0] for line in stage.see()] == ["t:0", "t:1", "and", "0"]
    assert "and 7 more running" in stage.see()[2]


@pytest.mark.parametrize("columns", [1, 5, 12, 20, 39])
def test_no_line_is_ever_broken_on_a_narrow_terminal(columns):
    stage = Stage(columns=columns)
    stage.console.progress("train:日本語の名前", "loss 0.5 " * 20)
    stage.later(3)
    stage.later(3)
    assert len(stage.see()) == 2
    assert all(terminal.columns_of(line) <= columns for line in stage.see())


def test_a_terminal_made_narrower_is_cleaned_of_the_lines_that_it_broke():
    stage = Stage(columns=80)
    stage.console.progress("train:a", "x" * 200)
    stage.later(1)
    stage.resize(30)
    stage.later(1)
    stage.console.finished("train:a", "built", 2.0)
    stage.screen.close()
    assert stage.see() == ["+ train:a  built in 2.0 s", ""]


def test_escape_sequences_of_a_command_do_not_reach_the_drawn_lines():
    stage = Stage()
    stage.console.progress("a:p", "\x1b[31m\x1b[2Kloss\x1b[0m\x08 0.5\x1b]0;title\x07")
    stage.later(1)
    assert stage.see()[0].endswith("loss 0.5")


def test_a_late_notice_does_not_bring_an_ended_task_back():
    stage = Stage()
    stage.console.finished("a:p", "built", 0.1)
    stage.console.started("a:p")
    stage.console.progress("a:p", "late")
    stage.later(1)
    assert stage.see() == ["+ a:p  built in 0.1 s", ""]


def test_colours_only_mark_and_can_be_switched_off():
    coloured, bare = Stage(), Stage(NO_COLOR="1")
    for stage in (coloured, bare):
        stage.console.finished("a:p", "built", 0.1)
        assert stage.see()[0] == "+ a:p  built in 0.1 s"
    assert coloured.vt.colours == ["32", "0"]
    assert bare.vt.colours == []


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_dumb_terminal_gets_plain_lines(env):
    stage = Stage(**env)
    stage.console.started("a:p")
    stage.later(0.5)
    stage.console.finished("a:p", "built", 0.5)
    assert stage.stream.getvalue() == "+ a:p  built in 0.5 s\n"


def test_a_log_has_a_line_at_the_start_progress_every_ten_seconds_and_a_line_at_the_end():
    stage = Stage(io.StringIO())
    stage.screen.outlook = Outlook({"train:a": ()}, {"train:a": 100.0}, 1)
    stage.console.phase("train:a", "running")
    for second in range(31):
        stage.console.progress("train:a", f"step {second}")
        stage.later(1)
    stage.console.finished("train:a", "built", 31.0)
    assert LOG_INTERVAL_S == 10.0
    assert stage.stream.getvalue().splitlines() == [
        "  train:a  running, about 2 min the last time",
        "  train:a: step 10",
        "  train:a: step 20",
        "  train:a: step 30",
        "+ train:a  built in 31.0 s",
    ]


def test_a_log_does_not_repeat_a_line_that_has_not_changed():
    stage = Stage(io.StringIO())
    stage.console.progress("a:p", "waiting for the disk")
    for _ in range(60):
        stage.later(1)
    assert stage.stream.getvalue().splitlines() == ["  a:p  running", "  a:p: waiting for the disk"]


def test_a_stream_of_another_encoding_does_not_end_the_build():
    raw = io.BytesIO()
    stage = Stage(io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    stage.console.failed("a:p", "a:p: 日 → ü")
    assert raw.getvalue() == "! a:p: \\u65e5 \\u2192 ü\n".encode("latin-1")


def test_a_real_terminal_tells_its_size_and_shows_the_lines():
    master, slave = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        with open(slave, "w", encoding="utf-8") as stream:
            console = Console(Clock())
            screen = Screen(stream, console, {"TERM": "xterm", "NO_COLOR": "1"})
            console.listen(screen)
            console.progress("a:p", "y" * 100)
            screen.tick()
            seen = os.read(master, 10_000).decode()
    finally:
        os.close(master)
    vt = Vt(40)
    vt.feed(seen.replace("\r\n", "\n"))
    assert [terminal.columns_of(line) for line in vt.lines] == [39, 12]
    assert vt.lines[0].endswith("yy..")


def test_two_things_the_outlook_adds_up():
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    outlook = Outlook(needs, {"a": 10.0, "b": 20.0, "c": 30.0, "d": 5.0}, 2)
    assert outlook.left_s({}, {"a": 4.0}) == (6 + 30 + 5, True)  # the longest chain
    assert Outlook(needs, outlook.costs_s, 1).left_s({}, {"a": 4.0}) == (6 + 20 + 30 + 5, True)  # one after the other
    assert outlook.left_s({"a": "up to date", "b": "up to date"}, {"c": 0.0}) == (35, True)
    assert Outlook(needs, {"a": 10.0}, 2).left_s({}, {"a": 4.0}) == (6, False)


def test_a_plan_says_what_is_still_to_come():
    needs = {"a": (), "b": ("a",), "c": ()}
    outlook = Outlook(needs, {"a": 10.0, "b": 20.0, "c": 500.0}, 1, {"a": "build", "b": "restore"})
    assert outlook.left_s({}, {"a": 0.0}) == (11.0, True)


def test_a_warning_of_the_log_is_a_line_above_the_drawn_ones(monkeypatch):
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    stage = Stage()
    take_warnings(stage.console.line)
    stage.console.started("a:p")
    logger.warning("action cache: entry of %s is damaged", "ab12")
    assert stage.see() == ["! action cache: entry of ab12 is damaged", "  a:p  running       0 s", "0 tasks  0 s"]


def test_after_the_end_only_lines_are_passed_on():
    stage = Stage()
    stage.console.started("a:p")
    stage.console.close()
    stage.screen.close()
    stage.console.failed("a:p", "a:p: stopped")
    stage.console.phase("b:p", "retrying")
    stage.console.line("built = 0")
    assert stage.see() == ["built = 0", ""]
    assert stage.console.counts["failed"] == 0
