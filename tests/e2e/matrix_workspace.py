"""The workspace of the rebuild matrix: three pipelines with every kind of task, in a checkout of their own.

The checkout holds a copy of the package, so that an edit may be one of our own code, and a copy of the list of installed packages,
so that it may be one of a version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.pages import ROOT
from tests.e2e.project import Done, Project
from tests.tiny_pipeline import write_rows

DODO = """
import os
from tzrec_build.graph.tasks import Graph

graph = Graph(os.path.dirname(os.path.realpath(__file__)))
DOIT_CONFIG = graph.config()


def task_build():
    yield from graph.tasks()
"""

FEATURES = """
feature_configs { id_feature { feature_name: "user" num_buckets: 30 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "tags" num_buckets: 12 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "item" num_buckets: 40 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "cat" expression: "user:cat" vocab_file: "vocab.txt" default_bucketize_value: 0 embedding_dim: 4 } }
feature_configs { raw_feature { feature_name: "price" } }
"""
TRAIN = """
model_dir: "unused"
train_config {
  sparse_optimizer { adagrad_optimizer { lr: 0.1 } }
  dense_optimizer { adam_optimizer { lr: 0.01 } }
  num_epochs: 1
}
"""
RANK = (
    TRAIN
    + """
data_config { batch_size: 50 dataset_type: ParquetDataset fg_mode: FG_DAG label_fields: "clk" }
"""
    + FEATURES.replace('feature_name: "user"', 'feature_name: "user" expression: "user:user"')
    .replace('feature_name: "tags"', 'feature_name: "tags" expression: "item:tags"')
    .replace('feature_name: "item"', 'feature_name: "item" expression: "item:item"')
    .replace('feature_name: "price"', 'feature_name: "price" expression: "item:price"')
    + """
model_config {
  feature_groups { group_name: "all" feature_names: ["user", "tags", "item", "cat", "price"] group_type: DEEP }
  multi_tower { towers { input: "all" mlp { hidden_units: [8] } } final { hidden_units: [4] } }
  losses { binary_cross_entropy {} }
  metrics { auc {} }
}
export_config { exporter_type: "latest" }
"""
)
MATCH = (
    TRAIN
    + """
data_config {
  batch_size: 50 dataset_type: ParquetDataset fg_mode: FG_NONE label_fields: "clk"
  negative_sampler {
    input_path: "items.txt" num_sample: 4 attr_fields: "item" attr_fields: "price" item_id_field: "item"
  }
}
feature_configs { id_feature { feature_name: "user" num_buckets: 31 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "tags" num_buckets: 12 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "item" num_buckets: 40 embedding_dim: 4 } }
feature_configs { raw_feature { feature_name: "price" } }
model_config {
  feature_groups { group_name: "user" feature_names: ["user", "tags"] group_type: DEEP }
  feature_groups { group_name: "item" feature_names: ["item", "price"] group_type: DEEP }
  dssm {
    user_tower { input: "user" mlp { hidden_units: [8] } }
    item_tower { input: "item" mlp { hidden_units: [8] } }
    output_dim: 4
  }
  losses { softmax_cross_entropy {} }
  metrics { recall_at_k { top_k: 5 } }
}
"""
)
DEEPFM = """
model_config {
  feature_groups { group_name: "wide" feature_names: ["user", "tags", "item"] group_type: WIDE }
  feature_groups { group_name: "fm" feature_names: ["user", "tags", "item"] group_type: DEEP }
  feature_groups { group_name: "deep" feature_names: ["user", "tags", "item", "price"] group_type: DEEP }
  deepfm { deep { hidden_units: [8] } }
  losses { binary_cross_entropy {} }
  metrics { auc {} }
}
"""
DAILY = (
    TRAIN
    + """
data_config { batch_size: 50 dataset_type: ParquetDataset fg_mode: FG_NONE label_fields: "clk" }
feature_configs { id_feature { feature_name: "user" num_buckets: 30 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "tags" num_buckets: 12 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "item" num_buckets: 40 embedding_dim: 4 } }
feature_configs { raw_feature { feature_name: "price" } }
"""
    + DEEPFM
)

SHOP_TOML = """
[config]
path = "rank.config"
[data]
train = "shop:tables/train.parquet"
eval = "eval.parquet"
[train]
seed = 7
[select]
topk = 3
[eval.late]
data = "late.parquet"
[predict.all]
input = "eval.parquet"
reserved = ["user"]
[fg]
reserves = ["clk"]
[export]
[benchmark]
runs = 1
baseline = "baseline.json"
[step.tables]
command = ["python", "tables.py", "{params.which}", "{outputs.train}", "{inputs.raw}"]
inputs = { raw = "raw/*.parquet", script = "tables.py" }
outputs = { train = "train.parquet" }
params = { which = 0 }
env = ["MATRIX_REGION"]
"""
TABLES_PY = """import shutil
import sys

import choice

