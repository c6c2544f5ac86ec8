"""`doit why`: each kind of cause in its words, what the plan foresees, and that a build then does just that."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.e2e.project import Project

CHAIN = """
[step.rows]
command = ["python", "rows.py", "{inputs.raw}", "{outputs.rows}", "{params.least}"]
inputs = { raw = "raw/*.csv", script = "rows.py", blob = "blob.bin" }
outputs = { rows = "rows.txt" }
params = { least = 2 }
env = ["WHY_REGION"]
[step.count]
command = ["sh", "-c", "wc -l < $0 > $1", "{inputs.rows}", "{outputs.count}"]
inputs = { rows = "p:rows/rows.txt" }
outputs = { count = "count.txt" }
[step.note]
command = ["cp", "{inputs.count}", "{outputs.note}"]
inputs = { count = "p:count/count.txt" }
outputs = { note = "note.txt" }
[step.apart]
command = ["cp", "{inputs.blob}", "{outputs.copy}"]
inputs = { blob = "blob.bin" }
outputs = { copy = "copy.bin" }
"""
ROWS_PY = """import sys
files, out, least = sys.argv[1:-2], sys.argv[-2], int(sys.argv[-1])
rows = [line for file in files for line in open(file) if len(line) > least]
open(out, "w").writelines(rows)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Four steps, built: rows -> count -> note, and one apart."""
    folder = tmp_path_factory.mktemp("why")
    project = Project(folder / "project", str(folder / "cache"))
    project.write("p/pipeline.toml", CHAIN)
    project.write("p/rows.py", ROWS_PY)
    project.write("p/raw/a.csv", "one\ntwo\n")
    project.write("p/raw/b.csv", "three\n")
    project.path("p/blob.bin").write_bytes(b"x" * 12_300)
    assert project.doit().counts["built"] == 4
    return folder


@pytest.fixture
def chain(built, tmp_path):
    """A copy of the built project with its cache."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path / "project", str(tmp_path / "cache"))


def plan(project, *args, **env):
    done = project.doit("why", "--json", *args, **env)
    assert done.code == 0, done.out
    return json.loads(done.out)


def states(project, **env):
    """Task of the pipeline -> its state in the plan; only those that are not up to date are told."""
    return {entry["task"].removeprefix("step:p:"): entry["state"] for entry in plan(project, **env)["tasks"]}


def causes(project, task, **env):
    (entry,) = plan(project, f"step:p:{task}", "--all-causes", **env)["tasks"]
    return [cause["text"] for cause in entry["causes"]]


def edit(project, path, old, new):
    text = project.path(path).read_text()
    assert old in text
    project.write(path, text.replace(old, new))


CAUSES = [
    (lambda p: p.write("p/raw/a.csv", "one\n2\n"), "rows", "input raw/a.csv: line 2 changed, 'two' → '2'"),
    (lambda p: p.write("p/raw/a.csv", "one\ntwo\nx\ny\n"), "rows", "input raw/a.csv: 2 lines added at the end"),
    (lambda p: p.write("p/raw/c.csv", "four\n"), "rows", "input raw/c.csv: file added"),
    (lambda p: p.path("p/raw/b.csv").unlink(), "rows", "input raw/b.csv: file gone"),
    (lambda p: p.path("p/raw/a.csv").chmod(0o755), "rows", "input raw/a.csv: now executable"),
    (
        lambda p: p.path("p/blob.bin").write_bytes(b"x" * 12_400),
        "apart",
        "input blob.bin: content changed (12.3 kB → 12.4 kB)",
    ),
    (
        lambda p: p.path("p/blob.bin").write_bytes(b"x" * 12_301),
        "apart",
        "input blob.bin: content changed (12.300 kB → 12.301 kB)",
    ),
    (
        lambda p: p.path("p/blob.bin").write_bytes(b"y" * 12_300),
        "apart",
        "input blob.bin: content changed (12.3 kB, as before)",
    ),
    (lambda p: edit(p, "p/pipeline.toml", "least = 2", "least = 3"), "rows", "parameter least: 2 → 3"),
    (
        lambda p: edit(p, "p/pipeline.toml", '"cp", "{inputs.blob}"', '"cp", "-p", "{inputs.blob}"'),
        "apart",
        "command: (none) → -p",
    ),
    (
        lambda p: p.path("p/build/apart/copy.bin").write_text("x"),
        "apart",
        "output build/apart/copy.bin: modified on disk",
    ),
    (lambda p: p.path("p/build/apart/copy.bin").unlink(), "apart", "output build/apart: removed from disk"),
    (lambda p: p.path("p/build/apart/more").write_text(""), "apart", "output build/apart/more: added on disk"),
    (lambda p: p.doit("forget", "step:p:apart"), "apart", "never built here"),
]


@pytest.mark.parametrize(("change", "task", "text"), CAUSES, ids=[row[2] for row in CAUSES])
def test_cause_in_plain_words(chain, change, task, text):
    change(chain)
    assert causes(chain, task) == [text]


