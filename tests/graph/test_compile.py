"""Rules x pipelines -> task specs: names, dependencies, commands, inputs."""

from __future__ import annotations

import json
import os

import pytest

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.graph.action import expand_argv, shown_command
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.workspace import load_workspace

FACTS = {
    "train_input_path": "",
    "eval_input_path": "",
    "kinds": ["feature:id_feature", "model:dssm"],
    "paths": [
        {"field": "train_input_path", "value": "t.parquet", "kind": "table", "read_by": ["select", "train"]},
        {"field": "feature_configs[0].id_feature.vocab_file", "value": "vocab.txt", "kind": "asset",
         "read_by": ["select", "train", "eval", "predict", "fg", "export"]},
        {"field": "data_config.negative_sampler.input_path", "value": "../prep/build/tables/neg.txt", "kind": "table",
         "read_by": ["select", "train", "eval"]},
    ],
}  # fmt: skip
PREP = """
[step.tables]
command = ["python", "{inputs.script}", "{out}", "{params.seed}"]
inputs = { script = "tables.py" }
outputs = { train = "train.parquet", negatives = "neg.txt" }
params = { seed = 3 }
"""
FULL = """
[config]
path = "x.config"
[config.edit]
"data_config.negative_sampler.input_path" = "prep:tables/neg.txt"
"data_config.batch_size" = 64
[data]
train = "prep:tables/train.parquet"
eval = "eval/*.parquet"
[train]
seed = 11
threads = 2
device = "cpu"
[select]
topk = 3
[eval.late]
data = "late.parquet"
[predict.all]
input = "all.parquet"
reserved = ["user_id", "item_id"]
[fg]
reserves = ["label"]
[export]
[index]
items = "items.parquet"
id_field = "item_id"
type = "HNSWFlatIP"
[hitrate]
users = "users.parquet"
top_k = 50
exclude_items_field = "seen"
[benchmark]
runs = 2
baseline = "baseline.json"
"""


def specs(tmp_path, pipelines, facts=FACTS):
    for name, text in pipelines.items():
        folder = tmp_path / "workspace" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.toml").write_text(text)
    found = compile_workspace(load_workspace(str(tmp_path)), lambda _pipeline, _edits: facts)
    for error in found.broken.values():
        raise error
    return {spec.name: spec for spec in found.specs}


@pytest.fixture
def full(tmp_path):
    return specs(tmp_path, {"prep": PREP, "full": FULL})


EDGES = {
    "step:prep:tables": set(),
    "config:full": set(),
    "select_config:full": {"config:full"},
    "train_select:full": {"select_config:full", "step:prep:tables"},
    "importance:full": {"select_config:full", "train_select:full"},
    "prune:full": {"config:full", "importance:full"},
    "final_config:full": {"prune:full"},
    "fg:full": {"final_config:full"},
    "train:full": {"final_config:full", "step:prep:tables"},
    "pick:full": {"train:full"},
    "evaluate:full": {"final_config:full", "train:full", "pick:full", "step:prep:tables"},
    "evaluate:full:late": {"final_config:full", "train:full", "pick:full", "step:prep:tables"},
    "predict:full:all": {"final_config:full", "train:full", "pick:full"},
    "export:full": {"final_config:full", "train:full", "pick:full"},
    "embed:full": {"final_config:full", "train:full", "pick:full"},
    "index:full": {"embed:full"},
    "embed_users:full": {"final_config:full", "train:full", "pick:full"},
    "hitrate:full": {"embed_users:full", "index:full"},
    "benchmark_run:full:12": {"final_config:full", "step:prep:tables"},
    "benchmark_run:full:13": {"final_config:full", "step:prep:tables"},
    "benchmark:full": {"benchmark_run:full:12", "benchmark_run:full:13"},
    "page:full": {
        "final_config:full", "importance:full", "train:full", "evaluate:full", "index:full", "hitrate:full",
        "benchmark:full",
    },
}  # fmt: skip


def test_every_artifact_is_a_task_with_the_tasks_that_make_its_inputs(full):
    assert {name: set(spec.task_deps) for name, spec in full.items()} == EDGES


def test_without_select_the_config_is_trained_as_it_is(tmp_path):
    found = specs(tmp_path, {"prep": PREP, "full": FULL.replace("[select]\ntopk = 3\n", "")})
    assert set(found["final_config:full"].task_deps) == {"config:full"}
    assert not {"select_config:full", "train_select:full", "importance:full", "prune:full"} & set(found)


def test_the_shortest_pipeline_takes_its_tables_from_the_config(tmp_path):
    facts = {**FACTS, "train_input_path": "a.parquet,b.parquet", "eval_input_path": "e.parquet", "paths": []}
    found = specs(tmp_path, {"short": '[config]\npath = "x.config"\n'}, facts)
    assert set(found) == {
        f"{verb}:short" for verb in ("config", "final_config", "fg", "train", "pick", "evaluate", "page")
    }
    paths = {entry.name: entry.paths for entry in found["train:short"].inputs}
    assert paths["train_input_path"] == ("a.parquet", "b.parquet")
    assert "eval_input_path" not in paths  # another evaluation table must not train again
    assert {entry.name: entry.paths for entry in found["evaluate:short"].inputs}["eval_input_path"] == ("e.parquet",)


