"""The page shows what the artifacts hold, needs nothing else, and is the same each time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tzrec_build.errors import DataError
from tzrec_build.tools import report, report_charts

SGD = "{ sgd_optimizer { lr: 0.1 } constant_learning_rate {} }"
CONFIG = f"""
train_config {{ sparse_optimizer {SGD} dense_optimizer {SGD} }}
data_config {{ batch_size: 4 label_fields: "y" fg_mode: FG_NONE }}
feature_configs {{ id_feature {{ feature_name: "a" embedding_dim: 2 num_buckets: 9 }} }}
feature_configs {{ id_feature {{ feature_name: "b<" embedding_dim: 2 num_buckets: 9 }} }}
model_config {{
  feature_groups {{ group_name: "deep" group_type: DEEP feature_names: "a" feature_names: "b<" }}
  multi_tower {{ towers {{ input: "deep" mlp {{ hidden_units: 4 }} }} final {{ hidden_units: 4 }} }}
}}
"""
COMPARISON = {"against": "popularity", "reference": 0.5, "threshold": 0.0, "difference": 0.2, "verdict": "BETTER"}
METRIC = {
    "n": 2, "mean": 0.7, "min": 0.69, "max": 0.71, "stdev": 0.01, "lower_is_better": False, "values": [0.69, 0.71],
    "comparisons": [COMPARISON],
}  # fmt: skip
ARTIFACTS: dict[str, object] = {
    report.CONFIG_FILE: CONFIG,
    report.EVALUATION_FILE: {"global_step": 20, "auc": 0.71234, "loss": 0.5},
    report.CURVE_FILE: '{"global_step": 10, "auc": 0.6}\n{"global_step": 20, "auc": 0.71234}\n',
    f"{report.IMPORTANCE_DIR}/feature_dropout_ratio_deep.csv": "feature_name,mean_drop_p\na,0.25\nb<,0.5\ngone,0.875\n",
    report.MANIFEST_FILE: {"index_type": "FlatIP", "rows": 1682},
    report.HITRATE_FILE: {
        "hitrate@50": 0.46,
        "requests": 943,
        "ground_truth_items": 950,
        "comparisons": {"hitrate@50": [{"against": "best sellers", "reference": 0.29}]},
    },
    report.BENCHMARK_FILE: {"config": "x", "runs": 2, "verdict": "BETTER", "metrics": {"auc": METRIC}},
}


def make(folder: Path, *names: str) -> Path:
    for name in names or ARTIFACTS:
        content = ARTIFACTS[name]
        path = folder / "build" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "build"


def page(folder: Path, *names: str) -> str:
    flags = ["--pipeline", "demo & co", "--artifacts", str(make(folder, *names)), "--output_dir", str(folder / "out")]
    assert report.main(flags) == 0
    return (folder / "out" / "index.html").read_text()


def words(html: str) -> str:
    """Text of a page: without style sheet and tags, spaces folded."""
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition("</style>")[2].replace("<wbr>", "")).split())


def test_page_shows_the_numbers_of_every_artifact(tmp_path: Path) -> None:
    text = words(page(tmp_path))
    for expected in (
        "demo &amp; co A multi_tower model on 2 features.",
        "auc 0.7123 step 20",
        "hitrate@50 0.4600 943 requests",
        "features kept 2 of 3 ranked",
        "baselines 1 of 1 beaten by the mean of 2 trainings",
        "popularity 0.5000 +0.2000",
        "auc 0.70000 0.01000 0.69000 0.71000 popularity +0.2000 better",
        "Share of 950 items wanted in 943 requests that the index returns.",
        "hitrate@50 0.4600 best sellers 0.2900",
        "rows 1,682",
        "a 0.750 b&lt; 0.500 gone 0.125",
        "deep deep 2 0",
    ):
        assert expected in text
    assert "num_buckets: 9" in text  # the config itself


def test_page_is_well_formed_and_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    html = page(tmp_path)
    stack: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "link", "img", "iframe"}
            assert not {"src", "href"} & {name for name, _ in attrs}
            if tag not in {"meta", "wbr"}:
                stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert stack.pop() == tag

    Checker().feed(html)
    assert stack == []
    assert "url(" not in html
    assert "@import" not in html


def test_two_pages_of_equal_artifacts_in_two_folders_are_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert page(tmp_path / "a") == page(tmp_path / "b")


@pytest.mark.parametrize("name", sorted(ARTIFACTS))
def test_any_single_artifact_makes_a_page(name: str, tmp_path: Path) -> None:
    assert "<h1>demo &amp; co</h1>" in page(tmp_path, name)


def test_headline_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "demo & co",
        "  evaluation at step 20: auc 0.7123",
        "  hitrate@50: 0.4600 over 943 requests, best sellers 0.2900",
        "  features of deep: 2 of 3 kept, first a, b<",
        "  auc: 0.7000, mean of 2 seeds; popularity 0.5000",
    ]
    assert (tmp_path / "out" / "headline.txt").read_text().startswith("demo & co\n  evaluation at step 20")


def test_only_the_named_artifacts_are_looked_at(tmp_path: Path) -> None:
    folder = make(tmp_path)
    flags = ["--pipeline", "demo", "--artifacts", str(folder), "--output_dir", str(tmp_path / "out")]
    assert report.main([*flags, "--only", "evaluate,hitrate/hitrate.json"]) == 0
    text = words((tmp_path / "out" / "index.html").read_text())
    assert "auc 0.7123" in text
    assert "hitrate@50 0.4600" in text
    assert "popularity" not in text  # of the benchmark, which was not asked for


def test_an_empty_build_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of final_config/pipeline.config, .*; build the pipeline first"):
        report.load_findings("x", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (report.HITRATE_FILE, "{", "hitrate/hitrate.json: not JSON"),
        (report.HITRATE_FILE, '{"hitrate@5": "x"}', "'hitrate@5' must be a number, got 'x'; build this artifact again"),
        (
            report.EVALUATION_FILE,
            "[1]",
            "eval_result.txt:1: must be a JSON object, got list; build this artifact again",
        ),
    ],
)
def test_a_damaged_artifact_is_named(name: str, content: str, text: str, tmp_path: Path) -> None:
    folder = make(tmp_path, name)
    (folder / name).write_text(content)
    with pytest.raises(DataError) as caught:
        report.load_findings("x", folder)
    assert text in str(caught.value)


def test_axis_has_round_ticks_inside_the_range_and_room_around_a_single_value() -> None:
    assert report_charts.fit_axis([0.694, 0.712]).ticks == (0.695, 0.7, 0.705, 0.71)
    assert report_charts.fit_axis([0, 100]).ticks == (0, 25, 50, 75, 100)
    single = report_charts.fit_axis([0.7])
    assert single.low < 0.7 < single.high
    assert single.place(0.7) == pytest.approx(50)
    assert single.label(0.7) == "0.700"
