"""The action key depends on nothing but what an artifact is made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tzrec_build.graph.digests import Digests
from tzrec_build.graph.state import State

KEY = """
import sys
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State
place = sys.argv[1]
inputs = (Input("raw", ("in",)), Input("some", ("in/*.csv", "in/sub")))
params = (("seed", 7), ("rate", 0.5), ("name", "x"))
spec = TaskSpec("step:p:s", "doc", place + "/p", "build/s", ("c", "{out}"), "tzrec_build.tools.outputs", inputs, params)
judge = Judge(State(place + "/state"), ROOT, place + "/site")
print(judge.key(spec, judge.snapshot(spec)))
"""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = {
    "in/a.csv": "1",
    "in/b.csv": "2",
    "in/sub/c": "3",
    "in/sub/ü.txt": "4",
    "in/B.csv": "5",
}  # in a C locale the name with ü is other text
CHANGES = {
    "hash seed": {"PYTHONHASHSEED": "7"},
    "locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "time zone": {"TZ": "Asia/Shanghai"},
    "user": {"HOME": "/nonexistent", "USER": "somebody", "LOGNAME": "somebody"},
    "nothing": {},
}


def make(place, names):
    for name in names:
        (place / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "p" / name).write_text(FILES[name])
    (place / "site").mkdir()
    return place


def key(place, **env):
    code = KEY.replace("ROOT", repr(ROOT))
    full = {**os.environ, "PYTHONPATH": ROOT, **env}
    return subprocess.run([sys.executable, "-c", code, str(place)], env=full, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return key(make(tmp_path_factory.mktemp("reference"), FILES), PYTHONHASHSEED="1")


@pytest.mark.parametrize("change", CHANGES)
def test_the_key_does_not_depend_on(change, reference, tmp_path):
    deep = tmp_path / "another place" / "with [marks]"
    deep.mkdir(parents=True)
    assert key(make(deep, reversed(FILES)), **CHANGES[change]) == reference


def test_the_key_depends_on_a_byte(reference, tmp_path):
    (make(tmp_path, FILES) / "p/in/a.csv").write_text("2")
    assert key(tmp_path) != reference


leaves = st.tuples(st.sampled_from(["", "1", "22"]), st.booleans())
trees = st.dictionaries(st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join), leaves, max_size=4)


def write(folder, tree, *, backwards):
    kept = {name: leaf for name, leaf in tree.items() if not any(other.startswith(name + "/") for other in tree)}
    for name in sorted(kept, reverse=backwards):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(kept[name][0])
        (folder / name).chmod(0o755 if kept[name][1] else 0o644)
    return kept


@settings(deadline=None, max_examples=60)
@given(one=trees, other=trees)
def test_digests_of_trees_are_equal_iff_the_trees_are(one, other, tmp_path_factory):
    base = tmp_path_factory.mktemp("trees")
    digests = Digests(State(str(base / "state")))
    kept = [write(base / "one", one, backwards=False), write(base / "other", other, backwards=True)]
    texts = [digests.folder_text(str(base / name), "records") for name in ("one", "other")]
    assert (texts[0] == texts[1]) == (kept[0] == kept[1])
    assert (digests.tree(str(base / "one")) == digests.tree(str(base / "other"))) == (kept[0] == kept[1])
    shutil.rmtree(base)