def test_cause_of_a_variable(chain):
    assert causes(chain, "rows", WHY_REGION="north") == ["variable WHY_REGION: (none) → north"]


def test_several_causes_come_in_the_order_in_which_they_are_judged(chain):
    chain.write("p/raw/c.csv", "four\n")
    edit(chain, "p/pipeline.toml", "least = 2", "least = 3")
    chain.path("p/build/rows/rows.txt").write_text("junk")
    told = ["input raw/c.csv: file added", "parameter least: 2 → 3", "output build/rows/rows.txt: modified on disk"]
    assert causes(chain, "rows") == told
    assert [cause["text"] for cause in plan(chain, "step:p:rows")["tasks"][0]["causes"]] == told[:1]


def test_nothing_to_tell_when_all_is_up_to_date(chain):
    done = chain.doit("why")
    assert (done.code, done.out) == (0, "build 0, restore 0, up to date 4\n")
    assert chain.doit("why", "step:p:note").out.startswith("= step:p:note  up to date\n")


def test_below_a_step_whose_result_is_not_known_all_is_maybe(chain):
    chain.write("p/raw/a.csv", "one\n2\n")
    assert states(chain) == {"rows": "build", "count": "maybe", "note": "maybe"}
    assert causes(chain, "note") == [
        "step:p:count comes before it (step:p:rows: input raw/a.csv: line 2 changed, 'two' → '2')"
    ]
    assert plan(chain, "step:p:rows")["tasks"][0]["downstream"] == ["step:p:count", "step:p:note"]


def test_own_cause_of_a_task_below_is_told_too(chain):
    chain.write("p/raw/a.csv", "one\n2\n")
    chain.path("p/build/note/note.txt").write_text("junk")
    assert causes(chain, "note")[0] == "output build/note/note.txt: modified on disk"


def test_what_the_cache_has_is_foreseen_with_all_that_follows(chain):
    chain.write("p/raw/a.csv", "one\ntwo\nmore\n")
    assert chain.doit().counts["built"] == 3
    chain.write("p/raw/a.csv", "one\ntwo\n")
    assert states(chain) == {"rows": "restore", "count": "restore", "note": "restore"}
    assert causes(chain, "note") == ["input build/count/count.txt: line 1 changed, '4' → '3'"]
    assert chain.doit().counts == {"built": 0, "restored": 3, "up to date": 1, "failed": 0}


def test_a_restored_output_that_is_as_before_keeps_what_follows_fresh(chain):
    chain.write("p/raw/a.csv", "one\nTWO\n")
    assert chain.doit().ran == {"step:p:rows", "step:p:count"}  # the count is the same, so the note stays
    chain.write("p/raw/a.csv", "one\ntwo\n")
    assert states(chain) == {"rows": "restore", "count": "restore"}


def test_missing_input_is_told_before_the_build_fails(chain):
    chain.path("p/blob.bin").unlink()
    assert states(chain) == {"apart": "error", "rows": "error", "count": "blocked", "note": "blocked"}
    assert "nothing at blob.bin" in causes(chain, "apart")[0]
    assert causes(chain, "note") == ["step:p:rows comes before it, and would fail"]


def test_ignored_task_takes_those_below_with_it(chain):
    chain.write("p/raw/a.csv", "one\n2\n")
    chain.doit("ignore", "step:p:rows")
    assert states(chain) == {"rows": "ignored", "count": "ignored", "note": "ignored"}


def test_exit_code_only_when_asked_for(chain):
    assert chain.doit("why", "--exit-code").code == 0
    chain.write("p/raw/a.csv", "")
    assert chain.doit("why").code == 0
    assert chain.doit("why", "--exit-code").code == 1
    assert chain.doit("why", "step:p:apart", "--exit-code").code == 0


def test_names_of_pipelines_and_wrong_names(chain):
    assert len(plan(chain, "p")["tasks"]) == 4
    assert chain.doit("why", "p").out == "build 0, restore 0, up to date 4\n"
    done = chain.doit("why", "step:p:nota")
    assert done.code == 3
    assert "'step:p:nota' is neither a task nor a pipeline; did you mean 'step:p:note'?" in done.out


def test_json_holds_what_the_page_says(chain):
    chain.write("p/raw/a.csv", "one\n2\n")
    found = plan(chain, "step:p:rows")
    assert sorted(found) == ["tasks", "totals", "version"]
    (task,) = found["tasks"]
    assert task["causes"] == [
        {
            "part": "input",
            "what": "raw/a.csv:2",
            "old": "two",
            "new": "2",
            "file": "raw/a.csv",
            "text": "input raw/a.csv: line 2 changed, 'two' → '2'",
        }
    ]
    assert (task["state"], task["accepted"], task["after"]) == ("build", None, [])
    assert task["key"] != task["recorded_key"]
    assert task["cost_s"] > 0
    assert {name: found["totals"][name] for name in ("build", "maybe", "fresh")} == {"build": 1, "maybe": 2, "fresh": 0}


