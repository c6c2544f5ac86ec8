"""What a Python source says to the build: a digest of its meaning, the modules that it may import, the data files that it reads.

The digest is taken on the syntax tree without docstrings, comments, positions and ``if TYPE_CHECKING`` blocks, so that only a change
of meaning counts. Imports count wherever they stand: in functions, in ``try``, in branches, and as
``importlib.import_module("literal")``. Data files are named by a module constant ``RESOURCES``, relative to the module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tzrec_build.errors import BuildError

if TYPE_CHECKING:
    import ast

AST_VERSION = "ast/2"  # raised when the way a tree is digested or its imports are listed changes
_CALLS = ("import_module", "__import__")


class Source(NamedTuple):
    """What one source text says.

    Attributes:
        digest: of its meaning; "" for a text without any statement.
        imports: dotted names, relative ones with their dots in front. For ``from a.b import c`` both ``a.b`` and ``a.b.c`` are
            listed: which of them is a module is seen on disk.
        resources: files, folders or globs relative to the module's folder.
    """

    digest: str
    imports: tuple[str, ...]
    resources: tuple[str, ...]


def parse_source(path: str, *, registry: bool = False) -> Source:
    """Parse a source file.

    Args:
        path: the file.
        registry: whether the rows of its literal tables are left out of the digest; those that are used count by their modules.
    Raises:
        BuildError: it is no Python, or its RESOURCES are not written out.
    """
    import ast

    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (SyntaxError, ValueError) as err:
        line = getattr(err, "lineno", None) or 1
        what = getattr(err, "msg", str(err))
        raise BuildError(f"{path}:{line}: {what}; mend the source, it belongs to a task's code") from err
    _strip(tree)
    if registry:
        _empty_tables(tree)
    digest = hashlib.sha256(f"{AST_VERSION} {ast.dump(tree)}".encode()).hexdigest()[:32] if tree.body else ""
    names = {name for node in ast.walk(tree) for name in _imported(node)}
    return Source(digest, tuple(sorted(names)), _resources(tree, path))


def _imported(node: ast.AST) -> Iterator[str]:
    import ast

    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        yield base
        joint = "" if base.endswith(".") else "."
        yield from (f"{base}{joint}{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets):
        # a star import of a package also imports the modules that its list names
        yield from (f".{_word(name)}" for name in getattr(node.value, "elts", ()) if _word(name))


def _called(node: ast.Call) -> Iterator[str]:
    import ast

    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    name = _word(node.args[0]) if called in _CALLS and node.args else ""
    if not name:
        return
    package = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "package")]
    if name.startswith(".") and package and _word(package[0]):
        yield f"{_word(package[0])}{name}"
    else:
        yield name


def _word(node: object) -> str:
    """The text that a node writes out, "" when it writes none."""
    import ast

    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _resources(tree: ast.Module, path: str) -> tuple[str, ...]:
    import ast

    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(target, ast.Name) and target.id == "RESOURCES" for target in targets):
            continue
        value = getattr(node, "value", None)
        items = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
        words = [_word(item) for item in items if _word(item)]
        if len(words) < len(items):
            raise BuildError(
                f"{path}:{node.lineno}: RESOURCES must be a text or a tuple of texts, written out; write the paths"
            )
        return tuple(words)
    return ()


def _strip(tree: ast.Module) -> None:
    """Take docstrings and ``if TYPE_CHECKING`` blocks out of a syntax tree; what stands in their ``else`` stays."""
    import ast

    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and body and isinstance(body[0], ast.Expr) and _is_text(body[0].value):
            del body[0]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                block[:] = [kept for child in block for kept in _without_types(child)]


def _empty_tables(tree: ast.Module) -> None:
    import ast

    for node in tree.body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict) and all(":" in _word(row) for row in value.values):
            value.keys, value.values = [], []


def _without_types(child: ast.AST) -> list[ast.AST]:
    import ast

    while isinstance(child, ast.If) and _is_type_checking(child.test):
        if len(child.orelse) != 1:
            return list(child.orelse)
        child = child.orelse[0]
    return [child]


def _is_text(node: object) -> bool:
    import ast

    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_type_checking(test: object) -> bool:
    import ast

    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def registry_rows(path: str) -> dict[str, list[str]]:
    """Rows of the literal tables in a registry's source: key -> modules of its "module:Class" values."""
    import ast

    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    rows: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                    rows.setdefault(str(key.value), []).append(str(value.value).partition(":")[0])
    return rows


def resolve(name: str, module: str, *, is_package: bool) -> str:
    """Make an import's name absolute.

    >>> resolve("..b.c", "p.q.r", is_package=False), resolve(".x", "p.q", is_package=True), resolve("a.b", "m", is_package=False)
    ('p.b.c', 'p.q.x', 'a.b')
    """
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if not level:
        return name
    parts = module.split(".") if is_package else module.split(".")[:-1]
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, rest] if rest else base)
