"""From a checkout to doit: task dictionaries, DOIT_CONFIG, and the few objects that all tasks share."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import doit
from doit.dependency import FileChangedChecker
from doit.exceptions import InvalidTask

import tzrec_build
from tzrec_build.config.variables import check_variables
from tzrec_build.errors import BuildError, ConfigError, CorruptError
from tzrec_build.files import write_bytes
from tzrec_build.graph import compiled, publish, reporter, state
from tzrec_build.graph.action import Make, Workshop
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.fresh import Fresh, GroupFresh, Judge
from tzrec_build.graph.frozen import FrozenCode
from tzrec_build.graph.grammar import PipelineSpec, Workspace
from tzrec_build.graph.places import state_folder
from tzrec_build.graph.slots import Slots
from tzrec_build.graph.spec import Input, TaskSpec

CODE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tzrec_build.__file__)))
PROTOS = "protos"
_GROUP_DOCS = {"step": "the users' own steps ([step.NAME])"}
_force: list[bool] = []


def cache_switch() -> str:
    """The file that switches the cache off while it is there (``doit cache off``)."""
    return os.path.join(state.open_state().folder, "cache.off")


def force() -> None:
    """Note that ``doit -a`` asked to run whatever record and cache say; called by our `run` command."""
    _force.append(True)


class NoChecker(FileChangedChecker):  # type: ignore[misc]
    """doit's own look at files, switched off: `Fresh` is the only judge."""

    def exists(self, file_path: str) -> bool:  # noqa: ARG002 - doit's protocol
        """Every file is there."""
        return True

    def info(self, file_path: str) -> None:
        """Nothing to know."""

    def check_modified(self, file_path: str, file_stat: object, state: object) -> bool:  # noqa: ARG002 - doit's protocol
        """No file is modified."""
        return False

    def get_state(self, dep: str, current_state: object) -> int:  # noqa: ARG002 - doit's protocol
        """One state for all."""
        return 0


