"""What one source text says: meaning, imports, data files."""

from __future__ import annotations

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph.sources import parse_source, resolve


def said(tmp_path, text):
    path = tmp_path / "m.py"
    path.write_text(text)
    return parse_source(str(path))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c as d", {"a.b", "c"}),
        ("from a import b", {"a", "a.b"}),
        ("from . import b", {".", ".b"}),
        ("from ..a import b as c", {"..a", "..a.b"}),
        ("from a.b import *", {"a.b"}),
        ("try:\n    import a\nexcept ImportError:\n    import b\nfinally:\n    import c", {"a", "b", "c"}),
        ("if X:\n    import a\nelif Y:\n    import b\nelse:\n    import c", {"a", "b", "c"}),
        ("def f():\n    class A:\n        import a", {"a"}),
        ("import importlib\nimportlib.import_module('a.b')", {"importlib", "a.b"}),
        ("f(import_module('.b', 'a'), __import__('c'), g.import_module('.d', package='e'))", {"a.b", "c", "e.d"}),
        ("import_module('.b', __package__)", {".b"}),
        ("import_module(name)\nother('a')", set()),
        ("__all__ = ['a', 'b']", {".a", ".b"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"b"}),
        ("if typing.TYPE_CHECKING:\n    import a\nelif X:\n    import b", {"b"}),
        ("if X:\n    import c\nelif TYPE_CHECKING:\n    import a", {"c"}),
    ],
)
def test_imports_wherever_they_stand(tmp_path, text, names):
    assert set(said(tmp_path, text).imports) == names


@pytest.mark.parametrize(
    ("name", "module", "is_package", "absolute"),
    [
        ("a.b", "m", False, "a.b"),
        (".b", "__main__", False, "b"),
        (".", "p.m", False, "p"),
        (".b", "p.m", False, "p.b"),
        (".b", "p", True, "p.b"),
        ("..b", "p.q.m", False, "p.b"),
        ("...b", "p.q", True, "b"),
    ],
)
def test_relative_names(name, module, is_package, absolute):
    assert resolve(name, module, is_package=is_package) == absolute


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RESOURCES = ('a.json', 'd/*.html')", ("a.json", "d/*.html")),
        ("RESOURCES: str = 'a.json'", ("a.json",)),
        ("def f():\n    RESOURCES = 'a.json'", ()),
        ("x = 1", ()),
    ],
)
def test_data_files(tmp_path, text, found):
    assert said(tmp_path, text).resources == found


def test_data_files_must_be_written_out(tmp_path):
    with pytest.raises(BuildError, match=r"m\.py:2: RESOURCES must be a text or a tuple of texts, written out"):
        said(tmp_path, "import os\nRESOURCES = (os.name, 'a')")


def test_a_text_that_is_no_python_names_its_line(tmp_path):
    with pytest.raises(BuildError, match=r"m\.py:2: .*; mend the source, it belongs to a task's code"):
        said(tmp_path, "x = 1\nif")
    with pytest.raises(BuildError, match=r"m\.py:1: .*null bytes.*; mend the source"):
        said(tmp_path, "x\0")


def test_a_file_of_comments_says_nothing(tmp_path):
    assert said(tmp_path, '"""Docs."""\n# words\n').digest == ""
    assert said(tmp_path, "x = 1").digest != said(tmp_path, "x = True").digest
