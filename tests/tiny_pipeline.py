"""A small pipeline with made-up rows, for tests of training and of the tools: ids, bags, numbers, a signal to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 400

FEATURES = """
feature_configs { id_feature { feature_name: "user" num_buckets: 30 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "tags" num_buckets: 12 embedding_dim: 4 } }
feature_configs { id_feature { feature_name: "item" num_buckets: 40 embedding_dim: 4 } }
feature_configs { raw_feature { feature_name: "price" } }
"""

DEEPFM = """
model_config {
  feature_groups { group_name: "wide" feature_names: ["user", "tags", "item"] group_type: WIDE }
  feature_groups { group_name: "fm" feature_names: ["user", "tags", "item"] group_type: DEEP }
  feature_groups { group_name: "deep" feature_names: ["user", "tags", "item", "price"] group_type: DEEP }
  deepfm { deep { hidden_units: [8] dropout_ratio: [0.1] } }
  losses { binary_cross_entropy {} }
  metrics { auc {} }
}
"""

DSSM = """
model_config {
  feature_groups { group_name: "user" feature_names: ["user", "tags"] group_type: DEEP }
  feature_groups { group_name: "item" feature_names: ["item", "price"] group_type: DEEP }
  dssm {
    user_tower { input: "user" mlp { hidden_units: [8] } }
    item_tower { input: "item" mlp { hidden_units: [8] } }
    output_dim: 4 in_batch_negative: true
  }
  losses { softmax_cross_entropy {} }
  metrics { recall_at_k { top_k: 5 } }
}
"""


def config_text(model: str = DEEPFM, train: str = "num_epochs: 1", data: str = "") -> str:
    """A whole config; `train` and `data` are appended to their parts."""
    return f"""
model_dir: "unused"
train_config {{
  sparse_optimizer {{ adagrad_optimizer {{ lr: 0.1 }} }}
  dense_optimizer {{ adam_optimizer {{ lr: 0.01 }} }}
  {train}
}}
data_config {{
  batch_size: 50 dataset_type: ParquetDataset fg_mode: FG_NONE label_fields: "clk" {data}
}}
{FEATURES}
{model}
"""


def write_rows(path: Path, rows: int = ROWS, seed: int = 0) -> Path:
    """Write a table in which users and items decide the label."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 30, rows), rng.integers(0, 40, rows)
    lengths = rng.integers(0, 4, rows)
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    tags = pa.ListArray.from_arrays(offsets, rng.integers(0, 12, offsets[-1]))
    label = ((user % 3 + item % 2) + rng.standard_normal(rows) * 0.5 > 1.5).astype(np.int64)
    price = rng.standard_normal(rows).astype(np.float32)
    table = pa.table({"row": np.arange(rows), "user": user, "tags": tags, "item": item, "price": price, "clk": label})
    pq.write_table(table, path)
    return path


def write_pipeline(folder: Path, text: str) -> list[str]:
    """Write config and tables into a folder; returns the flags of `train` without the model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.config").write_text(text)
    train = write_rows(folder / "train.parquet")
    held_out = write_rows(folder / "eval.parquet", 120, seed=1)
    return [
        *("--pipeline_config_path", str(folder / "pipeline.config")),
        *("--train_input_path", str(train), "--eval_input_path", str(held_out), "--device", "cpu"),
    ]
