"""[each]: values, names and placeholders, expanded by hand."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graph.toml_files import load, refusal
from tzrec_build.graph.expand import (
    Names,
    Surroundings,
    Value,
    expand_product,
    expand_values,
    fill,
    shift,
)

DAILY = """
    [each]
    ds = "20240227..20240302"
    [config]
    path = "x.config"
    [data]
    train = ["../data/ds={ds}/*.parquet", "../extra/{ds-1}.csv"]
    eval = "../data/ds={ds+1}/*.parquet"
    [train]
    init_from = "train[ds-1]"
    """
STEP = '[step.s]\ncommand = ["c"]\noutputs = { o = "o" }\n'


def texts_of(rule, folder="/nowhere", env=None):
    return [value.text for value in expand_values(rule, folder, Surroundings(env or {}))]


def test_a_daily_chain_over_the_end_of_february(tmp_path):
    specs = load(tmp_path, {"daily": DAILY}).pipelines
    days = ["20240227", "20240228", "20240229", "20240301", "20240302"]
    assert [spec.name for spec in specs] == [f"daily:ds={day}" for day in days]
    assert [spec.build_dir for spec in specs] == [f"build/ds={day}" for day in days]
    assert {spec.base_name for spec in specs} == {"daily"}
    assert [spec.each for spec in specs] == [(("ds", day),) for day in days]
    assert specs[0].data.train == ("../data/ds=20240227/*.parquet", "../extra/20240226.csv")
    assert [spec.data.eval[0] for spec in specs] == [f"../data/ds={day}/*.parquet" for day in [*days[1:], "20240303"]]
    assert [spec.train.init_from for spec in specs] == ["", *(f"daily:ds={day}:train" for day in days[:-1])]


def test_several_variables_make_the_product_in_the_order_of_the_table(tmp_path):
    for name in ("dbmtl", "mmoe"):
        (tmp_path / f"workspace/d/configs/{name}.config").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"workspace/d/configs/{name}.config").touch()
    text = """
        [each]
        ds = ["20260101", "20260105"]
        config = "configs/*.config"
        [config]
        path = "{config}"
        [train]
        init_from = "train[ds-1]/model.ckpt-9"
        """
    workspace = load(tmp_path, {"d": text})
    assert [spec.name for spec in workspace.pipelines] == [
        "d:ds=20260101,config=dbmtl",
        "d:ds=20260101,config=mmoe",
        "d:ds=20260105,config=dbmtl",
        "d:ds=20260105,config=mmoe",
    ]
    last = workspace.pipelines[-1]
    assert last.each == (("ds", "20260105"), ("config", "configs/mmoe.config"))
    assert last.build_dir == "build/ds=20260105,config=mmoe"
    assert last.config is not None
    assert last.config.path == "configs/mmoe.config"
    assert last.train.init_from == "d:ds=20260101,config=mmoe:train/model.ckpt-9"
    found = ("configs/dbmtl.config", "configs/mmoe.config")
    assert workspace.globs == ((f"{tmp_path}/workspace/d", "configs/*.config", found),)


def test_integers_keep_their_type_where_they_stand_alone(tmp_path):
    text = f'[each]\nk = "8..10"\nn = [3]\n[config]\npath = "x"\n[select]\ntopk = "{{k-1}}"\n[train]\nseed = "{{n}}"\n{STEP}'
    specs = load(tmp_path, {"x": text}).pipelines
    assert [(spec.select.topk, spec.train.seed) for spec in specs if spec.select] == [(7, 3), (8, 3), (9, 3)]


def test_a_step_fills_in_values_and_keeps_its_own_placeholders(tmp_path):
    text = """
        [each]
        ds = [20260101]
        [step.s]
        command = ["c", "--day={ds}", "{inputs.a}", "{outputs.o}", "{params.p}{threads}", "{{ds}}", "{out}"]
        inputs = { a = "{ds}.csv" }
        outputs = { o = "{ds}.txt" }
        params = { p = "{ds-1}" }
        """
    (spec,) = load(tmp_path, {"x": text}).pipelines
    (step,) = spec.steps
    assert step.command == (
        "c",
        "--day=20260101",
        "{inputs.a}",
        "{outputs.o}",
        "{params.p}{threads}",
        "{{ds}}",
        "{out}",
    )
    assert step.inputs == (("a", ("20260101.csv",)),)
    assert step.outputs == (("o", "20260101.txt"),)
    assert step.params == (("p", "20251231"),)


def test_a_launcher_keeps_argv(tmp_path):
    text = '[config]\npath="x"\n[train]\nlauncher = ["srun", "{argvs}"]'
    (line,) = refusal(tmp_path, {"x": text})
    assert "unknown placeholder {argvs}; did you mean 'argv'?" in line


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("20231230..20240102", ["20231230", "20231231", "20240101", "20240102"]),
        ("20260101..20260101", ["20260101"]),
        ("8..11", ["8", "9", "10", "11"]),
        ("08..11", ["08", "09", "10", "11"]),
        ("00000001..00000002", ["00000001", "00000002"]),
        (5, ["5"]),
        ("one", ["one"]),
        ([1, "two", "3..4"], ["1", "two", "3", "4"]),
        ("$DAYS", ["20260101", "20260103", "20260104"]),
        ("${DAYS}", ["20260101", "20260103", "20260104"]),
        (["a/b.config", "c/d.config"], ["a/b.config", "c/d.config"]),
    ],
)
def test_values_by_hand(rule, expected):
    assert texts_of(rule, env={"DAYS": "20260101, 20260103..20260104"}) == expected


def test_globs_are_sorted_recursive_and_named_by_their_stem(tmp_path):
    for name in ("b.config", "a/c.d.config", ".hidden.config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    around = Surroundings({})
    assert expand_values("**/*.config", str(tmp_path), around) == (
        Value("a/c.d.config", "c.d"),
        Value("b.config", "b"),
    )
    assert around.globs == {(str(tmp_path), "**/*.config"): ("a/c.d.config", "b.config")}


def test_the_environment_that_was_looked_at_is_noted(tmp_path):
    text = '[each]\nds = "$DS"\n' + STEP
    workspace = load(tmp_path, {"x": text}, {"DS": "7", "OTHER": "1"})
    assert workspace.env == (("DS", "7"),)
    assert [spec.name for spec in workspace.pipelines] == ["x:ds=7"]


WRONG = [  # right side of [each] v, message
    ('"$DS"', "environment variable DS is not set; set it, or name the values here"),
    ("[]", "must have at least one value, got an empty list; remove it, or add a value"),
    ("true", "must be an integer, a text or a list of them; a day is written '20260101'"),
    ("1.5", "must be an integer, a text or a list of them; a day is written '20260101'"),
    ("2026-01-01", "must be an integer, a text or a list of them; a day is written '20260101'"),
    ("[[1]]", "must be an integer, a text or a list of them; a day is written '20260101'"),
    ("{ a = 1 }", "must be an integer, a text or a list of them; a day is written '20260101'"),
    ('"20260131..20260232"', "20260232 is not a day of the calendar (YYYYMMDD); correct it"),
    ('"20261301..20261302"', None),
    ('"20260102..20260101"', "range 20260102..20260101 must go upwards in at most 18 digits; swap its ends"),
    ('"3..1"', "range 3..1 must go upwards in at most 18 digits; swap its ends"),
    ('"1..10001"', "must give at most 10000 instances, got 10001; split the pipeline"),
    ('"*.nothing"', "'*.nothing' matches no file; write a glob that matches below the pipeline's folder"),
    ('["a", "a"]', "'a' and 'a' would both be named 'a'; rename one"),
    ('["p/a.x", "q/a.y"]', "'p/a.x' and 'q/a.y' would both be named 'a'; rename one"),
    (
        '"a b"',
        (
            "value 'a b' becomes part of task names: it must be at most 100 letters, digits, '_', '.', '-' and "
            "not begin with '.' or '-'; choose another value"
        ),
    ),
    (
        '""',
        (
            "value '' becomes part of task names: it must be at most 100 letters, digits, '_', '.', '-' and "
            "not begin with '.' or '-'; choose another value"
        ),
    ),
    ('"{w}"', "unknown placeholder {w}; none is defined here (write {{w}} for these very characters)"),
]


@pytest.mark.parametrize(("rule", "message"), WRONG)
def test_wrong_values(tmp_path, rule, message):
    texts = {"x": f"[each]\nv = {rule}\n{STEP}"}
    if message is None:  # neither end is a day: plain integers
        assert len(load(tmp_path, texts).pipelines) == 2
    else:
        assert refusal(tmp_path, texts) == [f"workspace/x/pipeline.toml:2: [each] v: {message}"]


def test_a_negative_integer_is_no_name(tmp_path):
    (line,) = refusal(tmp_path, {"x": f"[each]\nv = -5\n{STEP}"})
    assert line.startswith("workspace/x/pipeline.toml:2: [each] v: value '-5' becomes part of task names")


def test_too_many_instances_of_a_product(tmp_path):
    lines = refusal(tmp_path, {"x": f'[each]\na = "1..200"\nb = "1..200"\n{STEP}'})
    message = "[each] must give at most 10000 instances, got 40000; split the pipeline"
    assert lines == [f"workspace/x/pipeline.toml:1: {message}"]


def test_a_name_too_long_for_a_folder():
    columns = {name: [Value("v", "v" * 90)] for name in ("a", "b", "c")}
    with pytest.raises(ValueError, match="must give names of at most 200 characters, got 'a=vvv"):
        expand_product(columns)


PLACEHOLDERS = [  # text, message
    ("{dss}", "unknown placeholder {dss}; did you mean 'ds'? (write {{dss}} for these very characters)"),
    ("{m+1}", "an offset needs a day or an integer, got 'x'; remove the offset"),
    (
        "{vars.n+1}",
        "unknown placeholder {vars.n+1}; did you mean 'vars.n'? (write {{vars.n+1}} for these very characters)",
    ),
    (
        "{vars.xx}",
        "unknown placeholder {vars.xx}; did you mean 'vars.xs'? (write {{vars.xx}} for these very characters)",
    ),
    ("a{vars.xs}", "{vars.xs} is a list and must stand alone; remove the text around it"),
    ("{ds+9999999}", "20260101 moved by +9999999 days is outside of the calendar; use a smaller offset"),
    (
        "{ds-99999999999999999999}",
        "20260101 moved by -99999999999 days is outside of the calendar; use a smaller offset",
    ),
]


@pytest.mark.parametrize(("text", "message"), PLACEHOLDERS)
def test_wrong_placeholders(tmp_path, text, message):
    own = f'[each]\nds = 20260101\nm = "x"\n[config]\npath = "{text}"'
    lines = refusal(tmp_path, {"": "[vars]\nn = 1\nxs = [1]", "x": own})
    assert lines == [f"workspace/x/pipeline.toml:5: {message}"]


def test_a_wrong_placeholder_is_reported_once_for_all_instances(tmp_path):
    lines = refusal(tmp_path, {"x": '[each]\nds = "1..50"\n[config]\npath = "{sd}"'})
    assert len(lines) == 1


def test_the_length_of_a_year_and_of_a_century():
    day = Value("19991231", "", "day")
    assert shift(day, 1) == "20000101"
    assert shift(day, 366) == "20001231"
    assert shift(Value("20000301", "", "day"), -1) == "20000229"
    assert shift(Value("21000301", "", "day"), -1) == "21000228"
    assert shift(Value("00010102", "", "day"), -1) == "00010101"


@given(st.dates(), st.integers(-2000, 2000))
def test_days_move_as_the_calendar_does(day, by):
    text = f"{day.year:04}{day.month:02}{day.day:02}"
    try:
        moved = day + dt.timedelta(days=by)
    except OverflowError:
        with pytest.raises(ValueError, match="outside of the calendar"):
            shift(Value(text, text, "day"), by)
        return
    expected = moved.isoformat().replace("-", "")
    assert shift(Value(text, text, "day"), by) == expected
    assert fill(f"a{{ds{by:+}}}b", Names({"ds": Value(text, text, "day")}, {})) == f"a{expected}b"
