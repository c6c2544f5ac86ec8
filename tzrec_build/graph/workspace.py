"""Finds the pipelines below ROOT/workspace and loads them: TOML files in, one checked `Workspace` out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tzrec_build.errors import ConfigError
from tzrec_build.graph.arguments import PLACEHOLDER
from tzrec_build.graph.builds import Builds, shared_folders
from tzrec_build.graph.check import Merged, check_pipeline_shape, check_workspace_shape, parse_table, parse_value
from tzrec_build.graph.documents import Document, Problems, read_document, show
from tzrec_build.graph.expand import (
    Names,
    Surroundings,
    Value,
    expand_product,
    expand_values,
    fill_all,
)
from tzrec_build.graph.grammar import CacheSpec, Workspace
from tzrec_build.graph.instance import Instance, note_not_built, parse_instance, pipeline_spec
from tzrec_build.graph.keys import COUNT, DURATION, EDITS, NAME, NAME_RULE, WORKSPACE_TABLES, Table
from tzrec_build.graph.not_built import NOT_BUILT
from tzrec_build.graph.references import ARTIFACTS, ITEM_ARTIFACTS, VERBS, References

WORKSPACE = "workspace"
PIPELINE_FILE = "pipeline.toml"
WORKSPACE_FILE = "workspace.toml"
_PLACE = re.compile(rf"(?:not supported yet: .* in )?{WORKSPACE}/([^/]+)/{re.escape(PIPELINE_FILE)}(?::|$)")
COMMANDS = (  # of doit and our own: a task of the same name could not be run
    "accept",
    "audit",
    "cache",
    "clean",
    "dumpdb",
    "forget",
    "graph",
    "help",
    "ignore",
    "info",
    "list",
    "lock",
    "report",
    "reset-dep",
    "run",
    "salvage",
    "strace",
    "tabcompletion",
    "test",
    "unlock",
    "why",
)


def load_workspace(root: str, environment: Mapping[str, str] | None = None) -> Workspace:
    """Load every ``ROOT/workspace/NAME/pipeline.toml``, in the order of the names.

    Args:
        root: the project's folder, where dodo.py lies.
        environment: for ``$NAME`` in [each]; None = os.environ.

    Returns:
        The workspace, every value checked and every reference resolved to an instance.

    Raises:
        ConfigError: something is wrong; one line ``FILE:LINE: rule, got value; next step`` for each thing in all files.
        NotSupportedError: all is right, and something is not built yet; one line for each such part.
    """
    return _Loader(os.path.abspath(root), os.environ if environment is None else environment, {}).load()


def load_right_pipelines(
    root: str, environment: Mapping[str, str] | None = None
) -> tuple[Workspace, Mapping[str, ConfigError]]:
    """Load a workspace without the pipelines that are wrong.

    Returns:
        The workspace, and folder name -> what is wrong with that pipeline, or with one that it reads.

    Raises:
        ConfigError: workspace.toml is wrong, or every pipeline is.
    """
    environment = os.environ if environment is None else environment
    wrong: dict[str, ConfigError] = {}
    first: ConfigError | None = None
    while True:
        try:
            return _Loader(os.path.abspath(root), environment, wrong).load(), wrong
        except ConfigError as err:
            first = first or err
            found = _by_pipeline(str(err))
            if not found or len(wrong) + len(found) >= len(pipeline_folders(root)):
                raise first from None
            wrong |= {name: ConfigError(text) for name, text in found.items()}


def _by_pipeline(text: str) -> dict[str, str]:
    """Split a message of many lines by the folder that each is about; nothing when a line is about no pipeline."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        place = _PLACE.match(line)
        if place is None:
            return {}
        found.setdefault(place[1], []).append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def pipeline_folders(root: str) -> list[str]:
    """List the folders below ROOT/workspace that hold a pipeline.toml, sorted; hidden ones are left out."""
    base = f"{root}/{WORKSPACE}"
    try:
        names = sorted(os.listdir(base))
    except OSError as error:
        raise ConfigError(
            f"{base}: cannot be read: {error.strerror}; make it, with a folder for each pipeline"
        ) from None
    return [name for name in names if name[0] != "." and os.path.lexists(f"{base}/{name}/{PIPELINE_FILE}")]


