"""From a checkout to doit: tasks, DOIT_CONFIG, and the few objects that all tasks share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import doit
from doit.exceptions import InvalidTask

import tzrec_build
from tzrec_build.config.variables import check_variables
from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.graph import compiled, reporter, state
from tzrec_build.graph.compiled import Compiled
from tzrec_build.graph.doit_task import BuildTask, NoChecker, Tasks, group_task
from tzrec_build.graph.fresh import Fresh, Judge
from tzrec_build.graph.rows import Specs
from tzrec_build.graph.state_folder import state_folder

if TYPE_CHECKING:
    from tzrec_build.graph.action import Workshop

CODE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tzrec_build.__file__)))
_GROUP_DOCS = {
    "step": "the users' own steps ([step.NAME])",
    "pipeline": "pipelines that are wrong: their tasks are not known",
}
_force: list[bool] = []


def cache_switch() -> str:
    """The file that switches the cache off while it is there (``doit cache off``)."""
    return os.path.join(state.open_state().folder, "cache.off")


def force() -> None:
    """Note that ``doit -a`` asked to run whatever record and cache say; called by our `run` command."""
    _force.append(True)


class Graph:
    """The task graph of one checkout; loads nothing until doit asks.

    Args:
        root: the folder of dodo.py, with ``workspace/`` in it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._found: Compiled | None = None
        self._error: BuildError | None = None
        self._judge: Judge | None = None
        self._workshop: Workshop | None = None
        state.use_folder(state_folder(root))

    def config(self) -> dict[str, Any]:
        """DOIT_CONFIG: our backend, reporter and checker, threads, and what bare ``doit`` builds."""
        gc.disable()  # the objects of a graph live to the end: looking for garbage among them costs a no-op 15 ms of 150
        found = self._load()
        return {
            "backend": "tzrec",
            "reporter": "tzrec",
            "check_file_uptodate": NoChecker,
            "par_type": "thread",
            "num_process": len(os.sched_getaffinity(0)),
            "default_tasks": list(found.defaults) if found else [],
            "max_cost": found.settings["max_cost_s"] if found else 0.0,
            "verbosity": 0,
        }

    def tasks(self) -> Iterator[Any]:
        """Every task and group as doit wants them.

        Raises:
            InvalidTask: the workspace is wrong; the text says where and what to do.
        """
        found = self._load()
        if found is None:
            raise InvalidTask(str(self._error))
        specs = Specs(found.rows)
        reporter.know(specs)
        shared = Tasks(specs, self.workshop)
        judge = self.judge()
        built = [BuildTask(row, Fresh(judge, row), shared) for row in found.rows]
        groups: dict[str, list[BuildTask]] = {}
        for task in built:
            if task.subtask_of:
                groups.setdefault(task.subtask_of, []).append(task)
        for task in built:
            verb = task.subtask_of
            if verb is not None and verb in groups:
                members = groups.pop(verb)
                yield group_task(
                    verb, _GROUP_DOCS.get(verb, task.doc), [(one.name, one.uptodate[0][0]) for one in members]
                )
            yield task

    def judge(self) -> Judge:
        """The judge of this process."""
        if self._judge is None:
            site_packages = os.path.dirname(os.path.dirname(os.path.abspath(doit.__file__)))
            self._judge = Judge(state.open_state(), CODE_ROOT, site_packages, self.root)
        return self._judge

    def workshop(self) -> Workshop:
        """What the actions of this process share."""
        if self._workshop is None:
            gc.freeze()
            gc.enable()
            from tzrec_build.graph.action import Workshop
            from tzrec_build.graph.frozen import FrozenCode
            from tzrec_build.graph.slots import Slots
            from tzrec_build.store.action_cache import ActionCache

            cache = ActionCache.open(os.environ, cache_switch())
            folder = self.judge().state.folder
            self._workshop = Workshop(
                self.judge(),
                cache,
                reporter.screen(),
                CODE_ROOT,
                bool(_force),
                Slots(os.path.join(folder, "slots"), dict(self._found.settings["resources"] if self._found else ())),
                FrozenCode(os.path.join(folder, "code"), CODE_ROOT, self.judge().digests),
            )
        return self._workshop

    def _load(self) -> Compiled | None:
        """The compiled tasks, or None and `_error`."""
        if self._found is None and self._error is None:
            try:
                check_variables(os.environ)
                self._found = self._compiled()
            except BuildError as err:
                self._error = err
            except OSError as err:
                self._error = BuildError(f"{err.filename}: {err.strerror}; check disk space and permissions")
        return self._found

    def _compiled(self) -> Compiled:
        """From the file of compiled tasks while all that they were made from is unchanged; else compiled anew."""
        judge = self.judge()
        path = os.path.join(judge.state.folder, "workspace.compiled")
        try:
            with open(path, "rb") as file:
                found = compiled.loads(file.read())
            same = all((judge.digests.xxh(name) or b"") == xxh for name, xxh in found.seen.files)
            if same and compiled.still_holds(found.seen, self.root, os.environ):
                return found
        except (OSError, ValueError, CorruptError):
            pass  # none yet, or damaged: the files are the truth
        from tzrec_build.files import write_bytes
        from tzrec_build.graph.loading import Loader

        found = Loader(judge, self.root, CODE_ROOT).load()
        if not any(row.error for row in found.rows):
            write_bytes(path, compiled.dumps(found))
        return found
