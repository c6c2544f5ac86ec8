"""Rules x pipelines -> task specs. Pure but for the facts of each config, which the caller gives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.graph.grammar import PipelineSpec, StepSpec, Workspace
from tzrec_build.graph.references import Ref, parse_ref
from tzrec_build.graph.rule import Extras, Flags, Given, Made, Model, Out, Param, Rule, Runs, Switch
from tzrec_build.graph.rules import RULES
from tzrec_build.graph.spec import Input, TaskSpec

Facts = Mapping[str, Any]
FactsOf = Callable[[PipelineSpec, Mapping[str, object]], Facts]
_TABLE_FIELDS = {"data.train": "train_input_path", "data.eval": "eval_input_path"}
# where [data] fingerprint holds: the tables that pipeline.toml names, beside those that the config names
_TABLES = frozenset({*_TABLE_FIELDS, "item.data", "item.input", "index.items", "hitrate.users"})
_DEFAULT_EMBEDDING = {"item": "item_tower_emb", "user": "user_tower_emb"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One pipeline while it is compiled.

    Attributes:
        pipeline: the pipeline.
        others: every pipeline by name, for references.
        made: pipeline -> artifact -> name of the task that makes it.
        edits: [config.edit] with references replaced by paths.
        edited: those paths -> the task that makes the file.
        facts: what the config says (`tzrec_build.config.facts`); empty without [config].
        exact_machine: [cache] match = "exact-machine".
    """

    pipeline: PipelineSpec
    others: Mapping[str, PipelineSpec]
    made: Mapping[str, Mapping[str, str]]
    exact_machine: bool = False
    edits: dict[str, object] = field(default_factory=dict)
    edited: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)

    def place(self, text: str) -> tuple[str, str]:
        """A path text as a path relative to the pipeline's folder, and the task that makes it ("" for a user's file)."""
        ref = parse_ref(text, self.others)
        if ref is None:
            return text, ""
        if ref.artifact == "checkpoint":
            return self._checkpoint(ref)
        if ref.artifact not in self.made[ref.pipeline]:
            known = ", ".join(sorted(self.made[ref.pipeline]))
            raise ConfigError(
                f"{self.pipeline.source}: {text}: pipeline {ref.pipeline!r} makes no {ref.artifact!r}; it makes: {known}"
            )
        other = self.others[ref.pipeline]
        path = os.path.join(other.folder, other.build_dir, ref.artifact, ref.path).rstrip("/")
        return os.path.relpath(path, self.pipeline.folder), self.made[ref.pipeline][ref.artifact]

    def _checkpoint(self, ref: Ref) -> tuple[str, str]:
        """``PIPELINE:checkpoint``: the model directory, whose latest checkpoint is what the pipeline's own [pick] takes too."""
        other = self.others[ref.pipeline]
        if other.checkpoint or other.pick.by != "latest":
            where = f"{self.pipeline.source}; name the folder, or {ref.pipeline}:train/model.ckpt-N"
            raise NotSupportedError(f"{ref.pipeline}:checkpoint of a pipeline with [checkpoint] or [pick] by", where)
        return self.place(f"{ref.pipeline}:train")

    def value(self, path: str, item: object) -> Any:
        """A value of the pipeline by attribute path; `_WORKED_OUT` names stand for values that are worked out."""
        if path in _WORKED_OUT:
            return _WORKED_OUT[path](self)
        value: Any = item if path.partition(".")[0] == "item" else self.pipeline
        for name in path.split("."):
            if name != "item":
                value = getattr(value, name)
        return value

    def texts(self, path: str, item: object = None) -> tuple[str, ...]:
        """Path texts of a `Given`; the config's own tables where pipeline.toml names none."""
        value = self.value(path, item)
        texts = tuple(filter(None, (value,) if isinstance(value, str) else value))
        if not texts and path in _TABLE_FIELDS:
            texts = tuple(filter(None, str(self.facts.get(_TABLE_FIELDS[path], "")).split(",")))
        return texts


def _embedding_field(scope: Scope) -> str:
    index = scope.pipeline.index
    return (index.embedding_field or _DEFAULT_EMBEDDING[index.tower or "item"]) if index else ""


def _hitrate_columns(scope: Scope) -> tuple[str, ...]:
    wanted = scope.pipeline.hitrate
    return (
        tuple(filter(None, (wanted.request_id_field, wanted.gt_items_field, wanted.exclude_items_field)))
        if wanted
        else ()
    )


_WORKED_OUT: Mapping[str, Callable[[Scope], object]] = {
    "config.edit": lambda scope: json.dumps(scope.edits, sort_keys=True) if scope.edits else "",
    "embedding_field": _embedding_field,
    "index.tower": lambda scope: (scope.pipeline.index.tower or "item") if scope.pipeline.index else "",
    "hitrate_columns": _hitrate_columns,
}


