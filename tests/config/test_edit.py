import pytest

from tests.config.texts import GOOD, SEQUENCES
from tzrec_build.config.edit import edit_config
from tzrec_build.config.edit_keys import parse_key, split_outside_brackets
from tzrec_build.config.load import parse_pipeline_config
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import data_pb2

CONFIG = parse_pipeline_config(GOOD, "x.config")


def edited(key, value):
    return edit_config(CONFIG, {key: value})


@pytest.mark.parametrize(
    ("key", "value", "read", "wanted"),
    [
        ("model_dir", "exp", lambda c: c.model_dir, "exp"),
        ("data_config.batch_size", 16, lambda c: c.data_config.batch_size, 16),
        ("data_config.batch_size", "16", lambda c: c.data_config.batch_size, 16),
        ("data_config.batch_size", 16.0, lambda c: c.data_config.batch_size, 16),
        ("data_config.shuffle", True, lambda c: c.data_config.shuffle, True),
        ("data_config.shuffle", "False", lambda c: c.data_config.shuffle, False),
        ("data_config.fg_mode", "FG_NONE", lambda c: c.data_config.fg_mode, data_pb2.FG_NONE),
        ("data_config.dataset_type", 3, lambda c: c.data_config.dataset_type, data_pb2.CsvDataset),
        ("data_config.delimiter", ";", lambda c: c.data_config.delimiter, ";"),
        ("data_config.label_fields", ["q", "w"], lambda c: list(c.data_config.label_fields), ["q", "w"]),
        ("data_config.label_fields", "['q', 'w']", lambda c: list(c.data_config.label_fields), ["q", "w"]),
        ("data_config.label_fields", "q", lambda c: list(c.data_config.label_fields), ["q"]),
        (
            "feature_configs[2].raw_feature.boundaries",
            [4, 5, 6],
            lambda c: list(c.feature_configs[2].raw_feature.boundaries),
            [4, 5, 6],
        ),
        (
            "feature_configs[2].raw_feature.boundaries",
            "[4, 5]",
            lambda c: list(c.feature_configs[2].raw_feature.boundaries),
            [4, 5],
        ),
        (
            "feature_configs[2].raw_feature.boundaries[0]",
            0.25,
            lambda c: list(c.feature_configs[2].raw_feature.boundaries),
            [0.25, 1],
        ),
        (
            "feature_configs[-1].raw_feature.embedding_dim",
            8,
            lambda c: c.feature_configs[2].raw_feature.embedding_dim,
            8,
        ),
        (
            "model_config.feature_groups[group_type=DEEP].group_type",
            "WIDE",
            lambda c: [group.group_type for group in c.model_config.feature_groups],
            [1, 1],
        ),
        (
            "feature_configs[0].id_feature.vocab_dict",
            '{"x": 2}',
            lambda c: dict(c.feature_configs[0].id_feature.vocab_dict),
            {"x": 2},
        ),
        (
            "data_config.input_fields",
            '[{"input_name": "x"}, {"input_name": "y"}]',
            lambda c: [field.input_name for field in c.data_config.input_fields],
            ["x", "y"],
        ),
        (
            "feature_configs[raw_feature].raw_feature.embedding_dim",
            16,
            lambda c: c.feature_configs[2].raw_feature.embedding_dim,
            16,
        ),
        (
            "feature_configs[id_feature.feature_name=b].id_feature.embedding_dim",
            16,
            lambda c: [c.feature_configs[i].id_feature.embedding_dim for i in (0, 1)],
            [4, 16],
        ),
        (
            "feature_configs[id_feature.embedding_dim>=4].id_feature.embedding_dim",
            5,
            lambda c: [c.feature_configs[i].id_feature.embedding_dim for i in (0, 1)],
            [5, 5],
        ),
        (
            "model_config.multi_tower.towers[input=user].mlp.hidden_units[1]",
            2,
            lambda c: list(c.model_config.multi_tower.towers[0].mlp.hidden_units),
            [8, 2],
        ),
        (
            "model_config.multi_tower.towers[0].mlp",
            "{hidden_units: [3]}",
            lambda c: list(c.model_config.multi_tower.towers[0].mlp.hidden_units),
            [3],
        ),
        (
            "model_config.multi_tower.towers[0].mlp",
            {"hidden_units": [3]},
            lambda c: list(c.model_config.multi_tower.towers[0].mlp.hidden_units),
            [3],
        ),
        ("model_config.losses[0]", "l2_loss{}", lambda c: c.model_config.losses[0].WhichOneof("loss"), "l2_loss"),
        (
            "model_config.losses",
            "l2_loss{}",
            lambda c: [x.WhichOneof("loss") for x in c.model_config.losses],
            ["l2_loss"],
        ),
        ("model_config.losses", "[{l2_loss{}}, {l2_loss{}}]", lambda c: len(c.model_config.losses), 2),
        ("model_config.metrics", [{"auc": {"thresholds": 9}}], lambda c: c.model_config.metrics[0].auc.thresholds, 9),
        ("model_config.metrics", [], lambda c: len(c.model_config.metrics), 0),
        ("model_config.variational_dropout", "", lambda c: c.model_config.HasField("variational_dropout"), True),
        (
            "model_config.variational_dropout.regularization_lambda",
            0.5,
            lambda c: c.model_config.variational_dropout.regularization_lambda,
            0.5,
        ),
        (
            "train_config.dense_optimizer.adamw_optimizer",
            {"lr": 0.5},
            lambda c: c.train_config.dense_optimizer.WhichOneof("optimizer"),
            "adamw_optimizer",
        ),
        (
            "feature_configs[0].id_feature.vocab_dict",
            {"a": 2},
            lambda c: dict(c.feature_configs[0].id_feature.vocab_dict),
            {"a": 2},
        ),
        (
            "feature_configs[0].id_feature.vocab_dict",
            "[{key: 'a' value: 2}, {key: 'b' value: 3}]",
            lambda c: dict(c.feature_configs[0].id_feature.vocab_dict),
            {"a": 2, "b": 3},
        ),
        ("model_dir;data_config.batch_size", "e;9", lambda c: (c.model_dir, c.data_config.batch_size), ("e", 9)),
    ],
    ids=lambda part: "is" if callable(part) else repr(part),
)
def test_an_edit_sets_the_value_at_the_path(key, value, read, wanted):
    assert read(edited(key, value)) == wanted


