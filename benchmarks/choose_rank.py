"""Train some settings of workspace/movielens_rank on the tuning tables, as when they were chosen: run, never quoted.

    python benchmarks/choose_rank.py [--raw_dir FOLDER] [--seeds 2] [--variants "rank.config,one pass"]

Settings are chosen on the training part alone. tables.py makes tables with --eval_from 0.72 --eval_to 0.8 in a temporary
folder: it drops the evaluation part of the demo as soon as it has read the log, and the last tenth of the training part
takes its place. Every variant below is rank.config with a few edits (project_config --edit_config_json), trained on all
features once for each seed 7, 8, .. (python -m tzrec_build.tools.train). Both tables are given to the training by flag, so
the paths inside rank.config are not read. One JSON line for each variant: its name, the mean AUC of `like` on that
tenth, the AUC of each seed, and that of `love`. A difference below the spread of the seeds says nothing.

FOLDER holds ml-100k.{inter,user,item}: MOVIELENS_DIR, else what step:movielens:fetch has built. One training takes about
20 s on one core; everything runs on one thread, so the same seed gives the same line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "workspace" / "movielens_rank" / "rank.config"
TABLES = ROOT / "workspace" / "movielens" / "tables.py"
EVAL_FROM, EVAL_TO = "0.72", "0.8"
FIRST_SEED = 7
SPARSE = "train_config.sparse_optimizer"
DENSE = "train_config.dense_optimizer"
STEPS = tuple(f"{optimizer}.cosine_annealing_learning_rate.T_max" for optimizer in (SPARSE, DENSE))
VARIANTS: Mapping[str, Mapping[str, object]] = {  # name -> edits of rank.config
    "rank.config": {},
    "one pass": {"train_config.num_epochs": 1, **dict.fromkeys(STEPS, 625)},
    "three passes": {"train_config.num_epochs": 3, **dict.fromkeys(STEPS, 1875)},
    "slower tables": {f"{SPARSE}.adagrad_optimizer.lr": 0.002},
    "quicker tables": {f"{SPARSE}.adagrad_optimizer.lr": 0.02},
    "slower layers": {f"{DENSE}.adam_optimizer.lr": 0.002},
    "quicker layers": {f"{DENSE}.adam_optimizer.lr": 0.012},
    "no weight decay": {f"{DENSE}.adam_optimizer.weight_decay": 0.0},
    "batch 512": {"data_config.batch_size": 512, **dict.fromkeys(STEPS, 313)},
    "two experts": {"model_config.mmoe.num_expert": 2},
}


def run(command: Sequence[str]) -> None:
    """Run a script or a tool of this repository with one thread; its output goes to stderr."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, stdout=sys.stderr, check=True)


def train(edits: Mapping[str, object], seed: int, tables: Path, work: Path) -> dict[str, float]:
    """Train one variant once; returns metric -> value of the evaluation after the last step."""
    config = ["--pipeline_config_path", str(CONFIG), "--edit_config_json", json.dumps(edits)]
    run(["-m", "tzrec_build.tools.project_config", *config, "--output_dir", str(work)])
    inputs = ["--train_input_path", str(tables / "rank_train.parquet")]
    inputs += ["--eval_input_path", str(tables / "rank_eval.parquet")]
    how = ["--model_dir", str(work / "model"), "--seed", str(seed), "--threads", "1", "--device", "cpu"]
    run(["-m", "tzrec_build.tools.train", "--pipeline_config_path", str(work / "pipeline.config"), *inputs, *how])
    lines = (work / "model" / "train_eval_result_v2.txt").read_text(encoding="utf-8").splitlines()
    return {name: value for name, value in json.loads(lines[-1]).items() if name.startswith("auc")}


def choose(names: Sequence[str], seeds: int, raw_dir: Path) -> None:
    """Make the tuning tables, train every variant on them, print its line."""
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "tables"
        flags = ["--input_dir", str(raw_dir), "--output_dir", str(tables)]
        run([str(TABLES), *flags, "--eval_from", EVAL_FROM, "--eval_to", EVAL_TO])
        for name in names:
            runs = [
                train(VARIANTS[name], FIRST_SEED + at, tables, Path(folder) / f"{names.index(name)}_{at}")
                for at in range(seeds)
            ]
            like = [round(found["auc_like"], 5) for found in runs]
            love = [round(found["auc_love"], 5) for found in runs]
            line = {"variant": name, "auc_like": round(statistics.mean(like), 5), "seeds": like, "love": love}
            print(json.dumps(line), flush=True)


def main(argv: Sequence[str]) -> int:
    """Run from the command line."""
    fetched = os.environ.get("MOVIELENS_DIR") or str(TABLES.parent / "build" / "fetch")
    parser = argparse.ArgumentParser(description="Choose the settings of the ranking demo on the tuning tables.")
    parser.add_argument("--raw_dir", default=fetched, help="folder of the three MovieLens files")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each variant")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma list, all by default")
    args = parser.parse_args(argv)
    names = list(dict.fromkeys(name.strip() for name in args.variants.split(",")))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown or args.seeds < 1:
        parser.error(f"--variants must be of {list(VARIANTS)} and --seeds at least 1, got {unknown}, {args.seeds}")
    try:
        choose(names, args.seeds, Path(args.raw_dir).absolute())
    except subprocess.CalledProcessError as err:  # the program has said why
        return int(err.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
