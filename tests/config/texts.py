"""Small configs for the tests of the config floor."""

from __future__ import annotations

from pathlib import Path

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.config"))

GOOD = """\
# comment
train_input_path: "train.parquet"
eval_input_path: "eval.parquet"
model_dir: "m"
train_config {
  sparse_optimizer { adagrad_optimizer { lr: 0.01 } constant_learning_rate {} }
  dense_optimizer { adam_optimizer { lr: 0.001 } constant_learning_rate {} }
  num_epochs: 1
}
data_config {
  batch_size: 8
  dataset_type: ParquetDataset
  fg_mode: FG_DAG
  label_fields: "clk"
}
feature_configs { id_feature { feature_name: "a" expression: "user:a" num_buckets: 10 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "b" expression: "item:b" num_buckets: 10 embedding_dim: 4 } }
feature_configs { raw_feature { feature_name: "r" expression: "item:r" boundaries: [0.5, 1] embedding_dim: 4 } }
model_config {
  feature_groups { group_name: "user" feature_names: "a" group_type: DEEP }
  feature_groups { group_name: "item" feature_names: ["b", "r"] group_type: DEEP }
  multi_tower {
    towers { input: "user" mlp { hidden_units: [8, 4] } }
    towers { input: "item" mlp { hidden_units: 8 } }
    final { hidden_units: [4] }
  }
  losses { binary_cross_entropy {} }
  metrics { auc {} }
}
"""

DATA_AND_TRAINING = GOOD[GOOD.index("train_config") : GOOD.index("feature_configs")]

SEQUENCES = f"""\
{DATA_AND_TRAINING}
feature_configs {{ id_feature {{ feature_name: "a" expression: "user:a" num_buckets: 10 embedding_dim: 4 }} }}
feature_configs {{ sequence_feature {{ sequence_name: "s" sequence_length: 5 features {{
  id_feature {{ feature_name: "b" expression: "item:b" num_buckets: 10 embedding_dim: 4 }} }} }} }}
feature_configs {{ sequence_raw_feature {{ feature_name: "q" expression: "user:q" embedding_dim: 4 boundaries: [1, 2] }} }}
model_config {{
  feature_groups {{
    group_name: "user" feature_names: "a" group_type: DEEP
    sequence_groups {{ group_name: "g" feature_names: ["a", "s__b"] }}
    sequence_groups {{ group_name: "h" feature_names: ["a", "q"] }}
    sequence_encoders {{ din_encoder {{ input: "g" attn_mlp {{ hidden_units: 4 }} }} }}
    sequence_encoders {{ pooling_encoder {{ input: "h" }} }}
  }}
  multi_tower {{ towers {{ input: "user" mlp {{ hidden_units: 4 }} }} final {{ hidden_units: 4 }} }}
  losses {{ binary_cross_entropy {{}} }}
  metrics {{ grouped_auc {{ grouping_key: "a" }} }}
}}
"""

MATCH = f"""\
{
    DATA_AND_TRAINING.replace(
        "label_fields",
        '''negative_sampler {
    input_path: "items.txt" num_sample: 3 attr_fields: ["b", "r"] item_id_field: "b"
  }
  label_fields''',
    )
}
feature_configs {{ id_feature {{ feature_name: "a" expression: "user:a" num_buckets: 10 embedding_dim: 4 }} }}
feature_configs {{ id_feature {{ feature_name: "b" expression: "item:b" num_buckets: 10 embedding_dim: 4 }} }}
feature_configs {{ raw_feature {{ feature_name: "r" expression: "item:r" }} }}
model_config {{
  feature_groups {{ group_name: "user" feature_names: "a" group_type: DEEP }}
  feature_groups {{ group_name: "item" feature_names: ["b", "r"] group_type: DEEP }}
  dssm {{ user_tower {{ input: "user" }} item_tower {{ input: "item" }} output_dim: 4 }}
  losses {{ softmax_cross_entropy {{}} }}
  metrics {{ recall_at_k {{ top_k: 3 }} }}
}}
"""

TASKS = f"""\
{DATA_AND_TRAINING.replace('label_fields: "clk"', 'label_fields: ["clk", "buy"] sample_weight_fields: "w"')}
feature_configs {{ id_feature {{ feature_name: "a" expression: "user:a" num_buckets: 10 embedding_dim: 4 }} }}
model_config {{
  feature_groups {{ group_name: "all" feature_names: "a" group_type: DEEP }}
  dbmtl {{
    task_towers {{ tower_name: "ctr" label_name: "clk" losses {{ binary_cross_entropy {{}} }} metrics {{ auc {{}} }} }}
    task_towers {{
      tower_name: "cvr" label_name: "buy" sample_weight_name: "w" relation_tower_names: "ctr" relation_mlp {{ hidden_units: 4 }}
      losses {{ jrc_loss {{ session_name: "a" }} }} num_class: 2
    }}
  }}
}}
"""
