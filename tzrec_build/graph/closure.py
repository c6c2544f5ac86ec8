"""Code closure of a tool: which of our modules it can run, and one digest of what they say.

The digest is taken on the syntax tree without docstrings, comments and positions, so that only a change of meaning counts.
Imports inside functions count, imports under ``if TYPE_CHECKING`` do not. A registry is a literal table of "module:Class"; its
own file stays outside the closure, and only the rows that the config uses are added. Generated protos stay outside too: what they
say reaches an action through its config.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable

from tzrec_build.errors import BuildError
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.state import State

PACKAGE = "tzrec_build"
REGISTRIES = {"model": "tzrec_build.models.registry", "feature": "tzrec_build.features.registry"}
_OUTSIDE = ("tzrec_build.protos",)
AST_VERSION = "ast/1"  # raised when the way a tree is digested changes


class Closure:
    """Closures over one checkout; parses a file once per content, however many tools use it."""

    def __init__(self, state: State, digests: Digests, root: str) -> None:
        self._state, self._digests, self._root = state, digests, root
        self._modules: dict[str, tuple[str, tuple[str, ...]] | None] = {}
        self._done: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        self._tables: dict[str, dict[str, list[str]]] = {}

    def digests(self, module: str, kinds: tuple[str, ...] = ()) -> dict[str, str]:
        """Files of the closure of `module`: path relative to the checkout -> AST digest.

        Args:
            module: dotted name of the tool.
            kinds: registry rows that the config uses, such as ``model:deepfm``; rows of other tables are passed over.
        Raises:
            BuildError: a file of the closure does not parse.
        """
        key = (module, kinds)
        if key not in self._done:
            self._done[key] = self._walk([module, *self._rows(kinds)])
        return self._done[key]

    def _walk(self, start: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        seen: set[str] = set()
        stack = list(start)
        while stack:
            name = stack.pop()
            if name in seen or name in REGISTRIES.values() or name.startswith(_OUTSIDE):
                continue
            seen.add(name)
            parsed = self._module(name)
            if parsed is None:
                continue
            found[name.replace(".", "/") + ".py"] = parsed[0]
            stack += parsed[1]
        return dict(sorted(found.items()))

    def _rows(self, kinds: tuple[str, ...]) -> list[str]:
        modules = []
        for kind in kinds:
            table, _, row = kind.partition(":")
            if table in REGISTRIES:
                modules += self._table(REGISTRIES[table]).get(row, [])
        return modules

    def _table(self, registry: str) -> dict[str, list[str]]:
        if registry not in self._tables:
            path = self._path(registry)
            xxh = self._digests.xxh(path)
            if xxh is None:
                raise BuildError(f"{path}: no such file; the checkout is not whole, restore it from git")
            key = f"registry {xxh.hex()}"
            rows = self._state.facts(key)
            if rows is None:
                rows = registry_rows(path)
                self._state.set_facts(key, rows)
            self._tables[registry] = rows
        return self._tables[registry]

    def _path(self, module: str) -> str:
        return os.path.join(self._root, *module.split(".")) + ".py"

    def _module(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        if name not in self._modules:
            path = self._path(name)
            xxh = self._digests.xxh(path)
            if xxh is None:
                self._modules[name] = None
            else:
                known = self._state.code.get(xxh)
                if known is None:
                    known = parse(path, name)
                    self._state.set_code(xxh, *known)
                self._modules[name] = (known[0], tuple(json.loads(known[1])))
        return self._modules[name]


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


def parse(path: str, module: str) -> tuple[str, str]:
    """AST digest of a source file and the JSON list of the modules of ours that it may import.

    For ``from a.b import c`` both ``a.b`` and ``a.b.c`` are listed: which of them is a module is seen on disk.
    """
    import ast

    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        tree = ast.parse(text)
    except SyntaxError as err:
        raise BuildError(f"{path}:{err.lineno}: {err.msg}; mend the source, it belongs to a task's code") from err
    _strip(tree)
    digest = hashlib.sha256(f"{AST_VERSION} {ast.dump(tree)}".encode()).hexdigest()[:32]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.rsplit(".", node.level)[0]
                base = f"{parent}.{base}" if base else parent
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    ours = sorted(name for name in names if name.startswith(PACKAGE + "."))
    return digest, json.dumps(ours)


def _strip(tree: object) -> None:
    """Take docstrings and ``if TYPE_CHECKING`` blocks out of a syntax tree."""
    import ast

    for node in ast.walk(tree):  # type: ignore[arg-type]
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and body and _is_text(body[0]):
            del body[0]
        body[:] = [child for child in body if not (isinstance(child, ast.If) and _is_type_checking(child.test))]


def _is_text(node: object) -> bool:
    import ast

    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_type_checking(test: object) -> bool:
    import ast

    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"
