"""Code closure: what belongs to it, and which edits of a source count."""

from __future__ import annotations

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph.closure import Closure
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.state import State

TOOL = '''
"""A tool."""
from typing import TYPE_CHECKING
from tzrec_build.lib import helper
from tzrec_build.models.registry import MODELS
if TYPE_CHECKING:
    from tzrec_build.unused import Thing


def main(argv):
    """Docstring."""
    from tzrec_build import lazy  # at call time
    return helper(lazy.VALUE) + 1
'''


@pytest.fixture
def checkout(tmp_path):
    sources = {
        "tool": TOOL,
        "lib": "def helper(x):\n    return x\n",
        "lazy": "VALUE = 1\n",
        "unused": "class Thing: ...\n",
        "models/registry": 'MODELS = {"deepfm": "tzrec_build.models.deepfm:DeepFM", "ple": "tzrec_build.models.ple:PLE"}\n',
        "models/deepfm": "from tzrec_build.lib import helper\n",
        "models/ple": "X = 1\n",
    }
    for name, text in sources.items():
        path = tmp_path / "tzrec_build" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def closure(root, kinds=("model:deepfm",)):
    state = State(str(root / "state"))
    return Closure(state, Digests(state), str(root)).digests("tzrec_build.tool", tuple(kinds))


def test_closure_holds_imports_of_functions_and_used_rows_only(checkout):
    assert sorted(closure(checkout)) == [
        "tzrec_build/lazy.py",
        "tzrec_build/lib.py",
        "tzrec_build/models/deepfm.py",
        "tzrec_build/models/registry.py",
        "tzrec_build/tool.py",
    ]
    assert "tzrec_build/models/ple.py" in closure(checkout, ["model:ple", "loss:l2_loss"])


@pytest.mark.parametrize(
    ("name", "old", "new", "counts"),
    [
        ("tool", "+ 1", "+ 2", True),
        ("tool", '"""Docstring."""', '"""Other words."""', False),
        ("tool", "# at call time", "# whenever", False),
        ("tool", "\n\n\ndef", "\n\n\n\n\ndef", False),
        ("tool", "import Thing", "import Thing, Other", False),
        ("lib", "return x", "return -x", True),
        ("lazy", "1", "2", True),
        ("unused", "Thing", "Thong", False),
        ("models/deepfm", "import helper", "import helper as h", True),
        ("models/ple", "X = 1", "X = 2", False),
        ("models/registry", '"ple":', '"ple2":', False),
        ("models/registry", "MODELS =", "TABLE =", True),
    ],
)
def test_only_a_change_of_meaning_in_the_closure_counts(checkout, name, old, new, counts):
    before = closure(checkout)
    path = checkout / "tzrec_build" / f"{name}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (closure(checkout) != before) == counts


def test_a_source_that_does_not_parse_names_file_and_line(checkout):
    (checkout / "tzrec_build/lib.py").write_text("def helper(x:\n")
    with pytest.raises(BuildError, match=r"lib\.py:1: .*mend the source"):
        closure(checkout)


def test_a_missing_registry_says_that_the_checkout_is_not_whole(checkout):
    (checkout / "tzrec_build/models/registry.py").unlink()
    with pytest.raises(BuildError, match="the checkout is not whole"):
        closure(checkout)


