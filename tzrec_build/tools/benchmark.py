"""Tool `benchmark`: mean and spread of every metric over several trainings, beside reference values."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from tzrec_build.errors import ConfigError, DataError, suggestion
from tzrec_build.files import write_json, write_text
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool

RESULT_FILE = "train_eval_result_v2.txt"
BETTER, WORSE, BALANCE, MIXED = "BETTER", "WORSE", "BALANCE", "BETTER AND WORSE"
LOWER_IS_BETTER = ("loss", "cross_entropy", "absolute_error", "squared_error", "mae", "mse", "rmse", "logloss")
ROUNDING = 1e-9  # a difference of 0.002 computed from decimals must count as 0.002


@dataclass(frozen=True, slots=True)
class Reference:
    """Values to compare with: metric -> value, and metric -> smallest difference that counts."""

    name: str
    values: Mapping[str, float]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric's mean against one reference; `difference` is mean - reference."""

    against: str
    reference: float
    threshold: float
    difference: float
    verdict: str


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


def lower_is_better(metric: str) -> bool:
    """Say whether a metric is a loss or an error, by whole words of its name.

    >>> lower_is_better("binary_cross_entropy_ctr"), lower_is_better("mse"), lower_is_better("auc_glossary")
    (True, True, False)
    """
    return any(f"_{word}_" in f"_{metric}_" for word in LOWER_IS_BETTER)


def judge(difference: float, threshold: float, *, lower: bool) -> str:
    """BETTER or WORSE when the difference (mean - reference) reaches the threshold and is not zero, else BALANCE.

    >>> judge(0.002, 0.002, lower=False), judge(0.002, 0.002, lower=True), judge(0.001, 0.002, lower=False)
    ('BETTER', 'WORSE', 'BALANCE')
    """
    gain = -difference if lower else difference
    if abs(gain) + ROUNDING < threshold or abs(gain) < ROUNDING:
        return BALANCE
    return BETTER if gain > 0 else WORSE


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


def load_references(path: str, config_name: str) -> list[Reference]:
    """Read a baseline file.

    Two forms: TorchEasyRec's ``{config: {"label": {metric: value}, "threshold": number or {metric: number}}}``, where the
    config is found by its path or bare name, and ``{"baselines": {name: {metric: value}}, "threshold": ...}``.

    Raises:
        DataError: the file is missing or not of these forms.
        ConfigError: it does not know the config.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as err:
        raise DataError(f"{path}: cannot be read: {err.strerror}; give --baseline an existing file") from err
    except ValueError as err:
        raise DataError(f"{path}: not JSON: {err}") from err
    if not isinstance(data, dict):
        raise DataError(f"{path}: must be a JSON object, got {type(data).__name__}")
    if "baselines" in data:
        tables = _table(data["baselines"], f"{path}: 'baselines'")
        threshold = data.get("threshold", 0.0)
        return [
            _reference(name, values, threshold, f"{path}: 'baselines': {name!r}") for name, values in tables.items()
        ]
    keys = {key: key for key in data} | {PurePath(key).stem: key for key in data}
    if config_name not in keys:
        raise ConfigError(f"{path}: no baseline for config {config_name!r}{suggestion(config_name, keys)}")
    where = f"{path}: {keys[config_name]!r}"
    entry = _table(data[keys[config_name]], where)
    if "label" not in entry:
        raise DataError(f"{where}: needs 'label' with the reference values, got {sorted(entry)}")
    return [_reference("reference", entry["label"], entry.get("threshold", 0.0), where)]


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
    lower, mean = lower_is_better(name), statistics.fmean(values)
    comparisons = []
    for reference in references:
        if name in reference.values:
            value, threshold = reference.values[name], reference.thresholds.get(name, 0.0)
            verdict = judge(mean - value, threshold, lower=lower)
            comparisons.append(Comparison(reference.name, value, threshold, mean - value, verdict))
    return MetricReport(
        n=len(values),
        mean=mean,
        min=min(values),
        max=max(values),
        stdev=statistics.stdev(values) if len(values) > 1 else None,
        lower_is_better=lower,
        values=tuple(values),
        comparisons=tuple(comparisons),
    )


def _reference(name: str, values: object, threshold: object, where: str) -> Reference:
    numbers = _numbers(_table(values, where), where)
    if isinstance(threshold, Mapping):
        return Reference(name, numbers, _numbers(threshold, f"{where}: 'threshold'"))
    limit = _numbers({"threshold": threshold}, where)["threshold"]
    return Reference(name, numbers, dict.fromkeys(numbers, limit))


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, got {value!r}")
    return value


def _numbers(table: Mapping[str, object], where: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{where}: {name!r} must be a number, got {value!r}")
        numbers[name] = float(value)
    return numbers


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
