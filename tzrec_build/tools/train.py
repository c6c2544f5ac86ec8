"""Trains the model of a config on a table; writes checkpoints, evaluations and the config into a model directory."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tzrec_build.tools.entry import run_tool
from tzrec_build.training.specs import (
    ComputeSpec,
    TrainSpec,
    add_compute_flags,
    add_model_class_flag,
    heavy_imports,
    leave,
)

_STARTED_S = time.perf_counter()


def _run(args: argparse.Namespace) -> None:
    spec = TrainSpec(
        config_path=args.pipeline_config_path,
        train_input_path=args.train_input_path,
        eval_input_path=args.eval_input_path,
        model_dir=Path(args.model_dir),
        compute=ComputeSpec(args.threads, args.device),
        seed=args.seed,
        fine_tune_checkpoint=args.fine_tune_checkpoint,
        keep_best=args.keep_best,
        smaller_is_better=args.smaller_is_better,
        model_class=args.model_class,
        resume_dir=args.resume_dir,
        resume_every_s=args.resume_every_s,
    )
    with heavy_imports():
        from tzrec_build.training.session import train

    timings = train(spec, _STARTED_S)
    rate = timings.rows / max(timings.loop_s, 1e-9)
    print(f"trained {timings.rows:,} rows at {rate:,.0f} rows/s on {timings.device} into {spec.model_dir}")


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser("tzrec-build train", description=__doc__)
    parser.add_argument("--pipeline_config_path", required=True, help="pipeline config, text or .json")
    parser.add_argument("--train_input_path", default="", help="table to train on; the config's own by default")
    parser.add_argument(
        "--eval_input_path", default="", help="table evaluated after every save; the config's own by default"
    )
    parser.add_argument("--model_dir", required=True, help="folder to fill; must hold no checkpoint yet")
    parser.add_argument("--seed", type=int, default=7, help="of weights, shuffling and dropout")
    parser.add_argument("--fine_tune_checkpoint", default="", help="checkpoint or model directory to start from")
    parser.add_argument(
        "--keep_best",
        default="",
        metavar="METRIC",
        help="the checkpoint that is best by this metric outlives keep_checkpoint_max",
    )
    parser.add_argument("--smaller_is_better", action="store_true", help="--keep_best keeps the smallest value")
    parser.add_argument(
        "--resume_dir",
        default="",
        help="folder of resume checkpoints: a training that was cut off goes on from the last one",
    )
    parser.add_argument(
        "--resume_every_s",
        type=float,
        default=600.0,
        help="least seconds between two resume checkpoints",
    )
    add_model_class_flag(parser)
    add_compute_flags(parser)
    return run_tool(parser, _run, argv)


if __name__ == "__main__":
    # files are whole or absent at any moment: nothing to clean up, so end at once
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    leave(main(sys.argv[1:]))
