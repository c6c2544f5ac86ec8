"""Rows a second from a Parquet file to batches of ids, ours next to what a person writes first in Python.

Imitates a click log: 20 id columns (16 words, 3 integers, 1 list of words), 5 numbers, a label; words of 4 to 14 bytes.
Four figures, one JSON line each, n runs; the rate per CPU second is the one to compare on a busy machine:
  ours_hash      our BatchLoader on raw columns: read, split, hash into buckets, default values, tensors
  ours_encoded   our BatchLoader on columns that hold ids already (FG_NONE)
  ours_no_thread the work of ours_hash without the reading-ahead thread: what one core does
  python_rows    Arrow reads the table into lists, a Python function hashes each cell, torch makes tensors (on fewer rows)
The ids of python_rows are compared with ours, so both do the same work.
Usage: python benchmarks/input.py [--rows 400000] [--batch 4096] [--runs 5] [--naive_rows 5000]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from google.protobuf import text_format

from tzrec_build.features.batching import BatchBuilder
from tzrec_build.features.create import create_features
from tzrec_build.features.loader import BatchLoader
from tzrec_build.protos.tzrec import pipeline_pb2

WORDS = [f"w{at}" for at in range(16)]
INTEGERS = [f"n{at}" for at in range(3)]
TAGS = "tags"
NUMBERS = [f"d{at}" for at in range(5)]
BUCKETS = 100_000
MASK = (1 << 64) - 1
MULTIPLIER = 0xC6A4A7935BD1E995


def write_tables(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    raw, encoded = {}, {}
    for at, name in enumerate(WORDS):
        words = pa.array([f"v{number:0{3 + at % 11}d}" for number in range(10 ** (2 + at % 4))])
        raw[name] = words.take(pa.array(rng.integers(0, len(words), rows)))
        encoded[name] = pa.array(rng.integers(0, BUCKETS, rows))
    for name in INTEGERS:
        raw[name] = encoded[name] = pa.array(rng.integers(0, BUCKETS, rows))
    lengths = rng.integers(0, 5, rows)
    offsets = pa.array(np.concatenate([[0], lengths.cumsum()]).astype(np.int32))
    tags = rng.integers(0, 1000, lengths.sum())
    raw[TAGS] = pa.ListArray.from_arrays(
        offsets, pa.array([f"tag{number}" for number in range(1000)]).take(pa.array(tags))
    )
    encoded[TAGS] = pa.ListArray.from_arrays(offsets, pa.array(tags))
    for name in NUMBERS:
        raw[name] = encoded[name] = pa.array(rng.standard_normal(rows).astype(np.float32))
    raw["y"] = encoded["y"] = pa.array(rng.integers(0, 2, rows))
    pq.write_table(pa.table(raw), folder / "raw.parquet", row_group_size=100_000)
    pq.write_table(pa.table(encoded), folder / "encoded.parquet", row_group_size=100_000)


def make_config(fg_mode: str, batch: int) -> pipeline_pb2.EasyRecConfig:
    size = "hash_bucket_size" if fg_mode == "FG_DAG" else "num_buckets"
    text = f'data_config {{ dataset_type: ParquetDataset fg_mode: {fg_mode} batch_size: {batch} label_fields: "y" }}'
    for name in [*WORDS, *INTEGERS, TAGS]:
        text += (
            f' feature_configs {{ id_feature {{ feature_name: "{name}" expression: "user:{name}" embedding_dim: 8'
            f" {size}: {BUCKETS} }} }}"
        )
    for name in NUMBERS:
        text += f' feature_configs {{ raw_feature {{ feature_name: "{name}" expression: "user:{name}" }} }}'
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig())


def run_loader(cfg: pipeline_pb2.EasyRecConfig, path: Path) -> int:
    return sum(batch.size for batch in BatchLoader(cfg, create_features(cfg), str(path)))


def run_one_core(cfg: pipeline_pb2.EasyRecConfig, path: Path) -> int:
    from tzrec_build.data.readers import ReaderOptions, open_table

    builder = BatchBuilder(create_features(cfg), ["y"])
    reader = open_table(str(path), builder.columns, ReaderOptions(batch_size=cfg.data_config.batch_size))
    return sum(builder.build(columns).size for columns in reader)


def slow_bucket(value: object) -> int:
    data = str(value).encode()
    digest = 0xC70F6907 ^ (len(data) * MULTIPLIER & MASK)
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        block = int.from_bytes(data[start : start + 8], "little") * MULTIPLIER & MASK
        digest = (digest ^ ((block ^ block >> 47) * MULTIPLIER & MASK)) * MULTIPLIER & MASK
    if data[whole:]:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    digest = (digest ^ digest >> 47) * MULTIPLIER & MASK
    return (digest ^ digest >> 47) % BUCKETS


def run_python(path: Path, batch: int) -> tuple[int, list[torch.Tensor]]:
    table = pq.read_table(path)
    first: list[torch.Tensor] = []
    for start in range(0, table.num_rows, batch):
        part = table.slice(start, batch).to_pydict()
        tensors = [torch.tensor([slow_bucket(value) for value in part[name]]) for name in [*WORDS, *INTEGERS]]
        tensors.append(torch.tensor([slow_bucket(tag) for tags in part[TAGS] for tag in tags]))
        torch.tensor([part[name] for name in NUMBERS])
        torch.tensor(part["y"])
        first = first or tensors
    return table.num_rows, first


def measure(name: str, runs: int, work: Callable[[], int], **about: object) -> None:
    rates, cpu_rates = [], []
    for _ in range(runs):
        start_s, cpu_start_s = time.perf_counter(), time.process_time()
        rows = work()
        rates.append(rows / (time.perf_counter() - start_s))
        cpu_rates.append(rows / (time.process_time() - cpu_start_s))
    figure = {"figure": name, "unit": "rows/s", "median": round(statistics.median(rates)), "min": round(min(rates))}
    figure["median_per_cpu_s"] = round(statistics.median(cpu_rates))
    print(json.dumps(figure | {"max": round(max(rates)), "n": runs} | about), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="rows a second of reading and encoding")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--naive_rows", type=int, default=5000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, args.rows)
        pq.write_table(pq.read_table(folder / "raw.parquet").slice(0, args.naive_rows), folder / "few.parquet")
        raw, encoded = make_config("FG_DAG", args.batch), make_config("FG_NONE", args.batch)
        about = {"rows": args.rows, "batch": args.batch, "id_columns": 20}
        measure("ours_hash", args.runs, lambda: run_loader(raw, folder / "raw.parquet"), **about)
        measure("ours_encoded", args.runs, lambda: run_loader(encoded, folder / "encoded.parquet"), **about)
        measure("ours_no_thread", args.runs, lambda: run_one_core(raw, folder / "raw.parquet"), **about)
        first = next(iter(BatchLoader(raw, create_features(raw), str(folder / "few.parquet")))).sparse["__BASE__"]
        _, theirs = run_python(folder / "few.parquet", args.batch)
        same = all(torch.equal(first[key].values(), ids) for key, ids in zip(first.keys(), theirs, strict=True))
        few = {"rows": args.naive_rows, "batch": args.batch, "same_ids": same}
        measure("python_rows", args.runs, lambda: run_python(folder / "few.parquet", args.batch)[0], **few)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