def test_a_training_is_evaluated_on_the_way_only_to_pick_the_best(tmp_path):
    facts = {**FACTS, "train_input_path": "a.parquet", "eval_input_path": "e.parquet", "paths": []}
    text = '[config]\npath = "x.config"\n[pick]\nby = "best"\nmetric = "auc"\n'
    found = specs(tmp_path, {"short": text}, facts)
    train = found["train:short"]
    assert {entry.name: entry.paths for entry in train.inputs}["eval_input_path"] == ("e.parquet",)
    command = shown_command(train)
    assert "--keep_best auc" in command
    assert "--smaller_is_better" not in command
    smaller = specs(tmp_path, {"short": text + "smaller_is_better = true\n"}, facts)["train:short"]
    assert "--smaller_is_better" in shown_command(smaller)


def test_the_checkpoint_of_another_pipeline_is_what_its_training_ended_with(tmp_path):
    facts = {**FACTS, "train_input_path": "a.parquet", "paths": []}
    first = '[config]\npath = "x.config"\n'
    second = first + '[train]\ninit_from = "first:checkpoint"\n'
    found = specs(tmp_path, {"first": first, "second": second}, facts)
    paths = {entry.name: entry.paths for entry in found["train:second"].inputs}
    assert paths["fine_tune_checkpoint"] == ("../first/build/train",)
    assert "train:first" in found["train:second"].task_deps
    with pytest.raises(NotSupportedError, match="first:checkpoint of a pipeline with"):
        specs(tmp_path, {"first": first + '[pick]\nby = "step"\nstep = 3\n', "second": second}, facts)


def test_without_an_eval_table_nothing_is_evaluated(tmp_path):
    facts = {**FACTS, "train_input_path": "a.parquet", "paths": []}
    found = specs(tmp_path, {"short": '[config]\npath = "x.config"\n'}, facts)
    assert "evaluate:short" not in found
    assert set(found["page:short"].task_deps) == {"final_config:short", "train:short"}
    assert "--eval_input_path" not in found["train:short"].argv


def test_a_training_without_a_table_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"workspace/short/pipeline\.toml: \[data\] train is not set"):
        specs(tmp_path, {"short": '[config]\npath = "x.config"\n'}, {**FACTS, "paths": []})


def test_the_command_of_a_training(full):
    train = full["train:full"]
    argv = expand_argv(train, "build/.work/x/out")
    assert argv[1:4] == ("-P", "-m", "tzrec_build.tools.train")
    assert dict(zip(argv[4::2], argv[5::2], strict=True)) == {
        "--pipeline_config_path": "build/final_config/train.config",
        "--train_input_path": "../prep/build/tables/train.parquet",
        "--model_dir": "build/.work/x/out",
        "--seed": "11",
        "--threads": "2",
        "--device": "cpu",
    }
    assert train.threads == 2
    assert shown_command(train).startswith("tzrec-build train --pipeline_config_path build/final_config/train.config")


def test_files_that_the_config_names_are_inputs_of_the_tasks_that_read_them(full):
    def files(task):
        return {path for entry in full[task].inputs for path in entry.paths if path.endswith(".txt")}

    sampler = "../prep/build/tables/neg.txt"
    assert files("train:full") == files("evaluate:full") == files("train_select:full") == {"vocab.txt", sampler}
    assert files("predict:full:all") == files("fg:full") == files("export:full") == {"vocab.txt"}
    assert files("config:full") == files("index:full") == files("pick:full") == set()


def test_edits_reach_the_config_task_with_references_as_paths(full):
    params = dict(full["config:full"].params)
    assert json.loads(params["edit_config_json"]) == {
        "data_config.batch_size": 64,
        "data_config.negative_sampler.input_path": "../prep/build/tables/neg.txt",
    }


def test_registry_rows_of_the_config_count_for_the_tools_that_build_it(full):
    assert full["train:full"].kinds == ("feature:id_feature", "model:dssm")
    assert full["config:full"].kinds == ()


def test_a_given_checkpoint_replaces_the_training(tmp_path):
    text = '[config]\npath = "x.config"\n[data]\neval = "e.parquet"\n[checkpoint]\npath = "old/model.ckpt-9"\n'
    found = specs(tmp_path, {"given": text}, {**FACTS, "paths": []})
    assert not {"train:given", "pick:given"} & set(found)
    argv = expand_argv(found["evaluate:given"], "out")
    assert argv[argv.index("--checkpoint_path") + 1] == "old/model.ckpt-9"


