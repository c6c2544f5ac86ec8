"""What a training or a model run is asked to do: the flags of the tools as data, without importing torch."""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tzrec_build.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ComputeSpec:
    """Where and how a process computes.

    Args:
        threads: of torch, 1 or more.
        device: auto, cpu or cuda.
    """

    threads: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check the flag."""
        if self.threads < 1:
            raise ConfigError(f"--threads: must be at least 1, got {self.threads}")


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """One training.

    Args:
        config_path: pipeline config.
        train_input_path: table; the config's own when empty.
        eval_input_path: table evaluated after every save; the config's own when empty, none when both are.
        model_dir: folder to fill; must hold no checkpoint yet.
        compute: threads and device.
        seed: of weights, shuffling and dropout, in [0, 2^63).
        fine_tune_checkpoint: checkpoint or model directory to start from; the config's own when empty.
        keep_best: metric whose best checkpoint outlives keep_checkpoint_max; the exporter's of the config when empty.
        smaller_is_better: direction of that metric.
        model_class: ``FILE.py:CLASS`` of a class in place of the config's model, or empty.
        resume_dir: folder of resume checkpoints, which a training that was cut off goes on from; none when empty.
        resume_every_s: least seconds between two of them.
    """

    config_path: str
    train_input_path: str
    eval_input_path: str
    model_dir: Path
    compute: ComputeSpec
    seed: int = 7
    fine_tune_checkpoint: str = ""
    keep_best: str = ""
    smaller_is_better: bool = False
    model_class: str = ""
    resume_dir: str = ""
    resume_every_s: float = 600.0

    def __post_init__(self) -> None:
        """Check the flags."""
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"--seed: must be in [0, 2^63), got {self.seed}")
        if not 0 <= self.resume_every_s < math.inf:
            raise ConfigError(f"--resume_every_s: must be a finite number of at least 0, got {self.resume_every_s}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model to use.

    Args:
        config_path: pipeline config.
        checkpoint_path: a checkpoint or model directory, or empty.
        model_dir: a model directory, or empty; exactly one of the two is given.
        pick: file of pick_checkpoint, beside model_dir; empty for the latest.
        compute: threads and device.
        model_class: ``FILE.py:CLASS`` of a class in place of the config's model, or empty.
    """

    config_path: str
    checkpoint_path: str
    model_dir: str
    pick: str
    compute: ComputeSpec
    model_class: str = ""


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Wrap a tool's first import of torch: idle threads will sleep instead of spin, and the garbage collector waits.

    Two spinning threads on two busy cores trained 1,700 rows/s, sleeping ones 38,000 (OpenMP reads the variable once, when it
    is loaded). A million objects are made by the imports and none is garbage: looking for it costs 0.6 s of 3.9.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's teardown, which takes a second or more once torch is loaded."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def add_compute_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `ComputeSpec`."""
    default = ComputeSpec()
    parser.add_argument("--threads", type=int, default=default.threads, help="threads of torch")
    parser.add_argument(
        "--device", default=default.device, choices=("auto", "cpu", "cuda"), help="auto takes a GPU where there is one"
    )


def add_model_class_flag(parser: argparse.ArgumentParser) -> None:
    """The flag for a model of the user's own."""
    parser.add_argument(
        "--model_class", default="", metavar="FILE.py:CLASS", help="a class of yours in place of the config's model"
    )


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `ModelSpec`."""
    parser.add_argument("--pipeline_config_path", required=True, help="pipeline config, text or .json")
    parser.add_argument("--checkpoint_path", default="", help="a checkpoint, or a model directory whose latest is used")
    parser.add_argument("--model_dir", default="", help="a model directory, instead of --checkpoint_path")
    parser.add_argument("--pick", default="", help="with --model_dir: the file that pick_checkpoint wrote")
    add_model_class_flag(parser)
    add_compute_flags(parser)


def model_spec(args: argparse.Namespace) -> ModelSpec:
    """Read the flags of `add_model_flags`."""
    return ModelSpec(
        config_path=args.pipeline_config_path,
        checkpoint_path=args.checkpoint_path,
        model_dir=args.model_dir,
        pick=args.pick,
        compute=ComputeSpec(args.threads, args.device),
        model_class=args.model_class,
    )
