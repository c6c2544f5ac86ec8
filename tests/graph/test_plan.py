"""Plans as data and in words, without a build."""

from __future__ import annotations

import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.graph.amounts import duration_text, size_text
from tzrec_build.graph.causes import (
    Cause,
    code_causes,
    environment_causes,
    output_causes,
    parameter_causes,
)
from tzrec_build.graph.commands.gate import parse_limit
from tzrec_build.graph.explain import block, plan_lines, totals_text, verdict
from tzrec_build.graph.plan import Plan, Planned, followers, in_order
from tzrec_build.graph.spec import TaskSpec

CAUSE = (Cause("parameter", "x", "parameter x: 1 → 2", "1", "2"),)


def spec(name, *deps):
    return TaskSpec(name, "", "/w/p", f"build/{name}", (), "", (), task_deps=deps)


SPECS = {s.name: s for s in (spec("d", "b", "c"), spec("b", "a"), spec("c", "a"), spec("a"), spec("alone"))}


def plan(*tasks, needs=None):
    return Plan({one.task: one for one in tasks}, needs or {one.task: [] for one in tasks})


def test_what_is_needed_comes_first_and_once():
    assert in_order(SPECS, ["d"]) == ["a", "b", "c", "d"]
    assert in_order(SPECS, ["c", "d", "no such task"]) == ["a", "c", "b", "d"]


def test_followers_are_all_that_need_a_task():
    assert followers(SPECS, ["b"]) == {"b", "d"}
    assert followers(SPECS, ["a", "alone"]) == {"a", "b", "c", "d", "alone"}


def test_downstream_leaves_out_what_stays_fresh():
    needs = {"a": [], "b": ["a"], "c": ["b"], "d": []}
    tasks = [
        Planned("a", "build", CAUSE),
        Planned("b", "fresh"),
        Planned("c", "maybe", CAUSE),
        Planned("d", "build", CAUSE),
    ]
    assert plan(*tasks, needs=needs).downstream("a") == ["c"]


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ([], "build 0, restore 0, up to date 0"),
        (
            [Planned("a", "build", CAUSE, 199.6), Planned("b", "fresh")],
            "build 1 (about 3 min 20 s), restore 0, up to date 1",
        ),
        ([Planned("a", "build", CAUSE)], "build 1 (never timed), restore 0, up to date 0"),
        (
            [Planned("a", "build", CAUSE, 2.0), Planned("b", "build", CAUSE), Planned("c", "maybe", CAUSE, 7200.0)],
            "build 2 (about 2.0 s and 1 never timed), restore 0, maybe 1 (up to 2 h), up to date 0",
        ),
        (
            [Planned("a", "error", CAUSE), Planned("b", "blocked", CAUSE), Planned("c", "ignored")],
            "build 0, restore 0, error 1, blocked 1, ignored 1, up to date 0",
        ),
    ],
)
def test_totals(tasks, text):
    assert totals_text(plan(*tasks)) == text


def test_long_plan_is_summarised_by_pipeline():
    lines = plan_lines(plan(*(Planned(f"train:p{i % 7}:{i}", "build", CAUSE, 1.0) for i in range(30))))
    assert lines[0] == "plan: build 30 (about 30.0 s), restore 0, up to date 0"
    assert lines[1] == "  + train:p0:0  parameter x: 1 → 2  (1.0 s)"
    assert len(lines) == 12
    assert lines[-1] == (
        "  and 20 more: 3 of p3, 3 of p4, 3 of p5, 3 of p6, 3 of p0 and 2 other pipelines; doit why tells each"
    )


def test_blocked_tasks_are_counted_and_not_listed_before_a_build():
    lines = plan_lines(plan(Planned("a", "error", CAUSE), Planned("b", "blocked", CAUSE)))
    assert lines[1:] == ["  ! a  parameter x: 1 → 2"]


def test_task_with_a_cause_of_its_own_runs_for_certain():
    upstream = (Cause("upstream", "a", "a comes before it"),)
    assert verdict(Planned("b", "maybe", upstream)) == "may run"
    assert verdict(Planned("b", "maybe", (*CAUSE, *upstream))) == "will be built, or restored"


def test_block_names_a_few_followers():
    names = [f"t{i}" for i in range(6)]
    tasks = [Planned(name, "build", CAUSE) for name in ("a", *names)]
    lines = block(plan(*tasks, needs={"a": [], **{name: ["a"] for name in names}}), tasks[0], running="by process 7")
    assert lines == [
        "+ a  will be built",
        "    parameter x: 1 → 2",
        "    being built now by process 7",
        "    then: t0, t1, t2, t3 and 2 more",
    ]


def test_values_are_told_before_the_command_that_repeats_them():
    old = {"command": '["tool", "--a", "1"]', "params.seed": "1", "threads": "2"}
    new = {"command": '["tool", "--b", "1"]', "params.seed": "2", "threads": "4"}
    assert [str(cause) for cause in parameter_causes(old, new)] == [
        "parameter seed: 1 → 2",
        "command: --a → --b",
        "parameter threads: 2 → 4",
    ]
    moved = list(parameter_causes({"command": '["a", "b"]'}, {"command": '["b", "a"]'}))
    assert [str(cause) for cause in moved] == ["command: order changed"]


def test_code_environment_and_outputs():
    code = code_causes({"a.py": "1", "b.py": "1"}, {"a.py": "2", "c.py": "1"})
    assert [str(c) for c in code] == ["code a.py changed", "code b.py is no longer used", "code c.py is new"]
    env = environment_causes({"torch": "2.13.0", "$R": None}, {"torch": "2.13.1", "$R": "x"})
    assert [str(c) for c in env] == ["variable R: (none) → x", "torch 2.13.0 → 2.13.1"]
    outputs = output_causes("build/a", {"x": "1", "y": "1"}, {"x": "2", "z": "1"})
    assert [str(c) for c in outputs] == [
        "output build/a/x: modified on disk",
        "output build/a/y: removed from disk",
        "output build/a/z: added on disk",
    ]
    assert [str(c) for c in output_causes("build/a", {"x": "1"}, {})] == ["output build/a: removed from disk"]


def test_sizes_and_durations():
    assert [size_text(n) for n in (0, 999, 1000, 12_345_678, 5 * 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 MB",
        "5000.0 TB",
    ]
    assert [duration_text(s) for s in (0, 59.94, 60, 3600, 86_400)] == ["0.1 s", "59.9 s", "1 min", "1 h", "1 d"]


def test_limits():
    assert [parse_limit(value) for value in ("", "0", "90s", "2h", 12.5)] == [0.0, 0.0, 90.0, 7200.0, 12.5]
    with pytest.raises(ConfigError, match=r"^--max_cost: must be a duration above 0 .* or 0 for no limit, got '2 h'$"):
        parse_limit("2 h")
