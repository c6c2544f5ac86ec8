"""From a user's config to the one that is trained: conversion of EasyRec configs and tables of feature infos."""

from __future__ import annotations

import os

import pytest

from tests.graph.toml_files import write_workspace
from tzrec_build.errors import BuildError, ConfigError, NotSupportedError
from tzrec_build.graph.action import shown_command
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.config_facts import ConfigFacts
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.state import State
from tzrec_build.graph.workspace import load_workspace

FACTS = {"train_input_path": "t.parquet", "eval_input_path": "", "kinds": [], "paths": [], "fg_json_path": ""}
EASYREC = '[config]\neasyrec = "old.config"\n'
SELECT = "[select]\ntopk = 3\n"
STEP = '[step.sizes]\ncommand = ["true"]\noutputs = { table = "sizes.csv" }\n'
OLD = """
train_input_path: "t.csv" eval_input_path: "e.csv" model_dir: "m"
train_config { num_steps: 10 }
data_config {
  input_type: CSVInput label_fields: "y"
  input_fields { input_name: "y" input_type: INT32 }
  input_fields { input_name: "a" input_type: STRING }
}
feature_config { features { input_names: "a" feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 100 } }
model_config {
  model_class: "MultiTower"
  feature_groups { group_name: "all" feature_names: "a" wide_deep: DEEP }
  multi_tower { towers { input: "all" dnn { hidden_units: [8] } } final_dnn { hidden_units: [4] } }
}
eval_config { metrics_set { auc {} } }
"""
FG = '{"features": [{"feature_type": "id_feature", "feature_name": "a", "expression": "user:a", "hash_bucket_size": 100}]}'


def compiled(root, text, facts=FACTS):
    workspace = load_workspace(write_workspace(root, {"x": text}))
    found = compile_workspace(workspace, facts if callable(facts) else lambda _pipeline, _edits: facts)
    for error in found.broken.values():
        raise error
    return {spec.name: spec for spec in found.specs}


@pytest.fixture
def facts(tmp_path, monkeypatch):
    """The real facts, of files below the pipeline's folder."""
    monkeypatch.setenv("TZREC_CACHE", "off")
    state = State(str(tmp_path / "state"))
    code_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return ConfigFacts(Judge(state, code_root, "", str(tmp_path)), str(tmp_path))


def deps(found):
    return {name.removesuffix(":x"): {dep.removesuffix(":x") for dep in spec.task_deps} for name, spec in found.items()}


def test_an_easyrec_config_is_converted_before_it_is_edited(tmp_path):
    found = compiled(tmp_path, EASYREC)
    assert deps(found) == {
        "convert": set(),
        "config": {"convert"},
        "final_config": {"config"},
        "fg": {"final_config"},
        "train": {"final_config"},
        "pick": {"train"},
        "page": {"final_config", "train"},
    }
    (source,) = found["convert:x"].inputs
    assert (source.name, source.paths) == ("easyrec_config_path", ("old.config",))
    assert [entry.paths for entry in found["config:x"].inputs] == [("build/convert/pipeline.config",)]
    assert [name for name, _ in found["convert:x"].outputs] == [
        "pipeline.config",
        "conversion_report.json",
        "conversion_report.txt",
    ]
    assert found["convert:x"].light
    assert "convert:x" not in compiled(tmp_path, '[config]\npath = "new.config"')


def test_fg_json_and_schema_are_inputs_of_the_conversion(tmp_path):
    text = EASYREC + 'fg_json = "fg.json"\nschema = "easyrec.whl"\n'
    command = shown_command(compiled(tmp_path, text)["convert:x"])
    assert "--easyrec_config_path old.config --fg_json_path fg.json --easyrec_package_path easyrec.whl" in command


@pytest.mark.parametrize(
    ("more", "chain"),
    [
        ("", {"feature_info": {"config"}, "final_config": {"feature_info"}}),
        (
            SELECT,
            {
                "feature_info": {"config"},
                "select_config": {"feature_info"},
                "prune": {"feature_info", "importance"},
                "final_config": {"prune"},
            },
        ),
    ],
)
def test_a_table_of_feature_infos_is_applied_before_anything_reads_the_config(tmp_path, more, chain):
    found = compiled(tmp_path, '[config]\npath = "new.config"\nfeature_info = "info.csv"\n' + more)
    assert {name: needed for name, needed in deps(found).items() if name in chain} == chain
    assert "config" not in set().union(*(deps(found)[name] for name in deps(found) if name != "feature_info"))
    command = shown_command(found["feature_info:x"])
    assert "--template_model_config_path build/config/pipeline.config --config_table_path info.csv" in command


def test_a_table_of_feature_infos_may_be_made_by_a_step(tmp_path):
    text = '[config]\npath = "new.config"\nfeature_info = "x:sizes/sizes.csv"\n' + STEP
    found = compiled(tmp_path, text)
    assert set(found["feature_info:x"].task_deps) == {"config:x", "step:x:sizes"}


