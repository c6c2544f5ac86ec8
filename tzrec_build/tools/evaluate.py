"""Evaluates a checkpoint on a table; writes one JSON line of metrics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tzrec_build.errors import ConfigError
from tzrec_build.files import write_text
from tzrec_build.tools.entry import run_tool
from tzrec_build.training.specs import ModelSpec, add_model_flags, heavy_imports, leave, model_spec


def evaluate_checkpoint(spec: ModelSpec, input_path: str) -> tuple[int | None, dict[str, float]]:
    """Compute the metrics of a checkpoint.

    Args:
        spec: which model.
        input_path: table; the config's own when empty.
    Returns:
        Step, and metrics and mean losses by name.
    Raises:
        ConfigError: no table is named.
    """
    with heavy_imports():
        from tzrec_build.features.loader import LoaderOptions
        from tzrec_build.training.evaluation import EvalSettings, evaluate
        from tzrec_build.training.pipeline import load_model

    loaded = load_model(spec)
    config = loaded.pipeline.config
    path = input_path or config.eval_input_path
    if not path:
        raise ConfigError("--eval_input_path: must be given, the config names no table either")
    loader = loaded.pipeline.loader(path, LoaderOptions(mode="eval"))
    loader.expect_labels(loaded.wrapper.model.label_ranges())
    settings = EvalSettings(f"evaluate {loaded.checkpoint.path.name}", loader.num_rows, config.eval_config.num_steps)
    return loaded.checkpoint.step, evaluate(loaded.wrapper, loaded.wrapper.model, loader, loaded.device, settings)


def _run(args: argparse.Namespace) -> None:
    step, values = evaluate_checkpoint(model_spec(args), args.eval_input_path)
    from tzrec_build.training.evaluation import result_line

    line = result_line(step, values)
    write_text(args.eval_result_path, line + "\n")
    print(line)


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser("tzrec-build evaluate", description=__doc__)
    add_model_flags(parser)
    parser.add_argument("--eval_input_path", default="", help="table with labels; the config's own by default")
    parser.add_argument("--eval_result_path", required=True, help="JSON file to write")
    return run_tool(parser, _run, argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
