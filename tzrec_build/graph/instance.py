"""One instance of a pipeline on its way from filled-in tables to a `PipelineSpec`, with the rules that span keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tzrec_build.graph.check import FAILED, Merged, Values, parse_table, parse_value
from tzrec_build.graph.documents import Problems, show
from tzrec_build.graph.expand import Names, Value, fill_all, instance_label
from tzrec_build.graph.grammar import (
    BenchmarkSpec,
    ConfigSpec,
    DataSpec,
    EvalSpec,
    ExportSpec,
    FgSpec,
    HitrateSpec,
    IndexSpec,
    PickSpec,
    PipelineSpec,
    PredictSpec,
    SelectSpec,
    StepSpec,
    TrainSpec,
)
from tzrec_build.graph.keys import FIELDS, NAMED_TABLES, NEEDED_WITH, ONLY_WITH, ROOT_KEYS, TABLES, Table
from tzrec_build.graph.not_built import NOT_BUILT
from tzrec_build.graph.positions import Keys

WITH_CHECKPOINT = ("threads", "device", "resources")  # what is left of [train] when the checkpoint was made elsewhere


@dataclass(slots=True)
class Instance:
    """What is known of one instance while the workspace is loaded.

    Attributes:
        merged: its tables before the placeholders were filled in; knows file and line of each key.
        tables: parsed values by path of the table: ("train",), ("step", "clean").
    """

    base_name: str
    folder: str
    merged: Merged
    bound: Mapping[str, Value]
    default: bool
    tables: dict[Keys, Values]

    @property
    def name(self) -> str:
        """Name in task names."""
        return f"{self.base_name}:{instance_label(self.bound)}" if self.bound else self.base_name

    def names_of(self, kind: str) -> list[str]:
        """List the names of [KIND.NAME] tables, in file order."""
        return [keys[1] for keys in self.tables if keys[0] == kind and len(keys) == 2]


def table_of(keys: Keys) -> Table:
    """Look up the rules of a table by its path."""
    return TABLES[keys[0]] if len(keys) == 1 else NAMED_TABLES[keys[0]]


def parse_instance(
    merged: Merged, folder: str, bound: Mapping[str, Value], variables: Mapping[str, object], problems: Problems
) -> Instance:
    """Fill in the placeholders of one instance and parse its values; what is wrong goes to `problems`."""
    instance = Instance(os.path.basename(folder), folder, merged, bound, True, {})
    before = problems.reported
    for name, value in merged.data.items():
        if name in ROOT_KEYS:
            instance.default = parse_value((name,), value, ROOT_KEYS[name], merged.at, problems) is True
        elif name in TABLES:
            _parse_one((name,), value, instance, variables, problems)
        elif name in NAMED_TABLES:
            for item, keys in value.items():
                _parse_one((name, item), keys, instance, variables, problems)
    if problems.reported == before:  # else a value that was left out would look like a missing one
        _check_rules(instance, problems)
    return instance


def _parse_one(
    keys: Keys, data: Mapping[str, Any], instance: Instance, variables: Mapping[str, object], problems: Problems
) -> None:
    filled: dict[str, Any] = {}
    for name, value in data.items():
        names = Names(instance.bound, variables, _late_names(keys, name, data))
        try:
            filled[name] = fill_all(value, names)
        except ValueError as error:
            problems.add(instance.merged.at((*keys, name)), str(error))
            filled[name] = FAILED
    instance.tables[keys] = parse_table(keys, filled, table_of(keys), instance.merged, problems)


def _late_names(keys: Keys, name: str, data: Mapping[str, Any]) -> frozenset[str]:
    """List the placeholders that only the run of a command can fill in."""
    if (keys[0], name) == ("train", "launcher"):
        return frozenset({"argv"})
    if (keys[0], name) != ("step", "command"):
        return frozenset()
    parts = [(kind, data.get(kind, {})) for kind in ("inputs", "outputs", "params")]
    return frozenset({"threads", "out"}) | {f"{kind}.{item}" for kind, items in parts for item in items}


def _check_rules(instance: Instance, problems: Problems) -> None:
    _check_config(instance, problems)
    _check_checkpoint(instance, problems)
    _check_index(instance, problems)
    _check_companions(instance, problems)
    for name in instance.names_of("step"):
        _check_outputs(instance, ("step", name), problems)


def _check_config(instance: Instance, problems: Problems) -> None:
    merged, config = instance.merged, instance.tables.get(("config",))
    if config is None:
        own = [keys for keys in instance.tables if merged.own.has(keys)]
        for keys in own:
            if table_of(keys).needs_config or (keys == ("index",) and "input" not in instance.tables[keys]):
                title = ".".join(keys)
                problems.add(merged.at(keys), f'[{title}] needs [config] path; add [config] with path = "NAME.config"')
        if not own:
            problems.add(merged.own.at(()), "nothing to build: needs [config] with a path, or a [step.NAME]; add one")
        return
    paths = [path for path, _ in config.get("edit", ())]
    for path in {path: None for path in paths if paths.count(path) > 1}:
        problems.add(merged.at(("config", "edit", path)), f"[config.edit] {path!r} is set twice; remove one")
    if ("path" in config) == ("easyrec" in config):
        got = "both" if "path" in config else "neither"
        at = ("config", "easyrec") if "path" in config else ("config",)
        problems.add(merged.at(at), f"[config] must have either path or easyrec, got {got}; keep one")
    for key in ("fg_json", "schema"):
        if key in config and "easyrec" not in config:
            problems.add(merged.at(("config", key)), f"[config] {key} only has an effect with easyrec; remove it")


def _check_checkpoint(instance: Instance, problems: Problems) -> None:
    merged = instance.merged
    if ("checkpoint",) not in instance.tables:
        return
    for key in instance.tables.get(("train",), {}):
        if key not in WITH_CHECKPOINT and merged.own.has(("train", key)):
            problems.add(
                merged.at(("train", key)), f"[train] {key} has no effect with [checkpoint]; remove one of them"
            )
    if ("select",) in instance.tables:
        problems.add(
            merged.at(("select",)), "[select] trains, and [checkpoint] is trained elsewhere; remove one of them"
        )


def _check_index(instance: Instance, problems: Problems) -> None:
    merged, index = instance.merged, instance.tables.get(("index",))
    if index is None:
        if ("hitrate",) in instance.tables:
            problems.add(merged.at(("hitrate",)), "[hitrate] needs [index]; add [index] with id_field and items")
        return
    if "input" not in index:
        index.setdefault("tower", "item")
        if "items" not in index:
            problems.add(
                merged.at(("index",)), "[index] needs items, the table that the tower embeds, or input; add one"
            )
        return
    for key in ("tower", "items"):
        if key in index:
            problems.add(merged.at(("index", key)), f"[index] {key} has no effect with input; remove one of them")


def _check_companions(instance: Instance, problems: Problems) -> None:
    """Hold keys that need, or have no effect without, a value of another key against the two tables of such pairs."""
    for table, key, other, allowed in NEEDED_WITH:
        values = instance.tables.get((table,), {})
        if values.get(other) in allowed and key not in values:
            where = instance.merged.at((table, other))
            problems.add(where, f"[{table}] {other} = {values[other]!r} needs {key}; add {key} = ...")
    for table, key, other, allowed in ONLY_WITH:
        values = instance.tables.get((table,), {})
        actual = values.get(other, _default(table, other))
        if key in values and actual not in allowed and instance.merged.own.has((table, key)):
            where = instance.merged.at((table, key))
            rule = " or ".join(repr(value) for value in allowed)
            problems.add(where, f"[{table}] {key} only has an effect with {other} = {rule}, got {actual!r}; remove it")


def _default(table: str, key: str) -> object:
    spec: Any = TABLES[table].spec
    return spec._field_defaults.get(key)


def _check_outputs(instance: Instance, keys: Keys, problems: Problems) -> None:
    outputs = instance.tables[keys].get("outputs", ())
    if "outputs" in instance.tables[keys] and not outputs:
        problems.add(
            instance.merged.at((*keys, "outputs")), f"[step.{keys[1]}] outputs must name at least one file; add one"
        )
    for number, (name, file) in enumerate(outputs):
        for other, its_file in outputs[:number]:
            if file and its_file and (f"{file}/".startswith(f"{its_file}/") or f"{its_file}/".startswith(f"{file}/")):
                first, second = (instance.merged.at((*keys, "outputs", item)) for item in (other, name))
                problems.add(
                    second,
                    f"output {name!r} ({file}) lies in the place of output {other!r} ({its_file}, {first}); rename one",
                )


def note_not_built(instance: Instance, problems: Problems) -> None:
    """Report every key that is right but not built yet."""
    for keys, values in instance.tables.items():
        for row in NOT_BUILT:
            if row.table == keys[0] and row.key in values and values[row.key] not in row.built:
                got = f" = {show(values[row.key])}" if row.built else ""
                where = instance.merged.at((*keys, row.key))
                problems.add_not_built(where, f"[{'.'.join(keys)}] {row.key}{got}")


def pipeline_spec(instance: Instance, source: str) -> PipelineSpec:
    """Make the spec of an instance in which nothing is wrong and every reference is resolved."""
    tables = instance.tables

    def one(spec: type[Any], *keys: str) -> Any:
        fields = {FIELDS.get(key, key): value for key, value in tables.get(keys, {}).items()}
        return spec(*keys[1:], **fields)

    def maybe(spec: type[Any], key: str) -> Any:
        return one(spec, key) if (key,) in tables else None

    def many(spec: type[Any], kind: str) -> tuple[Any, ...]:
        return tuple(one(spec, kind, name) for name in instance.names_of(kind))

    label = instance_label(instance.bound)
    return PipelineSpec(
        name=instance.name,
        base_name=instance.base_name,
        folder=instance.folder,
        source=source,
        default=instance.default,
        each=tuple((name, value.text) for name, value in instance.bound.items()),
        build_dir=f"build/{label}" if label else "build",
        config=maybe(ConfigSpec, "config"),
        data=one(DataSpec, "data"),
        train=one(TrainSpec, "train"),
        checkpoint=tables.get(("checkpoint",), {}).get("path", ""),
        pick=one(PickSpec, "pick"),
        select=maybe(SelectSpec, "select"),
        evals=many(EvalSpec, "eval"),
        predicts=many(PredictSpec, "predict"),
        fg=one(FgSpec, "fg"),
        export=maybe(ExportSpec, "export"),
        index=maybe(IndexSpec, "index"),
        hitrate=maybe(HitrateSpec, "hitrate"),
        benchmark=maybe(BenchmarkSpec, "benchmark"),
        steps=many(StepSpec, "step"),
    )
