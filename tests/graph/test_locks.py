"""Locks: who holds one, who is waited for, what is taken over, what unlock may remove."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph import locks

ME = locks.Holder("train:p", os.uname().nodename, locks._boot(), os.getpid(), locks._start_time(os.getpid()))


def write(folder, holder: locks.Holder) -> None:
    path = locks.lock_path(str(folder), holder.task)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(f"{holder.host}\n{holder.boot}\n{holder.pid}\n{holder.start}\n{holder.task}\n")


def changed(**values) -> locks.Holder:
    return locks.Holder(**{**{name: getattr(ME, name) for name in ME.__slots__}, **values})


def test_a_lock_waits_for_its_holder_and_says_who_it_is(tmp_path):
    order, waiting, said = [], threading.Event(), []

    def second():
        with locks.held(str(tmp_path), "train:p", lambda line: (said.append(line), waiting.set())):
            order.append("second")

    with locks.held(str(tmp_path), "train:p", said.append):
        assert locks.holder(str(tmp_path), "train:p") == ME
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert said == [f"another build makes this artifact now (process {os.getpid()}); waiting for it"]
    assert locks.holder(str(tmp_path), "train:p") is None


def test_tasks_do_not_share_locks(tmp_path):
    names = ["a/b", "a_b", "a%2Fb", "x" * 300, "x" * 299 + "y"]
    with_locks = [locks.take(str(tmp_path), name) for name in names]
    assert None not in with_locks
    for lock in with_locks:
        lock.release()


def test_a_killed_holder_is_seen_and_taken_over(tmp_path):
    code = f"from tzrec_build.graph import locks; import os; locks.take({str(tmp_path)!r}, 'train:p'); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    found = locks.holder(str(tmp_path), "train:p")
    assert found is not None
    assert not found.alive
    lock = locks.take(str(tmp_path), "train:p")
    assert lock is not None
    lock.release()


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ({}, True),
        ({"start": 1}, False),  # the number was given to another process
        ({"boot": "another-boot/pid:[1]"}, False),  # the machine was started again
        ({"boot": f"{ME.boot.partition('/')[0]}/pid:[1]"}, True),  # a container: its processes cannot be seen from here
        ({"host": "elsewhere", "start": 1}, True),
    ],
)
def test_who_counts_as_alive(change, alive):
    assert changed(**change).alive is alive


def test_a_holder_on_another_host_is_waited_for_on_a_network_file_system_only(tmp_path, monkeypatch):
    write(tmp_path, changed(host="elsewhere"))
    monkeypatch.setattr(locks, "is_remote", lambda _path: True)
    assert locks.take(str(tmp_path), "train:p") is None
    assert str(locks.holder(str(tmp_path), "train:p")) == f"process {os.getpid()} on elsewhere"
    monkeypatch.setattr(locks, "is_remote", lambda _path: False)  # here flock reaches everybody, so it is a left-over
    lock = locks.take(str(tmp_path), "train:p")
    assert lock is not None
    lock.release()


def test_unlock_removes_what_is_dead_and_the_rest_by_force_only(tmp_path):
    assert locks.remove(str(tmp_path), "train:p", force=False) == "train:p: not locked"
    write(tmp_path, changed(start=1))
    assert locks.remove(str(tmp_path), "train:p", force=False) == f"train:p: lock of process {os.getpid()} removed"
    write(tmp_path, changed(host="elsewhere"))
    with pytest.raises(
        BuildError, match=r"held by process \d+ on elsewhere, which cannot be looked at from here; end it"
    ):
        locks.remove(str(tmp_path), "train:p", force=False)
    assert locks.remove(str(tmp_path), "train:p", force=True).endswith("on elsewhere removed")
    assert locks.holder(str(tmp_path), "train:p") is None


def test_a_lock_removed_by_force_is_noticed_by_its_holder(tmp_path):
    lock = locks.take(str(tmp_path), "train:p")
    lock.check()
    with pytest.raises(BuildError, match="which runs; end it first"):
        locks.remove(str(tmp_path), "train:p", force=False)
    locks.remove(str(tmp_path), "train:p", force=True)
    with pytest.raises(BuildError, match="its lock was removed by doit unlock --force"):
        lock.check()
    other = locks.take(str(tmp_path), "train:p")
    assert other is not None
    lock.release()  # must not clear the text of the new holder
    assert locks.holder(str(tmp_path), "train:p") == ME
    other.release()


@pytest.mark.parametrize("text", ["", "half a\nline", "h\nb\nx\n1\nt\n"])
def test_a_file_that_was_not_written_whole_names_nobody(tmp_path, text):
    path = locks.lock_path(str(tmp_path), "train:p")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(text)
    assert locks.holder(str(tmp_path), "train:p") is None
    lock = locks.take(str(tmp_path), "train:p")
    assert lock is not None
    lock.release()
