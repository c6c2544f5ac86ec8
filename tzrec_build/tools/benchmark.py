"""Tool `benchmark`: mean and spread of every metric over several trainings, beside reference values."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tzrec_build.errors import ConfigError, DataError, suggestion
from tzrec_build.files import write_json, write_text
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.references import (
    BALANCE,
    Comparison,
    Reference,
    compare,
    load_references,
    lower_is_better,
)

RESULT_FILE = "train_eval_result_v2.txt"
MIXED = "BETTER AND WORSE"


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric over all runs; `stdev` is that of a sample, null for a single run."""

    n: int
    mean: float
    min: float
    max: float
    stdev: float | None
    lower_is_better: bool
    values: tuple[float, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """Runs to summarise; `baseline` is empty when there is nothing to compare with."""

    runs: tuple[str, ...]
    config_name: str
    output_dir: str
    baseline: str = ""


def overall(verdicts: Sequence[str]) -> str:
    """One word for all comparisons.

    >>> overall(["BETTER", "BALANCE"]), overall(["BETTER", "WORSE"]), overall([])
    ('BETTER', 'BETTER AND WORSE', '')
    """
    found = {verdict for verdict in verdicts if verdict != BALANCE}
    if len(found) > 1:
        return MIXED
    return found.pop() if found else BALANCE if verdicts else ""


def load_result(run: str) -> dict[str, float]:
    """Read the last evaluation of a run: metric -> value, without the step; values that are NaN are left out.

    Raises:
        DataError: the run left no evaluation, or a damaged one.
    """
    path = Path(run) / RESULT_FILE
    if not path.is_file():
        raise DataError(f"{run}: no file {RESULT_FILE!r}; did this training fail, or has it no evaluation data?")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        values = json.loads(lines[-1])
        result = {str(name): float(value) for name, value in values.items() if name != "global_step"}
    except (IndexError, AttributeError, TypeError, ValueError) as err:
        raise DataError(
            f"{path}: the last line must be a JSON object of numbers ({err}); train this run again"
        ) from err
    for name in [name for name, value in result.items() if not math.isfinite(value)]:
        logger.warning("%s: metric %r is %s and is left out", path, name, result.pop(name))
    return result


def summarise(runs: Mapping[str, Mapping[str, float]], references: Sequence[Reference]) -> dict[str, MetricReport]:
    """Put the runs together, metric by metric.

    Args:
        runs: run -> metric -> value; all runs have the same metrics.
        references: what to compare the means with.
    Raises:
        DataError: a run lacks a metric that another has, or all lack one that a reference names.
    """
    names = list(dict.fromkeys(name for result in runs.values() for name in result))
    for run, result in runs.items():
        missing = [name for name in names if name not in result]
        if missing:
            raise DataError(
                f"{run}: metric {missing[0]!r} is missing here but present in other runs; train this run again"
            )
    for reference in references:
        for name in reference.values:
            if name not in names:
                raise DataError(f"baseline {reference.name!r}: no run has its metric {name!r}{suggestion(name, names)}")
    return {name: _report(name, [result[name] for result in runs.values()], references) for name in names}


def run_benchmark(spec: Spec) -> str:
    """Write `benchmark_eval.txt` and `benchmark_report.json`.

    Returns:
        A table for people.
    """
    references = load_references(spec.baseline, spec.config_name) if spec.baseline else []
    runs = {run: load_result(run) for run in spec.runs}
    if len(runs) < len(spec.runs):
        raise ConfigError("--runs: a run must be named once, got one twice; remove the repetition")
    metrics = summarise(runs, references)
    verdict = overall([each.verdict for metric in metrics.values() for each in metric.comparisons])
    folder = Path(spec.output_dir)
    means = {name: metric.mean for name, metric in metrics.items()}
    write_text(folder / "benchmark_eval.txt", json.dumps({spec.config_name: means}) + "\n")
    report = {name: asdict(metric) for name, metric in metrics.items()}
    write_json(
        folder / "benchmark_report.json",
        {"config": spec.config_name, "runs": len(runs), "verdict": verdict, "metrics": report},
    )
    return "\n".join([*_rows(metrics), f"verdict: {verdict}" if verdict else "nothing to compare with"])


def _report(name: str, values: Sequence[float], references: Sequence[Reference]) -> MetricReport:
    mean = statistics.fmean(values)
    return MetricReport(
        n=len(values),
        mean=mean,
        min=min(values),
        max=max(values),
        stdev=statistics.stdev(values) if len(values) > 1 else None,
        lower_is_better=lower_is_better(name),
        values=tuple(values),
        comparisons=compare(name, mean, references),
    )


def _rows(metrics: Mapping[str, MetricReport]) -> list[str]:
    width = max((len(name) for name in metrics), default=0)
    rows = []
    for name, metric in metrics.items():
        spread = f" sd {metric.stdev:.5f}" if metric.stdev is not None else ""
        row = f"{name:<{width}}  {metric.mean:.5f} [{metric.min:.5f}, {metric.max:.5f}]{spread} n {metric.n}"
        against = [
            f"{each.against} {each.reference:.5f} {each.difference:+.5f} {each.verdict}" for each in metric.comparisons
        ]
        rows.append("  ".join([row, *against]))
    return rows


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build benchmark", description=__doc__)
    parser.add_argument("--runs", nargs="+", required=True, help=f"folders of trainings, each with {RESULT_FILE}")
    parser.add_argument(
        "--config_name", required=True, help="name of the config in the outputs and in the baseline file"
    )
    parser.add_argument("--output_dir", required=True, help="folder for benchmark_eval.txt and benchmark_report.json")
    parser.add_argument("--baseline", default="", help="JSON file of reference values; default none")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        print(run_benchmark(Spec(tuple(args.runs), args.config_name, args.output_dir, args.baseline)))

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
