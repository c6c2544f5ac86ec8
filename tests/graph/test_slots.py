"""Slots: all or wait, shared between processes, first come first served, free again after a kill."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph import child
from tzrec_build.graph.slots import Slots


def unheard(_line: str) -> None:
    raise AssertionError("had to wait")


def in_thread(slots: Slots, wanted, order: list[str], name: str) -> tuple[threading.Thread, threading.Event]:
    waits = threading.Event()

    def work():
        with slots.held(wanted, lambda _line: waits.set()):
            order.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, waits


def test_as_many_as_there_are_and_no_more(tmp_path):
    slots, order = Slots(str(tmp_path), {"gpu": 3}), []
    with slots.held((("gpu", 2),), unheard), slots.held((("gpu", 1),), unheard):
        thread, waits = in_thread(slots, (("gpu", 1),), order, "late")
        assert waits.wait(10)
        assert order == []
    thread.join(10)
    assert order == ["late"]


def test_two_that_need_both_never_wait_for_each_other(tmp_path):
    slots, order = Slots(str(tmp_path), {"a": 1, "b": 1}), []
    threads = [in_thread(slots, wanted, order, "x")[0] for wanted in [(("a", 1), ("b", 1)), (("b", 1), ("a", 1))] * 10]
    for thread in threads:
        thread.join(30)
    assert order == ["x"] * 20


def test_whoever_asked_first_for_many_is_not_passed_by_those_who_ask_for_few(tmp_path):
    slots, order = Slots(str(tmp_path), {"gpu": 2}), []
    with slots.held((("gpu", 1),), unheard):
        many, waits_many = in_thread(slots, (("gpu", 2),), order, "many")
        assert waits_many.wait(10)
        few, waits_few = in_thread(slots, (("gpu", 1),), order, "few")
        assert waits_few.wait(10)  # one is free, but it is not its turn
    many.join(10)
    few.join(10)
    assert order == ["many", "few"]


def test_another_process_shares_them_and_its_kill_frees_them(tmp_path):
    code = f"""
from tzrec_build.graph.slots import Slots
import time
with Slots({str(tmp_path)!r}, {{"gpu": 1}}).held((("gpu", 1),), print):
    print("held", flush=True)
    time.sleep(600)
"""
    slots, order = Slots(str(tmp_path), {"gpu": 1}), []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        thread, waits = in_thread(slots, (("gpu", 1),), order, "mine")
        assert waits.wait(10)
        other.kill()
    thread.join(10)
    assert order == ["mine"]


def test_more_than_there_are_is_an_error(tmp_path):
    with (
        pytest.raises(
            BuildError, match=r"needs 2 of the resource 'gpu', \[resources\] in workspace.toml has 1; raise it"
        ),
        Slots(str(tmp_path), {"gpu": 1}).held((("gpu", 2),), unheard),
    ):
        raise AssertionError("held")


def test_nothing_asked_for_makes_no_file(tmp_path):
    with Slots(str(tmp_path / "slots"), {}).held((), unheard):
        assert not (tmp_path / "slots").exists()


def test_a_stopped_build_stops_waiting(tmp_path, monkeypatch):
    slots = Slots(str(tmp_path), {"gpu": 1})
    monkeypatch.setattr(child, "pause", lambda _seconds: True)
    with (
        slots.held((("gpu", 1),), unheard),
        pytest.raises(BuildError, match="stopped while it waited for gpu"),
        slots.held((("gpu", 1),), lambda _line: None),
    ):
        raise AssertionError("held")
