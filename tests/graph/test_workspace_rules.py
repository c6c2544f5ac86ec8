"""Rules that span several keys of one pipeline, and names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.graph.toml_files import load, load_one, refusal
from tzrec_build.graph.references import VERBS
from tzrec_build.graph.workspace import COMMANDS

CONFIG = '[config]\npath = "x"\n'
STEP = '[step.s]\ncommand = ["true"]\n'

WRONG = [  # text of pipeline.toml, line, message
    ("", 1, "nothing to build: needs [config] with a path, or a [step.NAME]; add one"),
    ("default = true", 1, "nothing to build: needs [config] with a path, or a [step.NAME]; add one"),
    ("[eval]", 1, "nothing to build: needs [config] with a path, or a [step.NAME]; add one"),
    ("[config]", 1, "[config] must have either path or easyrec, got neither; keep one"),
    ("[config]\npath='a'\neasyrec='b'", 3, "[config] must have either path or easyrec, got both; keep one"),
    ("[config]\npath='a'\nfg_json='b'", 3, "[config] fg_json only has an effect with easyrec; remove it"),
    ("[config]\npath='a'\nschema='b'", 3, "[config] schema only has an effect with easyrec; remove it"),
    ("[select]\ntopk = 1", 1, '[select] needs [config] path; add [config] with path = "NAME.config"'),
    ("[eval.e]\ndata='x'", 1, '[eval.e] needs [config] path; add [config] with path = "NAME.config"'),
    ("[train]", 1, '[train] needs [config] path; add [config] with path = "NAME.config"'),
    ("[index]\nid_field='i'\nitems='t'", 1, '[index] needs [config] path; add [config] with path = "NAME.config"'),
    (f"{CONFIG}[config.edit]\n'a.b' = 1\na.b = 2", 4, "[config.edit] 'a.b' is set twice; remove one"),
    (f"{CONFIG}[select]", 3, "[select] topk is missing: it must be an integer in [1, 2147483647]; add topk = ..."),
    (
        f"{CONFIG}[eval.e]",
        3,
        (
            "[eval.e] data is missing: it must be a path or a PIPELINE:ARTIFACT reference, "
            "or a list of different ones; add data = ..."
        ),
    ),
    (
        f"{CONFIG}[predict.p]",
        3,
        (
            "[predict.p] input is missing: it must be a path or a PIPELINE:ARTIFACT reference, "
            "or a list of different ones; add input = ..."
        ),
    ),
    (
        f"{CONFIG}[checkpoint]",
        3,
        ("[checkpoint] path is missing: it must be a path or a PIPELINE:ARTIFACT reference; add path = ..."),
    ),
    (
        f"{CONFIG}[index]\nitems='t'",
        3,
        ("[index] id_field is missing: it must be a text of one line, not empty; add id_field = ..."),
    ),
    (
        f"{CONFIG}[hitrate]",
        3,
        (
            "[hitrate] users is missing: it must be a path or a PIPELINE:ARTIFACT reference, "
            "or a list of different ones; add users = ..."
        ),
    ),
    (
        "[step.s]\noutputs={o='o'}",
        1,
        "[step.s] command is missing: it must be a list of texts, the program first; add command = ...",
    ),
    (
        STEP,
        1,
        (
            "[step.s] outputs is missing: it must be a table of names, each a file inside the step's own build "
            "folder: relative, not in records/, without '..', '*', '?', '[', ':'; add outputs = ..."
        ),
    ),
    (f"{STEP}outputs = {{}}", 3, "[step.s] outputs must name at least one file; add one"),
    (
        f"{STEP}outputs = {{ a = 'x', b = 'x' }}",
        3,
        ("output 'b' (x) lies in the place of output 'a' (x, workspace/x/pipeline.toml:3); rename one"),
    ),
    (
        f"{STEP}[step.s.outputs]\na = 'd/x'\nb = 'd'",
        5,
        ("output 'b' (d) lies in the place of output 'a' (d/x, workspace/x/pipeline.toml:4); rename one"),
    ),
    (f"{CONFIG}[pick]\nby='best'", 4, "[pick] by = 'best' needs metric; add metric = ..."),
    (f"{CONFIG}[pick]\nby='step'", 4, "[pick] by = 'step' needs step; add step = ..."),
    (f"{CONFIG}[pick]\nmetric='auc'", 4, "[pick] metric only has an effect with by = 'best', got 'latest'; remove it"),
    (f"{CONFIG}[pick]\nstep=3", 4, "[pick] step only has an effect with by = 'step', got 'latest'; remove it"),
    (
        f"{CONFIG}[pick]\nsmaller_is_better=true",
        4,
        ("[pick] smaller_is_better only has an effect with by = 'best', got 'latest'; remove it"),
    ),
    (
        f"{CONFIG}[index]\nid_field='i'\nitems='t'\nhnsw_M=8",
        6,
        ("[index] hnsw_M only has an effect with type = 'HNSWFlatIP' or 'HNSWFlatL2', got 'IVFFlatIP'; remove it"),
    ),
    (
        f"{CONFIG}[index]\nid_field='i'\nitems='t'\nhnsw_efConstruction=8",
        6,
        (
            "[index] hnsw_efConstruction only has an "
            "effect with type = 'HNSWFlatIP' or 'HNSWFlatL2', got 'IVFFlatIP'; remove it"
        ),
    ),
    (
        f"{CONFIG}[index]\nid_field='i'\nitems='t'\ntype='HNSWFlatL2'\nivf_nlist=8",
        7,
        ("[index] ivf_nlist only has an effect with type = 'IVFFlatIP' or 'IVFFlatL2', got 'HNSWFlatL2'; remove it"),
    ),
    (f"{CONFIG}[index]\nid_field='i'", 3, "[index] needs items, the table that the tower embeds, or input; add one"),
    (
        f"{CONFIG}[index]\nid_field='i'\ninput='e'\ntower='item'",
        6,
        ("[index] tower has no effect with input; remove one of them"),
    ),
    (
        f"{CONFIG}[index]\nid_field='i'\ninput='e'\nitems='t'",
        6,
        ("[index] items has no effect with input; remove one of them"),
    ),
    (f"{CONFIG}[hitrate]\nusers='u'", 3, "[hitrate] needs [index]; add [index] with id_field and items"),
    (
        f"{CONFIG}[checkpoint]\npath='c'\n[train]\nseed=3",
        6,
        ("[train] seed has no effect with [checkpoint]; remove one of them"),
    ),
    (
        f"{CONFIG}[checkpoint]\npath='c'\n[select]\ntopk=3",
        5,
        ("[select] trains, and [checkpoint] is trained elsewhere; remove one of them"),
    ),
    (
        "[step.train]\ncommand=['true']\noutputs={o='o'}",
        1,
        ("[step.train] has the name of an artifact of the pipeline itself; rename the step"),
    ),
    (
        f"{CONFIG}[eval.e]\ndata='x'\n[step.evaluate_e]\ncommand=['true']\noutputs={{o='o'}}",
        5,
        "[step.evaluate_e] has the name of an artifact of the pipeline itself; rename the step",
    ),
    (
        f"{STEP}outputs={{o='o'}}\nresources={{gpu=1}}",
        4,
        ("resource 'gpu' must be at most what workspace/workspace.toml has, got 1, none in [resources]"),
    ),
    (
        f"{STEP}outputs={{o='o'}}\ninputs={{a='{{o}}'}}",
        4,
        ("unknown placeholder {o}; none is defined here (write {{o}} for these very characters)"),
    ),
    (
        "[step.s]\ncommand=['c', '{inputs.rw}']\noutputs={o='o'}\ninputs={raw='x'}",
        2,
        ("unknown placeholder {inputs.rw}; did you mean 'inputs.raw'? (write {{inputs.rw}} for these very characters)"),
    ),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_keys_that_do_not_fit_together_are_refused(tmp_path, text, line, message):
    assert refusal(tmp_path, {"x": text}) == [f"workspace/x/pipeline.toml:{line}: {message}"]


def test_a_wrong_value_is_not_followed_by_complaints_about_its_absence(tmp_path):
    (line,) = refusal(tmp_path, {"x": f"{CONFIG}[pick]\nby = 'bst'\nmetric = 'auc'\n"})
    assert "must be one of 'latest', 'best', 'step'" in line


def test_a_default_that_has_no_effect_in_one_pipeline_does_not_hinder_it(tmp_path):
    shared = "[defaults.index]\nhnsw_M = 8\n[defaults.train]\nseed = 3"
    index = "[index]\nid_field = 'i'\nitems = 't'"
    hnsw, ivf, made = (
        f"{CONFIG}{index}\ntype = 'HNSWFlatIP'",
        f"{CONFIG}{index}",
        f"{CONFIG}[checkpoint]\npath = 'c'",
    )
    specs = load(tmp_path, {"": shared, "a": hnsw, "b": ivf, "c": made}).pipelines
    assert [spec.index.hnsw_M for spec in specs if spec.index] == [8, 8]


def test_more_slots_than_there_are(tmp_path):
    texts = {"": "[resources]\ngpu = 1", "x": f"{STEP}outputs = {{ o = 'o' }}\nresources = {{ gpu = 2 }}"}
    (line,) = refusal(tmp_path, texts)
    assert line == (
        "workspace/x/pipeline.toml:4: resource 'gpu' must be at most what workspace/workspace.toml:1 has, "
        "got 2, 1 in [resources]"
    )


def test_a_reference_needs_no_pick_rule_to_be_complete(tmp_path):
    assert load_one(tmp_path, f"{CONFIG}[pick]\nby = 'step'\nstep = 0").pick.by == "step"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "a b",
            (
                "the folder's name 'a b' must be at most 100 letters, digits, '_', '.', '-' and not begin with '.' "
                "or '-'; rename the folder"
            ),
        ),
        (
            "-a",
            (
                "the folder's name '-a' must be at most 100 letters, digits, '_', '.', '-' and not begin with '.' "
                "or '-'; rename the folder"
            ),
        ),
        (
            "ds=1",
            (
                "the folder's name 'ds=1' must be at most 100 letters, digits, '_', '.', '-' and not begin with '.' "
                "or '-'; rename the folder"
            ),
        ),
        ("list", "the folder's name 'list' is a command of doit; rename the folder"),
        ("why", "the folder's name 'why' is a command of doit; rename the folder"),
        ("train", "the folder's name 'train' is the name of a group of tasks; rename the folder"),
        ("predict", "the folder's name 'predict' is the name of a group of tasks; rename the folder"),
        ("step", "the folder's name 'step' is the name of a group of tasks; rename the folder"),
    ],
)
def test_a_folder_whose_name_cannot_be_a_task_name(tmp_path, name, message):
    assert refusal(tmp_path, {name: CONFIG}) == [f"workspace/{name}/pipeline.toml:1: {message}"]


def test_every_command_of_doit_is_taken():
    from doit.doit_cmd import DoitMain

    assert {command.get_name() for command in DoitMain.DOIT_CMDS} <= set(COMMANDS)


def test_every_command_of_ours_is_taken_and_none_is_the_name_of_a_group_of_tasks():
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        ours = set(tomllib.load(file)["project"]["entry-points"]["doit.COMMAND"])
    assert ours <= set(COMMANDS)
    assert not set(COMMANDS) & VERBS


def test_a_training_asks_for_slots_that_there_are(tmp_path):
    (line,) = refusal(tmp_path, {"x": f"{CONFIG}[train]\nresources = {{ gpu = 1 }}"})
    assert line == (
        "workspace/x/pipeline.toml:4: resource 'gpu' must be at most what workspace/workspace.toml has, "
        "got 1, none in [resources]"
    )


def test_the_cost_of_a_build_is_limited_for_the_whole_workspace(tmp_path):
    assert load(tmp_path, {"": 'max_cost = "2h"', "x": CONFIG}).max_cost_s == 7200.0
    assert load(tmp_path, {"": "", "x": CONFIG}).max_cost_s == 0.0
    assert refusal(tmp_path, {"": "max_cost = 2", "x": CONFIG}) == [
        "workspace/workspace.toml:1: max_cost must be a duration above 0 such as '90s', '30m', '12h', '3d', got 2; correct it"
    ]
    assert refusal(tmp_path, {"": 'maxcost = "2h"', "x": CONFIG}) == [
        "workspace/workspace.toml:1: unknown key 'maxcost'; did you mean 'max_cost'?"
    ]
