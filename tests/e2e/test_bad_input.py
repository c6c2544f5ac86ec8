"""Bad input through plain doit: one clear message with place and remedy, exit code not 0, nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.project import Done, Project
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.testing.data_makers import write_data

CONFIG = Path(__file__).parents[1] / "configs" / "deepfm_criteo.config"
PIPELINE = '[config]\npath = "x.config"\n[data]\ntrain = "train.parquet"\neval = "eval.parquet"\n'


@pytest.fixture
def small(project) -> Project:
    """A pipeline with a real config and a small table."""
    project.write("small/pipeline.toml", PIPELINE)
    project.write("small/x.config", CONFIG.read_text())
    write_data(load_pipeline_config(CONFIG), project.path("small"), rows=512, eval_rows=64)
    return project


def refused(done: Done, *texts: str) -> None:
    assert done.code != 0
    for text in texts:
        assert text in done.out
    assert "Traceback" not in done.out


def built(project: Project) -> set[str]:
    folder = project.path("small/build")
    return {name for name in os.listdir(folder) if name != ".work"} if folder.exists() else set()


def test_wrong_key_in_pipeline_toml(small):
    small.write("small/pipeline.toml", PIPELINE.replace("[data]", "[select]\ntopkk = 3\n[data]"))
    refused(small.doit(), "workspace/small/pipeline.toml:4", "'topkk'", "did you mean 'topk'?")
    assert built(small) == set()


def test_broken_toml(small):
    small.write("small/pipeline.toml", PIPELINE + "[train\n")
    refused(small.doit(), "workspace/small/pipeline.toml:6")


def test_unknown_config_field(small):
    text = CONFIG.read_text()
    line = text[: text.index("batch_size")].count("\n") + 1
    small.write("small/x.config", text.replace("batch_size", "batch_sise", 1))
    refused(small.doit(), f"x.config:{line}", "batch_sise", "did you mean 'batch_size'")
    assert built(small) == set()


def test_a_part_that_is_not_built_yet(small):
    text = CONFIG.read_text().replace("train_config {", "train_config {\n  delta_embedding_dump_config {}", 1)
    line = text[: text.index("delta_embedding")].count("\n") + 1
    small.write("small/x.config", text)
    refused(small.doit(), f"not supported yet: train_config.delta_embedding_dump_config in x.config:{line}")
    assert built(small) == set()


def test_missing_config(small):
    small.path("small/x.config").unlink()
    refused(small.doit(), "workspace/small/pipeline.toml: [config] path: no such file workspace/small/x.config")


def test_missing_data_file(small):
    small.path("small/train.parquet").unlink()
    refused(
        small.doit("train:small"),
        "train:small: input train_input_path: nothing at train.parquet (named in workspace/small/pipeline.toml)",
    )
    assert "train" not in built(small)


def test_corrupt_parquet(small):
    path = small.path("small/train.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    refused(small.doit("train:small"), "train.parquet")
    assert "train" not in built(small)


def test_label_column_absent(small):
    path = small.path("small/train.parquet")
    table = pq.read_table(path)
    (label,) = load_pipeline_config(CONFIG).data_config.label_fields
    pq.write_table(table.drop_columns([label]), path)
    refused(small.doit("train:small"), "train.parquet", f"'{label}'")
    assert "train" not in built(small)