def compile_workspace(workspace: Workspace, facts_of: FactsOf) -> list[TaskSpec]:
    """Make every task of a workspace, in the order of its pipelines and of `RULES`.

    Args:
        workspace: all pipelines.
        facts_of: gives the facts of a pipeline's config after these edits.
    Raises:
        ConfigError: a table is named nowhere, or a reference names an artifact that its pipeline does not make.
    """
    others = {pipeline.name: pipeline for pipeline in workspace.pipelines}
    made = {name: _artifacts(pipeline) for name, pipeline in others.items()}
    specs: list[TaskSpec] = []
    for pipeline in workspace.pipelines:
        scope = _scope(Scope(pipeline, others, made, workspace.cache.match == "exact-machine"), facts_of)
        specs += [_step(scope, step) for step in pipeline.steps]
        for rule, name, item in _applicable(pipeline):
            if rule.needs_table and not scope.texts(rule.needs_table):
                continue
            specs.append(_task(scope, rule, name, item))
    return specs


def _scope(bare: Scope, facts_of: FactsOf) -> Scope:
    """Add what the config says, if there is one."""
    pipeline = bare.pipeline
    if pipeline.config is None:
        return bare
    if bare.place(pipeline.config.path)[1]:
        raise NotSupportedError(
            "[config] path that another task makes", f"{pipeline.source}; keep the config as a file"
        )
    edits: dict[str, object] = {}
    edited: dict[str, str] = {}
    for path, value in pipeline.config.edit:
        edits[path] = list(value) if isinstance(value, tuple) else value
        if isinstance(value, str):
            place, task = bare.place(value)
            edits[path] = place
            if task:
                edited[place] = task
    return replace(bare, edits=edits, edited=edited, facts=facts_of(pipeline, edits))


def _applicable(pipeline: PipelineSpec) -> Iterable[tuple[Rule, str, object]]:
    for rule in RULES:
        if rule.when(pipeline):
            for name, item in rule.items(pipeline) if rule.items else (("", None),):
                yield rule, name, item


def _artifacts(pipeline: PipelineSpec) -> dict[str, str]:
    """Artifact name -> name of the task that makes it."""
    name_in_doit = pipeline.name.replace("=", "@")  # doit takes an argument with "=" for a variable
    made = {step.name: f"step:{name_in_doit}:{step.name}" for step in pipeline.steps}
    for rule, name, _ in _applicable(pipeline):
        artifact = _artifact(rule.verb, name)
        if artifact in made:
            raise ConfigError(
                f"{pipeline.source}: {artifact!r} names two artifacts of this pipeline; rename the step or table"
            )
        made[artifact] = f"{rule.verb}:{name_in_doit}" + (f":{name}" if name else "")
    return made


def _artifact(verb: str, item: str) -> str:
    return f"{verb}_{item}" if item else verb


class Draft:
    """The command, inputs and parameters of one task while the words of its rule are read."""

    def __init__(self, scope: Scope, item: object, argv: list[str], extras: tuple[Made, ...] = ()) -> None:
        self.scope, self.item, self.argv, self.extras = scope, item, argv, extras
        self.inputs: list[Input] = []
        self.params: dict[str, object] = {}
        self.deps: set[str] = set()

    def read(self, flags: Flags) -> None:
        """Read the flags of a rule."""
        for flag, word in flags:
            name = flag.removeprefix("--")
            match word:
                case str():
                    self.argv += [flag, word]
                case Switch():
                    self.argv.append(flag)
                case Out():
                    self.argv += [flag, f"{{out}}/{word.path}" if word.path else "{out}"]
                case Param():
                    self._read_param(flag, self.scope.value(word.field, self.item))
                case Made() | Given():
                    if self.add(name, word):
                        self.argv += [flag, f"{{inputs.{name}}}"]
                case Model():
                    self._read_model()
                case Runs() | Extras():
                    self._read_several(flag, word)

    def _read_several(self, flag: str, word: Runs | Extras) -> None:
        if isinstance(word, Extras):
            there = [one.path for one in self.extras if self.add(one.path.replace("/", "_").replace(".", "_"), one)]
            self._read_param(flag, tuple(there))
            return
        self.argv.append(flag)
        made = self.scope.made[self.scope.pipeline.name]
        for run in sorted(name for name in made if name.startswith("benchmark_run_")):
            self.add(run, Made(run))
            self.argv.append(f"{{inputs.{run}}}")

    def add(self, name: str, word: Made | Given) -> bool:
        """Add an input; False when it is optional and nothing gives it."""
        return self._add_made(name, word) if isinstance(word, Made) else self._add_given(name, word)

    def add_paths(self, name: str, texts: Iterable[str], named_in: str, fingerprint: str = "content") -> None:
        """Add an input of path texts, and the tasks that make them."""
        places = [self.scope.place(text) for text in texts]
        self.deps |= {task for _, task in places if task}
        made = frozenset(path for path, task in places if task)
        paths = tuple(path for path, _ in places)
        self.inputs.append(Input(name, paths, named_in=named_in, made=made, fingerprint=fingerprint))

    def _add_made(self, name: str, word: Made) -> bool:
        pipeline = self.scope.pipeline
        tasks = self.scope.made[pipeline.name]
        artifact = word.path.partition("/")[0]
        if artifact not in tasks:
            if word.optional:
                return False
            raise RuntimeError(f"bug: a rule of {pipeline.name} reads {artifact!r}, which no rule makes")
        self.deps.add(tasks[artifact])
        path = f"{pipeline.build_dir}/{word.path}"
        self.inputs.append(Input(name, (path,), made=frozenset({path}), optional=word.optional))
        return True

    def _add_given(self, name: str, word: Given) -> bool:
        texts = self.scope.texts(word.field, self.item)
        if texts:
            fingerprint = self.scope.pipeline.data.fingerprint if word.field in _TABLES else "content"
            self.add_paths(name, texts, self.scope.pipeline.source, fingerprint)
        elif not word.optional:
            table, _, key = word.field.partition(".")
            raise ConfigError(
                f"{self.scope.pipeline.source}: [{table}] {key} is not set, nor does the config name such a table; set it"
            )
        return bool(texts)

    def _read_param(self, flag: str, value: object) -> None:
        name = flag.removeprefix("--")
        if value is True:
            self.argv.append(flag)
        elif value is not None and value is not False and value not in ("", ()):
            self.argv += [flag, f"{{params.{name}}}"]
            self.params[name] = ",".join(value) if isinstance(value, tuple) else value

    def _read_model(self) -> None:
        if self.scope.pipeline.checkpoint:
            self.read((("--checkpoint_path", Given("checkpoint")),))
        else:
            self.read((("--model_dir", Made("train")), ("--pick", Made("pick/checkpoint.json"))))


