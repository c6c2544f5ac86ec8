"""References between pipelines: parsed, resolved, refused, and without cycles."""

from __future__ import annotations

import pytest

from tests.graph.toml_files import load, refusal
from tzrec_build.graph.keys import TABLES as TABLES_OF_GRAMMAR
from tzrec_build.graph.references import ARTIFACTS, ITEM_ARTIFACTS, VERBS, Ref, parse_ref
from tzrec_build.graph.rules import RULES

TABLES = """
    [step.tables]
    command = ["c"]
    outputs = { train = "train.parquet", days = "days" }
    """
CONFIG = '[config]\npath = "x"\n'


def step(name, source, output="o"):
    return f'[step.{name}]\ncommand = ["c"]\ninputs = {{ i = "{source}" }}\noutputs = {{ o = "{output}" }}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ml:tables/a/b.parquet", Ref("ml", "tables", "a/b.parquet")),
        ("ml:train", Ref("ml", "train", "")),
        ("d:ds=1,m=a:train/x", Ref("d:ds=1,m=a", "train", "x")),
        ("d:ds=2,m=a:train/x", None),
        ("nobody:train", None),
        ("./ml:train", None),
        ("ml", None),
        ("a/b.parquet", None),
        ("https://host/x", None),
        ("", None),
    ],
)
def test_parse_ref(text, expected):
    assert parse_ref(text, {"ml": 0, "d:ds=1,m=a": 0}) == expected


def test_every_key_with_a_path_takes_a_reference(tmp_path):
    user = """
        [config]
        path = "ml:tables/train.parquet"
        edit = { a = "ml:tables/days", b = "other:text", c = 3 }
        [data]
        train = ["ml:tables/train.parquet", "own.parquet"]
        eval = "ml:tables/days/*.parquet"
        [train]
        init_from = "ml:tables"
        [eval.e]
        data = "ml:tables/days/1.parquet"
        [predict.p]
        input = "x:s/o"
        [index]
        id_field = "i"
        items = "ml:tables/days"
        [hitrate]
        users = "ml:tables/days"
        [benchmark]
        baseline = "ml:tables/days/b.json"
        [step.s]
        command = ["c"]
        inputs = { a = ["ml:tables/days", "x"] }
        outputs = { o = "o" }
        """
    _, spec = load(tmp_path, {"ml": TABLES, "x": user}).pipelines
    assert spec.config is not None
    assert spec.config.edit == (("a", "ml:tables/days"), ("b", "other:text"), ("c", 3))
    assert spec.data.train == ("ml:tables/train.parquet", "own.parquet")
    assert spec.predicts[0].input == ("x:s/o",)
    assert spec.steps[0].inputs == (("a", ("ml:tables/days", "x")),)


def test_artifacts_of_a_pipeline_can_be_named(tmp_path):
    made = f'{CONFIG}[select]\ntopk = 1\n[eval.e]\ndata = "e"\n[predict.p]\ninput = "p"\n[export]\n[benchmark]\n'
    made += '[index]\nid_field = "i"\nitems = "t"\n[hitrate]\nusers = "u"'
    names = [*ARTIFACTS, "evaluate_e", "predict_p"]
    user = "".join(step(f"s{number}", f"m:{name}/x") for number, name in enumerate(names))
    assert len(load(tmp_path, {"m": made, "x": user}).pipelines[1].steps) == len(names)


def test_a_reference_within_an_instance_means_the_same_instance(tmp_path):
    text = '[each]\nds = "1..2"\n' + step("a", "in.csv") + step("b", "x:a/o")
    specs = load(tmp_path, {"x": text}).pipelines
    assert [spec.steps[1].inputs[0][1] for spec in specs] == [("x:ds=1:a/o",), ("x:ds=2:a/o",)]


def test_a_reference_to_a_pipeline_with_the_same_variable_means_the_same_value(tmp_path):
    tables = '[each]\nds = "1..3"\n' + step("t", "in.csv")
    user = '[each]\nds = "2..3"\nm = ["a", "b"]\n' + step("s", "tables:t/o")
    specs = load(tmp_path, {"tables": tables, "user": user}).pipelines[3:]
    inputs = [spec.steps[0].inputs[0][1][0] for spec in specs]
    assert inputs == ["tables:ds=2:t/o", "tables:ds=2:t/o", "tables:ds=3:t/o", "tables:ds=3:t/o"]


def test_a_reference_may_name_the_instance_also_by_placeholder(tmp_path):
    tables = '[each]\nds = "20260101..20260103"\n' + step("t", "in.csv")
    user = '[each]\nds = ["20260102"]\n' + step("s", "tables:ds={ds-1}:t/o")
    spec = load(tmp_path, {"tables": tables, "user": user}).pipelines[3]
    assert spec.steps[0].inputs[0][1] == ("tables:ds=20260101:t/o",)


