"""Small EasyRec configs for tests of the conversion, one for each model."""

from __future__ import annotations

from tzrec_build.config.easyrec.convert import Converted, convert, parse_easyrec
from tzrec_build.config.easyrec.receipt import report
from tzrec_build.config.schema_source import our_schema

PIPELINE = """
train_input_path: "t.parquet" eval_input_path: "e.parquet" model_dir: "m"
train_config { optimizer_config { adagrad_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } } } }
"""
DATA = 'input_type: ParquetInput batch_size: 32 label_fields: "clk" label_fields: "buy"'
FEATURES = """
features { input_names: "u" feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 100 }
features { input_names: "i" feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 100 }
features { input_names: "p" feature_type: RawFeature }
features { input_names: "h" feature_type: SequenceFeature embedding_dim: 8 hash_bucket_size: 100 separator: ";" sequence_length: 20 }
"""
TASK = 'tower_name: "{0}" label_name: "{0}" dnn {{ hidden_units: [6, 5] }} weight: {1}'
TASKS = (
    f"task_towers {{ {TASK.format('clk', 1)} metrics_set {{ auc {{}} }} }} task_towers {{ {TASK.format('buy', 2)} }}"
)
ALL = 'feature_groups { group_name: "all" feature_names: ["u", "i", "p"] wide_deep: DEEP }'
SIDES = """
feature_groups { group_name: "user" feature_names: ["u", "p"] wide_deep: DEEP }
feature_groups { group_name: "item" feature_names: "i" wide_deep: DEEP }
"""
WIDE_DEEP = """
feature_groups { group_name: "wide" feature_names: ["u", "i"] wide_deep: WIDE }
feature_groups { group_name: "deep" feature_names: ["u", "i"] wide_deep: DEEP }
"""
MATCH = """
  user_tower { id: "u" dnn { hidden_units: [16, 4] } } item_tower { id: "i" dnn { hidden_units: [12, 4] } }
  simi_func: COSINE temperature: 0.1
"""
MODELS = {
    "deepfm": f'model_class: "DeepFM" {WIDE_DEEP} deepfm {{ dnn {{ hidden_units: [8, 4] }} }}',
    "wide_and_deep": f'model_class: "WideAndDeep" {WIDE_DEEP} wide_and_deep {{ dnn {{ hidden_units: 8 }} wide_output_dim: 3 }}',
    "multi_tower": f"""model_class: "MultiTower" {SIDES} multi_tower {{
        towers {{ input: "user" dnn {{ hidden_units: [8, 4] }} }} towers {{ input: "item" dnn {{ hidden_units: 6 use_bn: false }} }}
        final_dnn {{ hidden_units: [5] }} }}""",
    "multi_tower_din": f"""model_class: "MultiTowerDIN" {SIDES}
        seq_att_groups {{ group_name: "din" seq_att_map {{ key: "i" hist_seq: "h" }} }}
        multi_tower {{ towers {{ input: "user" dnn {{ hidden_units: 8 }} }}
        din_towers {{ input: "din" dnn {{ hidden_units: [32, 16, 1] activation: "tf.nn.sigmoid" }} }}
        final_dnn {{ hidden_units: [5] }} }}""",
    "dcn": f"""model_class: "DCN" {ALL} dcn {{ deep_tower {{ input: "all" dnn {{ hidden_units: 8 }} }}
        cross_tower {{ input: "all" cross_num: 5 }} final_dnn {{ hidden_units: 4 }} }}""",
    "dlrm": """model_class: "DLRM"
        feature_groups { group_name: "dense" feature_names: "p" wide_deep: DEEP }
        feature_groups { group_name: "sparse" feature_names: ["u", "i"] wide_deep: DEEP }
        dlrm { bot_dnn { hidden_units: [16, 8] } top_dnn { hidden_units: [9, 3] } }""",
    "rocket_launching": f"""model_class: "RocketLaunching" {ALL} rocket_launching {{ share_dnn {{ hidden_units: 9 }}
        booster_dnn {{ hidden_units: [8, 7] }} light_dnn {{ hidden_units: [6] }} feature_based_distillation: true
        feature_distillation_function: EUCLID }}""",
    "mmoe": f"""model_class: "MMoE" {ALL} mmoe {{ num_expert: 3 expert_dnn {{ hidden_units: [8, 4] }} {TASKS} }}""",
    "ple": f"""model_class: "PLE" {ALL} ple {{ extraction_networks {{ network_name: "n1" expert_num_per_task: 3 share_num: 2
        task_expert_net {{ hidden_units: [8, 4] }} share_expert_net {{ hidden_units: [7] }} }} {TASKS} }}""",
    "dbmtl": f"""model_class: "DBMTL" {ALL} dbmtl {{ bottom_dnn {{ hidden_units: 16 }} num_expert: 2
        expert_dnn {{ hidden_units: 8 }} task_towers {{ {TASK.format("clk", 1)} relation_dnn {{ hidden_units: 3 }} }}
        task_towers {{ {TASK.format("buy", 0.5)} relation_tower_names: "clk" relation_dnn {{ hidden_units: 3 }} }} }}""",
    "simple_multi_task": f'model_class: "SimpleMultiTask" {ALL} simple_multi_task {{ {TASKS} }}',
    "dssm": f'model_class: "DSSM" {SIDES} loss_type: SOFTMAX_CROSS_ENTROPY dssm {{ {MATCH} }}',
    "dat": f"""model_class: "DAT" {SIDES} loss_type: SOFTMAX_CROSS_ENTROPY
        feature_groups {{ group_name: "user_id_augment" feature_names: "u" }}
        feature_groups {{ group_name: "item_id_augment" feature_names: "i" }} dat {{ {MATCH} amm_i_weight: 0.3 }}""",
    "mind": f"""model_class: "MIND" {SIDES} feature_groups {{ group_name: "hist" feature_names: "h" }}
        loss_type: SOFTMAX_CROSS_ENTROPY mind {{ user_dnn {{ hidden_units: [16, 8] }} item_dnn {{ hidden_units: [12, 4] }}
        concat_dnn {{ hidden_units: [10, 4] }} pre_capsule_dnn {{ hidden_units: 6 }}
        capsule_config {{ max_k: 4 max_seq_len: 20 high_dim: 8 squash_pow: 0.5 }} simi_pow: 3 }}""",
}


def config_text(
    model: str, *, data: str = DATA, features: str = FEATURES, pipeline: str = PIPELINE, evaluation: str = ""
) -> str:
    """Write a whole EasyRec config: a model by its name in `MODELS`, or the text of a model_config."""
    body = MODELS.get(model, model)
    parts = f"data_config {{ {data} }} eval_config {{ {evaluation} }} feature_config {{ {features} }}"
    return f"{pipeline} {parts} model_config {{ {body} }}"


def convert_text(text: str) -> Converted:
    """Convert a text, check that its receipt is whole, and that nothing was refused."""
    converted = convert(parse_easyrec(text, "old.config", our_schema()))
    report(converted.receipt, converted.leaves, {})
    assert converted.receipt.refusals == []
    return converted


def refusals(text: str) -> str:
    """Convert a text that must be refused; give what is said."""
    converted = convert(parse_easyrec(text, "old.config", our_schema()))
    report(converted.receipt, converted.leaves, {})
    assert converted.receipt.refusals
    return "\n".join(f"{one.path}: {one.text}" for one in converted.receipt.refusals)
