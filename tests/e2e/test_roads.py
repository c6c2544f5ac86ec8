"""Configs that were not written for the demo, through every task on generated data, by plain doit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.e2e.project import Project
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.testing.data_makers import write_data

CONFIGS = Path(__file__).parents[1] / "configs"
TABLES = '[data]\ntrain = "data/train.parquet"\neval = "data/eval.parquet"\n'
ROADS = {
    "multi_tower_taobao": TABLES
    + """
[train]
seed = 5
[select]
topk = 5
[benchmark]
runs = 1
""",
    "deepfm_criteo": TABLES
    + """
[pick]
by = "best"
metric = "auc"
[predict.all]
input = "data/eval.parquet"
reserved = ["label"]
[export]
""",
    "dssm_taobao": TABLES
    + """
[config.edit]
"data_config.negative_sampler.input_path" = "data/items.txt"
[index]
items = "data/items.parquet"
id_field = "adgroup_id"
type = "HNSWFlatIP"
[hitrate]
users = "data/users.parquet"
top_k = 20
""",
}


def retrieval_tables(data: Path) -> None:
    """Items once each, and users with one clicked item, from the evaluation table."""
    table = pq.read_table(data / "eval.parquet")
    first = (
        pa.table({"id": table["adgroup_id"], "row": pa.array(range(len(table)))})
        .group_by("id")
        .aggregate([("row", "min")])
    )
    pq.write_table(table.take(first["row_min"].combine_chunks()), data / "items.parquet")
    users = table.slice(0, 50)
    ids = pc.cast(users["adgroup_id"].combine_chunks(), pa.int64())
    clicked = pa.ListArray.from_arrays(pa.array(range(51), pa.int32()), ids)
    users = users.append_column("request_id", pa.array(range(50))).append_column("gt_items", clicked)
    pq.write_table(users, data / "users.parquet")


@pytest.fixture(scope="module")
def roads(tmp_path_factory) -> Project:
    """The three roads, built once."""
    project = Project(tmp_path_factory.mktemp("roads") / "project", str(tmp_path_factory.mktemp("roads-cache")))
    for name, text in ROADS.items():
        config = CONFIGS / f"{name}.config"
        project.write(f"{name}/pipeline.toml", f'[config]\npath = "{name}.config"\n{text}')
        project.write(f"{name}/{name}.config", config.read_text())
        write_data(load_pipeline_config(config), project.path(f"{name}/data"), rows=4096, eval_rows=1024)
    retrieval_tables(project.path("dssm_taobao/data"))
    done = project.doit()
    assert done.code == 0, done.out
    assert done.counts["restored"] == 0
    return project


def result(project: Project, path: str) -> dict[str, float]:
    text = project.path(path).read_text()
    return json.loads(text.strip().splitlines()[-1] if path.endswith(".txt") else text)


@pytest.mark.parametrize("name", ["multi_tower_taobao", "deepfm_criteo"])
def test_a_ranking_model_learns(roads, name):
    assert result(roads, f"{name}/build/evaluate/eval_result.txt")["auc"] > 0.6


def test_a_retrieval_model_finds_more_than_chance(roads):
    found = result(roads, "dssm_taobao/build/hitrate/hitrate.json")
    items = pq.read_metadata(roads.path("dssm_taobao/data/items.parquet")).num_rows
    assert found["hitrate@20"] > 1.5 * 20 / items


def test_importance_ranks_the_features_and_prune_keeps_the_first(roads):
    build = roads.path("multi_tower_taobao/build")
    rows = (build / "importance/feature_dropout_ratio_user.csv").read_text().splitlines()
    assert rows[0] == "feature_name,mean_drop_p"
    best = [row.split(",")[0] for row in rows[1:6]]
    groups = load_pipeline_config(build / "prune/pipeline.config").model_config.feature_groups
    assert sorted(groups[0].feature_names) == sorted(best)
    trained = load_pipeline_config(build / "final_config/train.config")
    assert not trained.model_config.HasField("variational_dropout")


def test_predictions_have_a_row_for_each_row(roads):
    table = pq.read_table(roads.path("deepfm_criteo/build/predict_all/part-0.parquet"))
    assert table.num_rows == 1024
    assert {"probs", "logits", "label"} <= set(table.column_names)


def test_fg_json_has_every_feature_of_the_final_config(roads):
    build = roads.path("multi_tower_taobao/build")
    names = [feature["feature_name"] for feature in json.loads((build / "fg/fg.json").read_text())["features"]]
    config = load_pipeline_config(build / "final_config/pipeline.config")
    kinds = [feature.WhichOneof("feature") for feature in config.feature_configs]
    wanted = [getattr(f, kind).feature_name for f, kind in zip(config.feature_configs, kinds, strict=True)]
    assert names == wanted


def test_the_index_holds_every_item(roads):
    ids = roads.path("dssm_taobao/build/index/id_mapping").read_text().split()
    items = pq.read_table(roads.path("dssm_taobao/data/items.parquet"))["adgroup_id"]
    assert sorted(ids) == sorted(str(item) for item in items.to_pylist())


def test_every_pipeline_has_a_page(roads):
    for name in ROADS:
        page = roads.path(f"{name}/build/page/index.html").read_text()
        assert name in page
        assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_second_run_is_a_no_op(roads):
    counts = roads.doit().counts
    assert (counts["built"], counts["restored"], counts["failed"]) == (0, 0, 0)


@pytest.fixture
def edited(roads, tmp_path) -> Project:
    """A copy of the built roads that a test may change; its cache is switched off."""
    shutil.copytree(roads.root, tmp_path / "project", symlinks=True)
    shutil.rmtree(tmp_path / "project/workspace/.state")
    copy = Project(tmp_path / "project", roads.cache)
    restored = copy.doit()  # same keys in another folder: everything comes from the cache
    assert restored.counts["built"] == 0, restored.out
    copy.cache = "off"
    return copy


def test_another_topk_prunes_and_trains_again_but_does_not_select_again(edited):
    path = edited.path("multi_tower_taobao/pipeline.toml")
    path.write_text(path.read_text().replace("topk = 5", "topk = 4"))
    expected = ["prune", "final_config", "fg", "train", "pick", "evaluate", "benchmark_run", "benchmark", "page"]
    ran = edited.doit().ran
    assert {name.split(":")[0] for name in ran} == set(expected)
    assert {name.split(":")[1] for name in ran} == {"multi_tower_taobao"}


def test_a_comment_or_another_order_in_the_config_reruns_only_the_config_task(edited):
    path = edited.path("deepfm_criteo/deepfm_criteo.config")
    path.write_text("# a comment\n" + path.read_text())
    assert edited.doit().ran == {"config:deepfm_criteo"}


def test_junk_in_a_checkpoint_is_noticed_and_mended(edited):
    (weights,) = edited.path("deepfm_criteo/build/train").glob("model.ckpt-*/model/*.distcp")
    weights.write_bytes(b"junk")
    assert edited.doit("list", "--status", "--all").out.count("R train:deepfm_criteo") == 1
    assert edited.doit("train:deepfm_criteo").ran == {"train:deepfm_criteo"}
    assert edited.doit().ran == set()
