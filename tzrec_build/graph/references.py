"""References between pipelines, ``PIPELINE:ARTIFACT[/file]``: parsed and resolved to instances."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tzrec_build.errors import suggestion
from tzrec_build.graph.builds import Builds
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
    "feature_info": "config",
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
ITEM_ARTIFACTS: Mapping[str, str] = {"eval": "evaluate", "predict": "predict"}  # [KIND.NAME] -> artifact VERB_NAME
VERBS = frozenset(
    {*ARTIFACTS, *ITEM_ARTIFACTS.values(), "benchmark_run", "step", "protos", "pipeline"}
)  # first parts of task names


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


class References:
    """Resolves the path texts of all instances; every instance must have been parsed."""

    def __init__(
        self, instances: Sequence[Instance], builds: Builds, problems: Problems, wrong: Collection[str] = ()
    ) -> None:
        self._by_name = {instance.name: instance for instance in instances}
        self._bases: dict[str, list[Instance]] = {}
        for instance in instances:
            self._bases.setdefault(instance.base_name, []).append(instance)
        self._builds = builds
        self._wrong = wrong
        self._problems = problems
        self._columns: dict[tuple[str, str], list[Value]] = {}

    def resolve(self) -> None:
        """Rewrite every path text so that it names an instance."""
        for instance in self._by_name.values():
            for keys, values in instance.tables.items():
                for name, value in values.items():
                    if table_of(keys).keys[name].is_path:
                        values[name] = self._resolve_value(instance, (*keys, name), value)
            if instance.tables.get(("train",), {}).get("init_from") == "":
                del instance.tables["train",]["init_from"]

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
                if not text:
                    return text
            found = SHAPE.fullmatch(text)
            if not found:
                self._builds.check(instance.folder, text)
                return text
            ref = self._find(instance, found[1], found[2])
        except ValueError as error:
            self._problems.add(instance.merged.at(keys), f"[{'.'.join(keys[:-1])}] {keys[-1]}: {error}")
            return text
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
        if head in self._wrong:
            raise ValueError(f"pipeline {head!r} is wrong itself; mend that one first")
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


def _made(instance: Instance) -> list[str]:
    """List the artifacts that a pipeline makes, apart from those of its steps."""
    made = [name for name, table in ARTIFACTS.items() if (table,) in instance.tables]
    made += [f"{verb}_{item}" for kind, verb in ITEM_ARTIFACTS.items() for item in instance.names_of(kind)]
    return made


def _hint(name: str, known: Collection[str]) -> str:
    return suggestion(name, known) if known else "; none is defined here"
