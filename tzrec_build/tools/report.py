"""Tool `report`: one self-contained page about what was built for a pipeline, and how good it is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tzrec_build.errors import DataError
from tzrec_build.files import write_text
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.importance_files import load_tables
from tzrec_build.tools.references import lower_is_better

if TYPE_CHECKING:
    from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

# All that the page is made of, below the build folder; every number on it stands in one of these files.
CONFIG_FILE = "final_config/pipeline.config"
EVALUATION_FILE = "evaluate/eval_result.txt"
CURVE_FILE = "train/train_eval_result_v2.txt"
IMPORTANCE_DIR = "importance"
MANIFEST_FILE = "index/manifest.json"
HITRATE_FILE = "hitrate/hitrate.json"
BENCHMARK_FILE = "benchmark/benchmark_report.json"


@dataclass(frozen=True, slots=True)
class Spec:
    """Whose page, from which build folder, written where.

    Attributes:
        only: files and folders below `artifacts` to look at; empty for all. What an earlier build left there stays out.
    """

    pipeline: str
    artifacts: str
    output_dir: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One line of an evaluation; the step is -1 when the line has none."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One row of an importance table.

    Attributes:
        kept: the final config still has it.
        encoder: it is the output of a sequence encoder, which is never pruned, and not a feature.
    """

    name: str
    drop_p: float
    kept: bool
    encoder: bool


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A feature group of the final config."""

    name: str
    kind: str
    features: tuple[str, ...]
    sequences: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in the build folder; an artifact that is not there leaves its field empty.

    Attributes:
        model: name of the model in the config.
        config_text: the final config.
        evaluation: of the chosen checkpoint.
        curve: evaluations during the training, by step.
        importance: group -> rows, most useful first.
        manifest: of the index.
        hitrate: numbers of hitrate.json.
        hitrate_comparisons: hit rate -> reference values beside it.
        benchmark: content of benchmark_report.json.
        files: what the page is made of, relative to the build folder.
    """

    pipeline: str
    model: str
    config_text: str
    groups: tuple[GroupFacts, ...]
    evaluation: Evaluation | None
    curve: tuple[Evaluation, ...]
    importance: Mapping[str, tuple[Ranked, ...]]
    manifest: Mapping[str, object]
    hitrate: Mapping[str, float]
    hitrate_comparisons: Mapping[str, Sequence[Mapping[str, Any]]]
    benchmark: Mapping[str, Any]
    files: tuple[str, ...]


def load_findings(pipeline: str, folder: Path, only: tuple[str, ...] = ()) -> Findings:
    """Read whichever artifacts the build folder has, among `only` where that is given.

    Raises:
        DataError: there is none, or one is damaged.
    """

    def at(name: str) -> Path:
        asked = not only or any(name == one or name.startswith(f"{one}/") for one in only)
        return folder / name if asked else folder / ".not-asked-for"

    groups, model, text = _load_config(at(CONFIG_FILE))
    known = (CONFIG_FILE, EVALUATION_FILE, CURVE_FILE, IMPORTANCE_DIR, MANIFEST_FILE, HITRATE_FILE, BENCHMARK_FILE)
    files = tuple(name for name in known if at(name).exists())
    if not files:
        raise DataError(f"{folder}: holds none of {', '.join(known)}; build the pipeline first")
    evaluations = _load_lines(at(EVALUATION_FILE))
    hitrate: dict[str, Any] = dict(_load_object(at(HITRATE_FILE)))
    hitrate_comparisons = hitrate.pop("comparisons", {})
    return Findings(
        pipeline=pipeline,
        model=model,
        config_text=text,
        groups=groups,
        evaluation=evaluations[-1] if evaluations else None,
        curve=tuple({each.step: each for each in _load_lines(at(CURVE_FILE))}.values()),
        importance=_load_importance(at(IMPORTANCE_DIR), groups),
        manifest=_load_object(at(MANIFEST_FILE)),
        hitrate=_numbers(hitrate, at(HITRATE_FILE)),
        hitrate_comparisons=hitrate_comparisons,
        benchmark=_load_object(at(BENCHMARK_FILE)),
        files=files,
    )


