import pytest

from tests.config.texts import GOOD, MATCH, SEQUENCES, TASKS
from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.feature_update import COMPETING, FeatureInfo, update_features
from tzrec_build.config.lint import lint
from tzrec_build.config.load import parse_pipeline_config
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import feature_pb2


def info(feature, where="t.csv:2", **values):
    return FeatureInfo(where, feature, **values)


def drop(*features):
    return [info(name, f"t.csv:{i}", drop=True) for i, name in enumerate(features, 2)]


def updated(infos, text=GOOD, edits=None):
    config = edit_config(parse_pipeline_config(text, "x.config"), edits or {})
    new, report = update_features(config, infos)
    return diff_configs(config, new), report, new


def refused(infos, text=GOOD, edits=None):
    with pytest.raises(ConfigError) as raised:
        updated(infos, text, edits)
    return str(raised.value).split("\n")


def test_a_width_is_set_and_nothing_else():
    changes, report, _ = updated([info("a", embedding_dim=8)])
    assert [(change.path, change.new) for change in changes] == [
        ("feature_configs[id_feature.feature_name=a].id_feature.embedding_dim", "8")
    ]
    assert (report.updated, report.dropped, report.unmatched_features) == (["a"], [], ["b", "r"])


def test_a_hash_size_replaces_every_other_way_to_an_id():
    body = '{ feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_file: "v" asset_dir: "d" default_bucketize_value: 1 }'
    _, _, new = updated([info("a", hash_bucket_size=9)], edits={"feature_configs[0].id_feature": body})
    wanted = '{ feature_name: "a" expression: "user:a" embedding_dim: 4 hash_bucket_size: 9 }'
    assert new == edit_config(parse_pipeline_config(GOOD, "x.config"), {"feature_configs[0].id_feature": wanted})


def test_boundaries_replace_those_there_and_a_dense_embedding():
    _, _, new = updated([info("r", boundaries=(1.0, 2.5))])
    assert list(new.feature_configs[2].raw_feature.boundaries) == [1.0, 2.5]
    _, _, new = updated([info("r", boundaries=(1.0,))], edits={
        "feature_configs[2].raw_feature": '{ feature_name: "r" expression: "item:r" embedding_dim: 4 mlp {} }'
    })  # fmt: skip
    assert new.feature_configs[2].raw_feature.WhichOneof("dense_emb") is None


def test_every_bucketizer_of_the_schema_competes():
    kinds = {
        "hash_bucket_size",
        "num_buckets",
        "vocab_list",
        "vocab_dict",
        "vocab_file",
        "zch",
        "dynamicemb",
        "boundaries",
    }
    kinds |= {"autodis", "mlp"}
    fields = {
        field.name for message in feature_pb2.DESCRIPTOR.message_types_by_name.values() for field in message.fields
    }
    assert kinds <= fields
    for name, others in COMPETING.items():
        assert kinds - {name} <= set(others)
        assert set(others) <= fields


def test_a_value_that_a_feature_has_no_field_for_names_row_and_remedy():
    assert refused([info("a", boundaries=(1.0,)), info("r", "t.csv:3", hash_bucket_size=5)]) == [
        "t.csv:2: 'a' is a id_feature, which has no boundaries, got one; give hash_bucket_size",
        "t.csv:3: 'r' is a raw_feature, which has no hash_bucket_size, got one; give boundaries",
    ]


def test_the_last_row_counts_and_a_drop_always():
    changes, report, _ = updated([info("a", embedding_dim=8), info("a", "t.csv:3", embedding_dim=12)])
    assert changes[0].new == "12"
    assert report.notes == ["t.csv:3: 'a' is in the table again; t.csv:3 counts"]
    _, report, _ = updated([*drop("r"), info("r", "t.csv:3", embedding_dim=12)])
    assert report.dropped == ["r"]


def test_rows_and_features_without_a_match_are_reported():
    _, report, _ = updated([info("zz", embedding_dim=8)])
    assert report.unmatched_rows == ["t.csv:2: 'zz'"]
    assert report.unmatched_features == ["a", "b", "r"]


def test_a_dropped_feature_leaves_its_group():
    changes, report, new = updated(drop("b"))
    assert [(change.path, change.new) for change in changes] == [
        ("feature_configs[id_feature.feature_name=b]", ""),
        ("model_config.feature_groups[group_name=item].feature_names", '["r"]'),
    ]
    assert report.dropped == ["b"]
    assert lint(new) == []


def test_an_empty_group_goes_with_its_tower():
    _, report, new = updated(drop("a"))
    assert [group.group_name for group in new.model_config.feature_groups] == ["item"]
    assert [tower.input for tower in new.model_config.multi_tower.towers] == ["item"]
    assert report.notes == [
        "feature group 'user' removed: nothing is left in it",
        "model_config.multi_tower.towers: the tower of group 'user' removed",
    ]


def test_the_last_group_and_single_towers_cannot_go():
    assert "after the update: a model must have a feature group, got none; drop fewer features" in refused(
        drop("a", "b", "r")
    )
    assert any(
        line.startswith("after the update: a tower's input must name a feature group, got 'user'")
        for line in refused(drop("a"), MATCH)
    )


def test_a_sequence_goes_with_block_group_and_encoder():
    _, report, new = updated(drop("s__b"), SEQUENCES)
    group = new.model_config.feature_groups[0]
    assert [inner.group_name for inner in group.sequence_groups] == ["h"]
    assert [encoder.WhichOneof("seq_module") for encoder in group.sequence_encoders] == ["pooling_encoder"]
    assert [feature.WhichOneof("feature") for feature in new.feature_configs] == ["id_feature", "sequence_raw_feature"]
    assert report.notes == [
        "sequence_feature 's' removed: no feature is left in it",
        "sequence group 'g' of group 'user' removed with its encoders: no sequence is left in it",
    ]
    assert lint(new) == []


def test_a_feature_that_another_is_computed_from_is_kept_for_its_user():
    edits = {"feature_configs[0].id_feature.expression": "feature:r"}
    wanted = "t.csv:2: expression of feature 'a' reads 'feature:r'; drop 'a' as well or keep 'r'"
    assert refused(drop("r"), edits=edits) == [wanted]
    _, report, _ = updated(drop("r", "a"), edits=edits)
    assert report.dropped == ["r", "a"]


def test_a_key_of_a_loss_or_metric_is_kept():
    assert refused(drop("a"), TASKS) == [
        "t.csv:2: model_config.dbmtl.task_towers[1].losses[0].jrc_loss.session_name names 'a'; change it or keep the feature"
    ]


def test_columns_of_a_sampler_stay_in_the_order_of_its_table():
    _, _, new = updated(drop("r"), MATCH)
    assert list(new.data_config.negative_sampler.attr_fields) == ["b", "r"]


def test_tables_that_share_a_name_must_still_agree():
    edits = {"feature_configs[0].id_feature.embedding_name": "t", "feature_configs[1].id_feature.embedding_name": "t"}
    (line,) = refused([info("a", embedding_dim=8)], edits=edits)
    assert line.startswith("after the update: embedding_dim of the shared table 't' must be that of 'a', 8, got 4")
    updated([info("a", embedding_dim=8), info("b", embedding_dim=8)], edits=edits)


def test_old_faults_of_the_config_are_not_held_against_the_table():
    _, report, _ = updated([info("b", embedding_dim=8)], edits={"train_config.num_epochs": 0})
    assert report.updated == ["b"]
