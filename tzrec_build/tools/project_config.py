"""Make the configs that the other tools work from: the edited whole one, and one projection for each purpose."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tzrec_build.config.lint import lint
from tzrec_build.config.load import (
    canonical_text,
    missing_fields,
    parse_pipeline_config,
    read_config_text,
    resolve_compat,
)
from tzrec_build.config.problems import raise_problems
from tzrec_build.config.projection import PROJECTION_VERSION, PURPOSES, project
from tzrec_build.config.support import check_supported
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.files import write_text
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.tools.entry import run_tool


@dataclass(frozen=True, slots=True)
class Spec:
    """What to do with one config file."""

    pipeline_config_path: str
    output_dir: Path
    edits: Mapping[str, object] = field(default_factory=dict)
    purposes: tuple[str, ...] = ()
    variational_dropout_lambda: float | None = None  # add variational dropout with this weight when the config has none


def project_config(spec: Spec) -> dict[str, str]:
    """Load, edit and check a config and write it in all its forms.

    Args:
        spec: see its fields.

    Returns:
        File name -> text: ``pipeline.config`` (canonical) and ``<purpose>.config`` for every purpose.

    Raises:
        ConfigError: the file or an edit is wrong, or rules are broken (all of them, ``FILE:LINE`` of the user's file each).
        NotSupportedError: the config asks for a part that is not built yet.
    """
    text = read_config_text(spec.pipeline_config_path)
    config = parse_pipeline_config(text, spec.pipeline_config_path)
    if spec.edits:
        from tzrec_build.config.edit import edit_config  # most configs are not edited: 10 ms of start

        config = edit_config(config, spec.edits)
        resolve_compat(config)
        raise_problems(missing_fields(config), spec.pipeline_config_path, text)
    if spec.variational_dropout_lambda is not None:
        _require_variational_dropout(config, spec.variational_dropout_lambda)
    check_supported(config, spec.pipeline_config_path, text)
    raise_problems(lint(config), spec.pipeline_config_path, text)
    files = {"pipeline.config": canonical_text(config)}
    for purpose in spec.purposes:
        header = f"# projection {PROJECTION_VERSION}: {purpose}\n"
        files[f"{purpose}.config"] = header + canonical_text(project(config, purpose))
    return files


def _require_variational_dropout(config: EasyRecConfig, weight: float) -> None:
    """Give the model variational dropout, in place, unless it has it already."""
    if not config.model_config.HasField("variational_dropout"):
        config.model_config.variational_dropout.regularization_lambda = weight


def parse_edits(text: str) -> dict[str, object]:
    """Parse the value of --edit_config_json, "" for no edits; raise ConfigError when it is no JSON object."""
    try:
        edits = json.loads(text or "{}")
    except (ValueError, RecursionError) as err:
        raise ConfigError(
            f"--edit_config_json: must be a JSON object, {err}; write '{{\"data_config.batch_size\": 64}}'"
        ) from err
    if not isinstance(edits, dict):
        raise ConfigError(
            f"--edit_config_json: must be a JSON object, got {text!r}; write '{{\"data_config.batch_size\": 64}}'"
        )
    return edits


def parse_purposes(text: str) -> tuple[str, ...]:
    """Parse the comma list of --purposes; raise ConfigError for an unknown one."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in PURPOSES:
            raise ConfigError(f"--purposes: must name known purposes, got {name!r}{suggestion(name, PURPOSES)}")
    return names


def main(argv: Sequence[str]) -> int:
    """Run the tool; see --help."""
    parser = argparse.ArgumentParser(
        prog="project_config", description="Check a pipeline config and write the configs of its tasks."
    )
    parser.add_argument("--pipeline_config_path", required=True, help="the user's config, text or .json")
    parser.add_argument(
        "--output_dir", required=True, type=Path, help="where pipeline.config and PURPOSE.config are written"
    )
    parser.add_argument("--edit_config_json", default="{}", help="JSON object of edits: path in the config -> value")
    parser.add_argument("--purposes", default="", help=f"comma list of {', '.join(PURPOSES)}")
    parser.add_argument(
        "--require_variational_dropout",
        type=float,
        metavar="LAMBDA",
        help="add variational dropout with this weight when absent",
    )
    return run_tool(parser, _run, argv)


def _run(args: argparse.Namespace) -> None:
    weight = args.require_variational_dropout
    if weight is not None and not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"--require_variational_dropout: must be a number of 0 or more, got {weight}; 0.01 is usual")
    spec = Spec(
        args.pipeline_config_path,
        args.output_dir,
        parse_edits(args.edit_config_json),
        parse_purposes(args.purposes),
        weight,
    )
    for name, text in project_config(spec).items():
        write_text(spec.output_dir / name, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
