"""References between pipelines, ``PIPELINE:ARTIFACT[/file]``: parsed, resolved to instances, and free of cycles."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tzrec_build.errors import suggestion
from tzrec_build.graph.documents import Problems
from tzrec_build.graph.expand import Value, instance_label
from tzrec_build.graph.instance import Instance, table_of
from tzrec_build.graph.not_built import URLS_BUILT
from tzrec_build.graph.positions import Keys

SHAPE = re.compile(r"([A-Za-z0-9_.-]+):(?!//)(.*)")
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
PREVIOUS = re.compile(r"([a-z_]+)\[([A-Za-z_][A-Za-z0-9_]*)-([1-9][0-9]{0,3})\]((?:/.*)?)")

ARTIFACTS: Mapping[str, str] = {  # artifact -> table without which the pipeline does not make it
    "convert": "config",
    "config": "config",
    "select_config": "select",
    "train_select": "select",
    "importance": "select",
    "prune": "select",
    "final_config": "config",
    "fg": "config",
    "train": "config",
    "checkpoint": "config",
    "pick": "config",
    "evaluate": "config",
    "export": "export",
    "embed": "index",
    "embed_users": "hitrate",
    "index": "index",
    "hitrate": "hitrate",
    "benchmark": "benchmark",
    "page": "config",
}
MADE_FROM: Mapping[str, tuple[str, ...]] = {  # artifact -> artifacts of the same pipeline that it is made from
    "config": ("convert",),
    "select_config": ("config",),
    "train_select": ("select_config",),
    "importance": ("train_select",),
    "prune": ("importance", "config"),
    "final_config": ("config", "prune"),
    "fg": ("final_config",),
    "train": ("final_config",),
    "checkpoint": ("pick",),
    "pick": ("train",),
    "evaluate": ("pick", "final_config"),
    "export": ("pick", "final_config"),
    "predict": ("pick", "final_config"),
    "embed": ("pick", "final_config"),
    "index": ("embed",),
    "embed_users": ("pick", "final_config"),
    "hitrate": ("index", "embed_users"),
    "benchmark_run": ("final_config",),
    "benchmark": ("benchmark_run",),
    "page": ("evaluate", "hitrate", "benchmark", "importance"),
}
READ_BY: Mapping[tuple[str, str], tuple[str, ...]] = {  # (table, key) with a path -> artifacts that read it
    ("config", "path"): ("config",),
    ("config", "easyrec"): ("convert",),
    ("config", "fg_json"): ("convert",),
    ("config", "feature_info"): ("config",),
    ("data", "train"): ("train_select", "train", "benchmark_run"),
    ("data", "eval"): ("evaluate", "benchmark_run"),
    ("train", "init_from"): ("train",),
    ("checkpoint", "path"): ("pick",),
    ("config", "edit"): ("train_select", "train", "fg", "benchmark_run"),  # a path that the config names
    ("index", "input"): ("index",),
    ("index", "items"): ("embed",),
    ("hitrate", "users"): ("embed_users",),
    ("hitrate", "baseline"): ("hitrate",),
    ("benchmark", "baseline"): ("benchmark",),
}
ITEM_ARTIFACTS: Mapping[str, str] = {"eval": "evaluate", "predict": "predict"}  # [KIND.NAME] -> artifact VERB_NAME
VERBS = frozenset({*ARTIFACTS, *ITEM_ARTIFACTS.values(), "benchmark_run", "step"})  # first parts of task names
Node = tuple[str, str]  # pipeline instance, artifact or step


class Ref(NamedTuple):
    """A reference: the instance's name, its artifact (or step), and a path below it, "" for all of it."""

    pipeline: str
    artifact: str
    path: str


def parse_ref(text: str, names: Collection[str]) -> Ref | None:
    """Take a path text apart if it names another pipeline's artifact; None for a path or URL.

    Args:
        text: ``movielens:tables/train.parquet``, ``daily:ds=20260101:train``, or a path.
        names: names of all instances.

    >>> parse_ref("daily:ds=1:train/version", ["daily:ds=1"])
    Ref(pipeline='daily:ds=1', artifact='train', path='version')
    >>> parse_ref("../data/x.parquet", ["daily:ds=1"]) is None
    True
    """
    found = SHAPE.fullmatch(text)
    if not found:
        return None
    head, rest = found[1], found[2]
    label, colon, tail = rest.partition(":")
    if colon and f"{head}:{label}" in names:
        head, rest = f"{head}:{label}", tail
    elif head not in names:
        return None
    artifact, _, path = rest.partition("/")
    return Ref(head, artifact, path)


class Edge(NamedTuple):
    """One reference: who reads, what is read, and ``FILE:LINE`` of the text."""

    reader: Node
    read: Node
    where: str


