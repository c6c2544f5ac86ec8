"""Predicts a table with a checkpoint; writes part-0.parquet in the order of the input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tzrec_build.tools.entry import run_tool
from tzrec_build.training.specs import add_model_flags, heavy_imports, leave, model_spec


def _run(args: argparse.Namespace) -> None:
    with heavy_imports():
        from tzrec_build.data.writers import open_writer
        from tzrec_build.training.pipeline import load_model
        from tzrec_build.training.prediction import PredictSpec, predict_columns

    spec = PredictSpec(args.predict_input_path, args.tower, _names(args.output_columns), _names(args.reserved_columns))
    loaded = load_model(model_spec(args))
    with open_writer(args.predict_output_path, "parquet") as writer:
        for columns in predict_columns(loaded, spec):
            writer.write(columns)
    print(f"predicted {writer.row_count:,} rows with {loaded.checkpoint.path.name} into {writer.path}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser("tzrec-build predict", description=__doc__)
    add_model_flags(parser)
    parser.add_argument("--predict_input_path", required=True, help="table to predict; needs no labels")
    parser.add_argument("--predict_output_path", required=True, help="folder to write part-0.parquet into")
    parser.add_argument("--tower", default="", choices=("", "user", "item"), help="tower of a match model")
    parser.add_argument("--output_columns", default="", help="outputs to write, by comma; all by default")
    parser.add_argument("--reserved_columns", default="", help="columns of the table to hand through, by comma")
    return run_tool(parser, _run, argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