@pytest.mark.parametrize("key", ["path", "easyrec", "fg_json", "schema"])
def test_what_is_read_before_any_task_runs_cannot_be_made_by_one(tmp_path, key):
    own = "" if key in ("path", "easyrec") else 'easyrec = "old.config"\n'
    with pytest.raises(NotSupportedError, match=rf"\[config\] {key} that another task makes in workspace/x"):
        compiled(tmp_path, f'[config]\n{own}{key} = "x:sizes/sizes.csv"\n' + STEP)


def test_the_tables_and_kinds_are_those_that_the_conversion_will_give(tmp_path, facts):
    write_workspace(tmp_path, {"x": EASYREC})
    (tmp_path / "workspace/x/old.config").write_text(OLD)
    found = compiled(tmp_path, EASYREC, facts.of)
    train = found["train:x"]
    assert {entry.name: entry.paths for entry in train.inputs}["train_input_path"] == ("t.csv",)
    assert {"model:multi_tower", "feature:id_feature"} <= set(train.kinds)
    assert "evaluate:x" in found
    assert [entry.name for entry in found["convert:x"].inputs] == ["easyrec_config_path"]
    assert facts.files == {f"{tmp_path}/workspace/x/old.config": facts.files[f"{tmp_path}/workspace/x/old.config"]}


def test_edits_count_for_what_the_conversion_will_give(tmp_path, facts):
    write_workspace(tmp_path, {"x": EASYREC})
    (tmp_path / "workspace/x/old.config").write_text(OLD)
    found = compiled(tmp_path, EASYREC + '[config.edit]\ntrain_input_path = "other.csv"\n', facts.of)
    assert {entry.name: entry.paths for entry in found["train:x"].inputs}["train_input_path"] == ("other.csv",)


@pytest.mark.parametrize("place", ["fg.json", "sub/fg.json"])
def test_the_fg_json_that_the_config_names_is_found_from_the_pipeline_or_beside_the_config(tmp_path, facts, place):
    text = EASYREC.replace("old.config", "sub/old.config")
    write_workspace(tmp_path, {"x": text})
    folder = tmp_path / "workspace/x"
    (folder / "sub").mkdir()
    (folder / "sub/old.config").write_text(OLD + 'fg_json_path: "!fg.json"\n')
    (folder / place).write_text(FG)
    found = compiled(tmp_path, text, facts.of)
    assert {entry.name: entry.paths for entry in found["convert:x"].inputs}["fg_json_path"] == (place,)
    assert facts.files[f"{folder}/{place}"] != b""
    assert facts.files[f"{folder}/fg.json"] == b"" or place == "fg.json"  # were it to appear, it would be the one


WRONG = {
    "no config": (EASYREC, {}, r"\[config\] easyrec: no such file workspace/x/old.config; put it there or correct"),
    "no fg.json": (EASYREC + 'fg_json = "fg.json"\n', {"old.config": OLD}, r"\[config\] fg_json: no such file"),
    "no named fg.json": (
        EASYREC,
        {"old.config": OLD + 'fg_json_path: "gone.json"'},
        r"old.config: fg_json_path must name a file, got 'gone.json'; put it there, or name it in \[config\] fg_json",
    ),
    "a typo": (EASYREC, {"old.config": "modle_config {}"}, r"old.config:1:1: "),
    "no counterpart": (
        EASYREC,
        {"old.config": OLD.replace('"MultiTower"', '"ESMM"')},
        r"model_class 'ESMM' has no counterpart.*\n(.*\n)*.*not converted",
    ),
    "an edit": (EASYREC + "[config.edit]\ntrain_confg = 1\n", {"old.config": OLD}, r"train_confg"),
    "no EasyRec package": (EASYREC + 'schema = "old.config"\n', {"old.config": OLD}, r"old.config: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, facts, name):
    text, files, message = WRONG[name]
    write_workspace(tmp_path, {"x": text})
    for file, content in files.items():
        (tmp_path / "workspace/x" / file).write_text(content)
    with pytest.raises(BuildError, match=message):
        compiled(tmp_path, text, facts.of)


def test_a_conversion_is_remembered_until_a_file_of_it_changes(tmp_path, facts, monkeypatch):
    write_workspace(tmp_path, {"x": EASYREC})
    (tmp_path / "workspace/x/old.config").write_text(OLD)
    compiled(tmp_path, EASYREC, facts.of)
    made = []
    monkeypatch.setattr(facts._judge.state, "set_facts", lambda key, _facts: made.append(key.split()[0]))
    compiled(tmp_path, EASYREC, facts.of)
    assert made == []
    (tmp_path / "workspace/x/old.config").write_text(OLD.replace("t.csv", "u.csv"))
    compiled(tmp_path, EASYREC, facts.of)
    assert made == ["fg_json", "easyrec"]


def test_a_pipeline_that_reads_its_own_training_goes_in_a_circle(tmp_path):
    text = '[config]\npath = "new.config"\nfeature_info = "x:train/sizes.csv"\n'
    with pytest.raises(ConfigError, match=r"pipeline.toml:3: references must not go in a circle"):
        compiled(tmp_path, text)