def test_a_pipeline_without_each_must_name_one_of_several_instances(tmp_path):
    texts = {"d": '[each]\nds = "1..3"\n' + step("t", "in"), "x": step("s", "d:t/o")}
    assert refusal(tmp_path, texts) == [
        "workspace/x/pipeline.toml:3: [step.s.inputs] i: 'd' has 3 instances that fit 'x'; name one, such as d:ds=1:..."
    ]


def test_one_instance_needs_no_name(tmp_path):
    texts = {"d": "[each]\nds = [1]\n" + step("t", "in"), "x": step("s", "d:t/o")}
    assert load(tmp_path, texts).pipelines[1].steps[0].inputs[0][1] == ("d:ds=1:t/o",)


WRONG = [  # path text of a step in pipeline x, message; "ml" makes tables
    ("mll:tables", "unknown pipeline 'mll'; did you mean 'ml'? (write ./mll:... for a file)"),
    ("ml:table", "workspace/ml/pipeline.toml makes no artifact 'table'; did you mean 'tables'?"),
    ("ml:", "workspace/ml/pipeline.toml makes no artifact ''; known: tables"),
    ("ml:train", "workspace/ml/pipeline.toml makes no artifact 'train'; known: tables"),
    (
        "ml:tables/trian.parquet",
        "step 'tables' (workspace/ml/pipeline.toml:3) has no output 'trian.parquet'; did you mean 'train.parquet'?",
    ),
    ("ml:tables/../x", "the path below ml:tables must not have '..', got '../x'; remove it"),
    ("ml:ds=1:tables", "unknown instance 'ml:ds=1'; known: ml"),
    (
        "../ml/build/tables/train.parquet",
        (
            "'../ml/build/tables/train.parquet' lies in the build folder of 'ml'; "
            "write the reference 'ml:tables/train.parquet'"
        ),
    ),
    ("./build/s/o", "'./build/s/o' lies in the build folder of 'x'; write the reference 'x:s/o'"),
    (
        "../ml/../ml/build/ds=1/tables",
        "'../ml/../ml/build/ds=1/tables' lies in the build folder of 'ml'; write the reference 'ml:ds=1:tables'",
    ),
    ("../ml/build/*/x", "'../ml/build/*/x' lies in the build folder of 'ml'; write the reference 'ml:ARTIFACT'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_references(tmp_path, text, message):
    lines = refusal(tmp_path, {"ml": TABLES, "x": step("s", text)})
    assert lines == [f"workspace/x/pipeline.toml:3: [step.s.inputs] i: {message}"]


def test_a_link_into_a_build_folder_is_seen_through(tmp_path):
    (tmp_path / "workspace/ml/build").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "workspace/ml/build")
    (line,) = refusal(tmp_path, {"ml": TABLES, "x": step("s", "../../link/tables/days")})
    assert line.endswith("lies in the build folder of 'ml'; write the reference 'ml:tables/days'")


@pytest.mark.parametrize("text", ["../data/ml.csv", "build.csv", "../building/x", "./ml:x", "/abs/x", "../ml/x"])
def test_plain_paths_are_left_alone(tmp_path, text):
    spec = load(tmp_path, {"ml": TABLES, "x": step("s", text)}).pipelines[1]
    assert spec.steps[0].inputs[0][1] == (text,)


def test_the_previous_instance_needs_its_variable(tmp_path):
    text = '[each]\nds = "1..2"\n[config]\npath = "x"\n[train]\ninit_from = "train[dss-1]"'
    assert refusal(tmp_path, {"x": text}) == [
        (
            "workspace/x/pipeline.toml:6: [train] init_from: 'train[dss-1]' names 'dss', which is not in [each]; "
            "did you mean 'ds'?"
        )
    ]
    text = '[config]\npath = "x"\n[train]\ninit_from = "train[ds-1]"'
    (line,) = refusal(tmp_path, {"x": text})
    assert line.endswith("names 'ds', which is not in [each]; none is defined here")


def test_a_chain_may_skip_instances(tmp_path):
    text = '[each]\nn = "1..4"\n[config]\npath = "x"\n[train]\ninit_from = "train[n-2]"'
    chain = [spec.train.init_from for spec in load(tmp_path, {"x": text}).pipelines]
    assert chain == ["", "", "x:n=1:train", "x:n=2:train"]


def test_pipelines_that_use_each_other_without_a_cycle_are_fine(tmp_path):
    first = step("one", "in") + step("three", "b:two/o")
    assert len(load(tmp_path, {"a": first, "b": step("two", "a:one/o")}).pipelines) == 2


def test_a_long_chain_needs_no_recursion(tmp_path):
    text = '[each]\nn = "1..3000"\n[config]\npath = "x"\n[train]\ninit_from = "train[n-1]"'
    assert load(tmp_path, {"x": text}).pipelines[-1].train.init_from == "x:n=2999:train"


def test_the_artifacts_are_those_of_the_rules():
    rules = {rule.verb for rule in RULES}
    assert rules <= VERBS
    assert {rule.verb for rule in RULES if rule.items} <= {*ITEM_ARTIFACTS.values(), "benchmark_run"}
    assert set(ARTIFACTS.values()) <= set(TABLES_OF_GRAMMAR)