class Graph:
    """The task graph of one checkout; loads nothing until doit asks.

    Args:
        root: the folder of dodo.py, with ``workspace/`` in it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._specs: list[TaskSpec] = []
        self._resources: tuple[tuple[str, int], ...] = ()
        self._defaults: list[str] = []
        self._max_cost_s = 0.0
        self._error: BuildError | None = None
        self._loaded = False
        self._judge: Judge | None = None
        self._workshop: Workshop | None = None
        state.use_folder(state_folder(root))

    def config(self) -> dict[str, Any]:
        """DOIT_CONFIG: our backend, reporter and checker, threads, and what bare ``doit`` builds."""
        self._load()
        return {
            "backend": "tzrec",
            "reporter": "tzrec",
            "check_file_uptodate": NoChecker,
            "par_type": "thread",
            "num_process": len(os.sched_getaffinity(0)),
            "default_tasks": self._defaults,
            "max_cost": self._max_cost_s,
            "verbosity": 0,
        }

    def tasks(self) -> Iterator[dict[str, Any]]:
        """Every task and group as doit wants them.

        Raises:
            InvalidTask: the workspace is wrong; the text says where and what to do.
        """
        self._load()
        if self._error is not None:
            raise InvalidTask(str(self._error))
        reporter.know({spec.name: spec for spec in self._specs})
        members: dict[str, list[Fresh]] = {}
        for spec in self._specs:
            verb, _, name = spec.name.partition(":")
            fresh = Fresh(self.judge, spec)
            if name and verb not in members:  # the group first: doit adds each later member to it
                members[verb] = []
                group = {"doc": _GROUP_DOCS.get(verb, spec.doc), "uptodate": [GroupFresh(members[verb])]}
                yield {"basename": verb, "name": None, **group}
            members.setdefault(verb, []).append(fresh)
            yield self._task(spec, fresh, verb, name)

    def judge(self) -> Judge:
        """The judge of this process."""
        if self._judge is None:
            site_packages = os.path.dirname(os.path.dirname(os.path.abspath(doit.__file__)))
            self._judge = Judge(state.open_state(), CODE_ROOT, site_packages)
        return self._judge

    def workshop(self) -> Workshop:
        """What the actions of this process share."""
        if self._workshop is None:
            from tzrec_build.store.action_cache import ActionCache

            cache = ActionCache.open(os.environ, cache_switch())
            folder = self.judge().state.folder
            self._workshop = Workshop(
                self.judge(),
                cache,
                reporter.screen(),
                CODE_ROOT,
                bool(_force),
                Slots(os.path.join(folder, "slots"), dict(self._resources)),
                FrozenCode(os.path.join(folder, "code"), CODE_ROOT, self.judge().digests),
            )
        return self._workshop

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            check_variables(os.environ)
            workspace = self._workspace()
            found = compile_workspace(workspace, self._facts)
            if found.broken:
                raise ConfigError("\n".join(dict.fromkeys(str(err) for err in found.broken.values())))
            specs = list(found.specs)
        except BuildError as err:
            self._error = err
            return
        except OSError as err:
            self._error = BuildError(f"{err.filename}: {err.strerror}; check disk space and permissions")
            return
        if self.root == CODE_ROOT:  # every tool reads configs with the generated code
            roots = [
                replace(spec, task_deps=(PROTOS,)) if spec.module and not spec.task_deps else spec for spec in specs
            ]
            specs = [_protos(self.root), *roots]
        self._specs, self._resources = specs, workspace.resources
        self._max_cost_s = workspace.max_cost_s
        built = {pipeline.folder + "/" + pipeline.build_dir for pipeline in workspace.pipelines if pipeline.default}
        self._defaults = [
            spec.name
            for spec in self._specs
            if f"{spec.folder}/{os.path.dirname(spec.out)}" in built or spec.name == PROTOS
        ]

    def _workspace(self) -> Workspace:
        """The checked workspace; from a compiled copy while its TOML files and the code that reads them are unchanged."""
        judge = self.judge()
        path = os.path.join(state.open_state().folder, "workspace.compiled")
        code = _digest(judge.closure.digests("tzrec_build.graph.workspace"))
        try:
            with open(path, "rb") as file:
                made_by, files, data = file.read().split(b"\n", 2)
            if made_by == code:  # before anything is read that other code may have written
                workspace = compiled.loads(data)
                if files == _files(judge, workspace) and compiled.still_holds(workspace, self.root, os.environ):
                    return workspace
        except (OSError, ValueError, CorruptError):
            pass  # none yet, or damaged: the files are the truth
        from tzrec_build.graph.workspace import load_workspace

        workspace = load_workspace(self.root)
        write_bytes(path, b"\n".join((code, _files(judge, workspace), compiled.dumps(workspace))))
        return workspace

    def _facts(self, pipeline: PipelineSpec, edits: Mapping[str, object]) -> Mapping[str, Any]:
        """Facts of a pipeline's config, kept under the digest of its text, its edits and the code that reads it."""
        if pipeline.config is None:
            raise RuntimeError("bug: facts are asked of a pipeline without [config]")
        path = os.path.normpath(os.path.join(pipeline.folder, pipeline.config.path))
        judge = self.judge()
        xxh = judge.digests.xxh(path)
        if xxh is None:
            shown = os.path.relpath(path, self.root)
            raise BuildError(
                f"{pipeline.source}: [config] path: no such file {shown}; put it there or correct the path"
            )
        code = judge.closure.digests("tzrec_build.config.facts")
        key = f"facts {xxh.hex()} {sorted(edits.items())} {sorted(code.items())}"
        facts = state.open_state().facts(key)
        if facts is None:
            from tzrec_build.config.facts import config_facts

            facts = config_facts(path, edits)
            state.open_state().set_facts(key, facts)
        return facts

    def _task(self, spec: TaskSpec, fresh: Fresh, verb: str, name: str) -> dict[str, Any]:
        task: dict[str, Any] = {
            "basename": verb,
            "doc": spec.doc,
            "actions": [Make(self.workshop, spec)],
            "task_dep": list(spec.task_deps),
            "file_dep": [self._shown(spec, path) for entry in spec.inputs for path in entry.paths],
            "targets": [self._shown(spec, spec.out)],
            "uptodate": [fresh],
            "clean": [Clean(spec)],
            "meta": {"folder": os.path.relpath(spec.folder, self.root)},
        }
        if name:
            task["name"] = name
        return task

    def _shown(self, spec: TaskSpec, path: str) -> str:
        return os.path.normpath(os.path.join(spec.folder, path)).removeprefix(self.root + "/")


def _files(judge: Judge, workspace: Workspace) -> bytes:
    return _digest([(judge.digests.xxh(path) or b"").hex() for path in workspace.files])


def _digest(value: object) -> bytes:
    return hashlib.sha256(repr(value).encode()).hexdigest().encode()


class Clean:
    """``doit clean``: removes the artifact folder as a whole."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self.__name__ = "clean"

    def __call__(self, dryrun: bool) -> None:  # noqa: FBT001 - doit passes it by name
        """Remove it, or only say so."""
        folder = os.path.join(self._spec.folder, self._spec.out)
        if os.path.isdir(folder):
            print(f"{self._spec.name} - removing {os.path.relpath(folder)}/")
            if not dryrun:
                shutil.rmtree(folder)
                publish.drop_work(self._spec, publish.work_folder(self._spec, "any"), purge=True)


def _protos(root: str) -> TaskSpec:
    """The generated code of protos/, made by the set-up too; as a task it follows an edit of a .proto."""
    return TaskSpec(
        name=PROTOS,
        doc="compile protos/ into tzrec_build/protos/",
        folder=root,
        out="tzrec_build/protos",
        argv=(
            "python",
            "-m",
            "tzrec_build.tools.compile_protos",
            "--source_dir",
            "{inputs.protos}",
            "--output_dir",
            "{out}",
        ),
        module="tzrec_build.tools.compile_protos",
        inputs=(Input("protos", ("protos",)),),
        outputs=(("code", "tzrec"),),
        packages=("grpcio-tools", "protobuf"),
    )
