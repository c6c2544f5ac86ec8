"""The compiled form of a workspace, and when it still holds."""

from __future__ import annotations

import pytest

from tzrec_build.errors import CorruptError
from tzrec_build.graph.compiled import MARK, Compiled, Seen, dumps, loads, still_holds, toml_files
from tzrec_build.graph.rows import Specs, make_rows
from tzrec_build.graph.spec import Input, TaskSpec


@pytest.fixture
def root(tmp_path):
    for name in ("a/pipeline.toml", "a/m.config", "b/pipeline.toml", "workspace.toml"):
        (tmp_path / "workspace" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "workspace" / name).touch()
    return str(tmp_path)


@pytest.fixture
def spec(root):
    inputs = (Input("raw", ("raw/*.csv", "../b/build/x"), "p.toml", frozenset({"../b/build/x"})), Input("one", ("o",)))
    params = (("seed", 7), ("rate", 0.5), ("names", ("a", "b")))
    return TaskSpec(
        "step:a:s", "doc", f"{root}/workspace/a", "build/s", ("c", "{out}"), "", inputs, params, task_deps=("step:b:x",)
    )


@pytest.fixture
def found(root, spec):
    seen = Seen(
        root, toml_files(root), (("f", b"1"),), (("DS", "1"),), ((f"{root}/workspace/a", "*.config", ("m.config",)),)
    )
    return Compiled(seen, tuple(make_rows([spec], root)), ("step:a:s",), {"max_cost_s": 0.0})


def test_what_was_written_is_read(found, spec):
    again = loads(dumps(found))
    assert again == found
    assert Specs(again.rows)["step:a:s"] == spec


def test_a_row_says_what_doit_asks_for(found):
    row = found.rows[0]
    assert (row.inside, row.target, row.task_deps) == ("workspace/a", "workspace/a/build/s", ("step:b:x",))
    assert row.file_deps == {"workspace/a/raw/*.csv", "workspace/b/build/x", "workspace/a/o"}


def test_another_version_is_refused(found):
    data = dumps(found)
    with pytest.raises(CorruptError) as caught:
        loads(b"X" + data[1:])
    assert str(caught.value) == f"compiled tasks: must begin with {MARK!r}, got {b'X' + MARK[1:]!r}; compile anew"


@pytest.mark.parametrize("at", [0, 5, 50, -1])
def test_damaged_bytes_are_refused(found, at):
    data = bytearray(dumps(found))
    data[at if at < 0 else len(MARK) + at] ^= 1
    with pytest.raises(CorruptError, match="must be the bytes that were written, got another checksum; compile anew"):
        loads(bytes(data))


def test_it_holds_while_nothing_around_it_changes(found, root):
    assert still_holds(found.seen, root, {"DS": "1"})


@pytest.mark.parametrize("change", ["elsewhere", "variable", "new pipeline", "no workspace.toml", "new config"])
def test_it_does_not_hold_after(change, found, root, tmp_path):
    place, env = root, {"DS": "1"}
    if change == "elsewhere":
        place = root + "/other"
    elif change == "variable":
        env = {}
    elif change == "new pipeline":
        (tmp_path / "workspace/c").mkdir()
        (tmp_path / "workspace/c/pipeline.toml").touch()
    elif change == "no workspace.toml":
        (tmp_path / "workspace/workspace.toml").unlink()
    else:
        (tmp_path / "workspace/a/n.config").touch()
    assert not still_holds(found.seen, place, env)