class References:
    """Resolves the path texts of all instances; every instance must have been parsed."""

    def __init__(self, instances: Sequence[Instance], workspace_folder: str, problems: Problems) -> None:
        self._by_name = {instance.name: instance for instance in instances}
        self._bases: dict[str, list[Instance]] = {}
        for instance in instances:
            self._bases.setdefault(instance.base_name, []).append(instance)
        self._workspace_folder = os.path.realpath(workspace_folder)
        self._problems = problems
        self._columns: dict[tuple[str, str], list[Value]] = {}
        self._edges: dict[Node, list[Edge]] = {}

    def resolve(self) -> None:
        """Rewrite every path text so that it names an instance; then look for cycles."""
        for instance in self._by_name.values():
            for keys, values in instance.tables.items():
                for name, value in values.items():
                    if table_of(keys).keys[name].is_path:
                        values[name] = self._resolve_value(instance, (*keys, name), value)
            if instance.tables.get(("train",), {}).get("init_from") == "":
                del instance.tables["train",]["init_from"]
        self._find_cycles()

    def _resolve_value(self, instance: Instance, keys: Keys, value: object) -> object:
        if isinstance(value, str):
            return self._resolve_text(instance, keys, value)
        if not isinstance(value, tuple):
            return value
        if keys == ("config", "edit"):
            return tuple((path, self._resolve_edit(instance, (*keys, path), part)) for path, part in value)
        if keys[0] == "step" and len(keys) == 3:
            return tuple((name, self._resolve_value(instance, (*keys, name), part)) for name, part in value)
        return tuple(self._resolve_text(instance, keys, text) for text in value)

    def _resolve_edit(self, instance: Instance, keys: Keys, value: object) -> object:
        """Resolve an edit's value if it begins with the name of a pipeline; any other text is the user's own."""
        found = SHAPE.fullmatch(value) if isinstance(value, str) else None
        return self._resolve_text(instance, keys, found[0]) if found and found[1] in self._bases else value

    def _resolve_text(self, instance: Instance, keys: Keys, text: str) -> str:
        try:
            url = URL.match(text)
            if url:
                if url[1] not in URLS_BUILT:
                    self._problems.add_not_built(
                        instance.merged.at(keys), f"[{'.'.join(keys[:-1])}] {keys[-1]} = {url[1]}://"
                    )
                return text
            if keys == ("train", "init_from"):
                text = self._previous(instance, text)
            found = SHAPE.fullmatch(text)
            if not found:
                self._check_path(instance, text)
                return text
            ref = self._find(instance, found[1], found[2])
        except ValueError as error:
            self._problems.add(instance.merged.at(keys), f"[{'.'.join(keys[:-1])}] {keys[-1]}: {error}")
            return text
        node = (ref.pipeline, ref.artifact)
        for reader in _readers(keys):
            edge = Edge((instance.name, reader), node, instance.merged.at(keys))
            self._edges.setdefault(edge.reader, []).append(edge)
        return f"{ref.pipeline}:{ref.artifact}" + (f"/{ref.path}" if ref.path else "")

    def _previous(self, instance: Instance, text: str) -> str:
        """Turn ``train[ds-1]`` into a reference to the instance one value of `ds` earlier, "" where there is none."""
        found = PREVIOUS.fullmatch(text)
        if not found:
            return text
        artifact, variable, back, path = found.groups()
        if variable not in instance.bound:
            raise ValueError(f"{text!r} names {variable!r}, which is not in [each]{_hint(variable, instance.bound)}")
        place = (instance.base_name, variable)
        if place not in self._columns:
            values = (other.bound[variable] for other in self._bases[instance.base_name])
            self._columns[place] = list(dict.fromkeys(values))
        column = self._columns[place]
        position = column.index(instance.bound[variable]) - int(back)
        if position < 0:
            return ""
        bound = {**instance.bound, variable: column[position]}
        return f"{instance.base_name}:{instance_label(bound)}:{artifact}{path}"

    def _find(self, instance: Instance, head: str, rest: str) -> Ref:
        """Find the instance and artifact that a reference means; raises ValueError with the nearest names."""
        if head not in self._bases:
            raise ValueError(
                f"unknown pipeline {head!r}{suggestion(head, self._bases)} (write ./{head}:... for a file)"
            )
        label, colon, tail = rest.partition(":")
        if colon and "=" in label:
            name, rest = f"{head}:{label}", tail
            if name not in self._by_name:
                raise ValueError(f"unknown instance {name!r}{_hint(name, self._names(head))}")
        else:
            name = self._matching(instance, head)
        artifact, _, path = rest.partition("/")
        self._check_artifact(self._by_name[name], artifact, path)
        return Ref(name, artifact, path)

    def _names(self, base: str) -> list[str]:
        return [instance.name for instance in self._bases[base]]

    def _matching(self, instance: Instance, base: str) -> str:
        """Choose the instance of another pipeline that has our values in every variable that both have."""
        if base == instance.base_name:
            return instance.name
        variables = self._bases[base][0].bound
        same = {name: instance.bound[name] for name in variables if name in instance.bound}
        name = f"{base}:{instance_label(same)}" if variables else base
        if len(same) == len(variables) and name in self._by_name:
            return name
        fitting = [
            other.name
            for other in self._bases[base]
            if all(instance.bound.get(name, value).label == value.label for name, value in other.bound.items())
        ]
        if len(fitting) == 1:
            return fitting[0]
        example = self._names(base)[0]
        raise ValueError(
            f"{base!r} has {len(fitting)} instances that fit {instance.name!r}; name one, such as {example}:..."
        )

    def _check_artifact(self, instance: Instance, artifact: str, path: str) -> None:
        steps = instance.names_of("step")
        made = _made(instance)
        source = instance.merged.own.name
        if artifact not in made and artifact not in steps:
            raise ValueError(f"{source} makes no artifact {artifact!r}{suggestion(artifact, [*made, *steps])}")
        if ".." in path.split("/"):
            raise ValueError(f"the path below {instance.name}:{artifact} must not have '..', got {path!r}; remove it")
        if artifact not in steps or not path or any(mark in path for mark in "*?["):
            return
        files = [file for _, file in instance.tables["step", artifact].get("outputs", ()) if file]
        if not any(f"{path}/".startswith(f"{file}/") or file.startswith(f"{path}/") for file in files):
            place = instance.merged.at(("step", artifact, "outputs"))
            raise ValueError(f"step {artifact!r} ({place}) has no output {path!r}{suggestion(path, files)}")

    def _check_path(self, instance: Instance, text: str) -> None:
        """Refuse another spelling of an artifact: the order of the tasks follows from references only."""
        plain = re.split(r"[*?\[]", text, maxsplit=1)[0]
        real = os.path.realpath(os.path.join(instance.folder, plain))
        parts = os.path.relpath(real, self._workspace_folder).split("/")
        if len(parts) < 2 or parts[1] != "build" or parts[0] not in self._bases:
            return
        below = parts[2:]
        label = f":{below.pop(0)}" if below and "=" in below[0] else ""
        name = f"{parts[0]}{label}:{'/'.join(below) or 'ARTIFACT'}"
        raise ValueError(f"{text!r} lies in the build folder of {parts[0]!r}; write the reference {name!r}")

    def _find_cycles(self) -> None:
        """Report the first cycle, with the place of every reference on it."""
        done: set[Node] = set()
        for start in list(self._edges):
            cycle = self._walk(start, done)
            if cycle:
                steps = "; ".join(
                    f"{edge.reader[0]}:{edge.reader[1]} reads {edge.read[0]}:{edge.read[1]} ({edge.where})"
                    for edge in cycle
                )
                self._problems.add(cycle[0].where, f"references must not go in a circle: {steps}; remove one")
                return

    def _walk(self, start: Node, done: set[Node]) -> list[Edge]:
        """Search depth first without recursion; chains of daily instances are thousands of nodes long."""
        path: list[Edge] = []
        on_path = {start}
        stack: list[tuple[Node, Iterator[Edge]]] = [(start, self._from(start))]
        while stack:
            node, edges = stack[-1]
            edge = next((edge for edge in edges if edge.read not in done), None)
            if edge is None:
                stack.pop()
                done.add(node)
                on_path.discard(node)
                if path:
                    path.pop()
            elif edge.read in on_path:
                first = next((n for n, step in enumerate(path) if step.reader == edge.read), len(path))
                return [step for step in [*path[first:], edge] if step.where]
            else:
                path.append(edge)
                on_path.add(edge.read)
                stack.append((edge.read, self._from(edge.read)))
        return []

    def _from(self, node: Node) -> Iterator[Edge]:
        own = (Edge(node, (node[0], name), "") for name in MADE_FROM.get(_verb(node[1]), ()))
        return iter([*self._edges.get(node, ()), *own])


def _verb(artifact: str) -> str:
    """Give the rule of an artifact: "evaluate" for "evaluate_cold", "benchmark_run" for "benchmark_run_7"."""
    if artifact in ARTIFACTS:
        return artifact
    return next((verb for verb in (*ITEM_ARTIFACTS.values(), "benchmark_run") if artifact.startswith(f"{verb}_")), "")


def _readers(keys: Keys) -> tuple[str, ...]:
    if keys[0] == "step":
        return (keys[1],)
    if keys[0] in ITEM_ARTIFACTS:
        return (f"{ITEM_ARTIFACTS[keys[0]]}_{keys[1]}",)
    return READ_BY[keys[0], keys[1]]


def _made(instance: Instance) -> list[str]:
    """List the artifacts that a pipeline makes, apart from those of its steps."""
    made = [name for name, table in ARTIFACTS.items() if (table,) in instance.tables]
    made += [f"{verb}_{item}" for kind, verb in ITEM_ARTIFACTS.items() for item in instance.names_of(kind)]
    return made


def _hint(name: str, known: Collection[str]) -> str:
    return suggestion(name, known) if known else "; none is defined here"
