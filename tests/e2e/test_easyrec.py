"""An EasyRec config on its way: converted, edited, sized by a table, trained, exported, all by plain doit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.testing.data_makers import write_data

CONFIG = Path(__file__).parents[1] / "configs" / "easyrec" / "deepfm.config"
PIPELINE = """
[config]
easyrec = "old.config"
feature_info = "info.csv"
[config.edit]
"data_config.batch_size" = 128
"train_config.num_steps" = 6
"train_config.sparse_optimizer" = "adagrad_optimizer { lr: 0.01 } constant_learning_rate {}"
[data]
train = "data/train.parquet"
eval = "data/eval.parquet"
[export]
"""
INFO = "feature,feature_info,message\n" + 'user_item,"{""hash_bucket_size"": 3000}",\n'
TRAINED = {"train:old", "pick:old", "evaluate:old", "export:old", "page:old"}
FINAL = {"final_config:old", "fg:old", *TRAINED}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Project:
    """One pipeline on an EasyRec config, built."""
    project = Project(tmp_path_factory.mktemp("easyrec") / "project", str(tmp_path_factory.mktemp("easyrec-cache")))
    project.write("old/pipeline.toml", PIPELINE)
    project.write("old/old.config", CONFIG.read_text())
    project.write("old/info.csv", INFO)
    done = project.doit("config:old")
    assert done.ran == {"convert:old", "config:old"}, done.out
    write_data(
        load_pipeline_config(project.path("old/build/config/pipeline.config")),
        project.path("old/data"),
        rows=1024,
        eval_rows=512,
    )
    done = project.doit()
    assert done.code == 0, done.out
    assert done.ran == {"feature_info:old"} | FINAL
    return project


@pytest.fixture
def edited(built, tmp_path) -> Project:
    """A copy of it that a test may change; nothing comes from a cache."""
    shutil.copytree(built.root, tmp_path / "project", symlinks=True)
    shutil.rmtree(tmp_path / "project/workspace/.state")
    copy = Project(tmp_path / "project", built.cache)
    restored = copy.doit()  # the artifacts are the same bytes in any folder: nothing in them tells where they were made
    assert (restored.code, restored.ran) == (0, set()), restored.out
    copy.cache = "off"
    return copy


def replace(project: Project, path: str, old: str, new: str) -> None:
    text = project.path(path).read_text()
    assert old in text
    project.write(path, text.replace(old, new))


def test_the_receipt_lies_beside_the_converted_config(built):
    folder = built.path("old/build/convert")
    assert {path.name for path in folder.iterdir()} == {
        *("pipeline.config", "conversion_report.json", "conversion_report.txt", "records")
    }
    report = json.loads((folder / "conversion_report.json").read_text())
    assert (report["source"], report["refused"]) == ("old.config", [])
    table = (folder / "conversion_report.txt").read_text()
    assert table.startswith(f"{report['counts']['kept']} kept, {report['counts']['mapped']} mapped, ")
    assert "model_config.deepfm.l2_regularization = 1e-05: TorchEasyRec has no such penalty" in table


def test_what_is_trained_has_the_edits_and_the_sizes_of_the_table(built):
    config = load_pipeline_config(built.path("old/build/final_config/pipeline.config"))
    assert (config.data_config.batch_size, config.train_config.num_steps) == (128, 6)
    assert config.feature_configs[4].combo_feature.hash_bucket_size == 3000
    assert built.path("old/build/train/model.ckpt-5").is_dir()
    report = json.loads(built.path("old/build/feature_info/feature_info_report.json").read_text())
    assert report["updated"] == ["user_item"]
    assert report["unmatched_features"] == ["user_id", "item_id", "tags", "price"]


def test_the_model_is_exported_with_its_fg_json(built):
    names = {path.name for path in built.path("old/build/export").iterdir()}
    assert {"scripted_model.pt", "fg.json", "pipeline.config"} <= names


def test_a_comment_in_the_easyrec_config_reruns_the_conversion_alone(edited):
    replace(edited, "old/old.config", "train_config {", "# looked at on Monday\ntrain_config {")
    assert edited.doit().ran == {"convert:old"}
    assert edited.doit().ran == set()


def test_a_field_without_counterpart_changes_the_receipt_alone(edited):
    replace(edited, "old/old.config", "prefetch_size: 4", "prefetch_size: 8")
    assert edited.doit().ran == {"convert:old"}
    assert "prefetch_size = 8" in edited.path("old/build/convert/conversion_report.txt").read_text()


def test_a_layer_of_the_easyrec_config_trains_again(edited):
    why = edited.doit("why", "train:old")
    assert why.out.startswith("= train:old")
    replace(edited, "old/old.config", "hidden_units: [64, 32]", "hidden_units: [32, 32]")
    why = edited.doit("why", "train:old")
    assert re.search(r"config model_config\.deepfm\.deep\.hidden_units: .*64.* → .*32", why.out), why.out
    done = edited.doit()
    assert done.ran == {"convert:old", "config:old", "feature_info:old", "final_config:old", *TRAINED}, done.out


def test_the_table_reruns_what_it_changes(edited):
    edited.write("old/info.csv", INFO + 'nobody,"{""embedding_dim"": 8}",\n')
    assert edited.doit().ran == {"feature_info:old"}  # a row without a feature: the report alone is another
    edited.write("old/info.csv", INFO.replace("3000", "4000"))
    assert edited.doit("final_config:old").ran == {"feature_info:old", "final_config:old"}
    stale = re.findall(r"^\+ (\S+)  will be built", edited.doit("why", "old").out, re.MULTILINE)
    assert set(stale) == {"fg:old", "train:old"}  # the others come after a training whose result nobody foresees


def test_without_the_table_the_config_is_trained_as_it_was_converted(edited):
    replace(edited, "old/pipeline.toml", 'feature_info = "info.csv"\n', "")
    assert edited.doit("final_config:old", "fg:old").ran == {"final_config:old", "fg:old"}
    config = load_pipeline_config(edited.path("old/build/final_config/pipeline.config"))
    assert config.feature_configs[4].combo_feature.hash_bucket_size == 10000


def test_what_has_no_counterpart_is_named_and_costs_that_pipeline_alone(edited):
    edited.write("other/pipeline.toml", '[step.note]\ncommand = ["touch", "{out}/x"]\noutputs = { x = "x" }\n')
    replace(edited, "old/old.config", 'model_class: "DeepFM"', 'model_class: "AutoInt"')
    done = edited.doit("run", "-c")
    assert done.code != 0
    assert "model_class 'AutoInt' has no counterpart" in done.out
    assert "Traceback" not in done.out
    assert done.ran == {"step:other:note"}


def test_the_picture_shows_the_conversion_and_the_table(built, tmp_path):
    done = built.doit("graph", "-o", str(tmp_path / "graph.svg"), "old")
    assert done.code == 0, done.out
    picture = (tmp_path / "graph.svg").read_text()
    assert [verb for verb in ("convert", "config", "feature_info", "final_config") if verb not in picture] == []