def headline(findings: Findings) -> str:
    """Say the most important numbers in a few lines of text."""
    lines = [findings.pipeline]
    if findings.evaluation:
        values = [f"{n} {v:.4f}" for n, v in findings.evaluation.metrics.items() if not lower_is_better(n)]
        step = f" at step {findings.evaluation.step:,}" if findings.evaluation.step >= 0 else ""
        lines.append(f"evaluation{step}: {', '.join(values)}")
    for name, value in findings.hitrate.items():
        if name.startswith("hitrate@"):
            known = "".join(
                f", {each['against']} {each['reference']:.4f}" for each in findings.hitrate_comparisons.get(name, ())
            )
            lines.append(f"{name}: {value:.4f} over {findings.hitrate.get('requests', 0):,.0f} requests{known}")
    for group, rows in findings.importance.items():
        features = [row for row in rows if not row.encoder]
        kept = [row.name for row in features if row.kept]
        lines.append(f"features of {group}: {len(kept)} of {len(features)} kept, first {', '.join(kept[:3])}")
    lines.extend(_benchmark_lines(findings.benchmark))
    return "\n  ".join(lines)


def run_report(spec: Spec) -> str:
    """Write `index.html`, and `headline.txt` with the most important numbers.

    Returns:
        The headline numbers as text.
    """
    from tzrec_build.tools.report_page import render_page

    findings = load_findings(spec.pipeline, Path(spec.artifacts), spec.only)
    text = headline(findings)
    write_text(Path(spec.output_dir) / "headline.txt", text + "\n")
    write_text(Path(spec.output_dir) / "index.html", render_page(findings))
    return text


def _benchmark_lines(benchmark: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, metric in benchmark.get("metrics", {}).items():
        against = [f"{each['against']} {each['reference']:.4f}" for each in metric["comparisons"]]
        if against:
            lines.append(f"{name}: {metric['mean']:.4f}, mean of {metric['n']} seeds; {', '.join(against)}")
    return lines


def _load_config(path: Path) -> tuple[tuple[GroupFacts, ...], str, str]:
    if not path.is_file():
        return (), "", ""
    from tzrec_build.config.load import load_pipeline_config

    config = load_pipeline_config(path)
    return _group_facts(config), config.model_config.WhichOneof("model") or "", path.read_text(encoding="utf-8")


def _group_facts(config: EasyRecConfig) -> tuple[GroupFacts, ...]:
    from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType

    return tuple(
        GroupFacts(
            name=group.group_name,
            kind=FeatureGroupType.Name(group.group_type).lower(),
            features=tuple(group.feature_names),
            sequences=len(group.sequence_groups),
        )
        for group in config.model_config.feature_groups
    )


def _load_lines(path: Path) -> list[Evaluation]:
    """Read evaluation lines, in the order of the file; none when the file is not there."""
    if not path.is_file():
        return []
    evaluations = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            values = _parse_object(line, f"{path}:{number}")
            step = values.pop("global_step", None)
            evaluations.append(Evaluation(step if isinstance(step, int) else -1, _numbers(values, path)))
    return evaluations


def _load_importance(folder: Path, groups: Sequence[GroupFacts]) -> dict[str, tuple[Ranked, ...]]:
    if not folder.is_dir():
        return {}
    kept = {group.name: set(group.features) for group in groups}

    def ranked(group: str, name: str, drop_p: float) -> Ranked:
        encoder = name.startswith(f"{group}_seq_encoder_")
        return Ranked(name, drop_p, encoder or group not in kept or name in kept[group], encoder)

    return {
        group: tuple(ranked(group, name, drop_p) for name, drop_p in rows.items())
        for group, rows in load_tables(folder).items()
    }


def _load_object(path: Path) -> dict[str, object]:
    return _parse_object(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}


def _parse_object(text: str, where: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as err:
        raise DataError(f"{where}: not JSON ({err}); build this artifact again") from err
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, got {type(value).__name__}; build this artifact again")
    return value


def _numbers(values: Mapping[str, object], path: Path) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DataError(f"{path}: {name!r} must be a number, got {value!r}; build this artifact again")
        numbers[name] = value
    return numbers


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build report", description=__doc__)
    parser.add_argument("--pipeline", required=True, help="name of the pipeline, for the title")
    parser.add_argument("--artifacts", required=True, help="the pipeline's build folder")
    parser.add_argument("--only", default="", help="files and folders in it to look at, by comma; default all")
    parser.add_argument("--output_dir", required=True, help="folder for index.html and headline.txt")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        print(
            run_report(Spec(args.pipeline, args.artifacts, args.output_dir, tuple(filter(None, args.only.split(",")))))
        )

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
