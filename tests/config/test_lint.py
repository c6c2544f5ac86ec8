import pytest

from tests.config.test_support import MESSAGES
from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import lint
from tzrec_build.config.load import load_pipeline_config, parse_pipeline_config
from tzrec_build.config.problems import located, raise_problems
from tzrec_build.config.ranges import RANGES
from tzrec_build.errors import ConfigError

TASK = '{ expert_mlp { hidden_units: 4 } task_towers { tower_name: "t" label_name: "clk" losses { binary_cross_entropy {} } } }'
ENCODER = """{ group_name: "user" feature_names: "a" sequence_groups { group_name: "s" feature_names: "b" }
               sequence_encoders { pooling_encoder { input: "s" } } }"""

CONSEQUENCES = {  # the old name is gone as well
    "no-feature": ("unknown-feature",),
    "duplicate-feature": ("unknown-feature",),
    "duplicate-group": ("unknown-group",),
}


def findings(edits):
    problems = lint(edit_config(parse_pipeline_config(GOOD, "x.config"), edits))
    return [(problem.rule, problem.text) for problem in problems]


def test_good_configs_have_no_findings():
    assert findings({}) == []
    for path in CONFIGS:
        assert lint(load_pipeline_config(path)) == []


@pytest.mark.parametrize(
    ("edits", "rule", "words"),
    [
        ({"model_config": "{}"}, "no-model", "model_config must choose a model, got none"),
        ({"feature_configs[0]": "{}"}, "no-feature", "feature_configs must hold a feature"),
        (
            {"feature_configs[0].id_feature.feature_name": "b"},
            "duplicate-feature",
            "feature 'b' must be configured once",
        ),
        (
            {"model_config.feature_groups[0].group_name": "item"},
            "duplicate-group",
            "feature group 'item' must be configured once",
        ),
        (
            {"model_config.feature_groups[1].feature_names[0]": "bb"},
            "unknown-feature",
            "group 'item' must name configured features, got 'bb'; did you mean 'b'?",
        ),
        (
            {"model_config.multi_tower.towers[0].input": "usr"},
            "unknown-group",
            "a tower's input must name a feature group, got 'usr'; did you mean 'user'?",
        ),
        (
            {"model_config.feature_groups[0]": ENCODER.replace('input: "s"', 'input: "x"')},
            "unknown-sequence-group",
            "an encoder's input must name a sequence group of 'user', got 'x'",
        ),
        (
            {"model_config.feature_groups[0].sequence_encoders": "{}"},
            "no-encoder",
            "sequence_encoders must choose an encoder",
        ),
        ({"data_config.label_fields": []}, "no-label", "label_fields must name the label column, got none"),
        (
            {"model_config.mmoe": TASK.replace('"clk"', '"clik"')},
            "unknown-label",
            "label_name must be one of data_config.label_fields, got 'clik'; did you mean 'clk'?",
        ),
        (
            {"model_config.mmoe": TASK, "model_config.mmoe.task_towers[0].sample_weight_name": "w"},
            "unknown-label",
            "sample_weight_name must be one of data_config.sample_weight_fields, got 'w'",
        ),
        ({"model_config.losses": []}, "no-loss", "a model or task must have a loss, got none"),
        ({"model_config.num_class": 2}, "loss-num-class", "binary_cross_entropy needs num_class 1, got 2"),
        (
            {"model_config.losses": "softmax_cross_entropy {}"},
            "loss-num-class",
            "softmax_cross_entropy needs num_class 2 or more, got 1",
        ),
        (
            {
                "model_config.dssm": '{user_tower {input: "user"} item_tower {input: "item"} output_dim: 4}',
            },
            "match-loss",
            "a match model must have exactly the loss softmax_cross_entropy, got ['binary_cross_entropy']",
        ),
        (
            {"train_config.num_steps": 5},
            "train-length",
            "exactly one of num_steps and num_epochs must be above 0, got num_steps 5 and num_epochs 1",
        ),
        (
            {"train_config.num_epochs": 0},
            "train-length",
            "got num_steps 0 and num_epochs 0",
        ),
        (
            {"feature_configs[0].id_feature": '{feature_name: "a" expression: "user:a" embedding_dim: 4}'},
            "no-bucketizer",
            "id_feature 'a' must say how many ids there are",
        ),
        (
            {"feature_configs[0].id_feature.embedding_dim": 3},
            "width",
            "embedding_dim must be a multiple of 4, which the fused kernels need, got 3; set 4",
        ),
        (
            {"model_config.deepfm": "{ wide_embedding_dim: 6 deep { hidden_units: 2 } }"},
            "width",
            "wide_embedding_dim must be a multiple of 4, which the fused kernels need, got 6; set 8",
        ),
        (
            {"train_config.dense_optimizer.adam_optimizer.lr": -1},
            "range",
            "train_config.dense_optimizer.adam_optimizer.lr: must be a finite number of 0 or more, got -1",
        ),
        (
            {"train_config.sparse_optimizer.adagrad_optimizer.lr": float("nan")},
            "range",
            "train_config.sparse_optimizer.adagrad_optimizer.lr: must be a finite number of 0 or more, got nan",
        ),
        (
            {"train_config.dense_optimizer.adam_optimizer.beta2": 1.5},
            "range",
            "train_config.dense_optimizer.adam_optimizer.beta2: must be in [0, 1), got 1.5",
        ),
        (
            {
                "train_config.dense_optimizer.manual_step_learning_rate": "{ schedule_sizes: 1 learning_rates: [0.1, -2] }"
            },
            "range",
            "manual_step_learning_rate.learning_rates: must be a finite number of 0 or more, got -2",
        ),
        (
            {"train_config.dense_optimizer.sgd_optimizer": "{ lr: 1 nesterov: true momentum: 0 }"},
            "nesterov",
            "sgd_optimizer.nesterov: needs momentum above 0 and dampening 0, got momentum 0 and dampening 0",
        ),
        (
            {"model_config.losses[0].binary_cross_entropy.label_smoothing": 2},
            "range",
            "binary_cross_entropy.label_smoothing: must be in [0, 1], got 2",
        ),
    ],
)
def test_each_rule_finds_its_mistake_and_only_that(edits, rule, words):
    if "model_config.mmoe" in edits or "model_config.dssm" in edits:
        edits = {"model_config.losses": edits.get("model_config.losses", "binary_cross_entropy {}")} | edits
    found = findings(edits)
    assert [name for name, _ in found if name not in CONSEQUENCES.get(rule, ())] == [rule]
    assert words in found[0][1]


