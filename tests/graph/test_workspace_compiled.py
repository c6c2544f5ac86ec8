"""The compiled form of a workspace, and when it still holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.graph.toml_files import load
from tzrec_build.errors import CorruptError
from tzrec_build.graph import grammar
from tzrec_build.graph.compiled import LEAVES, LISTS, dumps, loads, still_holds

TEXTS = {
    "": '[resources]\ngpu = 1\n[vars]\nxs = [1, "a"]',
    "a": '[each]\nds = "$DS"\nc = "*.config"\n[config]\npath = "{c}"\n[train]\ninit_from = "train[ds-1]"',
    "b": '[config]\npath = "x"\nedit = { a = [1, [2.5]], b = true }\n[select]\ntopk = 1\n[eval.e]\ndata = "e"\n'
    '[predict.p]\ninput = "p"\n[export]\n[index]\nid_field = "i"\nitems = "t"\n[hitrate]\nusers = "u"\n[benchmark]\n'
    '[step.s]\ncommand = ["c"]\noutputs = { o = "o" }\nparams = { a = 1 }',
}
ENV = {"DS": "1..2"}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "workspace/a").mkdir(parents=True)
    (tmp_path / "workspace/a/m.config").touch()
    return str(tmp_path)


@pytest.fixture
def workspace(root):
    return load(root, TEXTS, ENV)


def test_what_was_written_is_read(workspace):
    again = loads(dumps(workspace))
    assert again == workspace
    assert [type(getattr(again.pipelines[-1], name)) for name in LEAVES] == list(LEAVES.values())
    assert [type(getattr(again.pipelines[-1], name)[0]) for name in LISTS] == list(LISTS.values())


def test_the_bytes_depend_on_the_workspace_only(root, workspace):
    code = (
        "import sys; from tzrec_build.graph.compiled import dumps; from tzrec_build.graph.workspace import load_workspace;"
        f"sys.stdout.buffer.write(dumps(load_workspace({root!r}, {ENV!r})))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=env)
    assert loads(done.stdout) == workspace


def test_another_version_is_refused(workspace):
    data = dumps(workspace)
    with pytest.raises(CorruptError) as caught:
        loads(b"tzrec workspace 0" + data[17:])
    assert str(caught.value) == (
        "compiled workspace: must begin with b'tzrec workspace 2\\n', got b'tzrec workspace 0\\n'; load it anew"
    )


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:30]],
    ids=["shorter", "longer", "head"],
)
def test_damaged_bytes_are_refused(workspace, damage):
    with pytest.raises(CorruptError) as caught:
        loads(damage(dumps(workspace)))
    message = "compiled workspace: must be the bytes that were written, got another checksum; load it anew"
    assert str(caught.value) == message


def test_no_single_changed_byte_passes(workspace):
    data = dumps(workspace)
    for at in range(0, len(data), 7):
        with pytest.raises(CorruptError):
            loads(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_every_field_of_a_pipeline_that_is_a_spec_is_made_again():
    text = {name: kind for name, kind in grammar.PipelineSpec.__annotations__.items() if "Spec" in kind}
    assert set(text) == {*LEAVES, *LISTS}


def test_it_holds_while_nothing_changed(root, workspace):
    assert still_holds(workspace, root, {**ENV, "OTHER": "1"})


@pytest.mark.parametrize(
    "change", ["new pipeline", "pipeline gone", "workspace.toml gone", "variable", "glob", "place"]
)
def test_it_does_not_hold_after(root, workspace, change):
    env, place = dict(ENV), root
    if change == "new pipeline":
        os.makedirs(f"{root}/workspace/c")
        assert still_holds(workspace, root, env)
        open(f"{root}/workspace/c/pipeline.toml", "w").close()
    elif change == "pipeline gone":
        os.unlink(f"{root}/workspace/b/pipeline.toml")
    elif change == "workspace.toml gone":
        os.unlink(f"{root}/workspace/workspace.toml")
    elif change == "variable":
        env["DS"] = "1..3"
    elif change == "glob":
        open(f"{root}/workspace/a/n.config", "w").close()
    else:
        place = f"{root}/elsewhere"
    assert not still_holds(workspace, place, env)


def test_it_does_not_hold_without_the_folder(tmp_path, root, workspace):
    (tmp_path / "workspace").rename(tmp_path / "other")
    assert not still_holds(workspace, root, ENV)