def test_a_reference_to_an_artifact_that_is_not_made_names_both(tmp_path):
    text = '[config]\npath = "x.config"\n[data]\ntrain = "prep:table/train.parquet"\n'
    with pytest.raises(ConfigError, match=r"(?s)workspace/bad/pipeline\.toml.*prep.*table.*tables"):
        specs(tmp_path, {"prep": PREP, "bad": text})


def test_a_wrong_placeholder_lists_what_there_is(tmp_path):
    text = PREP.replace("{params.seed}", "{params.sead}")
    with pytest.raises(ConfigError, match=r"pipeline\.toml:3: .*params\.sead.*did you mean .params\.seed"):
        specs(tmp_path, {"prep": text})


def test_instances_of_each_have_names_and_folders_of_their_own(tmp_path):
    text = """
[each]
ds = "20260130..20260201"
[config]
path = "x.config"
[data]
train = "ds={ds}.parquet"
[train]
init_from = "train[ds-1]"
"""
    found = specs(tmp_path, {"daily": text}, {**FACTS, "paths": []})
    names = [f"train:daily:ds@{day}" for day in ("20260130", "20260131", "20260201")]
    assert set(names) <= set(found)
    assert [found[name].out for name in names] == [
        f"build/ds={day}/train" for day in ("20260130", "20260131", "20260201")
    ]
    assert names[0] in found[names[1]].task_deps
    assert names[1] in found[names[2]].task_deps
    assert "--fine_tune_checkpoint" not in found[names[0]].argv
    assert "--fine_tune_checkpoint" in found[names[1]].argv


RUNNING = """
[config]
path = "x.config"
[data]
train = ["t.parquet", "prep:tables/train.parquet"]
eval = "e.parquet"
fingerprint = "stat"
[train]
timeout = "2h"
cache = "none"
resources = { gpu = 1 }
[predict.all]
input = "all.parquet"
"""
STEPS = """
[step.a]
command = ["c"]
outputs = { o = "o" }
resources = { gpu = 2 }
retries = 3
timeout = "5s"
"""
SLOTS = '[resources]\ngpu = 2\n[cache]\nmatch = "exact-machine"\n'


@pytest.fixture
def running(tmp_path):
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace/workspace.toml").write_text(SLOTS)
    facts = {**FACTS, "paths": [{**row, "value": os.path.basename(row["value"])} for row in FACTS["paths"]]}
    return specs(tmp_path, {"prep": PREP, "a": RUNNING, "steps": STEPS}, facts)


def test_slots_retries_and_limits_of_a_step(running):
    step = running["step:steps:a"]
    assert (step.resources, step.retries, step.timeout_s) == ((("gpu", 2),), 3, 5.0)


def test_slots_are_held_by_every_task_on_the_device_and_the_limit_is_of_trainings(running):
    holding = {name for name, spec in running.items() if spec.resources == (("gpu", 1),)}
    assert holding == {"train:a", "evaluate:a", "predict:a:all"}
    assert {name: spec.timeout_s for name, spec in running.items() if spec.timeout_s} == {
        "train:a": 7200.0,
        "step:steps:a": 5.0,
    }
    assert {name for name, spec in running.items() if spec.cache == "none"} == {"train:a"}


def test_the_fingerprint_holds_for_tables_only(running):
    found = {entry.name: entry.fingerprint for entry in running["train:a"].inputs}
    assert found == {
        "pipeline_config_path": "content",
        "train_input_path": "stat",
        "feature_configs[0].id_feature.vocab_file": "content",
        "data_config.negative_sampler.input_path": "stat",
    }
    assert {entry.name: entry.fingerprint for entry in running["predict:a:all"].inputs}["predict_input_path"] == "stat"


def test_pure_quick_tools_are_light(full):
    light = {name.partition(":")[0] for name, spec in full.items() if spec.light}
    assert light == {"config", "select_config", "prune", "final_config", "pick", "benchmark"}


def test_an_exact_machine_counts_for_every_task(running):
    assert {spec.exact_machine for spec in running.values()} == {True}


def test_machines_count_by_their_system_unless_asked(full):
    assert {spec.exact_machine for spec in full.values()} == {False}


def test_a_model_of_the_users_own_reaches_every_tool_that_makes_it(tmp_path):
    text = FULL.replace('path = "x.config"\n', 'path = "x.config"\nmodel = "models/mine.py:Mine"\n')
    found = specs(tmp_path, {"prep": PREP, "full": text})
    given = {name.partition(":")[0] for name, spec in found.items() if "--model_class" in spec.argv}
    assert given == {
        "train_select", "train", "benchmark_run", "evaluate", "predict", "embed", "embed_users", "export",
    }  # fmt: skip
    assert {name.partition(":")[0] for name, spec in found.items() if spec.code == ("models/mine.py",)} == given
    assert "--model_class models/mine.py:Mine" in shown_command(found["train:full"])


def test_a_step_counts_the_code_of_the_script_that_it_starts(full):
    assert full["step:prep:tables"].code == ("tables.py",)
