"""Chooses one checkpoint of a model directory and writes the choice to a file, so that later steps all use the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import ConfigError, DataError
from tzrec_build.files import write_json
from tzrec_build.tools.entry import run_tool
from tzrec_build.training.checkpoint_dir import (
    Checkpoint,
    best_step,
    checkpoint_name,
    list_checkpoints,
    load_eval_results,
)

RULES = ("latest", "best", "step")


@dataclass(frozen=True, slots=True)
class Spec:
    """A rule of choice.

    Args:
        model_dir: folder with ``model.ckpt-N`` folders.
        by: one of `RULES`.
        metric: what ``best`` compares.
        step: what ``step`` asks for.
        larger_is_better: direction of the metric.
    """

    model_dir: Path
    by: str
    metric: str = ""
    step: int = -1
    larger_is_better: bool = True


def pick(spec: Spec) -> Checkpoint:
    """Choose a checkpoint; it exists and is whole.

    Raises:
        ConfigError: a flag of the rule is missing, or the metric was not evaluated.
        DataError: there is no checkpoint, or not the one that the rule means.
    """
    found = {step: one for one in list_checkpoints(spec.model_dir) if (step := one.step) is not None}
    if not found:
        raise DataError(f"{spec.model_dir}: holds no whole checkpoint (model.ckpt-N/model/.metadata); train first")
    step = _wanted_step(spec, max(found))
    if step not in found:
        there = ", ".join(str(known) for known in sorted(found))
        raise DataError(
            f"{spec.model_dir}: {checkpoint_name(step)} is wanted but only steps {there} are there; "
            "raise keep_checkpoint_max or choose another rule"
        )
    return found[step]


def _wanted_step(spec: Spec, latest: int) -> int:
    if spec.by == "latest":
        return latest
    if spec.by == "step":
        if spec.step < 0:
            raise ConfigError("--step: must be given, 0 or more, with --by step")
        return spec.step
    if not spec.metric:
        raise ConfigError("--metric: must be given with --by best, e.g. --metric auc")
    return best_step(load_eval_results(spec.model_dir), spec.metric, larger_is_better=spec.larger_is_better)


def _run(args: argparse.Namespace) -> None:
    spec = Spec(Path(args.model_dir), args.by, args.metric, args.step, not args.smaller_is_better)
    chosen = pick(spec)
    write_json(
        args.output_path, {"checkpoint": chosen.path.name, "step": chosen.step, "by": spec.by, "metric": spec.metric}
    )
    print(f"{chosen.path.name} by {spec.by}{' ' + spec.metric if spec.metric else ''}")


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser("tzrec-build pick_checkpoint", description=__doc__)
    parser.add_argument("--model_dir", required=True, help="folder with model.ckpt-N folders")
    parser.add_argument("--by", choices=RULES, default="latest", help="rule of choice")
    parser.add_argument("--metric", default="", help="what --by best compares, e.g. auc")
    parser.add_argument("--step", type=int, default=-1, help="what --by step asks for")
    parser.add_argument("--smaller_is_better", action="store_true", help="--by best takes the smallest value")
    parser.add_argument("--output_path", required=True, help="JSON file to write")
    return run_tool(parser, _run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
