"""``doit cache``, through plain doit: what it prints, what it removes, what it leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tzrec_build.store.action_cache import ActionCache

TWO = """
[step.first]
command = ["sh", "-c", "echo 'one two' > $0", "{outputs.text}"]
outputs = { text = "first.txt" }

[step.second]
command = ["sh", "-c", "cat $0 $0 > $1", "{inputs.text}", "{outputs.text}"]
inputs = { text = "here:first/first.txt" }
outputs = { text = "second.txt" }
"""
TASKS = {"step:here:first", "step:here:second"}


@pytest.fixture
def two(project):
    project.write("here/pipeline.toml", TWO)
    assert project.doit().code == 0
    return project


def cache_of(project) -> ActionCache:
    return ActionCache(Path(project.cache) / "v1")


def the_object_of(project, content: bytes) -> Path:
    (found,) = [path for path in (cache_of(project).root / "objects").rglob("*/*") if path.read_bytes() == content]
    return found


def test_stats_count_what_was_built(two):
    done = two.doit("cache", "stats")
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[:3] == [f"{two.cache}/v1", "entries 2", "objects 2, 24 B"]
    assert "step:here:second 1 16 B" in lines
    found = json.loads(two.doit("cache", "stats", "--json").out)
    assert (found["entries"], found["size"], found["unreproducible"]) == (2, 24, 0)
    assert found["tasks"] == {"step:here:second": [1, 16], "step:here:first": [1, 8]}


def test_path_prints_the_folder_alone(two):
    assert two.doit("cache", "path").out == f"{two.cache}/v1\n"


def test_verify_finds_every_byte_in_place(two):
    done = two.doit("cache", "verify")
    assert done.code == 0
    assert done.out == "2 objects, 24 B, 2 entries read\nevery byte is as it was put there\n"


def test_verify_ends_with_4_and_the_next_build_heals(two):
    bad = the_object_of(two, b"one two\n")
    bad.chmod(0o644)
    bad.write_bytes(b"one tw0\n")
    done = two.doit("cache", "verify")
    assert done.code == 4
    assert f"! {bad}: damaged, moved to quarantine/" in done.out
    assert "! step:here:first: its entry " in done.out
    assert " lacks 'first.txt' and is not restored any more; the next build makes it anew" in done.out
    shutil.rmtree(two.path("here/build"))
    again = two.doit()
    assert (again.ran, again.restored) == ({"step:here:first"}, {"step:here:second"})
    assert two.doit("cache", "verify").code == 0


def test_gc_by_size_says_the_same_before_and_after(two):
    would = two.doit("cache", "gc", "--max_size", "16B", "--dry_run")
    assert would.code == 0
    assert "would remove step:here:first, 8 B, last used " in would.out
    assert would.out.endswith("would remove 1 entries and 1 objects, 8 B; 1 objects, 16 B stay\n")
    done = two.doit("cache", "gc", "--max_size", "16B")
    assert done.out == would.out.replace("would remove", "removed")
    shutil.rmtree(two.path("here/build"))
    assert two.doit().restored == {"step:here:second"}


def test_gc_without_limits_removes_nothing_that_a_build_could_use(two):
    assert "removed 0 entries and 0 objects" in two.doit("cache", "gc").out
    shutil.rmtree(two.path("here/build"))
    assert two.doit().restored == TASKS


def test_gc_by_age_keeps_what_was_used_lately(two):
    found = json.loads(two.doit("cache", "gc", "--max_age", "1h", "--json").out)
    assert (found["entries"], found["left"]) == ([], 2)


@pytest.mark.parametrize("held", [False, True], ids=["only in the cache", "in an artifact too"])
def test_gc_never_takes_the_last_copy_of_a_training(project, held):
    project.write("here/x.config", "")
    project.write("here/pipeline.toml", '[config]\npath = "x.config"\n[data]\ntrain = "a.parquet"\n')
    model = project.write("here/build/train/model.ckpt", "weights")
    key = "5" * 64
    assert cache_of(project).publish(key, model.parent, ["model.ckpt"], {"task": "train:here"}) is not None
    if not held:
        model.write_text("other weights")
    done = project.doit("cache", "gc", "--max_size", "0")
    assert done.code == 0, done.out
    kept = "kept train:here, 7 B: the last copy of a training, no artifact here holds it"
    assert (kept in done.out) == (not held)
    assert (cache_of(project).lookup(key) is None) == held


def test_off_lasts_until_on_and_is_of_this_checkout_only(two, tmp_path):
    off = two.doit("cache", "off")
    assert off.out == "off for this checkout: workspace/.state/cache.off; `doit cache on` undoes it\n"
    assert "(switched off by " in two.doit("cache", "stats").out
    shutil.rmtree(two.path("here/build"))
    assert two.doit().ran == TASKS
    other = Project(tmp_path / "other", two.cache)
    other.write("here/pipeline.toml", TWO)
    assert other.doit().restored == TASKS
    assert two.doit("cache", "on").out == f"on for this checkout: {two.cache}/v1\n"
    shutil.rmtree(two.path("here/build"))
    assert two.doit().restored == TASKS


def test_the_variable_goes_before_the_switch(two):
    two.doit("cache", "off")
    shutil.rmtree(two.path("here/build"))
    assert two.doit(TZREC_CACHE="on").restored == TASKS
    said = two.doit("cache", "on", TZREC_CACHE="off").out
    assert said.endswith("but TZREC_CACHE=off is set, and goes before it; unset it\n")


WRONG = {
    (): "doit cache: must be one of stats, verify, gc, path, off, on, got nothing",
    ("stat",): "doit cache: must be one of stats, verify, gc, path, off, on, got 'stat'; did you mean 'stats'?",
    ("stats", "--dry_run"): "doit cache stats: --max_size, --max_age and --dry_run belong to `doit cache gc`",
    ("gc", "--max_size", "0"): "",
    ("gc", "--max_size", "20"): "--max_size: must be a number and one of B, kB, MB, GB, TB, as 20GB, got '20'",
    ("gc", "--max_size", "20XB"): "--max_size: must be a number and one of B, kB, MB, GB, TB, as 20GB, got '20XB'",
    ("gc", "--max_age", "30"): "--max_age: must be a number and one of m, h, d, w, as 30d, got '30'",
}


@pytest.mark.parametrize("args", WRONG)
def test_what_cannot_be_meant_is_refused(project, args):
    project.write("here/pipeline.toml", TWO)
    done = project.doit("cache", *args)
    assert (done.code != 0) == bool(WRONG[args]), done.out
    assert WRONG[args] in done.out
    assert "Traceback" not in done.out


def test_two_checkouts_build_at_once_with_one_cache(tmp_path):
    import subprocess
    import sys

    many = "".join(
        f"""
[step.s{number}]
command = ["sh", "-c", "seq {number * 1000 + 1000} > $0", "{{outputs.text}}"]
outputs = {{ text = "t.txt" }}
"""
        for number in range(12)
    )
    projects = [Project(tmp_path / name, str(tmp_path / "cache")) for name in ("one", "two")]
    running = []
    for project in projects:
        project.write("here/pipeline.toml", many)
        command = [sys.executable, "-m", "doit"]
        running.append(
            subprocess.Popen(
                command,
                cwd=project.root,
                env=project.env(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for build in running:
        out, _ = build.communicate(timeout=120)
        assert build.returncode == 0, out
        assert "not reproducible" not in out
    for number in range(12):
        texts = [project.path(f"here/build/s{number}/t.txt").read_text() for project in projects]
        assert texts[0] == texts[1] == "".join(f"{line}\n" for line in range(1, number * 1000 + 1001))
    assert cache_of(projects[0]).verify().damaged == ()
