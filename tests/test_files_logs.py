from __future__ import annotations

import argparse
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tzrec_build.errors import BuildError, ConfigError, CorruptError, DataError, NotSupportedError, suggestion
from tzrec_build.files import write_bytes, write_json, write_text
from tzrec_build.logs import ProgressLogger, logger, setup_logging
from tzrec_build.tools.entry import run_tool


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def _logger_as_before() -> Iterator[None]:
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def test_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a"
    write_bytes(target, b"one")
    write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["a"]


def test_written_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_refused_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a", "old")

    def refuse(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_json_keeps_key_order_and_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": "é", "a": [1]})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'


def test_json_without_a_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BuildError("x"), 1),
        (DataError("x"), 1),
        (ConfigError("x"), 2),
        (NotSupportedError("x", "y"), 2),
        (CorruptError("x"), 4),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: BuildError, code: int) -> None:
    assert error.exit_code == code


def test_not_supported_names_what_and_where() -> None:
    assert (
        str(NotSupportedError("model_config.dlrm", "a.config:7"))
        == "not supported yet: model_config.dlrm in a.config:7"
    )


def test_suggestion_is_the_nearest_or_all() -> None:
    assert suggestion("topkk", ["runs", "topk"]) == "; did you mean 'topk'?"
    assert suggestion("zzz", {"topk", "runs"}) == "; known: runs, topk"


def test_log_gets_a_line_every_interval_and_one_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    progress = ProgressLogger("train", "rows", 4000, stream=stream, clock=clock)
    for count in (1000, 2000, 3000):
        clock.now_s += 1.5
        progress.update(count, "loss 0.5")
    clock.now_s += 1.5
    progress.update(4000)
    progress.close("auc 0.7")
    assert stream.getvalue().splitlines() == [
        "train: 2,000/4,000 rows  50 %  667 rows/s  3 s left  loss 0.5",
        "train: 4,000/4,000 rows  100 %  667 rows/s  0 s left",
        "train: 4,000/4,000 rows  100 %  667 rows/s  took 6.0 s  auc 0.7",
    ]


def test_short_loop_says_nothing_in_a_log(clock: Clock) -> None:
    stream = io.StringIO()
    progress = ProgressLogger("read", "rows", stream=stream, clock=clock)
    clock.now_s += 1.9
    progress.update(10)
    progress.close()
    assert stream.getvalue() == ""


def test_terminal_is_redrawn_and_ends_with_a_newline(clock: Clock) -> None:
    stream = Terminal()
    progress = ProgressLogger("read", "rows", stream=stream, clock=clock)
    clock.now_s += 0.5
    progress.update(10)
    progress.close()
    assert stream.getvalue() == "\r\x1b[Kread: 10 rows  20 rows/s\r\x1b[Kread: 10 rows  20 rows/s  took 0.5 s\n"


@pytest.mark.usefixtures("_logger_as_before")
def test_logging_goes_to_stderr_once(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging()
    setup_logging()
    logger.info("seen")
    logger.debug("unseen")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("seen") == 1
    assert logging.getLogger("tzrec_build") is logger


def run_with(error: BaseException | None, argv: list[str]) -> int:
    def run(_args: argparse.Namespace) -> None:
        if error is not None:
            raise error

    return run_tool(argparse.ArgumentParser(prog="prune"), run, argv)


@pytest.mark.usefixtures("_logger_as_before")
def test_tool_that_works_exits_with_0() -> None:
    assert run_with(None, []) == 0


@pytest.mark.usefixtures("_logger_as_before")
def test_user_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_with(ConfigError("--topk: must be positive, got 0"), []) == 2
    assert capsys.readouterr().err == "prune: --topk: must be positive, got 0\n"


@pytest.mark.usefixtures("_logger_as_before")
def test_debug_shows_the_traceback_of_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_with(DataError("a.parquet: is damaged"), ["--debug"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback ")
    assert err.endswith("prune: a.parquet: is damaged\n")


@pytest.mark.usefixtures("_logger_as_before")
def test_an_error_of_the_system_is_one_line_with_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_with(OSError(28, "No space left on device", "out/x"), []) == 1
    assert capsys.readouterr().err == "prune: out/x: No space left on device; check disk space and permissions\n"


@pytest.mark.usefixtures("_logger_as_before")
def test_bug_of_ours_shows_a_traceback_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_with(KeyError("x"), []) == 70
    err = capsys.readouterr().err
    assert "KeyError: 'x'" in err
    assert err.endswith("prune: this is a bug in tzrec-build, please report the lines above\n")


def test_unknown_flag_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_with(None, ["--nope"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --nope" in capsys.readouterr().err
