"""Tool `feature_importance`: how likely each feature can be left out, from the variational dropout of a checkpoint."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tzrec_build.errors import DataError, suggestion
from tzrec_build.files import write_text
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.importance_files import format_table, group_entries, table_path
from tzrec_build.training.checkpoint_dir import choose_checkpoint

if TYPE_CHECKING:
    from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

# `model.` in ranking models, `model.user_tower.` and the like in matching models stand before it
FEATURE_P = re.compile(r"(?:^|\.)group_variational_dropouts\.(?P<group>.+)\.feature_p$")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to read and write; exactly one of `checkpoint_path` and `model_dir` is set, `pick` goes with `model_dir`."""

    pipeline_config_path: str
    output_dir: str
    checkpoint_path: str = ""
    model_dir: str = ""
    pick: str = ""
    visualize: bool = False


def name_probabilities(config: EasyRecConfig, found: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Give the checkpoint's vectors the names that the config has for them.

    Args:
        config: the config that the checkpoint was trained with.
        found: group -> dropout probability of each entry, in [0, 1].
    Returns:
        group -> entry -> probability, in the order of the config.
    Raises:
        DataError: the checkpoint is of another config.
    """
    groups = {group.group_name: group for group in config.model_config.feature_groups}
    for name, values in found.items():
        if name not in groups:
            raise DataError(
                f"checkpoint: group {name!r} is not in the config{suggestion(name, groups)}; "
                "use the config of this training"
            )
        entries = group_entries(groups[name])
        if len(entries) != len(values):
            raise DataError(
                f"checkpoint: group {name!r} must have {len(entries)} dropout probabilities for this config, "
                f"got {len(values)}; use the config of this training"
            )
    return {name: dict(zip(group_entries(groups[name]), found[name], strict=True)) for name in groups if name in found}


def read_probabilities(checkpoint: Path) -> dict[str, list[float]]:
    """Read the dropout probabilities out of a checkpoint; nothing else of it is loaded and no model is built.

    Args:
        checkpoint: a folder `model.ckpt-N`, ours or TorchEasyRec's.
    Returns:
        group -> sigmoid of its vector, as float32 values.
    Raises:
        DataError: the checkpoint has no variational dropout.
    """
    import torch

    from tzrec_build.training.checkpoint_reader import load_entries, read_tensors

    folder = checkpoint / "model"
    groups = {match["group"]: name for name in load_entries(folder) if (match := FEATURE_P.search(name))}
    if not groups:
        raise DataError(
            f"{folder}: no variational dropout in this checkpoint; "
            "add model_config.variational_dropout and train with groups of two features or more"
        )
    tensors = read_tensors(folder, groups.values())
    return {group: torch.sigmoid(tensors[name].float()).tolist() for group, name in groups.items()}


def run_feature_importance(spec: Spec) -> None:
    """Write `feature_dropout_ratio_<group>.csv` and, to look at, `feature_dropout_pic_<group>.png`.

    Raises:
        ConfigError: the config is wrong, or the flags contradict each other.
        DataError: the checkpoint is missing, damaged, without variational dropout or of another config.
    """
    from tzrec_build.config.load import load_pipeline_config

    config = load_pipeline_config(spec.pipeline_config_path)
    checkpoint = choose_checkpoint(spec.checkpoint_path, spec.model_dir, spec.pick)
    tables = name_probabilities(config, read_probabilities(checkpoint.path))
    folder = Path(spec.output_dir)
    for group, drop_p in tables.items():
        write_text(table_path(folder, group), format_table(drop_p))
        logger.info(
            "group %s: %d entries ranked, first %s", group, len(drop_p), min(drop_p, key=lambda name: drop_p[name])
        )
    if spec.visualize:
        from tzrec_build.tools.importance_picture import write_picture

        for group, drop_p in tables.items():
            write_picture(folder / f"feature_dropout_pic_{group}.png", group, drop_p)


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build feature_importance", description=__doc__)
    parser.add_argument(
        "--pipeline_config_path", required=True, help="config of the training, with variational_dropout"
    )
    parser.add_argument("--checkpoint_path", default="", help="a checkpoint, or a model directory whose latest is used")
    parser.add_argument("--model_dir", default="", help="a model directory, instead of --checkpoint_path")
    parser.add_argument("--pick", default="", help="with --model_dir: the file that pick_checkpoint wrote")
    parser.add_argument("--output_dir", required=True, help="folder for one CSV (and picture) per feature group")
    parser.add_argument("--visualize", action="store_true", help="draw a picture per feature group too")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        run_feature_importance(
            Spec(
                pipeline_config_path=args.pipeline_config_path,
                output_dir=args.output_dir,
                checkpoint_path=args.checkpoint_path,
                model_dir=args.model_dir,
                pick=args.pick,
                visualize=args.visualize,
            )
        )

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
