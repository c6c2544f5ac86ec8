"""Each model: widths, activations, towers, losses and weights against what was written by hand from the EasyRec text."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from tests.tools.easyrec_texts import ALL, DATA, FEATURES, MODELS, SIDES, config_text, convert_text, refusals
from tzrec_build.config.lint import lint
from tzrec_build.config.load import canonical_text, parse_pipeline_config
from tzrec_build.protos.tzrec.model_pb2 import ModelConfig

BN = "use_bn: true"
TASKS = f"""
  task_towers {{ tower_name: "clk" label_name: "clk" weight: 1 mlp {{ hidden_units: [6, 5] {BN} }}
    losses {{ binary_cross_entropy {{}} }} METRICS }}
  task_towers {{ tower_name: "buy" label_name: "buy" weight: 2 mlp {{ hidden_units: [6, 5] {BN} }}
    losses {{ binary_cross_entropy {{}} }} }}
""".replace("METRICS", "metrics { auc {} }")
EXPECTED = {
    "deepfm": f"deepfm {{ deep {{ hidden_units: [8, 4] {BN} }} wide_embedding_dim: 4 }}",
    "wide_and_deep": f"wide_and_deep {{ deep {{ hidden_units: 8 {BN} }} wide_embedding_dim: 4 }}",
    "multi_tower": f"""multi_tower {{ towers {{ input: "user" mlp {{ hidden_units: [8, 4] {BN} }} }}
        towers {{ input: "item" mlp {{ hidden_units: 6 use_bn: false }} }} final {{ hidden_units: 5 {BN} }} }}""",
    "multi_tower_din": f"""multi_tower_din {{ towers {{ input: "user" mlp {{ hidden_units: 8 {BN} }} }}
        din_towers {{ input: "din" attn_mlp {{ hidden_units: [32, 16] activation: "nn.Sigmoid" {BN} }} }}
        final {{ hidden_units: 5 {BN} }} }}""",
    "dcn": f"dcn_v1 {{ cross {{ cross_num: 5 }} deep {{ hidden_units: 8 {BN} }} final {{ hidden_units: 4 {BN} }} }}",
    "dlrm": f"""dlrm {{ dense_mlp {{ hidden_units: [16, 8] {BN} }} final {{ hidden_units: [9, 3] {BN} }}
        arch_with_sparse: false }}""",
    "rocket_launching": f"""rocket_launching {{ share_mlp {{ hidden_units: 9 {BN} }} booster_mlp {{ hidden_units: [8, 7] {BN} }}
        light_mlp {{ hidden_units: 6 {BN} }} feature_based_distillation: true feature_distillation_function: EUCLID }}""",
    "mmoe": f"mmoe {{ num_expert: 3 expert_mlp {{ hidden_units: [8, 4] {BN} }} {TASKS} }}",
    "ple": f"""ple {{ extraction_networks {{ network_name: "n1" expert_num_per_task: 3 share_num: 2
        task_expert_net {{ hidden_units: [8, 4] {BN} }} share_expert_net {{ hidden_units: 7 {BN} }} }} {TASKS} }}""",
    "dbmtl": f"""dbmtl {{ bottom_mlp {{ hidden_units: 16 {BN} }} num_expert: 2 expert_mlp {{ hidden_units: 8 {BN} }}
        task_towers {{ tower_name: "clk" label_name: "clk" weight: 1 mlp {{ hidden_units: [6, 5] {BN} }}
          losses {{ binary_cross_entropy {{}} }} }}
        task_towers {{ tower_name: "buy" label_name: "buy" weight: 0.5 mlp {{ hidden_units: [6, 5] {BN} }}
          losses {{ binary_cross_entropy {{}} }} relation_tower_names: "clk" relation_mlp {{ hidden_units: 3 {BN} }} }} }}""",
    "simple_multi_task": f"dbmtl {{ {TASKS} }}",
    "dssm": f"""dssm {{ user_tower {{ input: "user" mlp {{ hidden_units: 16 {BN} }} }}
        item_tower {{ input: "item" mlp {{ hidden_units: 12 {BN} }} }}
        output_dim: 4 similarity: COSINE temperature: 0.1 in_batch_negative: true }}""",
    "dat": f"""dat {{ user_tower {{ input: "user" augment_input: "user_id_augment" mlp {{ hidden_units: 16 {BN} }} }}
        item_tower {{ input: "item" augment_input: "item_id_augment" mlp {{ hidden_units: 12 {BN} }} }}
        output_dim: 4 similarity: COSINE temperature: 0.1 in_batch_negative: true amm_i_weight: 0.3 }}""",
    "mind": f"""mind {{ user_tower {{ input: "user" history_input: "hist" user_mlp {{ hidden_units: [16, 8] {BN} }}
        hist_seq_mlp {{ hidden_units: 6 {BN} }} concat_mlp {{ hidden_units: 10 {BN} }}
        capsule_config {{ max_k: 4 max_seq_len: 20 high_dim: 8 squash_pow: 0.5 }} }}
        item_tower {{ input: "item" mlp {{ hidden_units: 12 {BN} }} }} simi_pow: 3 similarity: COSINE
        in_batch_negative: true output_dim: 4 }}""",
}


def only_model(config: ModelConfig) -> ModelConfig:
    kept = ModelConfig()
    kept.CopyFrom(config)
    for field in ("feature_groups", "losses", "metrics"):
        kept.ClearField(field)
    return kept


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_the_widths_towers_and_weights_of_the_source(model):
    wanted = ModelConfig()
    text_format.Parse(EXPECTED[model], wanted)
    assert only_model(convert_text(config_text(model)).config.model_config) == wanted


@pytest.mark.parametrize("model", MODELS)
def test_a_model_loads_and_lints_clean(model):
    config = convert_text(config_text(model)).config
    assert parse_pipeline_config(canonical_text(config), "x.config") == config
    assert lint(config) == []


@pytest.mark.parametrize("model", ["dssm", "dat", "mind"])
def test_a_match_model_has_its_one_loss_and_items_on_their_side(model):
    config = convert_text(
        config_text(model, evaluation="metrics_set { recall_at_topk { topk: 7 } } metrics_set { auc {} }")
    ).config
    assert [loss.WhichOneof("loss") for loss in config.model_config.losses] == ["softmax_cross_entropy"]
    assert [metric.recall_at_k.top_k for metric in config.model_config.metrics] == [7]
    sides = {feature.id_feature.feature_name: feature.id_feature.expression for feature in config.feature_configs}
    assert (sides["u"], sides["i"]) == ("user:u", "item:i")


def test_the_attention_of_a_din_tower_is_a_sequence_group_with_its_target():
    config = convert_text(config_text("multi_tower_din")).config
    groups = {group.group_name: group for group in config.model_config.feature_groups}
    assert (list(groups["din"].feature_names), groups["din"].group_type) == (["i", "h"], 2)
    assert "item" not in groups  # no tower reads it
    (sequence,) = [
        f.sequence_id_feature for f in config.feature_configs if f.WhichOneof("feature") == "sequence_id_feature"
    ]
    assert (sequence.feature_name, sequence.sequence_length, sequence.sequence_delim) == ("h", 20, ";")


def test_an_attention_inside_a_group_becomes_an_encoder_without_the_last_layer():
    groups = """feature_groups { group_name: "all" feature_names: ["u", "i"] wide_deep: DEEP
      sequence_features { group_name: "s" seq_att_map { key: "i" hist_seq: "h" } seq_dnn { hidden_units: [12, 6, 1] } } }"""
    config = convert_text(config_text(MODELS["mmoe"].replace(ALL, groups))).config
    (group,) = config.model_config.feature_groups
    assert list(group.sequence_groups[0].feature_names) == ["i", "h"]
    encoder = group.sequence_encoders[0].din_encoder
    assert (encoder.input, list(encoder.attn_mlp.hidden_units), encoder.attn_mlp.use_bn) == ("s", [12, 6], True)


def test_a_sequence_in_a_plain_group_is_pooled_by_its_mean():
    config = convert_text(config_text(MODELS["mmoe"].replace('"p"]', '"h"]'))).config
    (pooled,) = [f.id_feature for f in config.feature_configs if f.id_feature.feature_name == "h"]
    assert (pooled.pooling, pooled.separator, pooled.HasField("sequence_length")) == ("mean", ";", False)


LOSSES = {
    "losses { loss_type: CLASSIFICATION weight: 3 }": ("binary_cross_entropy {}", 6),
    "losses { loss_type: BINARY_FOCAL_LOSS binary_focal_loss { gamma: 3 alpha: 0.25 } }": (
        "binary_focal_loss { gamma: 3 alpha: 0.25 }",
        2,
    ),
    "loss_type: L2_LOSS": ("l2_loss {}", 2),
    "losses { loss_type: JRC_LOSS jrc_loss { session_name: 'u' alpha: 0.7 } } num_class: 2": (
        "jrc_loss { session_name: 'u' alpha: 0.7 }",
        2,
    ),
    "num_class: 4": ("softmax_cross_entropy {}", 2),
    "losses { loss_type: CLASSIFICATION } losses { loss_type: PAIR_WISE_LOSS }": ("binary_cross_entropy {}", 2),
}


@pytest.mark.parametrize("text", LOSSES)
def test_losses_of_a_task_with_their_parameters_and_weights(text):
    wanted, weight = LOSSES[text]
    body = MODELS["simple_multi_task"].replace("weight: 2", f"weight: 2 {text}")
    tower = convert_text(config_text(body)).config.model_config.dbmtl.task_towers[1]
    loss = type(tower.losses[0])()
    text_format.Parse(wanted, loss)
    assert list(tower.losses) == [loss]
    assert tower.weight == weight


METRICS = {
    "auc { num_thresholds: 500 }": "auc { thresholds: 500 }",
    "gauc { uid_field: 'u' }": "grouped_auc { grouping_key: 'u' }",
    "session_auc { session_id_field: 'i' }": "grouped_auc { grouping_key: 'i' }",
    "accuracy {}": "accuracy {}",
    "max_f1 {}": "",
    "mean_squared_error {}": "",  # reads what an l2_loss predicts
    "gauc { uid_field: 'nobody' }": "",
}


@pytest.mark.parametrize("text", METRICS)
def test_metrics_of_a_model_with_their_parameters(text):
    metrics = convert_text(config_text("deepfm", evaluation=f"metrics_set {{ {text} }}")).config.model_config.metrics
    wanted = ModelConfig()
    text_format.Parse(f"metrics {{ {METRICS[text]} }}" if METRICS[text] else "", wanted)
    assert list(metrics) == list(wanted.metrics)


def test_towers_of_two_widths_are_refused():
    text = config_text(MODELS["dssm"].replace("[12, 4]", "[12, 8]"))
    assert "the towers must end with one width, got 4 and 8" in refusals(text)


def test_experts_of_the_old_kind_are_counted():
    body = MODELS["mmoe"].replace("num_expert: 3 expert_dnn { hidden_units: [8, 4] }", " ".join(
        f'experts {{ expert_name: "e{i}" dnn {{ hidden_units: [8, 4] }} }}' for i in range(4)
    ))  # fmt: skip
    mmoe = convert_text(config_text(body)).config.model_config.mmoe
    assert (mmoe.num_expert, list(mmoe.expert_mlp.hidden_units)) == (4, [8, 4])


BACKBONES = {
    "dcn": (
        f"""model_class: "RankModel" {ALL} backbone {{
          blocks {{ name: "deep" inputs {{ feature_group_name: "all" }} keras_layer {{ class_name: "MLP" mlp {{ hidden_units: 8 }} }} }}
          blocks {{ name: "cross" inputs {{ feature_group_name: "all" input_fn: "lambda x: [x, x]" }}
            recurrent {{ num_steps: 3 fixed_input_index: 0 keras_layer {{ class_name: "Cross" }} }} }}
          concat_blocks: ["deep", "cross"] top_mlp {{ hidden_units: 4 }} }}""",
        f"dcn_v2 {{ cross {{ cross_num: 3 }} deep {{ hidden_units: 8 {BN} }} final {{ hidden_units: 4 {BN} }} }}",
    ),
    "mask_net": (
        f"""model_class: "RankModel" {ALL} backbone {{ blocks {{ name: "m" inputs {{ feature_group_name: "all" }}
          keras_layer {{ class_name: "MaskNet" masknet {{ use_parallel: false mask_blocks {{ aggregation_size: 6 output_size: 5 }}
          mask_blocks {{ aggregation_size: 6 output_size: 5 }} mlp {{ hidden_units: [7] }} }} }} }} }}""",
        f"""mask_net {{ mask_net_module {{ n_mask_blocks: 2 use_parallel: false top_mlp {{ hidden_units: 7 {BN} }}
          mask_block {{ reduction_ratio: 0 aggregation_dim: 6 hidden_dim: 5 }} }} }}""",
    ),
    "multi_tower": (
        f"""model_class: "RankModel" {SIDES} backbone {{
          blocks {{ name: "a" inputs {{ feature_group_name: "user" }} keras_layer {{ class_name: "MLP" mlp {{ hidden_units: 8 }} }} }}
          blocks {{ name: "b" inputs {{ feature_group_name: "item" }} keras_layer {{ class_name: "MLP" mlp {{ hidden_units: 6 }} }} }}
          blocks {{ name: "top" inputs {{ block_name: "a" }} inputs {{ block_name: "b" }}
            keras_layer {{ class_name: "MLP" mlp {{ hidden_units: 4 }} }} }} }}""",
        f"""multi_tower {{ towers {{ input: "user" mlp {{ hidden_units: 8 {BN} }} }}
          towers {{ input: "item" mlp {{ hidden_units: 6 {BN} }} }} final {{ hidden_units: 4 {BN} }} }}""",
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_is_recognised_by_its_layers(name):
    source, result = BACKBONES[name]
    wanted = ModelConfig()
    text_format.Parse(result, wanted)
    assert only_model(convert_text(config_text(source)).config.model_config) == wanted


def test_another_backbone_is_refused_by_its_layers():
    body = f"""model_class: "RankModel" {ALL} backbone {{ blocks {{ name: "x" inputs {{ feature_group_name: "all" }}
      keras_layer {{ class_name: "FiBiNet" fibinet {{ mlp {{ hidden_units: 4 }} }} }} }} }}"""
    assert "a backbone of the layers FiBiNet is no model that has a counterpart" in refusals(config_text(body))


@pytest.mark.parametrize(
    "name", ["ESMM", "FM", "AutoInt", "CMBF", "Uniter", "MultiTowerBST", "PDN", "DropoutNet", "Whatever"]
)
def test_a_model_without_counterpart_is_refused_by_name(name):
    text = refusals(config_text(f'model_class: "{name}" {ALL}'))
    assert f"model_config.model_class: model_class {name!r} has no counterpart" in text


def test_features_of_no_group_are_dropped_with_the_reason():
    converted = convert_text(config_text("deepfm"))
    names = [getattr(f, f.WhichOneof("feature")).feature_name for f in converted.config.feature_configs]
    assert names == ["u", "i"]
    assert converted.receipt.entries["feature_config.features[2]"].note == "no feature group names it"
    assert FEATURES.count("features {") == 4


ATTENTION = """feature_groups { group_name: "all" feature_names: ["u", "i"] wide_deep: DEEP
  sequence_features { group_name: "s" seq_att_map { key: ["u", "i"] hist_seq: "h" } } }"""


def test_a_target_wider_than_its_history_is_refused():
    text = refusals(config_text(MODELS["mmoe"].replace(ALL, ATTENTION)))
    assert "the target of an attention must not be wider than its history, got 16 and 8" in text


def test_an_attention_of_sampled_items_over_unsampled_histories_is_refused():
    sampler = 'negative_sampler { input_path: "n" num_sample: 4 attr_fields: "i" item_id_field: "i" }'
    groups = SIDES.replace(
        '"p"] wide_deep: DEEP',
        '"p"] wide_deep: DEEP sequence_features { group_name: "s" seq_att_map { key: "i" hist_seq: "h" } }',
    )
    text = refusals(config_text(MODELS["dssm"].replace(SIDES, groups), data=f"{DATA} {sampler}"))
    assert "an attention must not mix sampled items with columns that are not sampled, got i, h" in text


def test_a_sampler_gives_the_negatives_in_place_of_the_batch():
    sampler = 'negative_sampler { input_path: "n" num_sample: 4 attr_fields: "i" item_id_field: "i" }'
    config = convert_text(config_text("dssm", data=f"{DATA} {sampler}")).config
    assert not config.model_config.dssm.HasField("in_batch_negative")
    made = config.data_config.negative_sampler
    assert (made.input_path, made.num_sample, list(made.attr_fields), made.field_delimiter) == ("n", 4, ["i"], "\x01")
