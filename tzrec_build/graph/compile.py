"""Rules x pipelines -> task specs. Pure but for the facts of each config, which the caller gives.

A pipeline that is wrong costs its own tasks and those that read them, never the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tzrec_build.errors import BuildError, ConfigError, NotSupportedError
from tzrec_build.graph.builds import Builds
from tzrec_build.graph.cycles import find_cycle
from tzrec_build.graph.documents import locate
from tzrec_build.graph.draft import Draft
from tzrec_build.graph.grammar import PipelineSpec, StepSpec, Workspace
from tzrec_build.graph.positions import Keys
from tzrec_build.graph.rule import Param, Rule
from tzrec_build.graph.rules import RULES
from tzrec_build.graph.scope import Facts, Scope, WrongPipelineError
from tzrec_build.graph.scripts import started_code
from tzrec_build.graph.spec import TaskSpec

FactsOf = Callable[[PipelineSpec, Mapping[str, object]], Facts]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a workspace compiles to.

    Attributes:
        specs: the tasks of all pipelines that are right, in the order of the pipelines and of `RULES`.
        broken: pipeline -> what is wrong with it, or with one that it reads.
    """

    specs: tuple[TaskSpec, ...]
    broken: Mapping[str, BuildError]


def compile_workspace(workspace: Workspace, facts_of: FactsOf) -> Compiled:
    """Make every task of a workspace.

    Args:
        workspace: all pipelines.
        facts_of: gives the facts of a pipeline's config after these edits; may raise BuildError.
    """
    return _Compiler(workspace, facts_of).compile()


class _Compiler:
    """The state of one compilation.

    Attributes:
        named: (task, task that it needs) -> the keys of pipeline.toml that say so, () where a rule does.
    """

    def __init__(self, workspace: Workspace, facts_of: FactsOf) -> None:
        self.workspace, self.facts_of = workspace, facts_of
        self.others = {pipeline.name: pipeline for pipeline in workspace.pipelines}
        self.builds = Builds(dict.fromkeys((pipeline.base_name, pipeline.folder) for pipeline in workspace.pipelines))
        self.broken: dict[str, BuildError] = {}
        self.specs: dict[str, list[TaskSpec]] = {}
        self.named: dict[tuple[str, str], Keys] = {}
        self.made: dict[str, dict[str, str]] = {}
        self.scopes: dict[str, Scope] = {}

    def compile(self) -> Compiled:
        """Compile each pipeline for itself, then see which of them read a wrong one."""
        for stage in (self._name_tasks, self._ask_config, self._make_tasks):
            for name, pipeline in self.others.items():
                if name not in self.broken:
                    try:
                        stage(pipeline)
                    except BuildError as err:
                        self.broken[name] = err
        self._break_cycles()
        self._break_readers()
        found = [spec for name, specs in self.specs.items() if name not in self.broken for spec in specs]
        return Compiled(tuple(found), {name: self.broken[name] for name in self.others if name in self.broken})

    def _name_tasks(self, pipeline: PipelineSpec) -> None:
        self.made[pipeline.name] = _artifacts(pipeline)

    def _ask_config(self, pipeline: PipelineSpec) -> None:
        """Learn what the config says, and take back the tasks for which neither file names a table."""
        exact = self.workspace.cache.match == "exact-machine"
        scope = _scope(Scope(pipeline, self.others, self.made, self.builds, exact), self.facts_of)
        for rule, name, _ in _applicable(pipeline):
            if rule.needs_table and not scope.texts(rule.needs_table):
                del self.made[pipeline.name][_artifact(rule.verb, name)]
        self.scopes[pipeline.name] = scope

    def _make_tasks(self, pipeline: PipelineSpec) -> None:
        scope = self.scopes[pipeline.name]
        if pipeline.config:
            for _, value in pipeline.config.edit:
                if isinstance(value, str):
                    scope.place(value)  # once more: by now it is known which tasks there are
        specs = [self._note(_step(scope, step)) for step in pipeline.steps]
        for rule, name, item in _applicable(pipeline):
            if _artifact(rule.verb, name) in self.made[pipeline.name]:
                specs.append(self._note(_task(scope, rule, name, item)))
        self.specs[pipeline.name] = specs

    def _note(self, made: tuple[TaskSpec, Draft]) -> TaskSpec:
        spec, draft = made
        self.named.update({(spec.name, task): keys for task, keys in draft.deps.items() if keys})
        return spec

    def _break_cycles(self) -> None:
        """Name the places of every cycle of tasks; each costs the pipelines on it."""
        owner = {spec.name: name for name, specs in self.specs.items() for spec in specs}
        edges = {spec.name: spec.task_deps for specs in self.specs.values() for spec in specs}
        while cycle := find_cycle(edges):
            places = {
                task: self._place(owner[task], (task, needed)) for task, needed in cycle if (task, needed) in self.named
            }
            steps = "; ".join(f"{task} reads {needed} ({places[task]})" for task, needed in cycle if task in places)
            text = f"{next(iter(places.values()))}: references must not go in a circle: {steps}; remove one"
            for task, _ in cycle:
                self.broken.setdefault(owner[task], ConfigError(text))
                edges[task] = ()

    def _break_readers(self) -> None:
        """Give up a pipeline that reads one which is wrong, and so on."""
        owner = {task: name for name, made in self.made.items() for task in made.values()}
        readers: dict[str, list[tuple[str, str, str]]] = {}
        for name, specs in self.specs.items():
            for spec in specs:
                for needed in spec.task_deps:
                    if owner[needed] != name:
                        readers.setdefault(owner[needed], []).append((name, spec.name, needed))
        queue = list(self.broken)
        while queue:
            wrong = queue.pop()
            for name, task, needed in readers.get(wrong, ()):
                if name not in self.broken:
                    place = self._place(name, (task, needed))
                    self.broken[name] = ConfigError(
                        f"{place}: reads {needed}, and pipeline {wrong!r} is wrong itself; mend that one first"
                    )
                    queue.append(name)
        for name, err in self.broken.items():
            if isinstance(err, WrongPipelineError):
                self.broken[name] = ConfigError(f"{self.others[name].source}: {err}")

    def _place(self, pipeline: str, edge: tuple[str, str]) -> str:
        return locate(self.workspace.root, self.others[pipeline].source, self.named.get(edge, ()))


