"""The state file: kept, converted, put aside; never a wrong verdict from a damaged one."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tzrec_build.graph.digests import Digests
from tzrec_build.graph.fresh import Fresh, Judge
from tzrec_build.graph.rows import make_rows
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.stamp import files_text, inputs_text, stamp_of
from tzrec_build.graph.state import State

FORMAT_1 = """
create table files(path text primary key, dev int, ino int, size int, mtime int, ctime int, xxh blob, sha text);
create table code(xxh blob primary key, ast text, imports text);
create table facts(key text primary key, body text);
create table records(task text primary key, body text);
create table ignored(task text primary key);
insert into ignored values('step:p:i');
pragma user_version=1;
"""


def test_records_of_format_1_are_kept(tmp_path, capsys):
    with sqlite3.connect(tmp_path / "state.db") as con:
        con.executescript(FORMAT_1)
        con.execute("insert into records values('step:p:s', ?)", (json.dumps({"key": "k"}),))
    state = State(str(tmp_path))
    assert (state.record("step:p:s"), state.ignored) == ({"key": "k"}, {"step:p:i"})
    assert "format 1 is now format 2; files are hashed again, once" in capsys.readouterr().err
    again = State(str(tmp_path))
    assert again.record("step:p:s") == {"key": "k"}
    assert capsys.readouterr().err == ""


def test_a_later_format_is_put_aside(tmp_path, capsys):
    State(str(tmp_path)).set_record("t", {"key": "k"})
    with sqlite3.connect(tmp_path / "state.db") as con:
        con.execute("pragma user_version=3")
    assert State(str(tmp_path)).record("t") is None
    assert "written by another version of tzrec-build (format 3); moved to" in capsys.readouterr().err
    assert (tmp_path / "state.db.format3").is_file()


def test_damage_that_shows_late_is_put_aside_and_the_build_goes_on(tmp_path, capsys):
    state = State(str(tmp_path))
    state.set_file("/a", (1, 2, 3, 4, 5, b"x" * 16, None))
    state.connection().execute("pragma wal_checkpoint(truncate)")
    state._local = type(state._local)()
    (tmp_path / "state.db").write_bytes(b"junk" * 4096)
    for tail in ("-wal", "-shm"):
        (tmp_path / f"state.db{tail}").unlink(missing_ok=True)
    state.set_record("t", {"key": "k"})
    assert "moved to" in capsys.readouterr().err
    again = State(str(tmp_path))
    assert again.record("t") == {"key": "k"}
    assert again.files["/a"] == (1, 2, 3, 4, 5, b"x" * 16, None)


def test_builds_that_open_a_new_state_at_once_all_get_it(tmp_path):
    code = "import sys; from tzrec_build.graph.state import State; State(sys.argv[1]).set_record(sys.argv[2], {'key': 'k'})"
    builds = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"t{i}"]) for i in range(6)]
    assert [build.wait() for build in builds] == [0] * 6
    assert sorted(State(str(tmp_path)).records) == [f"t{i}" for i in range(6)]


def test_a_flipped_sha256_is_read_again_not_believed(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    os.utime(path, ns=(10**18, 10**18))
    state = State(str(tmp_path / "s"))
    digests = Digests(state)
    digests._state.files.clear()
    first = digests.sha256(str(path))
    row = state.files.get(str(path))
    if row is not None:
        state.files[str(path)] = (*row[:6], "0" * 64 + row[6][64:])
    assert digests.sha256(str(path)) == first


# --- random damage -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A recorded task, and the bytes of its state file."""
    place = tmp_path_factory.mktemp("built")
    for name, text in (("p/in", "in"), ("p/build/s/o", "out"), ("site/x", "")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    spec = TaskSpec("step:p:s", "doc", str(place / "p"), "build/s", ("c",), "", (Input("a", ("in",)),))
    judge = Judge(State(str(place / "state")), str(place), str(place / "site"))
    snapshot = judge.snapshot(spec)
    record = {**snapshot.parts(), "outputs": judge.outputs(spec), "key": judge.key(spec, snapshot)}
    judge.state.set_record(spec.name, record)
    judge.state.connection().execute("pragma wal_checkpoint(truncate)")
    judge.state.connection().close()
    return place, spec, (place / "state/state.db").read_bytes(), record["key"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), cut=st.booleans(), edited=st.booleans())
def test_damage_never_gives_a_wrong_verdict_nor_a_wrong_key(built, tmp_path_factory, seed, cut, edited):
    place, spec, good, key = built
    rng = random.Random(seed)
    data = bytearray(good)
    if cut:
        del data[rng.randrange(len(data)) :]
    else:
        start = rng.randrange(len(data))
        data[start : start + rng.choice((1, 16, 4096))] = rng.randbytes(rng.choice((1, 16)))
    folder = tmp_path_factory.mktemp("state")
    (folder / "state.db").write_bytes(data)
    (place / "p/build/s/o").write_text("edited" if edited else "out")
    judge = Judge(State(str(folder)), str(place), str(place / "site"))
    fresh = Fresh(judge, make_rows([spec], str(place))[0])(None, None)
    assert not (edited and fresh)
    assert judge.key(spec, judge.snapshot(spec)) == key


# --- stamps ------------------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=4)
contents = st.sampled_from(["x" + "0" * 32, "0" * 32, "1" * 32])
files = st.dictionaries(names, contents, max_size=3)


@given(one=files, other=files)
def test_texts_of_files_are_equal_iff_the_files_are(one, other):
    assert (files_text(one.items()) == files_text(other.items())) == (list(one.items()) == list(other.items()))


@given(
    one=st.dictionaries(names, st.lists(files, max_size=2), max_size=2),
    other=st.dictionaries(names, st.lists(files, max_size=2), max_size=2),
)
def test_texts_of_inputs_are_equal_iff_the_inputs_are(one, other):
    def plain(inputs):
        return [(name, [list(paths.items()) for paths in lists]) for name, lists in inputs.items()]

    assert (inputs_text(one) == inputs_text(other)) == (plain(one) == plain(other))


def test_a_record_without_a_part_has_no_stamp():
    assert stamp_of({"params": {}, "code": {}, "env": {}, "inputs": {}}) == b""


def test_what_another_process_recorded_is_taken_over_and_damage_changes_nothing(tmp_path):
    one, other = State(str(tmp_path)), State(str(tmp_path))
    other.set_stamp("a", b"unknown task")
    other.set_record("a", {"outputs": {}})
    one.reload("a")
    assert one.records == {"a": other.records["a"]}
    other.forget("a")
    one.reload("a")
    assert one.records == {}
    one.records["b"] = b"known"
    other.connection().execute("drop table records")
    one.reload("b")
    assert one.records == {"b": b"known"}
