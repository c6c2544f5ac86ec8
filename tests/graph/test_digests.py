"""Digest table, trees and path expansion."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.errors import DataError
from tzrec_build.graph.digests import Digests, find, walk
from tzrec_build.graph.overlay import find_made
from tzrec_build.graph.state import State


@pytest.fixture
def digests(tmp_path):
    return Digests(State(str(tmp_path / "state")))


def old(path, content: bytes):
    """A file that is older than its reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))
    return str(path)


def test_digests_are_xxh3_128_and_sha256(digests, tmp_path):
    path = old(tmp_path / "a", b"x" * 3_000_001)
    assert digests.xxh(path) == xxhash.xxh3_128(b"x" * 3_000_001).digest()
    assert digests.sha256(path) == hashlib.sha256(b"x" * 3_000_001).hexdigest()


def test_an_absent_file_has_no_digest(digests, tmp_path):
    assert digests.xxh(str(tmp_path / "no")) is None
    with pytest.raises(DataError, match="no such file; it was there a moment ago, run again"):
        digests.sha256(str(tmp_path / "no"))


def test_an_unchanged_file_is_read_once(digests, tmp_path, monkeypatch):
    path = old(tmp_path / "a", b"one")
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    first = digests.xxh(path)
    monkeypatch.setattr(Digests, "_read", lambda *_a, **_k: pytest.fail("read again"))
    assert digests.xxh(path) == first


def test_a_file_as_new_as_its_reading_is_not_trusted(digests, tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 10**12)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    digests.xxh(str(path))
    assert str(path) not in digests._state.files


def test_a_time_in_the_future_is_no_reason_to_read_a_file_at_every_look(digests, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, ns=(2**62, 2**62))
    now_ns = path.stat().st_ctime_ns + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    digests.xxh(str(path))
    assert str(path) in digests._state.files
    now_ns -= 10**9 - 1000
    other = tmp_path / "b"
    other.write_bytes(b"one")
    os.utime(other, ns=(2**62, 2**62))
    digests.xxh(str(other))
    assert str(other) not in digests._state.files