def _scope(bare: Scope, facts_of: FactsOf) -> Scope:
    """Add what the config says, if there is one."""
    pipeline = bare.pipeline
    if pipeline.config is None:
        return bare
    for key in ("path", "easyrec", "fg_json", "schema"):  # read before any task runs
        text = getattr(pipeline.config, key)
        if text and bare.place(text)[1]:
            raise NotSupportedError(f"[config] {key} that another task makes", f"{pipeline.source}; keep it as a file")
    edits: dict[str, object] = {}
    edited: dict[str, tuple[str, str]] = {}
    for path, value in pipeline.config.edit:
        edits[path] = list(value) if isinstance(value, tuple) else value
        if isinstance(value, str):
            place, task = bare.place(value)
            edits[path] = place
            if task:
                edited[place] = (task, path)
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
        task = f"{rule.verb}:{name_in_doit}" + (f":{name}" if name else "")
        if artifact in made:
            raise ConfigError(
                f"{pipeline.source}: {made[artifact]} and {task} would both fill {pipeline.build_dir}/{artifact}; "
                "rename the step or table"
            )
        made[artifact] = task
    return made


def _artifact(verb: str, item: str) -> str:
    return f"{verb}_{item}" if item else verb


def _task(scope: Scope, rule: Rule, name: str, item: object) -> tuple[TaskSpec, Draft]:
    pipeline = scope.pipeline
    draft = Draft(scope, item, ["python", "-m", f"tzrec_build.tools.{rule.tool}"], rule.extra)
    draft.read(rule.flags)
    model = pipeline.config.model if pipeline.config and rule.makes_model else ""
    if model:
        draft.read((("--model_class", Param("config.model")),))
    if rule.purpose:
        draft.read_config_files(rule.purpose)
    spec = TaskSpec(
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
        kinds=_kinds(scope, rule),
        packages=rule.packages,
        code=(model.rpartition(":")[0],) if model else (),
        threads=scope.value(rule.threads, item) if rule.threads else 1,
        headline=rule.headline,
        timeout_s=pipeline.train.timeout_s if rule.trains else 0.0,
        resources=pipeline.train.resources if rule.threads else (),
        cache=pipeline.train.cache if rule.trains else "full",
        light=rule.light,
        exact_machine=scope.exact_machine,
    )
    return spec, draft


def _kinds(scope: Scope, rule: Rule) -> tuple[str, ...]:
    """Registry rows whose code a tool runs: those of features for every reader of a config, of models where one is built."""
    kinds = scope.facts.get("kinds", ()) if rule.purpose else ()
    return tuple(kind for kind in kinds if rule.makes_model or kind.startswith("feature:"))


def _step(scope: Scope, step: StepSpec) -> tuple[TaskSpec, Draft]:
    pipeline = scope.pipeline
    draft = Draft(scope, step, list(step.command))
    for name, texts in step.inputs:
        draft.add_paths(name, texts, ("step", step.name, "inputs", name))
    spec = TaskSpec(
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
        code=started_code(step.command, draft.inputs),
        exact_machine=scope.exact_machine,
    )
    return spec, draft
