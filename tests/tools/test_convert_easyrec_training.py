"""Optimizers, schedules, lengths, data and single features: each against a result written by hand."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from tests.tools.easyrec_texts import DATA, MODELS, config_text, convert_text, refusals
from tzrec_build.protos.tzrec.feature_pb2 import FeatureConfig
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.protos.tzrec.train_pb2 import TrainConfig

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.5 } }"
ONE = "constant_learning_rate {}"
TRAIN = {
    f"optimizer_config {{ momentum_optimizer {{ {RATE} momentum_optimizer_value: 0.8 }} }} num_steps: 5": f"""
      sparse_optimizer {{ sgd_optimizer {{ lr: 0.5 }} {ONE} }} dense_optimizer {{ sgd_optimizer {{ lr: 0.5 momentum: 0.8 }} {ONE} }}
      num_steps: 5 keep_checkpoint_max: 10""",
    f"optimizer_config {{ adamw_optimizer {{ {RATE} beta1: 0.7 }} embedding_learning_rate_multiplier: 2 }}": f"""
      sparse_optimizer {{ adam_optimizer {{ lr: 1 beta1: 0.7 weight_decay: 0.000001 }} {ONE} }}
      dense_optimizer {{ adamw_optimizer {{ lr: 0.5 beta1: 0.7 weight_decay: 0.000001 }} {ONE} }} num_epochs: 1
      keep_checkpoint_max: 10""",
    f"optimizer_config {{ adagrad_optimizer {{ {RATE} }} }} optimizer_config {{ lazy_adam_optimizer {{ {RATE} }} }}"
    " keep_checkpoint_max: 3 gradient_clipping_by_norm: 2": f"""
      sparse_optimizer {{ adagrad_optimizer {{ lr: 0.5 initial_accumulator_value: 0.1 }} {ONE} }}
      dense_optimizer {{ adam_optimizer {{ lr: 0.5 }} {ONE} }} num_epochs: 1 keep_checkpoint_max: 3
      grad_clipping {{ clipping_type: "norm" max_gradient: 2 }}""",
    "optimizer_config { adam_optimizer { learning_rate { manual_step_learning_rate { initial_learning_rate: 0.25"
    " schedule { step: 10 learning_rate: 0.125 } schedule { step: 20 learning_rate: 0.5 } warmup: true } } } }": """
      sparse_optimizer { adam_optimizer { lr: 0.25 }
        manual_step_learning_rate { schedule_sizes: [10, 20] learning_rates: [0.125, 0.5] warmup: true } }
      dense_optimizer { adam_optimizer { lr: 0.25 }
        manual_step_learning_rate { schedule_sizes: [10, 20] learning_rates: [0.125, 0.5] warmup: true } }
      num_epochs: 1 keep_checkpoint_max: 10""",
    "optimizer_config { adam_optimizer { learning_rate { cosine_decay_learning_rate { learning_rate_base: 0.25 total_steps: 99"
    " warmup_learning_rate: 0.125 warmup_steps: 7 } } } }": """
      sparse_optimizer { adam_optimizer { lr: 0.25 }
        cosine_annealing_learning_rate { T_max: 99 warmup_learning_rate: 0.125 warmup_size: 7 } }
      dense_optimizer { adam_optimizer { lr: 0.25 }
        cosine_annealing_learning_rate { T_max: 99 warmup_learning_rate: 0.125 warmup_size: 7 } }
      num_epochs: 1 keep_checkpoint_max: 10""",
}


@pytest.mark.parametrize("text", TRAIN)
def test_training(text):
    wanted = TrainConfig()
    text_format.Parse(TRAIN[text], wanted)
    pipeline = f'model_dir: "m" train_config {{ {text} }}'
    assert convert_text(config_text("multi_tower", pipeline=pipeline)).config.train_config == wanted


def test_epochs_count_where_there_are_no_steps():
    config = convert_text(config_text("deepfm", data=f"{DATA} num_epochs: 4")).config
    assert (config.train_config.num_epochs, config.train_config.num_steps) == (4, 0)


FEATURES = {
    'input_names: "u" feature_type: TagFeature embedding_dim: 8 num_buckets: 5 combiner: "mean"': """
      id_feature { feature_name: "u" expression: "user:u" embedding_dim: 8 num_buckets: 5 pooling: "mean" separator: "|" }""",
    'input_names: "u" feature_type: IdFeature embedding_dim: 6 vocab_list: ["a", "b"] num_buckets: 9': """
      id_feature { feature_name: "u" expression: "user:u" embedding_dim: 8 vocab_list: ["a", "b"] value_dim: 1 }""",
    'input_names: "u" feature_type: RawFeature embedding_dim: 8 raw_input_dim: 3 separator: "," min_val: 2 max_val: 6': """
      raw_feature { feature_name: "u" expression: "user:u" embedding_dim: 8 value_dim: 3 separator: "," mlp {}
        normalizer: "method=minmax,min=2,max=6" }""",
    'input_names: "u" feature_type: RawFeature embedding_dim: 8 num_buckets: 4 min_val: 0 max_val: 8': """
      raw_feature { feature_name: "u" expression: "user:u" embedding_dim: 8 boundaries: [0, 0.25, 0.5, 0.75]
        normalizer: "method=minmax,min=0,max=8" }""",
    'input_names: "u" feature_type: RawFeature boundaries: [3, 1] embedding_dim: 4 normalizer_fn: "tf.math.log1p"': """
      raw_feature { feature_name: "u" expression: "user:u" embedding_dim: 4 boundaries: [1, 3]
        normalizer: "method=expression,expr=log(x+1)" }""",
    'feature_name: "u" input_names: ["m", "k"] feature_type: LookupFeature embedding_dim: 4 hash_bucket_size: 7': """
      lookup_feature { feature_name: "u" map: "user:m" key: "user:k" embedding_dim: 4 hash_bucket_size: 7 }""",
    'feature_name: "u" input_names: ["a", "b"] feature_type: ExprFeature expression: "a > b and b > 0"': """
      expr_feature { feature_name: "u" expression: "a > b && b > 0" variables: ["user:a", "user:b"] }""",
    'input_names: "u" feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 5 initializer { truncated_normal_initializer'
    " { mean: 0 stddev: 0.5 } }": """
      id_feature { feature_name: "u" expression: "user:u" embedding_dim: 4 hash_bucket_size: 5 value_dim: 1
        init_fn: "nn.init.trunc_normal_,mean=0,std=0.5" }""",
    'input_names: "u" feature_type: IdFeature embedding_dim: 4 ev_params { max_capacity: 99 }': """
      id_feature { feature_name: "u" expression: "user:u" embedding_dim: 4 value_dim: 1 zch { zch_size: 99 lfu {} } }""",
}
BODY = MODELS["mmoe"].replace('["u", "i", "p"]', '"u"')


@pytest.mark.parametrize("text", FEATURES)
def test_a_feature(text):
    wanted = FeatureConfig()
    text_format.Parse(FEATURES[text], wanted)
    config = convert_text(config_text(BODY, features=f"features {{ {text} }}")).config
    assert list(config.feature_configs) == [wanted]


def test_features_that_share_settings_share_a_table():
    sizes = "feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 5"
    text = f'features {{ input_names: "p" {sizes} }} features {{ input_names: "u" shared_names: "i" {sizes} }}'
    config = convert_text(config_text("mmoe", features=text)).config
    made = [(f.id_feature.feature_name, f.id_feature.embedding_name) for f in config.feature_configs]
    assert made == [("p", ""), ("u", "u_shared"), ("i", "u_shared")]


def test_a_range_of_names_is_written_out():
    text = 'features { input_names: "f[1-3]" feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 5 }'
    config = convert_text(config_text(MODELS["mmoe"].replace('"u", "i", "p"', '"f[1-3]"'), features=text)).config
    assert [f.id_feature.feature_name for f in config.feature_configs] == ["f1", "f2", "f3"]
    assert list(config.model_config.feature_groups[0].feature_names) == ["f1", "f2", "f3"]


def test_numbers_are_left_out_of_a_wide_group_and_said_to_be():
    body = MODELS["deepfm"].replace('"wide" feature_names: ["u", "i"]', '"wide" feature_names: ["u", "p"]')
    converted = convert_text(config_text(body))
    assert list(converted.config.model_config.feature_groups[0].feature_names) == ["u"]
    entry = converted.receipt.entries["model_config.feature_groups[0].feature_names"]
    assert (entry.result, entry.note) == ("approximated", "numbers without boundaries have no linear weight here: p")


def test_the_label_of_the_model_comes_first():
    config = convert_text(config_text(f'{MODELS["deepfm"]} label_name: "buy"')).config
    assert list(config.data_config.label_fields) == ["buy", "clk"]


@pytest.mark.parametrize(
    ("kind", "dataset", "mode"),
    [
        ("CSVInput", "CsvDataset", "FG_DAG"),
        ("OdpsInputV3", "OdpsDataset", "FG_DAG"),
        ("OdpsRTPInput", "OdpsDataset", "FG_BUCKETIZE"),
        ("TFRecordInput", "ParquetDataset", "FG_DAG"),
    ],
)
def test_kinds_of_input(kind, dataset, mode):
    data = convert_text(config_text("deepfm", data=DATA.replace("ParquetInput", kind))).config.data_config
    wanted = EasyRecConfig()
    text_format.Parse(f"data_config {{ dataset_type: {dataset} fg_mode: {mode} }}", wanted)
    assert (data.dataset_type, data.fg_mode) == (wanted.data_config.dataset_type, wanted.data_config.fg_mode)


def test_a_value_that_does_not_fit_is_refused():
    assert "output_dim cannot be 4294967295" in refusals(config_text(MODELS["dssm"].replace(", 4]", ", 4294967295]")))
