"""Time and memory of the tool `faiss_index`, next to a script that calls FAISS and does nothing else.

Imitates an item tower's table: rows x dim float32 in Parquet (row groups of 100,000), string ids. Each program runs in a process
of its own, in turn, n times; wall_s, cpu_s and peak_mib are those of the whole process, imports included. One JSON line each:
  ours        python -m tzrec_build.tools.faiss_index: reads Parquet, checks every row, builds, writes index, ids and manifest
  bare        loads the same vectors from a .npy file, builds, writes the index; no ids, no checks
  bare_table  the same but reads the Parquet table in one go, as a person would write it first, and writes the ids in a loop
The index files of all three are compared byte for byte.
Usage: python benchmarks/faiss_index.py [--rows 200000] [--dim 64] [--type IVFFlatIP] [--threads 2] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
NLIST, M, EF_CONSTRUCTION = 1000, 32, 200

BARE = """
import sys
import faiss
import numpy as np
folder, kind, threads, table = sys.argv[1:]
faiss.omp_set_num_threads(int(threads))
if table == "table":
    import pyarrow.parquet as pq
    data = pq.read_table(folder + "/items.parquet")
    vectors = np.stack(data["emb"].to_numpy())
    with open(folder + "/bare_ids", "w") as out:
        for name in data["item_id"].to_pylist():
            out.write(name + "\\n")
else:
    vectors = np.load(folder + "/items.npy")
metric = faiss.METRIC_INNER_PRODUCT if kind.endswith("IP") else faiss.METRIC_L2
dim = vectors.shape[1]
if kind.startswith("IVF"):
    index = faiss.IndexIVFFlat(faiss.IndexFlat(dim, metric), dim, {nlist}, metric)
    index.train(vectors)
else:
    index = faiss.IndexHNSWFlat(dim, {m}, metric)
    index.hnsw.efConstruction = {ef}
    faiss.omp_set_num_threads(1)
index.add(vectors)
faiss.write_index(index, folder + "/bare_" + table)
"""


def write_tables(folder: Path, rows: int, dim: int) -> None:
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((200, dim)).astype(np.float32)
    vectors = centres[rng.integers(0, 200, rows)] + 0.5 * rng.standard_normal((rows, dim)).astype(np.float32)
    np.save(folder / "items.npy", vectors)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim).cast(pa.list_(pa.float32()))
    ids = pa.array([f"item_{number}" for number in rng.permutation(rows)])
    pq.write_table(pa.table({"item_id": ids, "emb": lists}), folder / "items.parquet", row_group_size=100_000)


def measure(command: list[str]) -> dict[str, float]:
    """Run a program to its end; seconds of wall clock and of CPU, peak memory in MiB."""
    start = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ | {"OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{command[:4]}: failed with status {status}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"wall_s": time.perf_counter() - start, "cpu_s": cpu_s, "peak_mib": usage.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--type", default="IVFFlatIP")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, args.rows, args.dim)
        script = folder / "bare.py"
        script.write_text(BARE.format(nlist=NLIST, m=M, ef=EF_CONSTRUCTION))
        paths = ["--embedding_input_path", f"{name}/items.parquet", "--index_output_dir", f"{name}/ours"]
        fields = ["--id_field", "item_id", "--embedding_field", "emb", "--index_type", args.type]
        ours = [*paths, *fields, "--ivf_nlist", str(NLIST), "--threads", args.threads]
        programs = {
            "ours": [sys.executable, "-m", "tzrec_build.tools.faiss_index", *ours],
            "bare": [sys.executable, str(script), name, args.type, args.threads, "npy"],
            "bare_table": [sys.executable, str(script), name, args.type, args.threads, "table"],
        }
        figures: dict[str, list[dict[str, float]]] = {program: [] for program in programs}
        for _ in range(args.runs):
            for program, command in programs.items():
                figures[program].append(measure(command))
        index = (folder / "ours" / "faiss_index").read_bytes()
        equal = all((folder / f"bare_{kind}").read_bytes() == index for kind in ("npy", "table"))
        ids_equal = (folder / "ours" / "id_mapping").read_bytes() == (folder / "bare_ids").read_bytes()
    for program, runs in figures.items():
        line: dict[str, object] = {
            "figure": program,
            "type": args.type,
            "rows": args.rows,
            "dim": args.dim,
            "n": args.runs,
        }
        for key in ("wall_s", "cpu_s", "peak_mib"):
            values = [run[key] for run in runs]
            line[key] = {
                "min": round(min(values), 2),
                "median": round(statistics.median(values), 2),
                "max": round(max(values), 2),
            }
        print(json.dumps(line | {"index_bytes_equal": equal, "ids_equal": ids_equal}), flush=True)


if __name__ == "__main__":
    main()
