"""What each tool imports and reads of our package, seen by an audit hook, lies in the closure that its key is taken from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.pages import ROOT
from tests.e2e.project import Project
from tests.e2e.stand_in import PIPELINES, write_project
from tzrec_build.config.easyrec.facts import EasyRecFiles, easyrec_facts
from tzrec_build.config.facts import config_facts
from tzrec_build.graph.action import expand_argv
from tzrec_build.graph.closure import Closure
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.rules import RULES
from tzrec_build.graph.state import State
from tzrec_build.graph.workspace import load_workspace

MORE = {
    "movielens_rank": '[predict.all]\ninput = "movielens:tables/rank_eval.parquet"\n[export]\n[benchmark]\nruns = 1\n',
    "movielens_match": "",
}
OLD = '[config]\neasyrec = "easyrec.config"\nfeature_info = "info.csv"\n'  # only its tasks on configs are run
OLD_TASKS = {"convert:old", "config:old", "feature_info:old"}
BYTECODE = re.compile(r"__pycache__/([^/]+?)\.cpython-\d+(?:\.opt-\d)?\.pyc(?:\.\d+)?$")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A project with every kind of task, none of them built."""
    project = Project(tmp_path_factory.mktemp("closures") / "project", "off")
    write_project(project)
    shutil.copytree(project.path("movielens/made"), project.path("movielens/build/tables"))
    for name, text in MORE.items():
        project.write(f"{name}/pipeline.toml", PIPELINES[name] + text)
    project.write("old/pipeline.toml", OLD)
    shutil.copy(project.path("movielens_rank/easyrec.config"), project.path("old"))
    project.write("old/info.csv", 'feature,feature_info\nuser_id,"{""embedding_dim"": 8}"\n')
    return project


@pytest.fixture(scope="module")
def opened(project) -> dict[str, tuple[str, set[str]]]:
    """Task -> its tool and the files of the package that it opened; the tasks run in their order, for real."""
    server = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "tests/e2e/audited_tools.py"), str(ROOT)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    found = {}
    for spec in specs(project):
        if spec.module:
            Path(spec.folder, spec.out).mkdir(parents=True, exist_ok=True)
            request = {"cwd": spec.folder, "module": spec.module, "argv": expand_argv(spec, spec.out)[4:]}
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
            assert answer["code"] == 0, f"{spec.name}: {answer['out']}"
            found[spec.name] = (spec.module, {source(path) for path in answer["opened"]})
    server.kill()
    server.communicate()
    return found


def specs(project):
    def facts(pipeline, edits):
        if pipeline.config.easyrec:
            return easyrec_facts(EasyRecFiles(pipeline.folder, pipeline.config.easyrec), edits)
        return config_facts(f"{pipeline.folder}/{pipeline.config.path}", edits)

    compiled = compile_workspace(load_workspace(str(project.root)), facts)
    assert not compiled.broken
    return [spec for spec in compiled.specs if not spec.name.endswith(":old") or spec.name in OLD_TASKS]


def source(path):
    return BYTECODE.sub(r"\1.py", path)


def counts(path):
    """Whether a file of ours must be in the closure: a package's empty init file says nothing, and protos come by the config."""
    if not path.startswith("tzrec_build/") or path.startswith("tzrec_build/protos/"):
        return False
    return (ROOT / path).is_file() and (ROOT / path).stat().st_size > 0


def test_every_tool_of_the_rules_ran(opened):
    assert {module.rpartition(".")[2] for module, _ in opened.values()} == {rule.tool for rule in RULES}


def test_what_a_tool_opened_lies_in_its_closure(project, opened, tmp_path):
    state = State(str(tmp_path))
    closure = Closure(state, Digests(state), str(ROOT))
    missing = {
        spec.name: sorted(filter(counts, opened[spec.name][1] - set(closure.of(spec))))
        for spec in specs(project)
        if spec.module
    }
    assert {task: files for task, files in missing.items() if files} == {}
    assert all(any(map(counts, files)) for _, files in opened.values())  # the hook saw something of each
