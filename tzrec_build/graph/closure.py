"""Code closure: which Python files a task can run, and a digest of what each of them says (see `sources.py`).

For a tool these are our modules. A registry is a literal table of "module:Class"; its rows stay outside the closure, and only the
modules of those that the config uses are added. Generated protos stay outside too: what they say reaches an action through its config.

A user's script or model starts a closure of its own: what it imports from the folder that it lies in, and from the checkout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from tzrec_build.errors import BuildError
from tzrec_build.graph.digests import Digests, find
from tzrec_build.graph.sources import AST_VERSION, Source, parse_source, registry_rows, resolve
from tzrec_build.graph.spec import TaskSpec
from tzrec_build.graph.state import State

PACKAGE = "tzrec_build"
REGISTRIES = {"model": "tzrec_build.models.registry", "feature": "tzrec_build.features.registry"}
_OUTSIDE = "tzrec_build.protos"
# rows of the cache of parsed sources are of one way to parse: that of this code in this Python
_PARSER = f"{AST_VERSION} {sys.version_info[0]}.{sys.version_info[1]}".encode()
_REGISTRY = _PARSER + b" registry"
_INIT = "/__init__.py"
_File: TypeAlias = tuple[str, str, Source]  # module, path, what it says


class Closure:
    """Closures over one checkout; parses a file once per content, however many tasks use it."""

    def __init__(self, state: State, digests: Digests, root: str) -> None:
        self._state, self._digests, self._root = state, digests, root
        self._registry_files = frozenset(f"{root}/{name.replace('.', '/')}.py" for name in REGISTRIES.values())
        self._sources: dict[str, Source | None] = {}
        self._done: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}
        self._of_users: dict[tuple[tuple[str, ...], str], tuple[dict[str, str], frozenset[str]]] = {}
        self._tables: dict[str, dict[str, list[str]]] = {}
        self._both: dict[tuple[object, ...], dict[str, str]] = {}
        self._imported: dict[tuple[str, tuple[str, ...]], tuple[list[_File], set[str]]] = {}
        self._listed: dict[str, frozenset[str]] = {}

    def digests(self, module: str, kinds: tuple[str, ...] = ()) -> dict[str, str]:
        """Files of the closure of `module`: path relative to the checkout -> AST digest, or content digest of a resource.

        Args:
            module: dotted name of the tool.
            kinds: registry rows that the config uses, such as ``model:deepfm``; rows of other tables are passed over.
        Raises:
            BuildError: a file of the closure does not parse.
        """
        key = (module, kinds)
        if key not in self._done:
            files = self._walk([module, *self._rows(kinds)], (self._root,))[0]
            self._done[key] = self._shown(files, self._root)
        return self._done[key]

    def of(self, spec: TaskSpec) -> Mapping[str, str]:
        """All code that counts for a task, of the tool and of the user; the same object as long as nothing is looked at anew."""
        tool = self.digests(spec.module, spec.kinds) if spec.module else {}
        if not spec.code:
            return tool
        key = (spec.module, spec.kinds, spec.code, spec.folder)
        if key not in self._both:
            self._both[key] = dict(sorted({**tool, **self.of_user(spec.code, spec.folder)[0]}.items()))
        return self._both[key]

    def has_digest(self, xxh: bytes, digest: str) -> bool:
        """Whether a source text that was parsed before, as a module or as a registry, has this AST digest."""
        return any(self._state.code.get(xxh + parser, ("",))[0] == digest for parser in (_PARSER, _REGISTRY))

    def of_user(self, code: tuple[str, ...], folder: str) -> tuple[dict[str, str], frozenset[str]]:
        """Files of the closure of a user's own code, and what it imports from elsewhere.

        Args:
            code: scripts (with a slash or ``.py``) and dotted names of modules, as seen from `folder`.
            folder: the pipeline's folder, absolute.
        Returns:
            Path relative to `folder`, or to the checkout for our own modules -> digest; names of the top-level modules that are
            neither the user's nor Python's.
        Raises:
            BuildError: a file of the closure does not parse.
        """
        key = (code, folder)
        if key not in self._of_users:
            files: dict[str, Source] = {}
            outside: set[str] = set()
            for start in code:
                found, others = self._user_walk(start, folder)
                files |= found
                outside |= others
            ours = {path: source for path, source in files.items() if path.startswith(f"{self._root}/{PACKAGE}/")}
            users = {path: source for path, source in files.items() if path not in ours}
            shown = {**self._shown(ours, self._root), **self._shown(users, folder)}
            self._of_users[key] = (shown, frozenset(outside))
        return self._of_users[key]

    def _user_walk(self, start: str, folder: str) -> tuple[dict[str, Source], set[str]]:
        if "/" not in start and not start.endswith(".py"):  # as `python -m` does: the current folder is the first place
            return self._walk([start], (folder, self._root))
        path = os.path.realpath(
            os.path.join(folder, start)
        )  # as Python does: modules are looked for beside the real file
        source = self._source(path) if os.path.isfile(path) else None
        if source is None:
            return {}, set()
        names = [resolve(name, "__main__", is_package=False) for name in source.imports]
        files, outside = self._walk(names, (os.path.dirname(path), self._root))
        return {path: source, **files}, outside

    def _walk(self, start: Iterable[str], roots: tuple[str, ...]) -> tuple[dict[str, Source], set[str]]:
        """Follow imports from some modules; with one root only our own package is looked at."""
        found: dict[str, Source] = {}
        stack, outside = self._modules(start, roots)
        while stack:
            module, path, source = stack.pop()
            if path not in found:
                found[path] = source
                files, others = self._imports(module, path, source, roots)
                stack += files
                outside |= others
        return found, outside - sys.stdlib_module_names

    def _imports(self, module: str, path: str, source: Source, roots: tuple[str, ...]) -> tuple[list[_File], set[str]]:
        """What one file imports; worked out once, however many tasks run it."""
        key = (path, roots)
        if key not in self._imported:
            package = path.endswith(_INIT)
            names = [resolve(name, module, is_package=package) for name in source.imports]
            if module in REGISTRIES.values() and len(roots) > 1:  # of a user's closure: nobody says which rows are used
                names += [name for rows in self._table(module).values() for name in rows]
            self._imported[key] = self._modules(names, roots)
        return self._imported[key]

    def _modules(self, names: Iterable[str], roots: tuple[str, ...]) -> tuple[list[_File], set[str]]:
        """The files that names mean, and the top-level names that no root has."""
        files: dict[str, _File] = {}
        outside: set[str] = set()
        users = len(roots) > 1
        for name in names:
            top = name.partition(".")[0]
            if not top or (top != PACKAGE and not users) or f"{name}.".startswith(f"{_OUTSIDE}."):
                continue
            hits = next(filter(None, (self._files(name, root) for root in roots)), [])
            files.update({hit[1]: hit for hit in hits})
            if not hits:
                outside.add(top)
        return list(files.values()), outside

    def _files(self, name: str, root: str) -> list[_File]:
        """The file of a module, if it is one, and those of the packages above it: (module, path, what it says)."""
        found = []
        folder = root
        parts = name.split(".")
        for length, part in enumerate(parts, 1):
            inside = self._entries(f"{folder}/{part}") if part in self._entries(folder) else frozenset()
            path = ""
            if "__init__.py" in inside:
                path = f"{folder}/{part}{_INIT}"
            elif f"{part}.py" in self._entries(folder):
                path, inside = f"{folder}/{part}.py", frozenset()
            source = self._source(path) if path else None
            if source is not None:
                found.append((".".join(parts[:length]), path, source))
            if not inside:
                break
            folder = f"{folder}/{part}"
        return found

    def _shown(self, files: dict[str, Source], base: str) -> dict[str, str]:
        """Digests by path as seen from `base`, with the data files that the sources name."""
        shown = {}
        for path, source in files.items():
            if source.digest:
                shown[os.path.relpath(path, base)] = source.digest
            for pattern in source.resources:
                for _, file in find(os.path.dirname(path), pattern):
                    shown[os.path.relpath(file, base)] = self._digests.sha256(file)
        return dict(sorted(shown.items()))

    def _entries(self, folder: str) -> frozenset[str]:
        """Names in a folder; a listing costs less than asking for each name that an import may mean."""
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]

    def _rows(self, kinds: tuple[str, ...]) -> list[str]:
        modules = []
        for kind in kinds:
            table, _, row = kind.partition(":")
            if table in REGISTRIES:
                modules += self._table(REGISTRIES[table]).get(row, [])
        return modules

    def _table(self, registry: str) -> dict[str, list[str]]:
        if registry not in self._tables:
            path = os.path.join(self._root, *registry.split(".")) + ".py"
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

    def _source(self, path: str) -> Source | None:
        """What a file says, parsed once per content; None where there is no such file."""
        if path not in self._sources:
            xxh = self._digests.xxh(path)
            self._sources[path] = None if xxh is None else self._parsed(path, xxh)
        return self._sources[path]

    def _parsed(self, path: str, xxh: bytes) -> Source:
        registry = path in self._registry_files
        key = xxh + (_REGISTRY if registry else _PARSER)
        known = self._state.code.get(key)
        if known is None:
            source = parse_source(path, registry=registry)
            self._state.set_code(key, source.digest, json.dumps([source.imports, source.resources]))
            return source
        imports, resources = json.loads(known[1])
        return Source(known[0], tuple(imports), tuple(resources))
