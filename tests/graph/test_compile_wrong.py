"""What is wrong with one pipeline costs it and its readers, names all places, and nothing else."""

from __future__ import annotations

import pytest

from tests.graph.toml_files import load, refusal, write_workspace
from tzrec_build.errors import BuildError, ConfigError
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.workspace import load_right_pipelines

CONFIG = '[config]\npath = "x.config"\n'
NO_FACTS = {"train_input_path": "t.parquet", "eval_input_path": "", "kinds": [], "paths": []}


def step(name, *sources):
    return f'[step.{name}]\ncommand = ["c"]\ninputs = {{ i = {list(sources)!r} }}\noutputs = {{ o = "o" }}\n'


def compiled(tmp_path, texts, facts=NO_FACTS):
    def facts_of(pipeline, _edits):
        if "wrong" in pipeline.config.path:
            raise BuildError(f"{pipeline.config.path}:3: nonsense")
        return facts

    found = compile_workspace(load(tmp_path, texts), facts_of)
    return {spec.name for spec in found.specs}, {name: str(err) for name, err in found.broken.items()}


def test_a_pipeline_that_is_wrong_does_not_cost_the_others(tmp_path):
    wrong = CONFIG.replace("x.config", "wrong.config")
    texts = {"bad": wrong, "good": step("s", "in"), "mid": step("m", "bad:train/x"), "top": step("t", "mid:m/o")}
    tasks, broken = compiled(tmp_path, texts)
    assert tasks == {"step:good:s"}
    assert broken == {
        "bad": "wrong.config:3: nonsense",
        "mid": (
            "workspace/mid/pipeline.toml:3: reads train:bad, and pipeline 'bad' is wrong itself; mend that one first"
        ),
        "top": (
            "workspace/top/pipeline.toml:3: reads step:mid:m, and pipeline 'mid' is wrong itself; mend that one first"
        ),
    }


def test_one_instance_that_is_wrong_does_not_cost_the_others(tmp_path):
    text = '[each]\nc = ["a", "wrong"]\n[config]\npath = "{c}.config"\n'
    tasks, broken = compiled(tmp_path, {"x": text})
    assert "train:x:c@a" in tasks
    assert list(broken) == ["x:c=wrong"]


def test_two_tasks_that_would_fill_one_folder_are_both_named(tmp_path):
    texts = {"x": f"{CONFIG}[benchmark]\nruns = 1\n" + step("benchmark_run_8", "in"), "y": step("s", "x:train")}
    _, broken = compiled(tmp_path, texts)
    assert broken == {
        "x": (
            "workspace/x/pipeline.toml: step:x:benchmark_run_8 and benchmark_run:x:8 would both fill "
            "build/benchmark_run_8; rename the step or table"
        ),
        "y": "workspace/y/pipeline.toml: 'x:train' names pipeline 'x', which is wrong itself; mend that one first",
    }


def test_two_pipelines_that_build_in_one_folder_are_both_named(tmp_path):
    (tmp_path / "workspace/a/build").mkdir(parents=True)
    (tmp_path / "workspace/b").mkdir()
    (tmp_path / "workspace/b/build").symlink_to("../a/build")
    (tmp_path / "workspace/c").symlink_to("a")
    assert refusal(tmp_path, {name: step("s", "in") for name in "ab"}) == [
        (
            "workspace/b/pipeline.toml:1: a link makes workspace/b/build the build folder of 'a' "
            "(workspace/a/pipeline.toml:1) too; give each pipeline a folder of its own"
        ),
        (
            "workspace/c/pipeline.toml:1: a link makes workspace/c/build the build folder of 'a' "
            "(workspace/a/pipeline.toml:1) too; give each pipeline a folder of its own"
        ),
    ]


def test_a_cycle_names_every_place(tmp_path):
    texts = {"a": step("p", "b:q/o"), "b": step("q", "in", "a:p/o"), "c": step("r", "in")}
    tasks, broken = compiled(tmp_path, texts)
    text = (
        "workspace/a/pipeline.toml:3: references must not go in a circle: step:a:p reads step:b:q "
        "(workspace/a/pipeline.toml:3); step:b:q reads step:a:p (workspace/b/pipeline.toml:3); remove one"
    )
    assert tasks == {"step:c:r"}
    assert broken == {"a": text, "b": text}


def test_a_step_that_reads_itself(tmp_path):
    _, broken = compiled(tmp_path, {"a": step("p", "a:p/o")})
    assert broken["a"] == (
        "workspace/a/pipeline.toml:3: references must not go in a circle: "
        "step:a:p reads step:a:p (workspace/a/pipeline.toml:3); remove one"
    )