def edit(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def users(checkout):
    """A pipeline with a script of its own that imports what lies beside it, in the checkout, and in our package."""
    folder = checkout / "workspace/p"
    edit(
        folder / "clean.py",
        "import helpers\nimport numpy\nimport json\nfrom pkg import parts\nimport shared\nimport data.x\n",
    )
    edit(folder / "helpers.py", "import importlib\nimportlib.import_module('late')\nRESOURCES = 'words/*.txt'\n")
    edit(folder / "late.py", "import yaml.nodes\n")
    edit(folder / "words/a.txt", "a")
    edit(folder / "pkg/__init__.py", "VERSION = 1\n")
    edit(folder / "pkg/parts.py", "from . import more\nfrom .more import *\n")
    edit(folder / "pkg/more.py", "import torch\n")
    edit(folder / "unused.py", "X = 1\n")
    edit(folder / "data/rows.csv", "1")
    edit(checkout / "shared.py", "from tzrec_build.lib import helper\n")
    return checkout


def of_user(root, *code):
    state = State(str(root / "state"))
    return Closure(state, Digests(state), str(root)).of_user(code, str(root / "workspace/p"))


def test_a_users_script_brings_what_it_imports_from_its_folder_and_the_checkout(users):
    files, outside = of_user(users, "clean.py")
    assert set(files) == {
        "clean.py",
        "helpers.py",
        "late.py",
        "words/a.txt",
        "pkg/__init__.py",
        "pkg/parts.py",
        "pkg/more.py",
        "../../shared.py",
        "tzrec_build/lib.py",
    }
    assert outside == {"numpy", "yaml", "torch", "data"}


def test_a_users_module_is_looked_for_in_the_pipelines_folder(users):
    assert set(of_user(users, "pkg.parts")[0]) == {"pkg/__init__.py", "pkg/parts.py", "pkg/more.py"}
    assert of_user(users, "nowhere.py") == ({}, frozenset())


def test_a_script_behind_a_link_imports_what_lies_beside_the_file_itself(users):
    (users / "workspace/p/link").mkdir()
    (users / "workspace/p/link/run.py").symlink_to("../clean.py")
    assert "helpers.py" in of_user(users, "link/run.py")[0]


@pytest.mark.parametrize(
    ("path", "text", "counts"),
    [
        ("late.py", "import yaml.nodes  # why\n", False),
        ("late.py", "import yaml.loader\n", True),
        ("pkg/__init__.py", "VERSION = 2\n", True),
        ("words/b.txt", "b", True),
        ("words/a.txt", "b", True),
        ("unused.py", "X = 2\n", False),
        ("json.py", "def loads(): ...\n", True),  # beside the script it hides the real one
        ("../../shared.py", "from tzrec_build.lib import helper as h\n", True),
        ("../../tzrec_build/lib.py", "def helper(x):\n    return -x\n", True),
    ],
)
def test_an_edit_of_a_users_module(users, path, text, counts):
    before = of_user(users, "clean.py")[0]
    edit(users / "workspace/p" / path, text)
    assert (of_user(users, "clean.py")[0] != before) == counts


def test_a_users_script_that_builds_models_may_build_any(users):
    edit(users / "workspace/p/any.py", "from tzrec_build.models import registry\n")
    files = of_user(users, "any.py")[0]
    assert {"tzrec_build/models/registry.py", "tzrec_build/models/deepfm.py", "tzrec_build/models/ple.py"} <= set(files)


def test_what_a_registry_imports_and_does_counts_and_its_rows_do_not(checkout):
    path = checkout / "tzrec_build/models/registry.py"
    edit(path, "from tzrec_build.lazy import VALUE\n" + path.read_text() + "def create(): return VALUE\n")
    edit(checkout / "tzrec_build/tool.py", "from tzrec_build.models.registry import create\n")
    before = closure(checkout)
    assert "tzrec_build/lazy.py" in before
    path.write_text(path.read_text().replace('{"deepfm"', '{"new": "tzrec_build.models.new:New", "deepfm"'))
    assert closure(checkout) == before
    path.write_text(path.read_text().replace("return VALUE", "return -VALUE"))
    assert closure(checkout) != before


def test_the_init_of_a_package_counts_once_it_says_something(checkout):
    edit(checkout / "tzrec_build/models/__init__.py", '"""Models."""\n')
    assert "tzrec_build/models/__init__.py" not in closure(checkout)
    edit(checkout / "tzrec_build/models/__init__.py", "X = 1\n")
    assert "tzrec_build/models/__init__.py" in closure(checkout)


def test_two_equal_files_import_what_lies_beside_each(checkout):
    for name in ("one", "two"):
        edit(checkout / f"tzrec_build/{name}/same.py", "from . import beside\n")
        edit(checkout / f"tzrec_build/{name}/beside.py", f"X = '{name}'\n")
    edit(checkout / "tzrec_build/tool.py", "import tzrec_build.one.same, tzrec_build.two.same\n")
    assert {"tzrec_build/one/beside.py", "tzrec_build/two/beside.py"} <= set(closure(checkout))


def test_what_is_parsed_once_is_only_looked_at(checkout, monkeypatch):
    closure(checkout)
    monkeypatch.setattr("tzrec_build.graph.closure.parse_source", None)
    assert closure(checkout)
