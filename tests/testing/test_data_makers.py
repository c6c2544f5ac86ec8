from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tzrec_build.config.edit import edit_config
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import data_pb2
from tzrec_build.testing.data_makers import DataMaker, WorldSize, write_data

FOLDER = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.config"))


def config_of(name):
    return load_pipeline_config(FOLDER / f"{name}.config")


def auc(label, score):
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    positives = int(label.sum())
    return (rank[label == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_files_in_any_folder(name, tmp_path):
    for folder in ("a", "b"):
        write_data(config_of(name), tmp_path / folder, rows=64, eval_rows=32, seed=3)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == (
        ["eval.parquet", "items.txt", "train.parquet"] if name == "dssm_taobao" else ["eval.parquet", "train.parquet"]
    )
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_another_seed_or_part_gives_other_rows():
    maker = DataMaker(config_of("multi_tower_taobao"), seed=1)
    assert maker.table(32, part=0) != maker.table(32, part=1)
    assert maker.table(32) != DataMaker(config_of("multi_tower_taobao"), seed=2).table(32)


def test_raw_columns_are_made_under_a_dag_and_ids_stay_inside_their_tables():
    table = DataMaker(config_of("multi_tower_taobao")).table(500)
    assert len(table.column_names) == 17
    assert pa.types.is_string(table.schema.field("user_id").type)
    assert pa.types.is_float32(pa.schema([table.schema.field("price")]).field(0).type)
    for feature in config_of("multi_tower_taobao").feature_configs:
        rows = feature.id_feature.num_buckets
        if rows:
            ids = table[feature.id_feature.feature_name].to_numpy()
            assert ids.min() >= 0
            assert ids.max() < rows


def test_encoded_columns_are_named_after_the_features():
    table = DataMaker(config_of("deepfm_criteo")).table(100)
    assert table.column_names == [*[f"int_{i}" for i in range(13)], *[f"cat_{i}" for i in range(26)], "label"]
    assert set(np.unique(table["label"].to_numpy())) == {0, 1}


def test_members_of_a_block_have_equal_lengths_and_are_text_of_the_items_values():
    table = DataMaker(config_of("dssm_taobao")).table(200)
    names = [f"click_50_seq__{name}" for name in ("adgroup_id", "cate_id", "brand")]
    lengths = [[len(text.split("|")) if text else 0 for text in table[name].to_pylist()] for name in names]
    assert lengths[0] == lengths[1] == lengths[2]
    assert min(lengths[0]) == 0
    known = set(table["adgroup_id"].to_pylist())
    seen = {int(part) for text in table[names[0]].to_pylist() for part in text.split("|") if part}
    assert len(seen & known) > 50


def test_sequences_are_lists_when_data_are_encoded():
    config = config_of("dssm_taobao")
    config.data_config.fg_mode = data_pb2.FG_NONE
    table = DataMaker(config).table(50)
    assert table.schema.field("click_50_seq__brand").type == pa.list_(pa.int64())


def test_the_sampler_table_lists_every_item_once_with_the_values_of_the_rows():
    config = config_of("dssm_taobao")
    maker = DataMaker(config)
    header, *lines = maker.sampler_text().splitlines()
    assert header == "id:int64\tweight:float\tattrs:string"
    items = {int(line.split("\t")[0]): line.split("\t")[2].split(":") for line in lines}
    assert len(items) == len(lines) == WorldSize().items
    for row in maker.table(50).to_pylist():
        attributes = [
            str(np.float32(row[name])) if name == "price" else str(row[name])
            for name in config.data_config.negative_sampler.attr_fields
        ]
        assert [float(x) for x in items[row["adgroup_id"]]] == pytest.approx([float(x) for x in attributes])


@pytest.mark.parametrize("name", ["multi_tower_taobao", "deepfm_criteo"])
def test_labels_can_be_learned_from_the_columns_alone(name):
    """Mean label of every value in the training part, added up, ranks the evaluation part."""
    config = config_of(name)
    maker = DataMaker(config)
    train, held = maker.table(4000, part=0), maker.table(2000, part=1)
    label = config.data_config.label_fields[0]
    target = train[label].to_numpy()
    score = np.zeros(held.num_rows)
    for column in train.column_names:
        if column == label:
            continue
        values, index = np.unique(train[column].to_numpy(zero_copy_only=False), return_inverse=True)
        mean = (np.bincount(index, target) + 5 * target.mean()) / (np.bincount(index) + 5)
        here = held[column].to_numpy(zero_copy_only=False)
        at = np.clip(np.searchsorted(values, here), 0, len(values) - 1)
        score += np.where(values[at] == here, mean[at], target.mean())
    assert auc(held[label].to_numpy(), score) > 0.6


def test_clicked_items_belong_to_the_users_own_history():
    """The share of clicks on items of the last clicks' groups is far above chance: retrieval has something to learn."""
    table = DataMaker(config_of("dssm_taobao")).table(2000)
    rows = zip(table["adgroup_id"].to_pylist(), table["click_50_seq__adgroup_id"].to_pylist(), strict=True)
    hits = [str(item) in text.split("|") for item, text in rows if text]
    shuffled = np.random.default_rng(0).permutation(table["adgroup_id"].to_numpy())
    chance = [
        str(item) in text.split("|")
        for item, text in zip(shuffled, table["click_50_seq__adgroup_id"].to_pylist(), strict=True)
        if text
    ]
    assert np.mean(hits) > 3 * np.mean(chance)


def test_labels_follow_the_losses():
    config = config_of("deepfm_criteo")
    assert (
        DataMaker(edit_config(config, {"model_config.losses": "l2_loss {}"})).table(9).schema.field("label").type
        == pa.float32()
    )
    three = edit_config(config, {"model_config.num_class": 3, "model_config.losses": "softmax_cross_entropy {}"})
    assert set(DataMaker(three).table(90)["label"].to_pylist()) == {0, 1, 2}
    weighted = edit_config(config, {"data_config.sample_weight_fields": ["w"], "data_config.label_fields": ["a", "b"]})
    table = DataMaker(weighted).table(900)
    assert table.schema.field("w").type == pa.float32()
    assert np.mean(table["b"].to_numpy()) < np.mean(table["a"].to_numpy())


def test_vectors_and_vocabularies_have_fitting_values():
    config = edit_config(
        config_of("multi_tower_taobao"),
        {
            "feature_configs[0].id_feature": 'feature_name: "v" expression: "user:v" vocab_list: ["x", "y"] embedding_dim: 4',
            "feature_configs[1]": 'raw_feature { feature_name: "z" expression: "item:z" value_dim: 3 }',
        },
    )
    table = DataMaker(config).table(200)
    assert set(table["v"].to_pylist()) <= {"x", "y", "unheard-of"}
    assert table.schema.field("z").type == pa.list_(pa.float32())
    assert {len(row) for row in table["z"].to_pylist()} == {3}


def test_a_sampler_without_an_integer_item_id_is_refused():
    config = edit_config(config_of("dssm_taobao"), {"data_config.negative_sampler.item_id_field": "price"})
    with pytest.raises(ConfigError, match="item_id_field: must be an item column of integers, got 'price'"):
        DataMaker(config)
    few = edit_config(config_of("dssm_taobao"), {"data_config.negative_sampler.item_id_field": "cate_id"})
    with pytest.raises(ConfigError, match="'cate_id' has 300 ids for 400 items; make fewer items"):
        DataMaker(few)
    other = edit_config(config_of("dssm_taobao"), {"data_config.negative_sampler.attr_fields": ["nope"]})
    with pytest.raises(ConfigError, match="attr_fields: must name item columns, got 'nope'; known: adgroup_id"):
        DataMaker(other).sampler_text()


def test_written_tables_hold_what_was_asked(tmp_path):
    made = write_data(config_of("dssm_taobao"), tmp_path, rows=100, eval_rows=40)
    assert pq.read_metadata(made.train_path).num_rows == 100
    assert pq.read_metadata(made.eval_path).num_rows == 40
    assert Path(made.sampler_path).read_text().startswith("id:int64")
