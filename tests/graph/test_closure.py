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