@pytest.mark.parametrize(
    "edits",
    [
        {"model_config.mmoe": TASK, "model_config.losses": []},
        {"train_config.num_steps": 5, "train_config.num_epochs": 0},
        {"model_config.num_class": 3, "model_config.losses": "softmax_cross_entropy {}"},
        {"model_config.feature_groups[0]": ENCODER},
        {"feature_configs[0].id_feature": '{feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_list: "x"}'},
    ],
)
def test_near_misses_are_clean(edits):
    assert findings(edits) == []


def test_tables_of_sequences_and_of_wide_groups_only_may_have_any_width():
    text = GOOD.replace("num_buckets: 10 embedding_dim: 4", "num_buckets: 10 embedding_dim: 3", 1)
    config = parse_pipeline_config(text.replace("group_type: DEEP", "group_type: WIDE", 1), "x.config")
    assert lint(config) == []
    config.model_config.feature_groups[0].group_type = 2
    assert lint(config) == []


def test_every_range_belongs_to_a_field_of_the_schema_and_holds_its_default():
    for name, fields in RANGES.items():
        for field, allowed in fields.items():
            found = MESSAGES[name].fields_by_name[field]
            assert found.is_repeated or allowed.fits(found.default_value), f"{name}.{field}"


def test_members_of_a_block_are_known_by_their_full_names():
    block = """feature_configs { sequence_feature { sequence_name: "s" sequence_length: 5 features {
      id_feature { feature_name: "b" expression: "item:b" num_buckets: 3 embedding_dim: 4 } } } }"""
    config = parse_pipeline_config(GOOD + block, "x.config")
    config.model_config.feature_groups[0].feature_names.append("s__b")
    assert lint(config) == []


def test_findings_are_raised_together_with_their_lines():
    text = GOOD.replace('feature_names: ["b", "r"]', 'feature_names: ["bb", "rr"]').replace(
        'input: "user"', 'input: "usr"'
    )
    with pytest.raises(ConfigError) as raised:
        raise_problems(lint(parse_pipeline_config(text, "x.config")), "x.config", text)
    lines = str(raised.value).split("\n")
    group = (
        text.splitlines().index('  feature_groups { group_name: "item" feature_names: ["bb", "rr"] group_type: DEEP }')
        + 1
    )
    assert [line.split(": ")[0] for line in lines] == [
        f"x.config:{group}",
        f"x.config:{group}",
        f"x.config:{group + 2}",
    ]
    assert located([], "x", "") == []
