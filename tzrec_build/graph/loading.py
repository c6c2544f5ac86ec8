"""From the files of a workspace to compiled tasks: what runs when a TOML file, a config or our own code has changed."""

from __future__ import annotations

import os
from dataclasses import replace

from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.compiled import Compiled, Seen
from tzrec_build.graph.config_facts import ConfigFacts
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.grammar import Workspace
from tzrec_build.graph.rows import Row, make_rows
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.workspace import load_right_pipelines

PROTOS = "protos"
BROKEN = "pipeline"  # verb of the task that stands for a pipeline which is wrong
READER = "tzrec_build.graph.loading"  # its code closure is all that compiled tasks follow from


class Loader:
    """Loads and compiles one checkout.

    Args:
        judge: digests and state of this process.
        root: the checkout.
        code_root: the folder of our own code; the same in a clone, another one for a workspace elsewhere.
    """

    def __init__(self, judge: Judge, root: str, code_root: str) -> None:
        self._judge, self._root, self._code_root = judge, root, code_root
        self._facts = ConfigFacts(judge, root)

    def load(self) -> Compiled:
        """Compile the workspace.

        Raises:
            BuildError: workspace.toml is wrong, or every pipeline. One that is wrong becomes a task that fails.
        """
        workspace, wrong = load_right_pipelines(self._root)
        found = compile_workspace(workspace, self._facts.of)
        specs = list(found.specs)
        if self._root == self._code_root:  # every tool reads configs with the generated code
            specs = [
                _protos(self._root),
                *(replace(spec, task_deps=(PROTOS,)) if spec.module and not spec.task_deps else spec for spec in specs),
            ]
        rows = make_rows(specs, self._root)
        places = {pipeline.name: (pipeline.folder, pipeline.build_dir) for pipeline in workspace.pipelines}
        places |= {name: (f"{self._root}/workspace/{name}", "build") for name in wrong}
        rows += [self._broken(name, places[name], str(err)) for name, err in {**found.broken, **wrong}.items()]
        built = {pipeline.folder + "/" + pipeline.build_dir for pipeline in workspace.pipelines if pipeline.default}
        named = {*(pipeline.name for pipeline in workspace.pipelines if pipeline.default), *wrong}
        always = {PROTOS, *map(_task_name, named)}
        defaults = [row.name for row in rows if os.path.dirname(row.out) in built or row.name in always]
        settings = {"resources": workspace.resources, "max_cost_s": workspace.max_cost_s}
        return Compiled(self._seen(workspace), tuple(rows), tuple(defaults), settings)

    def _seen(self, workspace: Workspace) -> Seen:
        digests = self._judge.digests
        code = [f"{self._code_root}/{path}" for path in self._judge.closure.digests(READER)]
        files = {path: digests.xxh(path) or b"" for path in (*workspace.files, *code)}
        return Seen(
            self._root, workspace.files, tuple({**files, **self._facts.files}.items()), workspace.env, workspace.globs
        )

    def _broken(self, name: str, place: tuple[str, str], error: str) -> Row:
        folder, build_dir = place
        spec = TaskSpec(
            name=_task_name(name),
            doc="this pipeline is wrong: its tasks are not known",
            folder=folder,
            out=f"{build_dir}/.wrong",
            argv=("false",),
            module="",
            inputs=(),
        )
        return make_rows([spec], self._root)[0]._replace(error=error, group=-1)


def _task_name(pipeline: str) -> str:
    return f"{BROKEN}:{pipeline.replace('=', '@')}"  # doit takes an argument with "=" for a variable


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
        outputs=(("code", "tzrec"), ("easyrec", "easyrec")),
        packages=("grpcio-tools", "protobuf"),
    )
