"""For each rule of lint a config that breaks it and a near miss: the same place, written in a way that is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.config.texts import GOOD, MATCH, SEQUENCES, TASKS


@dataclass(frozen=True)
class Case:
    """What breaks a rule, what its message says, and what just does not break it; edits of one text, or replaced words."""

    bad: Mapping[str, object]
    words: str
    good: Mapping[str, object]
    text: str = GOOD
    bad_text: tuple[str, str] = ("", "")
    good_text: tuple[str, str] = ("", "")
    bad_columns: tuple[str, ...] | None = None
    good_columns: tuple[str, ...] | None = None
    also: tuple[str, ...] = field(default=())  # rules that the broken config breaks as a consequence


A = "feature_configs[0].id_feature"
B = "feature_configs[1].id_feature"
R = "feature_configs[2].raw_feature"
GROUP = "model_config.feature_groups[0]"
DEEPFM = "{ deep { hidden_units: 2 } %s }"
WIDE = """[{ group_name: "wide" feature_names: "%s" group_type: WIDE }, { group_name: "deep" feature_names: ["a", "b", "r"] }]"""
CSV = {"data_config.dataset_type": "CsvDataset"}

CASES: dict[str, Case] = {
    "required": Case(
        {"model_config.multi_tower.towers[0]": "{ mlp {} }"},
        "Tower must set input; add `input: ...` to it",
        {"model_config.multi_tower.towers[0]": '{ input: "user" }'},
        also=("unknown-group", "unread-group"),
    ),
    "no-model": Case(
        {"model_config": "{}"}, "model_config must choose a model, got none", {}, also=()
    ),
    "no-feature": Case(
        {A: {}, "feature_configs[0]": "{}"},
        "feature_configs must hold a feature, got {}; remove it",
        {"feature_configs[0]": '{ raw_feature { feature_name: "a" expression: "user:a" } }'},
        also=("unknown-feature",),
    ),
    "empty-sequence": Case(
        {"feature_configs[1].sequence_feature.features": []},
        "sequence_feature 's' must have features, got none",
        {"feature_configs[1].sequence_feature.sequence_length": 1},
        SEQUENCES,
        also=("unknown-feature",),
    ),
    "duplicate-feature": Case(
        {f"{A}.feature_name": "b"},
        "feature 'b' must be configured once, got it again; rename one",
        {f"{A}.feature_name": "bb", f"{GROUP}.feature_names[0]": "bb"},
        also=("unknown-feature",),
    ),
    "duplicate-group": Case(
        {f"{GROUP}.group_name": "item"},
        "feature group 'item' must be configured once, got it again",
        {f"{GROUP}.group_name": "goods", "model_config.multi_tower.towers[0].input": "goods"},
        also=("unknown-group",),
    ),
    "unknown-feature": Case(
        {"model_config.feature_groups[1].feature_names[0]": "bb"},
        "group 'item' must name configured features, got 'bb'; did you mean 'b'?",
        {f"{B}.feature_name": "bb", "model_config.feature_groups[1].feature_names[0]": "bb"},
        also=("unused-feature",),
    ),
    "rtp-name": Case(
        {f"{GROUP}.sequence_groups[0].feature_names[1]": "s_b"},
        "must be named as 's__b', got 's_b', its name with USE_RTP; write 's__b'",
        {},
        SEQUENCES,
    ),
    "empty-group": Case(
        {f"{GROUP}.feature_names": []},
        "group 'user' must name features, got none",
        {f"{GROUP}.feature_names": ["a"]},
        also=("unused-feature",),
    ),
    "unknown-group": Case(
        {"model_config.multi_tower.towers[0].input": "usr"},
        "a tower's input must name a feature group, got 'usr'; did you mean 'user'?",
        {f"{GROUP}.group_name": "usr", "model_config.multi_tower.towers[0].input": "usr"},
        also=("unread-group",),
    ),
    "missing-group": Case(
        {"model_config.deepfm": DEEPFM % ""},
        "deepfm needs a feature group 'wide', got user, item; add it",
        {"model_config.deepfm": DEEPFM % "", "model_config.feature_groups": WIDE % "a"},
    ),
    "no-encoder": Case(
        {f"{GROUP}.sequence_encoders[1]": "{}"},
        "sequence_encoders must choose an encoder, got none",
        {f"{GROUP}.sequence_encoders[1]": '{ simple_attention { input: "h" } }'},
        SEQUENCES,
        also=("unread-sequence-group",),
    ),
    "unknown-sequence-group": Case(
        {f"{GROUP}.sequence_encoders[1].pooling_encoder.input": "x"},
        "an encoder's input must name a sequence group of 'user', got 'x'",
        {f"{GROUP}.sequence_encoders[1].pooling_encoder.input": "x", f"{GROUP}.sequence_groups[1].group_name": "x"},
        SEQUENCES,
        also=("unread-sequence-group",),
    ),
    "unread-sequence-group": Case(
        {f"{GROUP}.sequence_encoders[1].pooling_encoder.input": "g"},
        "sequence group 'h' must have an encoder, got none with this input",
        {f"{GROUP}.sequence_encoders": '[{ pooling_encoder { input: "h" } }, { simple_attention { input: "g" } }]'},
        SEQUENCES,
    ),
    "sequence-group-name": Case(
        {f"{GROUP}.sequence_groups[1].group_name": "g"},
        "sequence group 'g' must be configured once, got it again",
        {f"{GROUP}.sequence_groups[1].group_name": "gg", f"{GROUP}.sequence_encoders[1].pooling_encoder.input": "gg"},
        SEQUENCES,
        also=("unknown-sequence-group",),
    ),
    "sequence-group-type": Case(
        {f"{GROUP}.group_type": "WIDE"},
        "group 'user' must be DEEP to hold sequence_groups, got WIDE",
        {f"{GROUP}.group_type": "DEEP"},
        SEQUENCES,
    ),
    "no-sequence": Case(
        {f"{GROUP}.sequence_groups[1].feature_names": ["a"]},
        "group 'h' must name a sequence feature, got a; add one",
        {f"{GROUP}.sequence_groups[1].feature_names": ["q"]},
        SEQUENCES,
        also=("unused-feature",),
    ),
    "dense-in-wide": Case(
        {"model_config.deepfm": DEEPFM % "", "model_config.feature_groups": WIDE % "r", f"{R}.boundaries": []},
        "WIDE group 'wide' must name features with ids, got the dense 'r'",
        {"model_config.deepfm": DEEPFM % "", "model_config.feature_groups": WIDE % "r"},
    ),
    "duplicate-tower": Case(
        {"model_config.dbmtl.task_towers[1].tower_name": "ctr"},
        "tower_name must be given once, got 'ctr' again",
        {"model_config.dbmtl.task_towers[1].tower_name": "ctr2"},
        TASKS,
    ),
    "unknown-tower": Case(
        {"model_config.dbmtl.task_towers[1].relation_tower_names": ["cvr"]},
        "relation_tower_names of 'cvr' must name towers before it, got 'cvr'; did you mean 'ctr'?",
        {"model_config.dbmtl.task_towers[1].relation_tower_names": []},
        TASKS,
    ),
    "no-label": Case(
        {"data_config.label_fields": []},
        "label_fields must name the label column, got none",
        {"data_config.label_fields": ["x"]},
    ),
    "unknown-label": Case(
        {"model_config.dbmtl.task_towers[1].label_name": "bye"},
        "label_name must be one of data_config.label_fields, got 'bye'; did you mean 'buy'?",
        {"model_config.dbmtl.task_towers[1].task_space_indicator_label": "clk"},
        TASKS,
    ),
    "no-loss": Case(
        {"model_config.losses": [], "model_config.metrics": []},
        "a model or task must have a loss, got none",
        {"model_config.losses": "l2_loss {}", "model_config.metrics": "mean_squared_error {}"},
    ),
    "loss-num-class": Case(
        {"model_config.num_class": 2},
        "binary_cross_entropy needs num_class 1, got 2",
        {"model_config.num_class": 2, "model_config.losses": "softmax_cross_entropy {}"},
    ),
    "match-loss": Case(
        {"model_config.losses": "binary_cross_entropy {}"},
        "must have exactly the loss softmax_cross_entropy, got ['binary_cross_entropy']",
        {"model_config.losses": "softmax_cross_entropy { label_smoothing: 0.1 }"},
        MATCH,
    ),
    "metric-loss": Case(
        {"model_config.num_class": 3, "model_config.losses": "softmax_cross_entropy {}"},
        "auc needs a loss with probabilities and num_class 1 or 2, got softmax_cross_entropy and num_class 3",
        {
            "model_config.num_class": 3,
            "model_config.losses": "softmax_cross_entropy {}",
            "model_config.metrics": "multiclass_auc {}",
        },
    ),
    "match-metric": Case(
        {"model_config.metrics": "auc {}"},
        "a metric of a match model must be recall_at_k, got auc",
        {"model_config.metrics": "[{ recall_at_k {} }, { recall_at_k { top_k: 2 } }]"},
        MATCH,
    ),
    "unknown-key": Case(
        {"model_config.dbmtl.task_towers[1].losses[0].jrc_loss.session_name": "sid"},
        "session_name must name a configured feature, got 'sid'",
        {},
        TASKS,
    ),
    "no-negatives": Case(
        {},
        "dssm must have negatives, got neither a sampler nor in_batch_negative",
        {"model_config.dssm.in_batch_negative": True},
        MATCH,
        bad_text=(MATCH[MATCH.index("negative_sampler") : MATCH.index("label_fields")], ""),
        good_text=(MATCH[MATCH.index("negative_sampler") : MATCH.index("label_fields")], ""),
    ),
    "no-bucketizer": Case(
        {A: '{ feature_name: "a" expression: "user:a" embedding_dim: 4 }'},
        "id_feature 'a' must say how many ids there are",
        {A: '{ feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_list: "x" }'},
    ),
    "bucketizer-conflict": Case(
        {f"{A}.hash_bucket_size": 7},
        "feature 'a' must turn values into ids in one way, got hash_bucket_size and num_buckets; keep one",
        {A: '{ feature_name: "a" expression: "user:a" embedding_dim: 4 hash_bucket_size: 7 }'},
    ),
    "no-embedding-dim": Case(
        {f"{R}.embedding_dim": 0},
        "feature 'r' is embedded, so embedding_dim must be above 0, got 0",
        {f"{R}.embedding_dim": 0, f"{R}.boundaries": []},
    ),
    "width": Case(
        {f"{A}.embedding_dim": 3}, "embedding_dim must be a multiple of 4, which the fused kernels need, got 3; set 4",
        {f"{A}.embedding_dim": 12},
    ),
    "shared-embedding": Case(
        {f"{A}.embedding_name": "t", f"{B}.embedding_name": "t", f"{B}.num_buckets": 11},
        "num_buckets of the shared table 't' must be that of 'a', 10, got 11; make them equal or drop embedding_name",
        {f"{A}.embedding_name": "t", f"{B}.embedding_name": "t"},
    ),
    "torch-name": Case(
        {f"{A}.embedding_name": "items"},
        "embedding_name must be neither with '.' nor the name of a method of torch's modules, got 'items'; rename it",
        {f"{A}.embedding_name": "items_"},
    ),
    "boundaries": Case(
        {f"{R}.boundaries": [1, 1]}, "boundaries of 'r' must rise, got 1 after 1; sort them", {f"{R}.boundaries": [-1, 1]}
    ),
    "default-id": Case(
        {A: '{ feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_list: ["x", "y"] default_bucketize_value: 2 }'},
        "default_bucketize_value of 'a' must be below 2, the length of vocab_list, got 2",
        {A: '{ feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_list: ["x", "y"] default_bucketize_value: 1 }'},
    ),
    "source": Case(
        {f"{A}.expression": "usr:a"},
        "expression of 'a' must read SIDE:NAME with one of the sides user, item, context, feature, const, got 'usr:a'",
        {f"{A}.expression": "usr:a", "data_config.fg_mode": "FG_NONE"},
    ),
    "unknown-source": Case(
        {f"{A}.expression": "feature:bb"},
        "expression of 'a' must name a configured feature, got 'feature:bb'; did you mean 'b'?",
        {f"{A}.expression": "feature:b"},
    ),
    "stub-mode": Case(
        {f"{A}.stub_type": True, "data_config.fg_mode": "FG_NORMAL"},
        "stub_type of 'a' needs fg_mode FG_DAG, got FG_NORMAL",
        {f"{A}.stub_type": True},
    ),
    "sampler-attributes": Case(
        {"data_config.negative_sampler.attr_fields": []},
        "attr_fields must name the columns of sampled items, got none",
        {"data_config.negative_sampler.attr_fields": ["b"]},
        MATCH,
    ),
    "sampler-size": Case(
        {"data_config.negative_sampler.num_sample": 0},
        "num_sample must be 1 or more, got 0",
        {"data_config.negative_sampler.num_sample": 1},
        MATCH,
    ),
    "undeclared-column": Case(
        {**CSV, "data_config.input_fields_str": "clk:INT64;a:INT64;b:INT64"},
        "column 'r' must be in input_fields of a CSV without header, got none of that name",
        {**CSV, "data_config.input_fields_str": "clk:INT64;a:INT64;b:INT64;r:FLOAT"},
    ),
    "missing-column": Case(
        {},
        "the data must have the column 'clk', got none of that name; did you mean 'click'?",
        {},
        bad_columns=("click", "a", "b", "r"),
        good_columns=("clk", "a", "b", "r"),
    ),
    "train-length": Case(
        {"train_config.num_steps": 5},
        "exactly one of num_steps and num_epochs must be above 0, got num_steps 5 and num_epochs 1; remove one",
        {"train_config.num_steps": 5, "train_config.num_epochs": 0},
    ),
    "range": Case(
        {"train_config.dense_optimizer.adam_optimizer.lr": -1},
        "train_config.dense_optimizer.adam_optimizer.lr: must be a finite number of 0 or more, got -1",
        {"train_config.dense_optimizer.adam_optimizer.lr": 0},
    ),
    "nesterov": Case(
        {"train_config.dense_optimizer.sgd_optimizer": "{ lr: 1 nesterov: true momentum: 0 }"},
        "sgd_optimizer.nesterov: needs momentum above 0 and dampening 0, got momentum 0 and dampening 0",
        {"train_config.dense_optimizer.sgd_optimizer": "{ lr: 1 nesterov: true momentum: 0.5 }"},
    ),
    "unsupported": Case(
        {"train_config.mixed_precision": "BF16"},
        "train_config.mixed_precision must be left out, got it set, and it is not supported yet",
        {"train_config.log_step_count_steps": 3},
    ),
    "unused-feature": Case(
        {"model_config.feature_groups[1].feature_names": ["b"]},
        "feature 'r' should be in a feature group, got it in none",
        {"model_config.feature_groups[1].feature_names": ["b"], f"{A}.expression": "feature:r"},
    ),
    "unread-group": Case(
        {"model_config.multi_tower.towers": '{ input: "item" }'},
        "feature group 'user' should be a tower's input, got it in none",
        {"model_config.multi_tower.towers": '[{ input: "item" }, { input: "user" }]'},
    ),
    "repeated-name": Case(
        {f"{GROUP}.feature_names": ["a", "a"]},
        "group 'user' should name a feature once, got 'a' again",
        {f"{GROUP}.feature_names": ["a", "b"]},
    ),
    "sampler-column": Case(
        {"data_config.negative_sampler.attr_fields": ["b", "rr"]},
        "attr_fields should name columns that features read, got 'rr'; did you mean 'r'?",
        {"data_config.negative_sampler.attr_fields": ["r"]},
        MATCH,
    ),
    "set-twice": Case(
        {},
        "batch_size should be set once, got the same value again; remove one",
        {},
        bad_text=("batch_size: 8", "batch_size: 8 batch_size: 8"),
        good_text=("batch_size: 8", "batch_size: 8 eval_batch_size: 8"),
    ),
    "old-field": Case(
        {},
        "fg_encoded should be replaced by fg_mode, got the old field; write fg_mode: FG_NONE",
        {},
        bad_text=("fg_mode: FG_DAG", "fg_encoded: true"),
        good_text=("fg_mode: FG_DAG", "# fg_encoded: true"),
    ),
}  # fmt: skip