def test_provenance_of_the_cache_entry(chain):
    done = chain.doit("why", "step:p:apart", "--cache")
    assert "    cache: " in done.out
    assert "task step:p:apart" in done.out


def edits():
    """One edit after the other; what a build then does is compared with what the plan said."""
    return [
        ("row added", lambda p: p.write("p/raw/c.csv", "four\n")),
        ("row taken back", lambda p: p.path("p/raw/c.csv").unlink()),
        ("same count, other rows", lambda p: p.write("p/raw/a.csv", "one\nTWO\n")),
        ("parameter", lambda p: edit(p, "p/pipeline.toml", "least = 2", "least = 5")),
        ("parameter back", lambda p: edit(p, "p/pipeline.toml", "least = 5", "least = 2")),
        ("output damaged", lambda p: p.path("p/build/count/count.txt").write_text("junk")),
        ("forgotten", lambda p: p.doit("forget", "step:p:rows", "step:p:note")),
        ("touched", lambda p: p.path("p/blob.bin").touch()),
    ]


def test_a_build_does_what_the_plan_says(chain):
    for name, change in edits():
        change(chain)
        told = plan(chain)["tasks"]
        by_state = {state: {e["task"] for e in told if e["state"] == state} for state in ("build", "restore", "maybe")}
        listed = chain.doit("list", "--all", "--status").out.splitlines()
        marks = {line.split()[1]: line[0] for line in listed if line.split()[1].startswith("step:")}
        done = chain.doit()
        assert done.code == 0, done.out
        assert by_state["build"] <= done.ran, name
        assert by_state["restore"] <= done.restored, name
        assert done.ran | done.restored <= by_state["build"] | by_state["restore"] | by_state["maybe"], name
        assert {task for task, mark in marks.items() if mark == "R"} == by_state["build"] | by_state["restore"], name
        assert {task for task, mark in marks.items() if mark == "M"} == by_state["maybe"], name
        assert plan(chain)["tasks"] == [], name


def test_info_says_what_why_says(chain):
    edit(chain, "p/pipeline.toml", "least = 2", "least = 3")
    done = chain.doit("info", "step:p:rows")
    assert done.code == 1
    assert "status     : run\n * will be built, about" in done.out
    assert "    - parameter least: 2 → 3\n" in done.out
    below = chain.doit("info", "step:p:note")
    assert below.code == 1
    assert "status     : maybe\n * may run" in below.out
    assert chain.doit("info", "step:p:apart").code == 0


def test_the_plan_comes_first_and_only_when_there_is_something_to_do(chain):
    assert chain.doit().out.startswith("built = 0, restored = 0, up to date = 4, failed = 0")
    chain.write("p/raw/a.csv", "one\n2\n")
    lines = chain.doit().out.splitlines()
    assert lines[0].startswith("plan: build 1 (about ")
    assert lines[0].endswith("up to date 1")
    assert lines[1].startswith("  + step:p:rows   input raw/a.csv: line 2 changed, 'two' → '2'  (")
    assert lines[2].startswith("  ? step:p:count  after step:p:rows  (")


def test_max_cost_stops_before_anything_runs(chain):
    chain.write("p/raw/a.csv", "one\n2\n")
    done = chain.doit("run", "--max_cost", "0.000001s")
    assert done.code == 3
    assert "max_cost: the plan must take at most" in done.out
    assert "nothing was built" in done.out
    assert re.search(r"^  step:p:rows  about [\d.]+ s: input raw/a.csv: line 2 changed", done.out, re.MULTILINE)
    assert "built = " not in done.out
    assert states(chain)["rows"] == "build"
    assert chain.doit("run", "--max_cost", "1h").counts["built"] == 3


def test_max_cost_of_the_workspace_and_the_way_round_it(chain):
    chain.write("workspace.toml", 'max_cost = "0.000001s"\n')
    chain.write("p/raw/a.csv", "one\n2\n")
    assert "max_cost: the plan must take at most" in chain.doit().out
    assert chain.doit("run", "--max_cost", "0").counts["built"] == 3


def test_wrong_max_cost(chain):
    done = chain.doit("run", "--max_cost", "soon")
    assert done.code == 3
    assert "--max_cost: must be a duration above 0 such as '90s'" in done.out
    assert "got 'soon'" in done.out


def test_wrong_cache_variable_is_one_line(chain):
    for command in (("why",), ("list", "--status"), ("info", "step:p:note")):
        done = chain.doit(*command, TZREC_CACHE="perhaps")
        assert (done.code, done.out) == (3, "ERROR: TZREC_CACHE: must be 'on' or 'off', got 'perhaps'\n")


def test_wrong_pipeline_is_told_beside_the_others(chain):
    chain.write("bad/pipeline.toml", "[stpe.a]\n")
    done = chain.doit("why")
    assert done.code == 0
    assert "! pipeline:bad  would fail\n    workspace/bad/pipeline.toml:1: unknown table [stpe]" in done.out
    assert done.out.endswith("build 0, restore 0, error 1, up to date 4\n")