shutil.copyfile(sys.argv[3 + choice.number(sys.argv[1])], sys.argv[2])
"""
CHOICE_PY = '''"""Which of the raw files is taken."""


def number(text):
    """The number in a parameter."""
    return int(text)
'''
MATCH_TOML = """
[config]
path = "match.config"
[data]
train = "shop:tables/train.parquet"
eval = "../shop/eval.parquet"
[pick]
by = "step"
step = 8
[index]
items = "items.parquet"
id_field = "item"
type = "HNSWFlatIP"
[hitrate]
users = "users.parquet"
top_k = 5
"""
OWN_MODEL_PY = '''"""A model of the user's own."""

from tzrec_build.models.deepfm import DeepFM


class OwnModel(DeepFM):
    """DeepFM by another name."""
'''
DAILY_TOML = """
[each]
ds = "20260101..20260103"
[config]
path = "daily.config"
model = "own_model.py:OwnModel"
[data]
train = "../data/ds={ds}/*.parquet"
eval = "../shop/eval.parquet"
[train]
init_from = "train[ds-1]"
"""


def make_matrix(folder: Path, *, real: bool = False) -> Project:
    """Write the checkout into an empty folder; with `real`, the tools are our own and not stand-ins."""
    project = Project(folder, str(folder / "cache"))
    (folder / "dodo.py").write_text(DODO)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tzrec_build", folder / "tzrec_build", ignore=ignore)
    shutil.copytree(ROOT / "protos", folder / "protos", ignore=ignore)
    if not real:
        shutil.copy(ROOT / "tests" / "e2e" / "stand_in_entry.py", folder / "tzrec_build" / "tools" / "entry.py")
    _copy_package_list(folder / "installed")
    _write_shop(project)
    _write_match(project)
    project.write("daily/pipeline.toml", DAILY_TOML)
    project.write("daily/daily.config", DAILY)
    project.write("daily/own_model.py", OWN_MODEL_PY)
    for seed, day in enumerate(("20260101", "20260102", "20260103")):
        write_rows(project.write(f"data/ds={day}/part-0.parquet", ""), rows=100, seed=seed)
    return project


def _copy_package_list(folder: Path) -> None:
    """The package list is read where doit lies: give it a folder of its own, with links."""
    folder.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    (folder / "doit").symlink_to(installed / "doit")
    for entry in installed.glob("*.dist-info"):
        if not entry.name.startswith(("tzrec_build", "doit")):
            (folder / entry.name).symlink_to(entry)


def _write_shop(project: Project) -> None:
    texts = {
        "pipeline.toml": SHOP_TOML,
        "rank.config": RANK,
        "tables.py": TABLES_PY,
        "choice.py": CHOICE_PY,
        "vocab.txt": "a\nb\nc\n",
        "baseline.json": '{"baselines": {"popularity": {"auc": 0.5}}, "threshold": 0.0}\n',
    }
    for name, text in texts.items():
        project.write(f"shop/{name}", text)
    for seed, name in enumerate(("raw/a", "raw/b", "eval", "late")):
        write_table(project.write(f"shop/{name}.parquet", ""), seed)


def _write_match(project: Project) -> None:
    project.write("match/pipeline.toml", MATCH_TOML)
    project.write("match/match.config", MATCH)
    rows = "".join(f"{i}\t1.0\t{i}:0.5\n" for i in range(40))
    project.write("match/items.txt", "id:int64\tweight:float\tattrs:string\n" + rows)
    items = pa.table({"item": pa.array(range(40)), "price": pa.array([0.5] * 40, pa.float32())})
    pq.write_table(items, project.path("match/items.parquet"))
    users = pa.table(
        {
            "request_id": pa.array(range(6)),
            "user": pa.array(range(6)),
            "tags": pa.array([[1, 2]] * 6),
            "gt_items": pa.array([[i, i + 1] for i in range(6)]),
        }
    )
    pq.write_table(users, project.path("match/users.parquet"))


def write_table(path: Path, seed: int, rows: int = 100) -> None:
    """A table of the rank pipeline: the tiny one and a column with the vocabulary's words."""
    write_rows(path, rows=rows, seed=seed)
    table = pq.read_table(path)
    words = pa.array(["abc"[i % 3] for i in range(len(table))])
    pq.write_table(table.append_column("cat", words), path)


def copy_matrix(project: Project, folder: Path) -> Project:
    """The same checkout in another folder, built state and cache included."""
    subprocess.run(["cp", "-a", str(project.root), str(folder)], check=True)
    copy = Project.__new__(Project)
    copy.root, copy.cache = folder, str(folder / "cache") if project.cache != "off" else "off"
    return copy


def build(project: Project, *args: str, cwd: Path | None = None, **env: str) -> Done:
    """Run doit with the checkout's own package and package list."""
    path = os.pathsep.join((str(project.root), str(project.root / "installed")))
    return project.doit(*(args or ("run",)), cwd=cwd, PYTHONPATH=path, **env)


if __name__ == "__main__":  # a look at it by hand: python -m tests.e2e.matrix_workspace FOLDER [real]
    made = make_matrix(Path(sys.argv[1]), real="real" in sys.argv)
    print(build(made).out)