def test_a_pipe_is_an_error_and_not_waited_for(digests, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: must be a regular file, got a pipe or a device"):
        digests.xxh(str(tmp_path / "pipe"))
    with pytest.raises(DataError, match="/dev/zero: must be a regular file"):
        digests.xxh("/dev/zero")


def test_a_folder_with_one_file_of_its_own_name_is_not_that_file(digests, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/x").write_text("same")
    (tmp_path / "two/x").mkdir(parents=True)
    (tmp_path / "two/x/x").write_text("same")
    texts = [digests.text(str(tmp_path / name)) for name in ("one/x", "two/x")]
    assert texts[0] != texts[1]
    assert [[name for name, _ in find(str(tmp_path), path)] for path in ("one/x", "two/x")] == [["x"], ["./x"]]
    listing = {"x/x": (False, "sha")}
    assert find_made("/w", "x", {"/w": listing}) == [("./x", False, "sha")]
    assert find_made("/w", "x", {"/w/x": {"x": (False, "sha")}}) == [("./x", False, "sha")]


def test_same_size_and_mtime_is_noticed_by_ctime(digests, tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    path = old(tmp_path / "a", b"one")
    digests.xxh(path)
    old(tmp_path / "a", b"two")
    assert digests.xxh(path) == xxhash.xxh3_128(b"two").digest()


names = st.lists(st.text("abc", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@given(files=st.dictionaries(names, st.binary(max_size=8), max_size=5))
def test_trees_are_equal_when_contents_are(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    digests = Digests(State(str(folder / "state")))
    kept = {name: data for name, data in files.items() if not any(other.startswith(name + "/") for other in files)}
    trees = []
    for copy, order in (("one", sorted(kept)), ("two", sorted(kept, reverse=True))):
        for name in order:
            (folder / copy / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / copy / name).write_bytes(kept[name])
        trees.append(digests.tree(str(folder / copy)))
    assert trees[0] == trees[1] == {name: xxhash.xxh3_128(kept[name]).hexdigest() for name in sorted(kept)}


def test_the_executable_bit_counts_and_records_do_not(digests, tmp_path):
    old(tmp_path / "t/run", b"#!")
    plain = digests.tree(str(tmp_path / "t"))
    os.chmod(tmp_path / "t/run", 0o755)
    assert digests.tree(str(tmp_path / "t")) != plain
    old(tmp_path / "t/records/log", b"1")
    assert set(digests.tree(str(tmp_path / "t"), skip="records")) == {"run"}
    old(tmp_path / "t/deep/records/log", b"1")
    old(tmp_path / "t/deep/__pycache__/x.pyc", b"1")
    assert set(digests.tree(str(tmp_path / "t"), skip="records")) == {"run", "deep/records/log"}


def test_a_file_is_named_as_seen_from_what_names_it(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/records/log"):
        old(tmp_path / name, b"")
    base = str(tmp_path)
    assert find(base, "*.txt") == [("a.txt", f"{base}/a.txt"), ("b.txt", f"{base}/b.txt")]
    assert find(base, "sub/*.txt") == [("c.txt", f"{base}/sub/c.txt")]
    assert find(base, "s*") == [("sub/c.txt", f"{base}/sub/c.txt"), ("sub/records/log", f"{base}/sub/records/log")]
    assert find(base, "**/c.txt") == [("sub/c.txt", f"{base}/sub/c.txt")]
    assert find(base, f"{base}/*.txt") == find(base, "*.txt")
    assert find(base, "sub", skip="records") == [("c.txt", f"{base}/sub/c.txt")]
    assert find(base + "/sub", "../a.txt") == [("a.txt", f"{base}/a.txt")]
    assert find(base, "no.txt") == find(base, "no/*.txt") == []
    assert walk(base) == ["a.txt", "b.txt", "sub/c.txt", "sub/records/log"]


def test_marks_in_the_name_of_the_base_folder_mean_nothing(tmp_path):
    old(tmp_path / "br[1]/a.txt", b"")
    assert [name for name, _ in find(str(tmp_path / "br[1]"), "*.txt")] == ["a.txt"]


def test_what_is_known_of_a_file_moves_with_its_folder(digests, tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    path = old(tmp_path / "work/a", b"one")
    first = digests.xxh(path)
    (tmp_path / "work").rename(tmp_path / "done")
    digests.moved(path, str(tmp_path / "done/a"))
    monkeypatch.setattr(Digests, "_read", lambda *_a, **_k: pytest.fail("read again"))
    assert digests.xxh(str(tmp_path / "done/a")) == first
    assert path not in State(str(tmp_path / "state")).files


def test_a_sha256_that_somebody_else_took_is_kept_while_the_file_is_the_same(digests, tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    digests.xxh(str(path))
    assert digests.known_sha256(str(path)) == ""
    digests.note_sha256(str(path), "ab" * 32)
    assert digests.known_sha256(str(path)) == digests.sha256(str(path)) == "ab" * 32
    path.write_bytes(b"abd")
    assert digests.known_sha256(str(path)) == ""
    digests.note_sha256(str(path), "cd" * 32)
    assert digests.sha256(str(path)) != "cd" * 32


def reads(digests, *paths):
    """Bytes read while all of these files are looked at."""
    before = digests.read_bytes
    for path in paths:
        digests.xxh(path)
    return digests.read_bytes - before


def test_a_touch_costs_one_reading_and_the_next_look_none(tmp_path):
    path = old(tmp_path / "a", b"x" * 100_000)
    state = str(tmp_path / "state")
    time.sleep(0.03)  # ctime is that of now: older than RACY_NS, or the row is not kept
    assert reads(Digests(State(state)), path) == 100_000
    os.utime(path)
    time.sleep(0.03)
    digests = Digests(State(state))
    assert reads(digests, path, path) == 100_000
    assert reads(Digests(State(state)), path) == 0


def test_what_was_too_new_is_read_once_more_at_the_end_of_a_build(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 10**12)
    digests = Digests(State(str(tmp_path / "state")))
    digests.xxh(str(path))
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    digests.settle()
    assert reads(Digests(State(str(tmp_path / "state"))), str(path)) == 0


def test_rows_of_files_that_are_no_more_are_dropped_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    monkeypatch.setattr("tzrec_build.graph.digests.SPARE_ROWS", 0)
    gone, kept = old(tmp_path / "t/gone", b"1"), old(tmp_path / "t/kept", b"2")
    digests = Digests(State(str(tmp_path / "state")))
    digests.tree(str(tmp_path / "t"))
    os.unlink(gone)
    digests.settle()
    assert set(State(str(tmp_path / "state")).files) == {kept, f"{tmp_path}/t//"}


def test_rows_are_looked_through_again_when_the_table_has_grown_by_a_quarter(tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    monkeypatch.setattr("tzrec_build.graph.digests.SPARE_ROWS", 0)
    paths = [old(tmp_path / f"f{i}", b"1") for i in range(10)]

    def settle(*seen: str) -> int:
        digests = Digests(State(str(tmp_path / "state")))
        for path in seen:
            digests.xxh(path)
        digests.settle()
        return len(State(str(tmp_path / "state")).files)

    assert settle(*paths[:8]) == 8
    os.unlink(paths[0])
    assert settle(paths[8]) == 9  # the row of the first is still there
    assert settle(paths[9]) == 9


def test_reading_ahead_gives_the_same_digests(tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", 0)
    monkeypatch.setattr("tzrec_build.graph.digests.AHEAD_BYTES", 0)
    paths = [old(tmp_path / f"f{i}", bytes([i]) * (i * 1000)) for i in range(20)]
    digests = Digests(State(str(tmp_path / "state")))
    digests.look_ahead([*paths, str(tmp_path / "no"), str(tmp_path)], with_sha=True)
    assert digests.read_bytes == sum(i * 1000 for i in range(20))
    for i, path in enumerate(paths):
        assert digests.xxh(path) == xxhash.xxh3_128(bytes([i]) * (i * 1000)).digest()
        assert digests.sha256(path) == hashlib.sha256(bytes([i]) * (i * 1000)).hexdigest()
    assert reads(digests, *paths) == 0
    assert digests.read_bytes == sum(i * 1000 for i in range(20))


def test_an_unreadable_file_is_an_error_on_any_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.AHEAD_BYTES", 0)
    paths = [old(tmp_path / name, b"1") for name in "abc"]
    digests = Digests(State(str(tmp_path / "state")))
    real = open

    def denied(path, *args, **kwargs):
        if str(path) == paths[1]:
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", denied)
    digests.look_ahead(paths)
    with pytest.raises(DataError, match=r"b: cannot be read .Permission denied.; check its permissions"):
        digests.xxh(paths[1])


def test_an_added_and_a_removed_file_show_in_a_known_listing(tmp_path, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.digests.RACY_NS", -(10**12))
    old(tmp_path / "t/a", b"1")
    digests = Digests(State(str(tmp_path / "state")))
    assert set(digests.tree(str(tmp_path / "t"))) == {"a"}
    old(tmp_path / "t/b", b"1")
    assert set(digests.tree(str(tmp_path / "t"))) == {"a", "b"}
    os.unlink(tmp_path / "t/a")
    assert set(digests.tree(str(tmp_path / "t"))) == {"b"}
    (tmp_path / "t/l").symlink_to(tmp_path / "x")
    old(tmp_path / "x/deep", b"1")
    assert set(digests.tree(str(tmp_path / "t"))) == {"b", "l/deep"}
    (tmp_path / "x/deep").rename(tmp_path / "x/other")
    assert set(digests.tree(str(tmp_path / "t"))) == {"b", "l/other"}
