import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.test_properties import configs
from tests.config.texts import GOOD
from tzrec_build.config.diff import Change, diff_configs
from tzrec_build.config.edit import edit_config, select
from tzrec_build.config.edit_keys import parse_key
from tzrec_build.config.load import parse_pipeline_config
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

CONFIG = parse_pipeline_config(GOOD, "x.config")
A = "feature_configs[id_feature.feature_name=a]"
TOWER = "model_config.multi_tower.towers[input=user]"


def changed(*edits, config=CONFIG):
    new = edit_config(config, dict(edits))
    return [(change.path, change.old, change.new) for change in diff_configs(config, new)]


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("model_dir", "m2", ("model_dir", '"m"', '"m2"')),
        (f"{A}.id_feature.embedding_dim", 8, (f"{A}.id_feature.embedding_dim", "4", "8")),
        (f"{A}.id_feature.pooling", "mean", (f"{A}.id_feature.pooling", "", '"mean"')),
        (f"{TOWER}.mlp.hidden_units", [64, 32], (f"{TOWER}.mlp.hidden_units", "[8, 4]", "[64, 32]")),
        (f"{TOWER}.mlp.hidden_units", [], (f"{TOWER}.mlp.hidden_units", "[8, 4]", "")),
        ("data_config.fg_mode", "FG_NONE", ("data_config.fg_mode", "FG_DAG", "")),  # the schema's default
        (
            "train_config.sparse_optimizer.adagrad_optimizer.lr",
            0.1,
            ("train_config.sparse_optimizer.adagrad_optimizer.lr", "0.01", "0.1"),
        ),
        ("train_config.grad_clipping", "{}", ("train_config.grad_clipping", "", "{}")),
        (
            "feature_configs[0].id_feature.vocab_dict",
            {"b": 2, "a": 3},
            (f"{A}.id_feature.vocab_dict", "", '{"a": 3, "b": 2}'),
        ),
    ],
)
def test_one_edit_is_one_change(key, value, wanted):
    assert changed((key, value)) == [wanted]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data_config.shuffle", False),
        ("eval_config", "{}"),
        ("eval_config", "{ log_step_count_steps: 10 }"),
        ("train_config.save_checkpoints_steps", 1000),
    ],
)
def test_a_default_that_is_written_out_makes_no_difference(key, value):
    assert edit_config(CONFIG, {key: value}) != CONFIG
    assert changed((key, value)) == []


def test_comments_and_the_order_of_sections_make_no_difference():
    head, sep, tail = GOOD.partition("model_config {")
    assert diff_configs(CONFIG, parse_pipeline_config(f"# other\n{sep}{tail}{head}", "x.config")) == []


def test_a_removed_and_an_added_feature_are_one_change_each_and_shift_no_other():
    new = EasyRecConfig()
    new.CopyFrom(CONFIG)
    del new.feature_configs[0]
    new.feature_configs.add().raw_feature.feature_name = "z"
    assert diff_configs(CONFIG, new) == [
        Change(
            A,
            '{ id_feature { feature_name: "a" expression: "user:a" embedding_dim: 4 num_buckets: 10 } }',
            "",
        ),
        Change("feature_configs[raw_feature.feature_name=z]", "", '{ raw_feature { feature_name: "z" } }'),
    ]


def test_a_moved_feature_is_one_change():
    new = EasyRecConfig()
    new.CopyFrom(CONFIG)
    del new.feature_configs[0]
    new.feature_configs.add().CopyFrom(CONFIG.feature_configs[0])
    assert diff_configs(CONFIG, new) == [Change(A, "at 0", "at 2")]


def test_a_feature_of_another_kind_is_one_change():
    text = '{ raw_feature { feature_name: "a" expression: "user:a" } }'
    ((path, old, new),) = changed(("feature_configs[0]", text))
    assert path == A
    assert old.startswith("{ id_feature {")
    assert new == text


def test_losses_are_matched_by_kind():
    two = edit_config(
        CONFIG, {"model_config.losses": "[{l2_loss {}}, {binary_cross_entropy { label_smoothing: 0.5 }}]"}
    )
    changes = diff_configs(CONFIG, two)
    assert [change.path for change in changes] == [
        "model_config.losses[binary_cross_entropy].binary_cross_entropy.label_smoothing",
        "model_config.losses[l2_loss]",
    ]


def test_elements_of_one_name_are_told_apart_by_position():
    twice = edit_config(CONFIG, {"feature_configs[1].id_feature.feature_name": "a"})
    new = edit_config(twice, {"feature_configs[1].id_feature.embedding_dim": 8})
    assert diff_configs(twice, new) == [Change("feature_configs[1].id_feature.embedding_dim", "4", "8")]


@pytest.mark.parametrize("name", ["a]b", "a=b", "a b", "a;b", "é"])
def test_a_path_is_a_key_of_edit_whatever_the_name(name):
    odd = edit_config(CONFIG, {"feature_configs[0].id_feature.feature_name": name})
    (change,) = diff_configs(odd, edit_config(odd, {"feature_configs[0].id_feature.embedding_dim": 8}))
    assert edit_config(odd, {change.path: 8}).feature_configs[0].id_feature.embedding_dim == 8


@settings(max_examples=40, deadline=None)
@given(configs(), configs())
def test_changes_name_places_and_turn_around(old, new):
    changes = diff_configs(old, new)
    for change in changes:
        if change.old:
            select(EasyRecConfig.FromString(old.SerializePartialToString()), parse_key(change.path), change.path)
    assert sorted(change.old for change in changes if change.new == "") == sorted(
        change.new for change in diff_configs(new, old) if change.old == ""
    )
    assert diff_configs(old, old) == []


@settings(max_examples=40, deadline=None)
@given(configs(), st.randoms(use_true_random=False))
def test_a_shuffled_list_has_moves_only(config, random):
    for name in ("x", "y", "z"):
        config.feature_configs.add().id_feature.feature_name = name
    shuffled = EasyRecConfig()
    shuffled.CopyFrom(config)
    features = list(config.feature_configs[-3:])
    random.shuffle(features)
    del shuffled.feature_configs[-3:]
    shuffled.feature_configs.extend(features)
    assert all(change.old.startswith("at ") for change in diff_configs(config, shuffled))
