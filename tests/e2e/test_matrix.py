"""The rebuild matrix, run: each kind of edit on a built workspace, and exactly the tasks that run, are restored, and stay."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.matrix_edits import ALL, EDITS, table, tasks
from tests.e2e.matrix_workspace import build, copy_matrix, make_matrix


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The workspace with everything built."""
    project = make_matrix(tmp_path_factory.mktemp("matrix") / "base")
    first = build(project)
    assert first.code == 0, first.out
    return project


@pytest.fixture
def project(built, tmp_path):
    """A copy of it to edit; that it moved to another folder is an edit that rebuilds nothing."""
    yield copy_matrix(built, tmp_path / "checkout")
    shutil.rmtree(tmp_path / "checkout")


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_rebuilds_exactly_what_it_must(project, name):
    edit = EDITS[name]
    edit.change(project)
    after = build(project, **edit.env)
    assert after.code == 0, after.out
    assert edit.alike <= after.ran | after.restored, after.out
    ran, restored = after.ran - edit.alike, after.restored - edit.alike
    differences = {
        "ran, should not": ran - edit.ran,
        "should run, did not": edit.ran - ran,
        "restored, should not": restored - edit.restored,
        "should be restored, was not": edit.restored - restored,
    }
    assert not any(differences.values()), differences
    again = build(project, **edit.env)
    assert (again.ran, again.restored) == (set(), set()), again.out


def _edit(project, name: str) -> None:
    EDITS[name].change(project)


def test_there_and_back_again_restores_what_was_built_before(project):
    config = project.path("shop/rank.config").read_text()
    _edit(project, "learning rate")
    there = build(project)
    project.write("shop/rank.config", config)
    back = build(project)
    assert there.ran == EDITS["learning rate"].ran
    assert (back.ran, back.restored) == (set(), EDITS["learning rate"].ran), back.out


def test_a_second_checkout_without_state_restores_everything(project):
    for build_folder in [*project.path(".").glob("*/build"), project.path(".state")]:
        shutil.rmtree(build_folder)
    after = build(project)
    assert after.code == 0, after.out
    assert (after.ran, after.restored) == (set(), ALL), after.out


def test_forgetting_everything_restores_everything(project):
    everything = build(project, "forget", "--all")
    assert everything.code == 0, everything.out
    after = build(project)
    assert after.code == 0, after.out
    assert after.ran == set()
    assert after.counts["restored"] == len(ALL)


@pytest.mark.parametrize("damage", ["cut checkpoint", "edited checkpoint", "artifact deleted", "mode of an output"])
def test_without_a_cache_a_damaged_artifact_is_built_and_nothing_else(project, damage):
    project.cache = "off"
    _edit(project, damage)
    after = build(project)
    assert (after.ran, after.restored) == (EDITS[damage].restored, set()), after.out


def test_a_failing_task_upstream_once_repaired_costs_nothing(project):
    script = project.path("shop/tables.py")
    good = script.read_text()
    script.write_text("raise SystemExit('broken')\n")
    broken = build(project, "run", "--continue")
    assert broken.code != 0
    assert (broken.ran, broken.restored, broken.counts["failed"]) == (set(), set(), 1), broken.out
    script.write_text(good)
    after = build(project)
    assert (after.ran, after.restored) == (set(), set()), after.out


def _during(project, pipeline: str, act, task: str):
    """Start a build of one task, act while it runs, let it end, and return how it ended."""
    hold, holding = project.path(f"{pipeline}/hold"), project.path(f"{pipeline}/holding")
    hold.touch()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(build, project, "run", "-s", task)
        while not holding.exists():
            assert not ended.done(), ended.result().out
            time.sleep(0.01)
        act(project)
        hold.unlink()
        done = ended.result()
    holding.unlink()
    return done


def test_code_edited_while_a_training_runs_counts_for_the_next_one(project):
    _edit(project, "[train] seed")
    build(project, "prune:shop")
    done = _during(project, "shop", EDITS["code of a layer of all models"].change, "train:shop")
    assert done.ran == {"train:shop"}, done.out
    assert "train:shop" in build(project).ran  # with the new code
    assert build(project).ran == set()


def test_a_config_edited_while_a_training_runs_counts_for_the_next_one(project):
    _edit(project, "[train] seed")
    build(project, "prune:shop")
    done = _during(project, "shop", EDITS["learning rate"].change, "train:shop")
    assert done.ran == {"train:shop"}, done.out
    assert tasks("shop", "config final_config train") <= build(project).ran
    assert build(project).ran == set()


def test_a_table_edited_while_a_task_reads_it_is_never_recorded_as_read(project):
    _edit(project, "further evaluation table")
    done = _during(project, "shop", table("shop/late.parquet", 21), "evaluate:shop:late")
    after = build(project)
    assert (done.ran, after.ran) in (
        ({"evaluate:shop:late"}, {"evaluate:shop:late"}),  # it read a copy of what was there
        (set(), {"evaluate:shop:late"}),  # refused
    )
    assert build(project).ran == set()
