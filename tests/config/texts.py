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
