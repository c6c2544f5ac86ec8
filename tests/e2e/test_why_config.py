"""`doit why` of a pipeline with a config: which field, source file or package trains again, and how far an edit reaches.

The heavy tools are the stand-ins of the rebuild matrix; configs, light tools and code are the real ones.
"""

from __future__ import annotations

import json
import shutil

import pytest

from tests.e2e.matrix_workspace import RANK, SHOP_TOML, build, copy_matrix, make_matrix


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The matrix's pipeline with selection and benchmark, built."""
    project = make_matrix(tmp_path_factory.mktemp("why") / "base")
    shutil.rmtree(project.path("match"))
    shutil.rmtree(project.path("daily"))
    first = build(project)
    assert first.code == 0, first.out
    return project


@pytest.fixture
def shop(built, tmp_path):
    yield copy_matrix(built, tmp_path / "checkout")
    shutil.rmtree(tmp_path / "checkout")


def plan(project, *args):
    done = build(project, "why", "--json", *args)
    assert done.code == 0, done.out
    return {entry["task"]: entry for entry in json.loads(done.out)["tasks"]}


def config(project, old, new):
    assert RANK.count(old) == 1
    project.write("shop/rank.config", RANK.replace(old, new))


def package(project, name, version):
    (link,) = (project.root / "installed").glob(f"{name}-*.dist-info")
    link.rename(link.with_name(f"{name}-{version}.dist-info"))


def code(project, path):
    file = project.root / path
    file.write_text(file.read_text() + "\nADDED = 1\n")


def comment(project):
    project.write("shop/rank.config", RANK + "# for a colleague\n")


def topk(project):
    project.write("shop/pipeline.toml", SHOP_TOML.replace("topk = 3", "topk = 4"))


EDITS = {  # edit, task, its first cause
    "field": (
        lambda p: config(p, "hidden_units: [8]", "hidden_units: [16]"),
        "train_select:shop",
        "config model_config.multi_tower.towers[input=all].mlp.hidden_units: [8] → [16]",
    ),
    "field with a default": (
        lambda p: config(p, "num_epochs: 1", "num_epochs: 2"),
        "config:shop",
        "config train_config.num_epochs: 1 → 2",
    ),
    "comment": (comment, "config:shop", "input rank.config: comments or layout changed, no field"),
    "topk": (topk, "prune:shop", "parameter topk: 3 → 4"),
    "code": (
        lambda p: code(p, "tzrec_build/modules/mlp.py"),
        "train:shop",
        "code tzrec_build/modules/mlp.py changed",
    ),
    "package": (lambda p: package(p, "matplotlib", "9.9"), "importance:shop", None),
    "vocabulary": (
        lambda p: p.write("shop/vocab.txt", "a\nb\nd\n"),
        "train:shop",
        "input vocab.txt: line 3 changed, 'c' → 'd'",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_cause_is_named_and_the_build_does_what_the_plan_says(shop, name):
    change, task, text = EDITS[name]
    change(shop)
    told = plan(shop)
    first = told[task]["causes"][0]["text"]
    assert first == text if text else first.startswith("matplotlib ") and first.endswith(" → 9.9")
    sets = {
        state: {t for t, entry in told.items() if entry["state"] == state} for state in ("build", "restore", "maybe")
    }
    after = build(shop)
    assert after.code == 0, after.out
    assert sets["build"] <= after.ran
    assert sets["restore"] <= after.restored
    assert after.ran | after.restored <= sets["build"] | sets["restore"] | sets["maybe"]
    assert plan(shop) == {}


def test_a_comment_is_known_to_stop_at_the_config(shop):
    comment(shop)
    assert {task: entry["state"] for task, entry in plan(shop).items()} == {"config:shop": "build"}


def test_light_tasks_tell_which_field_trains_again(shop):
    topk(shop)
    told = plan(shop)
    assert told["final_config:shop"]["state"] == told["train:shop"]["state"] == "build"
    (cause,) = told["train:shop"]["causes"]
    assert (cause["part"], cause["file"]) == ("config", "build/final_config/train.config")
    assert cause["what"].startswith("feature_configs[")
    assert cause["text"].endswith(": added")
    assert told["pick:shop"]["state"] == "maybe"
    assert "train_select:shop" not in told


def test_wrong_config_is_told_by_the_plan(shop):
    config(shop, '"cat", "price"]', '"cat", "prices"]')
    told = plan(shop)
    assert told["config:shop"]["state"] == "error"
    assert "rank.config:" in told["config:shop"]["causes"][0]["text"]
    assert told["train:shop"]["after"] == ["config:shop"]
    assert not list(shop.root.glob("workspace/shop/build/.work/config/*"))


def test_nothing_is_left_of_the_scratch_folder(shop, tmp_path):
    (tmp_path / "tmp").mkdir()
    comment(shop)
    assert build(shop, "why", TMPDIR=str(tmp_path / "tmp")).code == 0
    assert list((tmp_path / "tmp").iterdir()) == []
