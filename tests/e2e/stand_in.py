"""A small project with the names of the demo: same pipelines, tables and columns that the documentation mentions, made-up rows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.e2e.pages import ROOT
from tests.e2e.project import Done, Project
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.testing.data_makers import write_data

CONFIGS = ROOT / "tests" / "configs"
NAMES = {"adgroup_id": "item_id", '"clk"': '"like"'}  # columns as the demo calls them
TABLES = {
    "movielens_rank": {"train": "rank_train.parquet", "eval": "rank_eval.parquet"},
    "movielens_match": {"train": "match_train.parquet", "eval": "match_eval.parquet", "items.txt": "negatives.txt"},
}
SHAPES = {"movielens_rank": ("rank", "multi_tower_taobao"), "movielens_match": ("match", "dssm_taobao")}
MADE = [name for names in TABLES.values() for name in names.values()] + ["items.parquet", "hitrate_users.parquet"]
STEPS = """
[step.fetch]
command = ["cp", "{inputs.raw}", "{outputs.raw}"]
inputs = { raw = "raw.inter" }
outputs = { raw = "ml-100k.inter" }
[step.tables]
command = ["cp", "{inputs.made}", "{out}"]
inputs = { made = "made/*", raw = "movielens:fetch/ml-100k.inter" }
outputs = { OUTPUTS }
"""
PIPELINES = {
    "movielens_rank": """
[config]
path = "rank.config"
[data]
train = "movielens:tables/rank_train.parquet"
eval = "movielens:tables/rank_eval.parquet"
[select]
topk = 5
""",
    "movielens_match": """
[config]
path = "match.config"
[config.edit]
"data_config.negative_sampler.input_path" = "movielens:tables/negatives.txt"
[data]
train = "movielens:tables/match_train.parquet"
eval = "movielens:tables/match_eval.parquet"
[index]
items = "movielens:tables/items.parquet"
id_field = "item_id"
type = "HNSWFlatIP"
[hitrate]
users = "movielens:tables/hitrate_users.parquet"
top_k = 50
""",
}


def retrieval_tables(folder: Path) -> None:
    """Write each item once, and users with one liked item, from the evaluation table."""
    table = pq.read_table(folder / "match_eval.parquet")
    row = pa.array(range(len(table)))
    first = pa.table({"id": table["item_id"], "row": row}).group_by("id").aggregate([("row", "min")])
    pq.write_table(table.take(first["row_min"].combine_chunks()), folder / "items.parquet")
    users = table.slice(0, 50)
    liked = pc.cast(users["item_id"].combine_chunks(), pa.int64())
    lists = pa.ListArray.from_arrays(pa.array(range(51), pa.int32()), liked)
    users = users.append_column("request_id", pa.array(range(50))).append_column("gt_items", lists)
    pq.write_table(users, folder / "hitrate_users.parquet")


def write_project(project: Project) -> None:
    """Write pipelines, configs and tables."""
    made = project.path("movielens/made")
    made.mkdir(parents=True)
    for pipeline, (config_name, shape) in SHAPES.items():
        text = (CONFIGS / f"{shape}.config").read_text()
        for old, new in NAMES.items():
            text = text.replace(old, new)
        config = load_pipeline_config(project.write(f"{pipeline}/{config_name}.config", text))
        write_data(config, project.path(pipeline), rows=512, eval_rows=256)
        for name, target in TABLES[pipeline].items():
            source = name if "." in name else f"{name}.parquet"
            project.path(f"{pipeline}/{source}").rename(made / target)
        project.write(f"{pipeline}/pipeline.toml", PIPELINES[pipeline])
    project.write("movielens_rank/easyrec.config", (CONFIGS / "easyrec" / "deepfm.config").read_text())
    retrieval_tables(made)
    outputs = ", ".join(f'{name.replace(".", "_")} = "{name}"' for name in MADE)
    project.write("movielens/raw.inter", "user_id:token\titem_id:token\n")
    project.write("movielens/pipeline.toml", STEPS.replace("OUTPUTS", outputs))


class Shell:
    """Runs the lines of console blocks in a project, `tzrec-build` ones through the tool server."""

    def __init__(self, project: Project, programs: Path) -> None:
        self.project = project
        programs.mkdir()
        for name, module in {"doit": "doit", "tzrec-build": "tzrec_build.cli"}.items():
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
            script.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self._env = {**project.env(), "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.tool_server"],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the tool server; it has nothing to save, and torch's own end takes seconds."""
        self._server.kill()
        self._server.communicate()

    def run(self, line: str, cwd: Path) -> Done:
        """Run one line in a folder of the project."""
        if line.startswith("tzrec-build ") and not set("|;&<>$`") & set(line):
            return self._ask(shlex.split(line, comments=True)[1:], cwd)
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)

    def _ask(self, argv: list[str], cwd: Path) -> Done:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"cwd": str(cwd), "argv": argv}) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return Done(answer["code"], answer["out"])
