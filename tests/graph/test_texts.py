"""Sizes and texts of inputs, kept for the words of a later `doit why`."""

from __future__ import annotations

import pytest
import xxhash

from tzrec_build.graph import texts
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State


@pytest.fixture
def state(tmp_path):
    return State(str(tmp_path / "state"))


def write(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return xxhash.xxh3_128_hexdigest(data), str(tmp_path / name)


def test_small_text_is_kept_and_large_or_binary_files_by_size_only(state, tmp_path):
    small, large = write(tmp_path, "a.config", b"x: 1\n"), write(tmp_path, "b.csv", b"1\n" * 200_000)
    table, latin = write(tmp_path, "c.parquet", b"PAR1"), write(tmp_path, "d.txt", b"\xff\xfe")
    texts.note(state, dict([small, large, table, latin]))
    assert texts.text(state, small[0]) == "x: 1\n"
    assert [texts.text(state, content) for content, _ in (large, table, latin)] == [None, None, None]
    known = texts.sizes(state, [small[0], large[0], table[0], latin[0], "00"])
    assert known == {small[0]: 5, large[0]: 400_000, table[0]: 4, latin[0]: 2}


def test_executable_file_has_the_same_text(state, tmp_path):
    content, path = write(tmp_path, "run.sh", b"echo\n")
    texts.note(state, {"x" + content: path})
    assert texts.text(state, content) == texts.text(state, "x" + content) == "echo\n"


def test_file_that_changed_meanwhile_is_not_kept_under_the_old_content(state, tmp_path):
    content, path = write(tmp_path, "a.config", b"old")
    (tmp_path / "a.config").write_bytes(b"new")
    texts.note(state, {content: path})
    assert texts.text(state, content) is None


def test_inputs_of_a_task_are_found_by_file_folder_and_glob(state, tmp_path):
    (tmp_path / "day/1").mkdir(parents=True)
    files = {name: write(tmp_path, name, name.encode()) for name in ("a.txt", "day/1/b.csv", "c1.json")}
    entries = tuple(Input(name, (path,)) for name, path in (("file", "a.txt"), ("folder", "day"), ("glob", "c*.json")))
    spec = TaskSpec("step:p:s", "", str(tmp_path), "build/s", (), "", entries)
    named = {"file": "a.txt", "folder": "1/b.csv", "glob": "c1.json"}
    contents = dict(zip(named, (content for content, _ in files.values()), strict=True))
    texts.note_inputs(state, spec, {kind: [{named[kind]: content}] for kind, content in contents.items()})
    assert [texts.text(state, content) for content in contents.values()] == ["a.txt", "day/1/b.csv", "c1.json"]


def test_what_no_record_names_goes_once_there_is_much_of_it(state, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "SPARE_ROWS", 3)
    contents = [write(tmp_path, f"{i}.txt", str(i).encode()) for i in range(6)]
    live = [contents[0][0], "x" + contents[1][0]]
    texts.note(state, dict(contents[:3]))
    assert texts.prune(state, lambda: live) == 0
    texts.note(state, dict(contents[3:]))
    assert texts.prune(state, lambda: live) == 4
    assert sorted(texts.sizes(state, [content for content, _ in contents])) == sorted(c for c, _ in contents[:2])
    texts.note(state, dict(contents[2:5]))
    assert texts.prune(state, lambda: live) == 0, "not more than twice what was kept, and the spare rows"


def test_contents_of_records():
    record = {"inputs": {"a": [{"x": "11"}, {}], "b": [{"y": "22", "z": "33"}]}}
    assert list(texts.recorded([record, None, {}])) == ["11", "22", "33"]
