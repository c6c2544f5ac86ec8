"""`doit accept`: a stale artifact is declared good, with who, when and why; and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.e2e.project import Project

TWO = """
[step.first]
command = ["cp", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "raw.txt" }
outputs = { text = "first.txt" }
[step.second]
command = ["cp", "{inputs.text}", "{outputs.text}"]
inputs = { text = "p:first/first.txt" }
outputs = { text = "second.txt" }
params = { size = 1 }
"""
FIRST, SECOND = "step:p:first", "step:p:second"


@pytest.fixture
def two(project):
    """Two steps, built, of which the first is stale."""
    project.write("p/pipeline.toml", TWO)
    project.write("p/raw.txt", "one\n")
    assert project.doit().counts["built"] == 2
    project.write("p/raw.txt", "two\n")
    return project


def why(project, task):
    (entry,) = json.loads(project.doit("why", task, "--json").out)["tasks"]
    return entry


def test_accepted_artifact_is_up_to_date_and_says_so(two):
    before = why(two, FIRST)["recorded_key"]
    done = two.doit("accept", FIRST, "--because", "only the header changed")
    assert done.code == 0
    assert done.out == f"{FIRST}  accepted\n    input raw.txt: line 1 changed, 'one' → 'two'\n"
    assert two.doit().counts == {"built": 0, "restored": 0, "up to date": 2, "failed": 0}
    entry = why(two, FIRST)
    assert entry["state"] == "fresh"
    assert entry["recorded_key"] != before
    accepted = entry["accepted"]
    assert (accepted["because"], accepted["key_before"]) == ("only the header changed", before)
    assert accepted["causes"] == ["input raw.txt: line 1 changed, 'one' → 'two'"]
    assert "@" in accepted["by"]
    shown = f"accepted by {accepted['by']} on {accepted['when']}: only the header changed"
    assert shown in two.doit("why", FIRST).out
    assert shown in two.doit("info", FIRST).out
    assert two.path("p/build/first/first.txt").read_text() == "one\n"


def test_next_change_makes_it_stale_again_and_a_build_ends_the_acceptance(two):
    two.doit("accept", FIRST, "--because", "same rows")
    two.write("p/raw.txt", "three\n")
    assert two.doit().ran == {FIRST, SECOND}
    assert why(two, FIRST)["accepted"] is None


def test_second_checkout_restores_what_was_accepted_here(two, tmp_path):
    two.doit("accept", "p", "--because", "same rows")
    other = Project(tmp_path / "other", two.cache)
    shutil.copytree(two.path("p"), other.path("p"), ignore=shutil.ignore_patterns("build"))
    assert other.doit().restored == {FIRST, SECOND}
    assert other.path("p/build/first/first.txt").read_text() == "one\n"
    assert "accepted" in other.doit("why", FIRST, "--cache").out


def test_what_is_up_to_date_stays_as_it_is(two):
    done = two.doit("accept", SECOND, FIRST, "--because", "same rows")
    assert done.out.splitlines()[-1] == f"{SECOND}  up to date before, nothing to accept"
    assert why(two, SECOND)["accepted"] is None


REFUSED = [
    ((FIRST,), lambda p: None, 3, "accept: --because must say why the artifacts are good"),
    (("--because", "x"), lambda p: None, 3, "accept: name the tasks or pipelines"),
    (("nothing", "--because", "x"), lambda p: None, 3, "'nothing' is neither a task nor a pipeline"),
    (
        (FIRST, "--because", "x"),
        lambda p: p.path("p/build/first/first.txt").write_text("junk"),
        1,
        f"{FIRST}: outputs must be as they were made to be accepted, got output build/first/first.txt: modified on disk",
    ),
    (
        (FIRST, "--because", "x"),
        lambda p: shutil.rmtree(p.path("p/build/first")),
        1,
        "got output build/first: removed from disk",
    ),
    ((FIRST, "--because", "x"), lambda p: p.path("p/raw.txt").unlink(), 1, "nothing at raw.txt"),
    (
        (FIRST, "--because", "x"),
        lambda p: p.write(
            "p/pipeline.toml",
            p.path("p/pipeline.toml").read_text().replace('"first.txt" }', '"first.txt", more = "b.txt" }', 1),
        ),
        1,
        f"{FIRST}: must hold what it promises now to be accepted, got no 'b.txt'; build it",
    ),
    (
        (FIRST, "--because", "x"),
        lambda p: p.doit("forget", FIRST),
        1,
        f"{FIRST}: must have been built here to be accepted",
    ),
    (
        (SECOND, "--because", "x"),
        lambda p: None,
        1,
        f"{FIRST}: must be up to date before what needs it is accepted, got a stale one; build or accept it first",
    ),
]


@pytest.mark.parametrize(("args", "change", "code", "text"), REFUSED, ids=[row[3][-50:] for row in REFUSED])
def test_refused_with_the_rule(two, args, change, code, text):
    change(two)
    done = two.doit("accept", *args)
    assert done.code == code
    assert text in done.out
    assert "accepted\n" not in done.out
    assert "Traceback" not in done.out