def test_every_cycle_is_found(tmp_path):
    texts = {"a": step("p", "a:p/o"), "b": step("q", "b:q/o")}
    assert set(compiled(tmp_path, texts)[1]) == {"a", "b"}


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (f'{CONFIG}[data]\ntrain = "b:q/o"\n[eval.e]\ndata = "e"', "train:a reads step:b:q (workspace/a/pipeline.toml:4)"),
        (
            f'{CONFIG}[config.edit]\n"data_config.negative_sampler.input_path" = "b:q/o"\n[eval.e]\ndata = "e"',
            "train:a reads step:b:q (workspace/a/pipeline.toml:4)",
        ),
    ],
)  # fmt: skip
def test_a_cycle_through_artifacts_of_one_pipeline(tmp_path, made, line):
    sampler = {"field": "f", "value": "../b/build/q/o", "kind": "table", "read_by": ["train"]}
    _, broken = compiled(
        tmp_path,
        {"a": made, "b": step("q", "a:evaluate_e/x")},
        {**NO_FACTS, "paths": [sampler] if "edit" in made else []},
    )
    assert "references must not go in a circle: " in broken["b"]
    assert "step:b:q reads evaluate:a:e (workspace/b/pipeline.toml:3)" in broken["b"]
    assert line in broken["b"]


def test_a_cycle_that_workspace_toml_makes_names_it(tmp_path):
    texts = {"": '[defaults.data]\ntrain = "b:q/o"', "a": CONFIG, "b": step("q", "a:train/x")}
    assert "train:a reads step:b:q (workspace/workspace.toml:2)" in compiled(tmp_path, texts)[1]["a"]


def test_a_long_chain_needs_no_recursion(tmp_path):
    text = f'[each]\nn = "1..1500"\n{CONFIG}[train]\ninit_from = "train[n-1]"'
    tasks, broken = compiled(tmp_path, {"x": text})
    assert not broken
    assert "train:x:n@1500" in tasks


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"train_input_path": "../b/../b/build/q/o"}, "train_input_path"),
        (
            {"paths": [{"field": "f[0].vocab_file", "value": "../b/build/q/o", "kind": "asset", "read_by": ["fg"]}]},
            "f[0].vocab_file",
        ),
    ],
)
def test_a_config_that_names_what_another_task_makes(tmp_path, facts, field):
    texts = {"a": CONFIG, "b": step("q", "in")}
    (text,) = compiled(tmp_path, texts, {**NO_FACTS, **facts})[1].values()
    spelled = facts.get(field, "../b/build/q/o")
    assert text == (
        f"workspace/a/pipeline.toml: x.config: {field}: {spelled!r} lies in the build folder of 'b'; "
        "write the reference 'b:q/o' in [config.edit] or [data]"
    )


def test_a_reference_to_an_evaluation_without_a_table(tmp_path):
    texts = {"a": CONFIG, "b": step("q", "a:evaluate/x")}
    (text,) = compiled(tmp_path, texts)[1].values()
    assert text.startswith(
        "workspace/b/pipeline.toml: a:evaluate/x: pipeline 'a' makes no 'evaluate'; it makes: config,"
    )


def test_a_file_that_is_wrong_does_not_cost_the_other_pipelines(tmp_path):
    texts = {
        "bad": "[step.s]\ncommand = 3\n",
        "good": step("s", "in"),
        "mid": step("m", "in", "bad:s/o"),
        "top": step("t", "mid:m/o"),
        "typo": "[stepp]\n",
    }
    workspace, wrong = load_right_pipelines(write_workspace(tmp_path, texts), {})
    assert [pipeline.name for pipeline in workspace.pipelines] == ["good"]
    assert len(workspace.files) == 5
    assert {name: str(err) for name, err in wrong.items()} == {
        "bad": str(wrong["bad"]),
        "mid": "workspace/mid/pipeline.toml:3: [step.m.inputs] i: pipeline 'bad' is wrong itself; mend that one first",
        "top": "workspace/top/pipeline.toml:3: [step.t.inputs] i: pipeline 'mid' is wrong itself; mend that one first",
        "typo": "workspace/typo/pipeline.toml:1: unknown table [stepp]; did you mean 'step'?",
    }
    assert "workspace/bad/pipeline.toml:2: [step.s] command must be a list of texts" in str(wrong["bad"])


def test_a_part_that_is_not_built_costs_its_pipeline_only(tmp_path):
    texts = {"aot": f'{CONFIG}[export]\nmode = "aot"\n', "good": step("s", "in")}
    workspace, wrong = load_right_pipelines(write_workspace(tmp_path, texts), {})
    assert [pipeline.name for pipeline in workspace.pipelines] == ["good"]
    assert str(wrong["aot"]) == "not supported yet: [export] mode = 'aot' in workspace/aot/pipeline.toml:4"


@pytest.mark.parametrize(
    ("texts", "start"),
    [
        ({"": "[vers]\n", "a": step("s", "in")}, "workspace/workspace.toml:1: unknown table [vers]"),
        ({"a": "[stepp]\n", "b": "x ="}, "workspace/a/pipeline.toml:1: unknown table [stepp]"),
    ],
)
def test_without_a_right_pipeline_there_is_no_workspace(tmp_path, texts, start):
    with pytest.raises(ConfigError) as caught:
        load_right_pipelines(write_workspace(tmp_path, texts), {})
    assert str(caught.value).startswith(start)
