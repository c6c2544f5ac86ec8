"""How long the config floor takes: load and lint of large configs, whole processes on small ones. One JSON line per figure.

Imitates a team's config: half ids, half bucketized numbers, all in one group, four lines a feature. Times are wall and processor
seconds, the least of n runs, children included; on a busy machine the processor's are the ones to compare.
Usage: python benchmarks/config.py [--features 2000] [--runs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import findings, lint
from tzrec_build.config.load import file_text, parse_pipeline_config
from tzrec_build.config.subject import Subject

ROOT = Path(__file__).resolve().parent.parent
SMALL = ROOT / "tests" / "configs" / "deepfm_criteo.config"
HEAD = """train_config { sparse_optimizer { adagrad_optimizer { lr: 0.01 } constant_learning_rate {} }
  dense_optimizer { adam_optimizer { lr: 0.001 } constant_learning_rate {} } num_epochs: 1 }
data_config { dataset_type: ParquetDataset fg_mode: FG_DAG label_fields: "clk" }
"""
ID = """feature_configs {
  id_feature {
    feature_name: "f%d"
    expression: "user:f%d"
    num_buckets: 1000
    embedding_dim: 16
  }
}
"""
RAW = ID.replace("id_feature", "raw_feature").replace("num_buckets: 1000", "boundaries: [0.5, 1.5, 2.5, 10.25]")
TAIL = """model_config {
  feature_groups { group_name: "all" group_type: DEEP %s }
  multi_tower { towers { input: "all" mlp { hidden_units: [8, 4] } } final { hidden_units: 4 } }
  losses { binary_cross_entropy {} } metrics { auc {} }
}
"""


def large_text(features: int) -> str:
    body = "".join((ID if i % 2 else RAW) % (i, i) for i in range(features))
    return HEAD + body + TAIL % "\n".join(f'feature_names: "f{i}"' for i in range(features))


def measure(name: str, run: Callable[[], object], runs: int) -> None:
    wall, cpu = [], []
    for _ in range(runs):
        before = os.times()
        run()
        after = os.times()
        wall.append(after.elapsed - before.elapsed)
        cpu.append(sum(after[:4]) - sum(before[:4]))
    print(
        json.dumps({"figure": name, "wall_s": round(min(wall), 3), "cpu_s": round(min(cpu), 3), "n": runs}), flush=True
    )


def tool(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(
        [sys.executable, "-m", "tzrec_build.cli", *argv], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    text = large_text(args.features)
    config = parse_pipeline_config(text, "x.config")
    as_json = file_text(config, "x.json")
    edited = edit_config(config, {"feature_configs[7].id_feature.embedding_dim": 8})
    key = "feature_configs[id_feature.feature_name=f99].id_feature.embedding_dim"
    figures: dict[str, Callable[[], object]] = {
        "load": lambda: parse_pipeline_config(text, "x.config"),
        "load_json": lambda: parse_pipeline_config(as_json, "x.json"),
        "lint": lambda: lint(config),
        "load_and_lint": lambda: lint(parse_pipeline_config(text, "x.config")),
        "all_findings": lambda: findings(Subject(config, text)),
        "diff": lambda: diff_configs(config, edited),
        "edit_by_name": lambda: edit_config(config, {key: 8}),
    }
    for name, run in figures.items():
        measure(f"{name}_{args.features}", run, args.runs)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.config"
        large.write_text(text)
        small = str(SMALL)
        measure("process_python", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), args.runs)
        for argv in (("--help",), ("config", "--help"), ("config", "show", small), ("config", "lint", small),
                     ("config", "diff", small, small), ("config", "edit", small, "model_dir=x"),
                     ("config", "canonical", small), ("config", "lint", str(large))):  # fmt: skip
            words = " ".join(Path(word).name for word in argv)
            measure(f"process {words}", tool(*argv), args.runs)


if __name__ == "__main__":
    main()