class _Loader:
    """The state of one load: where, what is wrong so far, what was looked at."""

    def __init__(self, root: str, environment: Mapping[str, str], wrong: Mapping[str, ConfigError]) -> None:
        self.root = root
        self.wrong = wrong  # folders that are passed over
        self.base = f"{root}/{WORKSPACE}"
        self.problems = Problems()
        self.around = Surroundings(environment)
        self.files: list[str] = []
        self.vars: dict[str, Any] = {}

    def load(self) -> Workspace:
        folders = pipeline_folders(self.root)
        if not folders:
            what = f"no pipeline in {WORKSPACE}: needs at least one {WORKSPACE}/NAME/{PIPELINE_FILE}, got none"
            raise ConfigError(f"{what}; write one, [config] with a path is enough")
        shared = self._read_workspace()
        documents = self._read_pipelines(folders)
        folders = [name for name in folders if name not in self.wrong]
        self.problems.raise_wrong()
        resources, cache = self._parse_workspace(shared)
        self.problems.raise_wrong()
        instances = [
            instance
            for name, document in zip(folders, documents, strict=True)
            for instance in self._expand(f"{self.base}/{name}", Merged(document, shared))
        ]
        self._check_resources(instances, dict(resources), shared)
        self.problems.raise_wrong()
        self._check_shared(folders)
        builds = Builds((name, f"{self.base}/{name}") for name in (*folders, *self.wrong))
        References(instances, builds, self.problems, self.wrong).resolve()
        self.problems.raise_wrong()
        for instance in instances:
            note_not_built(instance, self.problems)
        self.problems.raise_not_built()
        return Workspace(
            root=self.root,
            resources=resources,
            cache=cache,
            vars=tuple(self.vars.items()),
            pipelines=tuple(pipeline_spec(instance, instance.merged.own.name) for instance in instances),
            files=tuple(self.files),
            env=tuple(sorted(self.around.env.items())),
            globs=tuple(sorted((*place, found) for place, found in self.around.globs.items())),
            max_cost_s=_max_cost(shared),
        )

    def _read(self, path: str) -> Document | None:
        self.files.append(path)
        return read_document(path, os.path.relpath(path, self.root), self.problems)

    def _read_workspace(self) -> Document | None:
        path = f"{self.base}/{WORKSPACE_FILE}"
        document = self._read(path) if os.path.lexists(path) else None
        if document:
            check_workspace_shape(document, self.problems)
        return document

    def _read_pipelines(self, folders: Sequence[str]) -> list[Document]:
        documents = []
        for name in folders:
            if name in self.wrong:
                self.files.append(f"{self.base}/{name}/{PIPELINE_FILE}")  # a change of it is a change of the workspace
                continue
            document = self._read(f"{self.base}/{name}/{PIPELINE_FILE}")
            if document is None:
                continue
            documents.append(document)
            self._check_name(name, document)
            check_pipeline_shape(document, self.problems)
        return documents

    def _check_name(self, name: str, document: Document) -> None:
        where = f"{document.name}:1"
        if not NAME.fullmatch(name):
            self.problems.add(where, f"the folder's name {show(name)} {NAME_RULE}; rename the folder")
        if name in COMMANDS:
            self.problems.add(where, f"the folder's name {name!r} is a command of doit; rename the folder")
        if name in VERBS:
            self.problems.add(where, f"the folder's name {name!r} is the name of a group of tasks; rename the folder")
        tables = {kind: names for kind, names in document.data.items() if isinstance(names, dict)}
        items = (f"{verb}_{item}" for kind, verb in ITEM_ARTIFACTS.items() for item in tables.get(kind, ()))
        taken = {*ARTIFACTS, *items}
        for step in tables.get("step", ()):
            if step in taken:
                place = document.at(("step", step))
                self.problems.add(
                    place, f"[step.{step}] has the name of an artifact of the pipeline itself; rename the step"
                )

    def _check_shared(self, folders: Sequence[str]) -> None:
        """See that no two pipelines build into one folder."""
        for one, other in shared_folders((name, f"{self.base}/{name}") for name in folders):
            self.problems.add(
                f"{WORKSPACE}/{other}/{PIPELINE_FILE}:1",
                f"a link makes {WORKSPACE}/{other}/build the build folder of {one!r} "
                f"({WORKSPACE}/{one}/{PIPELINE_FILE}:1) too; give each pipeline a folder of its own",
            )

    def _parse_workspace(self, document: Document | None) -> tuple[tuple[tuple[str, int], ...], CacheSpec]:
        """Parse [resources], [cache] and [vars]; the first two are returned."""
        if document is None:
            return (), CacheSpec()
        merged = Merged(document, None)
        tables = {"resources": COUNT, "vars": EDITS}
        parsed: dict[str, dict[str, Any]] = {"resources": {}, "vars": {}}
        for table, key in tables.items():
            for name, value in document.data.get(table, {}).items():
                parsed[table][name] = parse_value((table, name), value, key, document.at, self.problems)
                if table == "vars" and isinstance(value, str) and PLACEHOLDER.search(value):
                    where = document.at((table, name))
                    self.problems.add(
                        where, f"[vars] {name} must not have placeholders, got {show(value)}; write it out"
                    )
        self.vars = parsed["vars"]
        data = document.data.get("cache", {})
        rules: Table = WORKSPACE_TABLES["cache"]
        cache = parse_table(("cache",), data, rules, merged, self.problems)
        for row in NOT_BUILT:
            if row.table == "cache" and row.key in cache and cache[row.key] not in row.built:
                got = f" = {show(cache[row.key])}" if row.built else ""
                self.problems.add_not_built(document.at(("cache", row.key)), f"[cache] {row.key}{got}")
        return tuple(parsed["resources"].items()), CacheSpec(**cache)

    def _expand(self, folder: str, merged: Merged) -> list[Instance]:
        """Make every instance of one pipeline."""
        values: dict[str, Sequence[Value]] = {}
        variables = {name: list(value) if isinstance(value, tuple) else value for name, value in self.vars.items()}
        names = Names({}, variables)
        before = self.problems.reported
        for name, rule in merged.own.data.get("each", {}).items():
            try:
                values[name] = expand_values(fill_all(rule, names), folder, self.around)
            except ValueError as error:
                self.problems.add(merged.own.at(("each", name)), f"[each] {name}: {error}")
        if self.problems.reported > before:
            return []
        try:
            rows = expand_product(values)
        except ValueError as error:
            self.problems.add(merged.own.at(("each",)), f"[each] {error}")
            return []
        return [parse_instance(merged, folder, row, variables, self.problems) for row in rows]

    def _check_resources(
        self, instances: Sequence[Instance], resources: Mapping[str, int], shared: Document | None
    ) -> None:
        """See that a step or training asks for slots that exist, and not for more than there are."""
        place = shared.at(("resources",)) if shared else f"{WORKSPACE}/{WORKSPACE_FILE}"
        for instance in instances:
            for keys, values in instance.tables.items():
                for name, count in values.get("resources", ()):
                    if count > resources.get(name, 0):
                        where = instance.merged.at((*keys, "resources", name))
                        have = f"{resources[name]} in [resources]" if name in resources else "none in [resources]"
                        self.problems.add(
                            where, f"resource {name!r} must be at most what {place} has, got {count}, {have}"
                        )


def _max_cost(document: Document | None) -> float:
    """Give the seconds of a `max_cost` that `check_workspace_shape` has accepted."""
    return DURATION.parse(document.data["max_cost"]) if document and "max_cost" in document.data else 0.0  # type: ignore[return-value]