def _task(scope: Scope, rule: Rule, name: str, item: object) -> TaskSpec:
    pipeline = scope.pipeline
    draft = Draft(scope, item, ["python", "-m", f"tzrec_build.tools.{rule.tool}"], rule.extra)
    draft.read(rule.flags)
    if rule.purpose:
        _config_files(scope, rule.purpose, draft)
    return TaskSpec(
        name=scope.made[pipeline.name][_artifact(rule.verb, name)],
        doc=rule.doc,
        folder=pipeline.folder,
        out=f"{pipeline.build_dir}/{_artifact(rule.verb, name)}",
        argv=tuple(draft.argv),
        module=f"tzrec_build.tools.{rule.tool}",
        inputs=tuple(draft.inputs),
        params=tuple(draft.params.items()),
        outputs=tuple((output, output) for output in rule.outputs),
        task_deps=tuple(sorted(draft.deps)),
        kinds=tuple(scope.facts.get("kinds", ())) if rule.purpose else (),
        packages=rule.packages,
        threads=scope.value(rule.threads, item) if rule.threads else 1,
        headline=rule.headline,
        timeout_s=pipeline.train.timeout_s if rule.trains else 0.0,
        resources=pipeline.train.resources if rule.threads else (),
        cache=pipeline.train.cache if rule.trains else "full",
        light=rule.light,
        exact_machine=scope.exact_machine,
    )


def _config_files(scope: Scope, purpose: str, draft: Draft) -> None:
    """Files that the config itself names and a tool with this purpose reads: vocabularies, sampler tables, checkpoints."""
    for row in scope.facts.get("paths", ()):
        if purpose not in row["read_by"] or row["field"] in _TABLE_FIELDS.values():
            continue
        task = scope.edited.get(row["value"], "")
        if task:
            draft.deps.add(task)
        source = scope.pipeline.config.path if scope.pipeline.config else ""
        paths = tuple(text for text in row["value"].split(",") if text)
        made = frozenset(paths if task else ())
        fingerprint = scope.pipeline.data.fingerprint if row["kind"] == "table" else "content"
        draft.inputs.append(Input(row["field"], paths, named_in=source, made=made, fingerprint=fingerprint))


def _step(scope: Scope, step: StepSpec) -> TaskSpec:
    pipeline = scope.pipeline
    draft = Draft(scope, step, list(step.command))
    for name, texts in step.inputs:
        draft.add_paths(name, texts, pipeline.source)
    return TaskSpec(
        name=scope.made[pipeline.name][step.name],
        doc=f"[step.{step.name}] of {pipeline.name}",
        folder=pipeline.folder,
        out=f"{pipeline.build_dir}/{step.name}",
        argv=tuple(draft.argv),
        module="",
        inputs=tuple(draft.inputs),
        params=step.params,
        outputs=step.outputs,
        task_deps=tuple(sorted(draft.deps)),
        env=step.env,
        threads=step.threads,
        timeout_s=step.timeout_s,
        resources=step.resources,
        retries=step.retries,
        exact_machine=scope.exact_machine,
    )
