"""Rows a second of our training loop next to a plain torch loop over nn.EmbeddingBag, same model and rows, one process each.

Imitates the demo's ranking model: 80,000 rows, batch 512, 12 single-valued ids, a multi-valued id, 4 numbers, a 128-64 MLP.
The plain loop is what a person writes in an hour: tensors prepared once, one EmbeddingBag a feature, dense Adagrad and Adam.
Prints one JSON line a figure. Usage: python benchmarks/train.py [--rows 80000] [--epochs 2] [--batch 512] [--runs 3]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IDS = {f"id_{i}": size for i, size in enumerate([1700, 950, 20, 2, 21, 700, 80, 100, 1000, 50, 10, 5000])}
NUMBERS = [f"num_{i}" for i in range(4)]
GENRES = 19
DIM = 16


def write_table(path: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, size, rows) for name, size in IDS.items()}
    columns |= {name: rng.standard_normal(rows).astype(np.float32) for name in NUMBERS}
    lengths = rng.integers(1, 4, rows)
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    columns["genres"] = pa.ListArray.from_arrays(offsets, rng.integers(0, GENRES, offsets[-1]))
    columns["label"] = rng.integers(0, 2, rows)
    pq.write_table(pa.table(columns), path)


def config_text(batch: int, epochs: int) -> str:
    features = [
        f'feature_configs {{ id_feature {{ feature_name: "{name}" num_buckets: {size} embedding_dim: {DIM} }} }}'
        for name, size in {**IDS, "genres": GENRES}.items()
    ]
    features += [f'feature_configs {{ raw_feature {{ feature_name: "{name}" }} }}' for name in NUMBERS]
    names = " ".join(f'feature_names: "{name}"' for name in [*IDS, "genres", *NUMBERS])
    return f"""
train_config {{ sparse_optimizer {{ adagrad_optimizer {{ lr: 0.01 }} }} dense_optimizer {{ adam_optimizer {{ lr: 0.001 }} }}
  num_epochs: {epochs} save_checkpoints_steps: 0 }}
data_config {{ batch_size: {batch} dataset_type: ParquetDataset fg_mode: FG_NONE label_fields: "label" }}
{chr(10).join(features)}
model_config {{
  feature_groups {{ group_name: "deep" {names} group_type: DEEP }}
  multi_tower {{ towers {{ input: "deep" mlp {{ hidden_units: [128, 64] }} }} final {{ hidden_units: [32] }} }}
  losses {{ binary_cross_entropy {{}} }} metrics {{ auc {{}} }}
}}
"""


def ours(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tzrec_build.tools.train", "--pipeline_config_path", str(folder / "train.config")]
    command += ["--train_input_path", str(folder / "rows.parquet"), "--device", "cpu"]
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        subprocess.run(
            [*command, "--model_dir", out],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        wall_s = time.perf_counter() - begun
        timings = json.loads((Path(out) / "records" / "timings.json").read_text())
    return {"rows_per_s": timings["rows_per_s"], "outside_loop_s": round(wall_s - timings["loop_s"], 2)}


def plain(folder: Path, batch: int, epochs: int) -> dict[str, float]:
    import pyarrow.parquet as pq
    import torch
    from torch import nn

    torch.set_num_threads(1)
    table = pq.read_table(folder / "rows.parquet").combine_chunks()
    rows = len(table)
    ids = {name: torch.from_numpy(table[name].to_numpy().copy()) for name in IDS}
    genres = table["genres"].chunk(0)
    offsets, values = (torch.from_numpy(part.to_numpy().copy()).long() for part in (genres.offsets, genres.values))
    numbers = torch.stack([torch.from_numpy(table[name].to_numpy().copy()) for name in NUMBERS], 1)
    labels = torch.from_numpy(table["label"].to_numpy().copy()).float()
    bags = nn.ModuleDict(
        {name: nn.EmbeddingBag(size, DIM, mode="sum") for name, size in {**IDS, "genres": GENRES}.items()}
    )
    widths = [DIM * (len(IDS) + 1) + len(NUMBERS), 128, 64, 32]
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    mlp = nn.Sequential(*layers, nn.Linear(32, 1))
    optimizers = [torch.optim.Adagrad(bags.parameters(), lr=0.01), torch.optim.Adam(mlp.parameters(), lr=0.001)]
    begun = time.perf_counter()
    for _ in range(epochs):
        for start in range(0, rows, batch):
            end = min(start + batch, rows)
            one = torch.arange(end - start)
            found = [bags[name](ids[name][start:end], one) for name in IDS]
            first, last = offsets[start], offsets[end]
            found.append(bags["genres"](values[first:last], offsets[start:end] - first))
            logits = mlp(torch.cat([*found, numbers[start:end]], 1)).squeeze(1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[start:end])
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
    return {"rows_per_s": rows * epochs / (time.perf_counter() - begun)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("rows", 80_000), ("epochs", 2), ("batch", 512), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "rows.parquet", args.rows)
        (folder / "train.config").write_text(config_text(args.batch, args.epochs))
        pairs = [(ours(folder), plain(folder, args.batch, args.epochs)) for _ in range(args.runs)]
    for key in ("rows_per_s", "outside_loop_s"):
        report(f"ours_{key}", [mine[key] for mine, _ in pairs])
    report("plain_torch_rows_per_s", [theirs["rows_per_s"] for _, theirs in pairs])
    report("ratio", [mine["rows_per_s"] / theirs["rows_per_s"] for mine, theirs in pairs])


def report(name: str, values: list[float]) -> None:
    print(json.dumps({"figure": name, "n": len(values), "min": round(min(values), 2), "max": round(max(values), 2)}))


if __name__ == "__main__":
    main()