def test_the_given_config_stays_as_it_is():
    edited("model_dir", "other")
    assert parse_pipeline_config(GOOD, "x.config") == CONFIG


def test_a_dot_inside_brackets_belongs_to_the_value():
    config = edit_config(CONFIG, {"feature_configs[1].id_feature.feature_name": "a.b"})
    config = edit_config(config, {"feature_configs[id_feature.feature_name=a.b].id_feature.embedding_dim": 9})
    assert [f.id_feature.embedding_dim for f in config.feature_configs][:2] == [4, 9]


def test_all_elements_skip_those_of_another_kind_and_keep_them_whole():
    config = edited("feature_configs[:].id_feature.embedding_dim", 32)
    assert [f.id_feature.embedding_dim for f in config.feature_configs] == [32, 32, 0]
    assert config.feature_configs[2] == CONFIG.feature_configs[2]


@pytest.mark.parametrize(("slice_text", "wanted"), [("0:1", [9, 4]), ("1:", [4, 9]), (":-1", [9, 9]), (":", [9, 9])])
def test_slices_pick_elements(slice_text, wanted):
    config = edited(f"feature_configs[{slice_text}].id_feature.embedding_dim", 9)
    assert [f.id_feature.embedding_dim for f in config.feature_configs][:2] == wanted


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("data_config.batchsize", 1, "DataConfig has no field 'batchsize'; did you mean 'batch_size'?"),
        ("data_config.fg_mode", "FG_DOG", "FgMode has no value 'FG_DOG'; did you mean 'FG_DAG'?"),
        ("data_config.batch_size", "many", "batch_size must be a whole number in the range of its type, got 'many'"),
        ("data_config.batch_size", -1, "batch_size must be a whole number in the range of its type, got -1"),
        ("data_config.batch_size", 1.5, "batch_size must be a whole number in the range of its type, got 1.5"),
        ("data_config.batch_size", True, "a bool is no number"),
        ("data_config.shuffle", "1", "shuffle must be true or false, got '1'"),
        ("data_config.label_fields", [{}], "label_fields must be text, got {}"),
        ("data_config", 3, "data_config is a message DataConfig, got 3; give an object, or text"),
        ("data_config", "{batchsize: 3}", "the value does not parse"),
        ("data_config", {"batchsize": 3}, "DataConfig has no field 'batchsize'; did you mean 'batch_size'?"),
        (
            "data_config",
            "batchsize: 3",
            "DataConfig has no field 'batchsize'; did you mean 'batch_size'?; it was read as",
        ),
        ("data_config", {"batch_size": "x"}, "batch_size has a value of the wrong type, got"),
        ("data_config", '{"batch_size": 3', "the value does not parse as JSON, Expecting ',' delimiter"),
        ("data_config", "{" * 5000, "it was read as 'data_config { {{{"),
        (
            "feature_configs[raw_feature.feature_name=rr]",
            "{}",
            "feature_configs has 3 elements: [id_feature.feature_name=a], ",
        ),
        ("model_config.feature_groups[group_type=DEP].group_name", "x", "has no value 'DEP'; did you mean 'DEEP'?"),
        ("feature_configs[9]", "{}", "step 'feature_configs[9]' is out of range; feature_configs has 3 elements"),
        ("feature_configs[id_feature.feature_name=zz]", "{}", "matches nothing; feature_configs has 3 elements"),
        (
            "feature_configs.id_feature.embedding_dim",
            1,
            "feature_configs is a list of 3; say which, as feature_configs[0]",
        ),
        ("feature_configs[2].id_feature.embedding_dim", 1, "would switch a oneof; FeatureConfig holds raw_feature"),
        ("feature_configs[2:].id_feature.embedding_dim", 1, "matches nothing; FeatureConfig holds raw_feature"),
        (
            "train_config.dense_optimizer.adamw_optimizer.lr",
            1,
            "would switch a oneof; DenseOptimizer holds adam_optimizer",
        ),
        ("model_dir.x", 1, "step 'model_dir' is no message, so nothing can follow it"),
        ("model_dir[0]", 1, "selects elements, but model_dir is not a list"),
        ("a b", 1, "a step must be FIELD or FIELD[SELECTOR], got 'a b'"),
        ("", 1, "a step must be FIELD or FIELD[SELECTOR], got ''"),
        ("feature_configs[1 2]", 1, "a selector must be [3], [1:3], [:], [field=value] or [field], got [1 2]"),
        ("feature_configs[id_featur]", "{}", "FeatureConfig has no field 'id_featur'; did you mean 'id_feature'?"),
        ("feature_configs[combo_feature]", "{}", "matches nothing; feature_configs has 3 elements"),
        ("data_config.label_fields[x]", "y", "asks scalars for the field 'x'; use an index or [:]"),
        ("feature_configs[id_feature=x]", "{}", "a condition must compare a value, got a IdFeature"),
        ("model_dir;data_config.batch_size", "e", "2 keys need as many values, got 'e'"),
    ],
)
def test_a_wrong_edit_says_which_step_failed_and_what_is_there(key, value, words):
    with pytest.raises(ConfigError) as raised:
        edited(key, value)
    assert str(raised.value).startswith("edit ")
    assert words in str(raised.value)


def test_a_failed_value_leaves_nothing_half_set():
    with pytest.raises(ConfigError):
        edit_config(CONFIG, {"data_config.label_fields": ["a", {}]})
    assert list(CONFIG.data_config.label_fields) == ["clk"]


def test_keys_parse_into_steps():
    steps = parse_key("a[b.c=1].d[-2].e")
    assert [step.field for step in steps] == ["a", "d", "e"]
    assert steps[1].selector == -2
    assert split_outside_brackets("a[x;y];b", ";") == ["a[x;y]", "b"]


def test_conditions_nest():
    config = parse_pipeline_config(SEQUENCES, "x.config")
    inner = "sequence_feature.features[id_feature.feature_name=b].id_feature.embedding_dim"
    new = edit_config(config, {f"feature_configs[{inner}=4].sequence_feature.sequence_length": 9})
    assert new.feature_configs[1].sequence_feature.sequence_length == 9
    with pytest.raises(ConfigError, match="matches nothing; feature_configs has 3 elements"):
        edit_config(config, {f"feature_configs[{inner}=5].sequence_feature.sequence_length": 9})
