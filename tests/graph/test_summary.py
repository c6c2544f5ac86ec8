"""The last lines of a build."""

from __future__ import annotations

import pytest

from tzrec_build.graph.spec import TaskSpec
from tzrec_build.graph.summary import MOST_LINES, artifacts_and_headlines, failures, not_built, out_of_sight


def spec(folder, name: str, headline: str = "") -> TaskSpec:
    out = f"build/{name.partition(':')[0]}"
    (folder / out).mkdir(parents=True)
    if headline:
        (folder / out / headline).write_text(f"{name} auc 0.7\n")
    return TaskSpec(name, f"what {name} is", str(folder), out, (), "", (), headline=headline)


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_few_artifacts_are_listed_with_what_they_are(tmp_path):
    specs = [spec(tmp_path / "p", "train:p"), spec(tmp_path / "p", "page:p", "headline.txt")]
    assert artifacts_and_headlines(specs, {}) == [
        "",
        "p",
        "  build/train                 what train:p is",
        "  build/page                  what page:p is",
        "",
        "page:p auc 0.7",
        "",
    ]


def test_what_is_not_there_and_tasks_of_the_checkout_are_left_out(tmp_path):
    gone = TaskSpec("fg:p", "", str(tmp_path / "p"), "build/fg", (), "", ())
    assert artifacts_and_headlines([gone, spec(tmp_path, "protos")], {}) == [""]


@pytest.mark.parametrize(("pipelines", "lines"), [(60, MOST_LINES + 1), (39, MOST_LINES + 1), (30, 32)])
def test_many_pipelines_take_a_line_each_up_to_a_bound(tmp_path, pipelines, lines):
    specs = [spec(tmp_path / f"p{i:02}", f"{verb}:p{i:02}") for i in range(pipelines) for verb in ("train", "pick")]
    found = artifacts_and_headlines(specs, {})
    assert found[1] == "p00  2 artifacts in build/"
    assert len(found) == lines
    if pipelines > 38:
        assert found[-2] == f"and {2 * (pipelines - 38)} artifacts of {pipelines - 38} more pipelines"


def test_of_many_headlines_those_of_this_build_are_shown(tmp_path):
    specs = [spec(tmp_path / f"p{i}", f"page:p{i}", "headline.txt") for i in range(12)]
    found = artifacts_and_headlines(specs, {"page:p3": "built", "page:p5": "restored", "page:p1": "up to date"})
    assert [line for line in found if "auc" in line] == ["page:p3 auc 0.7", "page:p5 auc 0.7"]
    all_made = artifacts_and_headlines(specs, {spec.name: "built" for spec in specs})
    assert sum("auc" in line for line in all_made) == 8
    assert "and the headline numbers of 4 more tasks, e.g. " in all_made[-2]


def test_what_a_failure_held_up_is_named_with_its_cause():
    needs = {"a": (), "b": ("a",), "c": ("b",), "x": (), "y": ("x", "b")}
    assert not_built(["a", "x"], {"a": "failed", "x": "failed"}, needs) == [
        "- b  not built: a task that it needs failed (a)",
        "- c  not built: a task that it needs failed (a)",
        "- y  not built: a task that it needs failed (a, x)",
    ]


def test_hundreds_that_were_held_up_take_one_line():
    needs = {"a": (), **{f"t{i}": ("a",) for i in range(200)}, "up": ()}
    assert not_built(["a"], {"a": "failed", "up": "built"}, needs) == [
        "- t0, t1, t2, t3, t4 and 195 more  not built: a task that it needs failed (a)"
    ]


def test_a_failure_is_repeated_by_its_first_line():
    assert failures({"a": "a: exit 1; log:\n    x", "b": "b: gone"}) == ["! a: exit 1; log", "! b: gone"]


def test_failures_come_again_only_when_they_are_out_of_sight():
    one = {"a": "a: exit 1; log:\n    x"}
    assert not out_of_sight(one, {"z": "built", "a": "failed"} | {f"b{i}": "built" for i in range(18)})
    assert out_of_sight(one, {"z": "built", "a": "failed"} | {f"b{i}": "built" for i in range(19)})
    assert not out_of_sight(one, {"a": "failed"} | {f"b{i}": "up to date" for i in range(100)})
    assert out_of_sight({"a": "x", "b": "x\n" * 40}, {"a": "failed", "b": "failed"})
