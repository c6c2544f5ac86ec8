"""The report page: findings in, one HTML text out, without any other file, script or date."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tzrec_build.tools import report_charts as charts
from tzrec_build.tools.references import lower_is_better
from tzrec_build.tools.report import Evaluation, Findings, Ranked
from tzrec_build.tools.report_style import STYLE

ABSENT = "n/a"
SHOWN_FEATURES = 30  # of a group; the rest unfolds
LEGEND_RUN = '<svg viewBox="0 0 14 14" aria-hidden="true"><circle class="run" cx="7" cy="7" r="4.5"/></svg>'
LEGEND_MEAN = '<svg viewBox="0 0 14 14" aria-hidden="true"><line class="mean" x1="7" x2="7" y1="1" y2="13"/></svg>'
LEGEND_BASE = '<svg viewBox="-7 -7 14 14" aria-hidden="true"><path class="base" d="M0-6 6 0 0 6-6 0Z"/></svg>'


def render_page(findings: Findings) -> str:
    """Put the page together; sections without findings are left out."""
    sections = (
        _benchmark(findings.benchmark),
        _evaluation(findings.evaluation, findings.curve),
        _retrieval(findings),
        _importance(findings.importance),
        _config(findings),
    )
    name = escape(findings.pipeline)
    files = ", ".join(f"<code>{escape(file)}</code>" for file in findings.files)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{name}</h1>\n{_lead(findings)}\n{_numbers(findings)}</header>\n"
        + "".join(section for section in sections if section)
        + f"<footer>Every number here stands in {files}.</footer>\n</main>\n</body>\n</html>\n"
    )


def _lead(findings: Findings) -> str:
    if not findings.model:
        return ""
    features = len({name for group in findings.groups for name in group.features})
    sequences = sum(group.sequences for group in findings.groups)
    parts = [f"A <b>{escape(findings.model)}</b> model on {_count(features, 'feature')}"]
    parts.append(f" and {_count(sequences, 'sequence')}" if sequences else "")
    return f'<p class="lead">{"".join(parts)}.</p>'


def _numbers(findings: Findings) -> str:
    """The few numbers that one looks for first."""
    tiles: list[tuple[str, str, str]] = []
    if findings.evaluation:
        good = [(n, v) for n, v in findings.evaluation.metrics.items() if not lower_is_better(n)]
        note = f"step {findings.evaluation.step:,}" if findings.evaluation.step >= 0 else "chosen checkpoint"
        tiles += [(name, _decimal(value), note) for name, value in good[:4]]
    requests = f"{int(findings.hitrate.get('requests', 0)):,} requests"
    tiles += [(n, _decimal(v), requests) for n, v in findings.hitrate.items() if n.startswith("hitrate@")][:3]
    if findings.importance:
        ranked = {row.name for rows in findings.importance.values() for row in rows if not row.encoder}
        kept = {row.name for rows in findings.importance.values() for row in rows if not row.encoder and row.kept}
        if kept < ranked:
            tiles.append(("features kept", f"{len(kept)}", f"of {len(ranked)} ranked"))
    verdicts = [each["verdict"] for each in _comparisons(findings.benchmark)]
    if verdicts:
        better = verdicts.count("BETTER")
        runs = _count(findings.benchmark["runs"], "training")
        tiles.append(("baselines", f"{better} of {len(verdicts)}", f"beaten by the mean of {runs}"))
    if not tiles:
        return ""
    cells = "".join(
        f"<div><dt>{escape(n)}</dt><dd>{escape(v)}<small>{escape(t)}</small></dd></div>" for n, v, t in tiles
    )
    return f'<dl class="numbers">{cells}</dl>\n'


def _comparisons(benchmark: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for metric in benchmark.get("metrics", {}).values() for each in metric["comparisons"]]


def _benchmark(benchmark: Mapping[str, Any]) -> str:
    metrics: Mapping[str, Any] = benchmark.get("metrics", {})
    if not metrics:
        return ""
    compared = any(metric["comparisons"] for metric in metrics.values())
    runs = _count(benchmark["runs"], "training")
    lead = f"{runs} on different seeds, everything else equal." if benchmark["runs"] > 1 else "One training."
    legend = [(LEGEND_RUN, "one training"), (LEGEND_MEAN, "mean")] + (
        [(LEGEND_BASE, "baseline, and this model minus it")] if compared else []
    )
    shown = {n: m for n, m in metrics.items() if m["comparisons"]} or metrics
    blocks = "".join(_metric_chart(name, metric) for name, metric in shown.items())
    spans = "".join(f"<span>{picture}{text}</span>" for picture, text in legend)
    title = "Against the baselines" if compared else "Spread over seeds"
    return _section(title, lead, f'<div class="legend">{spans}</div>{blocks}{_metric_table(metrics)}')


def _metric_chart(name: str, metric: Mapping[str, Any]) -> str:
    comparisons = metric["comparisons"]
    axis = charts.fit_axis([*metric["values"], *(each["reference"] for each in comparisons)])
    label = f"{name}: mean {metric['mean']:.4f}, from {metric['min']:.4f} to {metric['max']:.4f}"
    model = charts.runs_row(axis, metric["values"], metric["mean"], label)
    cells = _runs_cells("this model", model, metric["mean"], "")
    for each in comparisons:
        chart = charts.baseline_row(axis, each["reference"], f"{each['against']}: {each['reference']:.4f}")
        gap = f'<span class="{each["verdict"]}">{_signed(each["difference"])}</span>'
        cells += _runs_cells(each["against"], chart, each["reference"], gap)
    direction = ' <span class="note">lower is better</span>' if metric["lower_is_better"] else ""
    ticks = f'<span class="ticks-name"></span>{charts.axis_row(axis)}<span></span><span></span>'
    return f'<h3>{escape(name)}{direction}</h3><div class="chart runs">{cells}{ticks}</div>'


def _runs_cells(who: str, chart: str, value: float, gap: str) -> str:
    name, plot = f'<span class="name">{_name(who)}</span>', f'<span class="plot">{chart}</span>'
    return f'{name}{plot}<span class="value">{_decimal(value)}</span><span>{gap}</span>'


def _metric_table(metrics: Mapping[str, Any]) -> str:
    rows = []
    for name, metric in metrics.items():
        spread = f"{metric['stdev']:.5f}" if metric["stdev"] is not None else ABSENT
        cells = [name, f"{metric['mean']:.5f}", spread, f"{metric['min']:.5f}", f"{metric['max']:.5f}"]
        against = ", ".join(
            f"{escape(each['against'])} {_signed(each['difference'])} "
            f'<span class="{each["verdict"]}">{each["verdict"].lower()}</span>'
            for each in metric["comparisons"]
        )
        rows.append([*(escape(cell) for cell in cells), against])
    heads = ["metric", "mean", "st. dev.", "least", "most", "mean minus baseline"]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return f"<details><summary>All metrics as a table</summary>{_table(heads, rows, numeric=range(1, 5))}</details>"


def _evaluation(evaluation: Evaluation | None, curve: Sequence[Evaluation]) -> str:
    if not evaluation and not curve:
        return ""
    body = ""
    steps = [each.step for each in curve]
    names = [name for name in curve[-1].metrics if not lower_is_better(name)] if len(curve) > 1 else []
    for name in names:
        values = [each.metrics.get(name, math.nan) for each in curve]
        if all(math.isfinite(value) for value in values):
            text = f"{name} from {values[0]:.4f} at step {steps[0]} to {values[-1]:.4f} at step {steps[-1]}"
            body += f"<div><h3>{escape(name)} while training</h3>{charts.curve(steps, values, text)}</div>"
    body = f'<div class="curves">{body}</div>' if body else ""
    if evaluation:
        rows = [[escape(name), _decimal(value, 5)] for name, value in evaluation.metrics.items()]
        body += _table(["metric", "value"], rows, numeric=range(1, 2))
    step = f" It is the one after step {evaluation.step:,}." if evaluation and evaluation.step >= 0 else ""
    return _section("Evaluation", f"The chosen checkpoint on the evaluation table.{step}", body)


def _retrieval(findings: Findings) -> str:
    hitrate, manifest = findings.hitrate, findings.manifest
    if not hitrate and not manifest:
        return ""
    body = ""
    rates = []
    for name, value in hitrate.items():
        if name.startswith("hitrate@"):
            rates.append((name, value))
            rates += [(each["against"], each["reference"]) for each in findings.hitrate_comparisons.get(name, ())]
    cells = "".join(
        f'<span class="name">{_name(name)}</span>{charts.bar(value, "", f"{name}: {value:.4f}")}'
        f'<span class="value">{_decimal(value)}</span>'
        for name, value in rates
    )
    body += f'<div class="chart bars">{cells}</div>' if cells else ""
    lead = ""
    if hitrate:
        found, wanted = int(hitrate["ground_truth_items"]), int(hitrate["requests"])
        lead = f"Share of {found:,} items wanted in {wanted:,} requests that the index returns."
    facts = [(name, value) for name, value in manifest.items() if name != "faiss_version"]
    if facts:
        rows = [[escape(name), f"{value:,}" if type(value) is int else escape(str(value))] for name, value in facts]
        folded = _table(["index", ""], rows, numeric=range(1, 2))
        body += f"<details><summary>The index</summary>{folded}</details>"
    return _section("Retrieval", lead, body)


def _importance(importance: Mapping[str, Sequence[Ranked]]) -> str:
    if not importance:
        return ""
    pruned = any(not row.kept for rows in importance.values() for row in rows)
    lead = "How likely training with variational dropout keeps a feature: the longer the bar, the more it is needed."
    lead += " Grey ones were pruned." if pruned else ""
    blocks = ""
    for group, rows in importance.items():
        blocks += f"<h3>{escape(group)}</h3>{_feature_bars(rows[:SHOWN_FEATURES])}"
        rest = rows[SHOWN_FEATURES:]
        if rest:
            blocks += f"<details><summary>{len(rest)} more</summary>{_feature_bars(rest)}</details>"
    return _section("Feature importance", lead, blocks)


def _feature_bars(rows: Sequence[Ranked]) -> str:
    cells = ""
    for row in rows:
        keep, gone = 1.0 - row.drop_p, "" if row.kept else " gone"
        label = f"{row.name}: {keep:.3f}" + ("" if row.kept else ", pruned")
        cells += (
            f'<span class="name{gone}">{_name(row.name)}</span>{charts.bar(keep, "" if row.kept else "out", label)}'
            f'<span class="value{gone}">{keep:.3f}</span>'
        )
    return f'<div class="chart bars">{cells}</div>'


def _config(findings: Findings) -> str:
    if not findings.config_text:
        return ""
    rows = [
        [escape(group.name), escape(group.kind), str(len(group.features)), str(group.sequences)]
        for group in findings.groups
    ]
    table = _table(["feature group", "kind", "features", "sequences"], rows, numeric=range(2, 4))
    text = escape(findings.config_text.strip())
    return _section(
        "Config", "", f"{table}<details><summary>The config that was trained</summary><pre>{text}</pre></details>"
    )


def _section(title: str, lead: str, body: str) -> str:
    lead = f'<p class="note">{lead}</p>' if lead else ""
    return f"<section>\n<h2>{title}</h2>{lead}{body}\n</section>\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: range) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="n">{text}</{tag}>' if i in numeric else f"<{tag}>{text}</{tag}>"
            for i, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells("th", heads)}</tr></thead><tbody>{body}</tbody></table></div>'


def _name(text: str) -> str:
    """Escape a name and let it break after an underscore."""
    return escape(text).replace("_", "_<wbr>")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _decimal(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ABSENT


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")  # noqa: RUF001 - a minus sign is as wide as the plus
