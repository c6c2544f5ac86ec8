"""Means, spreads and verdicts worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.tools import benchmark

CRITEO = {
    "configs/criteo/deepfm.config": {"label": {"auc": 0.784, "loss": 0.5}, "threshold": {"auc": 0.005}, "run_cnt": 1}
}


def make_runs(folder: Path, *results: dict[str, object]) -> list[str]:
    runs = []
    for number, result in enumerate(results):
        run = folder / f"run_{number}"
        run.mkdir()
        early = json.dumps({"global_step": 1, "auc": 0.1})
        (run / benchmark.RESULT_FILE).write_text(f"{early}\n{json.dumps({'global_step': 9} | result)}\n\n")
        runs.append(str(run))
    return runs


def run(folder: Path, runs: list[str], baseline: object = None) -> int:
    flags = []
    if baseline is not None:
        (folder / "base.json").write_text(baseline if isinstance(baseline, str) else json.dumps(baseline))
        flags = ["--baseline", str(folder / "base.json")]
    return benchmark.main(["--runs", *runs, "--config_name", "deepfm", "--output_dir", str(folder / "out"), *flags])


def report(folder: Path) -> dict[str, object]:
    return json.loads((folder / "out" / "benchmark_report.json").read_text())


def test_last_line_of_each_run_gives_mean_min_max_and_sample_deviation(tmp_path: Path) -> None:
    assert run(tmp_path, make_runs(tmp_path, {"auc": 0.5}, {"auc": 0.6}, {"auc": 0.7})) == 0
    auc = report(tmp_path)["metrics"]["auc"]
    assert (auc["n"], auc["min"], auc["max"], auc["comparisons"]) == (3, 0.5, 0.7, [])
    assert auc["mean"] == pytest.approx(0.6)
    assert auc["stdev"] == pytest.approx(0.1)
    assert json.loads((tmp_path / "out" / "benchmark_eval.txt").read_text()) == {"deepfm": {"auc": auc["mean"]}}


def test_a_single_run_has_no_deviation(tmp_path: Path) -> None:
    assert run(tmp_path, make_runs(tmp_path, {"auc": 0.5})) == 0
    assert report(tmp_path)["metrics"]["auc"]["stdev"] is None


@pytest.mark.parametrize(
    ("auc", "loss", "verdicts", "all_in_all"),
    [
        (0.789, 0.5, ["BETTER", "BALANCE"], "BETTER"),  # 0.005 reached exactly
        (0.7889, 0.5, ["BALANCE", "BALANCE"], "BALANCE"),
        (0.779, 0.6, ["WORSE", "WORSE"], "WORSE"),  # a larger loss is worse
        (0.79, 0.6, ["BETTER", "WORSE"], "BETTER AND WORSE"),
        (0.784, 0.4, ["BALANCE", "BETTER"], "BETTER"),
    ],
)
def test_verdicts_against_a_torch_easyrec_reference(
    auc: float, loss: float, verdicts: list[str], all_in_all: str, tmp_path: Path
) -> None:
    assert run(tmp_path, make_runs(tmp_path, {"auc": auc, "loss": loss}), CRITEO) == 0
    found = report(tmp_path)
    assert [metric["comparisons"][0]["verdict"] for metric in found["metrics"].values()] == verdicts
    assert found["verdict"] == all_in_all


def test_each_named_baseline_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baselines = {"baselines": {"popularity": {"auc": 0.5}, "lightgbm": {"auc": 0.7}}, "threshold": 0.01}
    assert run(tmp_path, make_runs(tmp_path, {"auc": 0.6}), baselines) == 0
    found = report(tmp_path)["metrics"]["auc"]["comparisons"]
    assert [(each["against"], each["verdict"]) for each in found] == [("popularity", "BETTER"), ("lightgbm", "WORSE")]
    assert [round(each["difference"], 6) for each in found] == [0.1, -0.1]
    out = capsys.readouterr().out
    assert "popularity 0.50000 +0.10000 BETTER  lightgbm 0.70000 -0.10000 WORSE" in out
    assert "verdict: BETTER AND WORSE" in out


def test_a_metric_that_is_nan_is_left_out(tmp_path: Path) -> None:
    assert run(tmp_path, make_runs(tmp_path, {"auc": 0.6, "auc_light": float("nan")})) == 0
    assert list(report(tmp_path)["metrics"]) == ["auc"]


def fails(folder: Path, runs: list[str], baseline: object, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(folder, runs, baseline) in {BuildError.exit_code, 2}
    assert not (folder / "out").exists()
    return capsys.readouterr().err


def test_a_run_without_result_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [*make_runs(tmp_path, {"auc": 0.6}), str(tmp_path / "failed")]
    text = f"{tmp_path / 'failed'}: no file 'train_eval_result_v2.txt'; did this training fail, or has it no evaluation data?"
    assert text in fails(tmp_path, runs, None, capsys)


def test_a_damaged_result_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(tmp_path, {"auc": 0.6})
    (Path(runs[0]) / benchmark.RESULT_FILE).write_text('{"auc": ')
    assert "the last line must be a JSON object of numbers" in fails(tmp_path, runs, None, capsys)


def test_a_metric_missing_in_one_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(tmp_path, {"auc": 0.6, "loss": 1.0}, {"auc": 0.6})
    text = f"{runs[1]}: metric 'loss' is missing here but present in other runs; train this run again"
    assert text in fails(tmp_path, runs, None, capsys)


def test_the_same_run_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_runs(tmp_path, {"auc": 0.6}) * 2
    assert "--runs: a run must be named once, got one twice" in fails(tmp_path, runs, None, capsys)


@pytest.mark.parametrize(
    ("baseline", "text"),
    [
        ({"a/deepfn.config": {"label": {}}}, "no baseline for config 'deepfm'; did you mean 'deepfn'?"),
        ({"baselines": {"b": {"auc_ctr": 0.5}}}, "baseline 'b': no run has its metric 'auc_ctr'; did you mean 'auc'?"),
        ({"baselines": {"b": {"auc": "0.5"}}}, "'auc' must be a number, got '0.5'"),
        ({"baselines": [1]}, "'baselines': must be a JSON object, got [1]"),
        ({"deepfm": {"threshold": 1}}, "needs 'label' with the reference values, got ['threshold']"),
        ("[]", "must be a JSON object, got list"),
        ("{", "not JSON"),
    ],
)
def test_a_bad_baseline_file_is_named(
    baseline: object, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(tmp_path, make_runs(tmp_path, {"auc": 0.6}), baseline, capsys)
    assert text in error


def test_a_missing_baseline_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--config_name", "x", "--output_dir", str(tmp_path / "out"), "--baseline", str(tmp_path / "absent.json")]
    assert benchmark.main(["--runs", *make_runs(tmp_path, {"auc": 0.6}), *flags]) == 1
    assert "absent.json: cannot be read: No such file or directory" in capsys.readouterr().err
