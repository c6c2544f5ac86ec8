"""Whatever a TOML file says, loading it gives a workspace or a ConfigError with a place; nothing else."""

from __future__ import annotations

import re
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph.test_workspace import EVERYTHING
from tests.graph.toml_files import load
from tzrec_build.errors import BuildError, ConfigError
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.keys import NAMED_TABLES, TABLES

FACTS = {"train_input_path": "t", "eval_input_path": "", "kinds": [], "paths": []}
EACH = '[each]\nds = "20260101..20260103"\nm = ["a", "b"]\n'
SHARED = '[defaults.train]\nthreads = 2\n[resources]\ngpu = 1\n[vars]\nx = "y"\n[cache]\nmatch = "portable"\n'
BASE = [*EVERYTHING.strip().split("\n"), *EACH.strip().split("\n")]
PLACE = re.compile(r"(workspace/\S+|not supported yet: .* in workspace/.+):\d+(:\d+)?|workspace/\S+:")

ATOMS = st.sampled_from([
    "0", "-1", "1", "7", "99999999999999999999", "0x" + "f" * 5000, "1.5", "nan", "-inf", "true", "false", "1979-05-27",
    "07:32:00", '""', '"x"', '"\\u0000"', '"\\n"', '"{ds}"', '"{ds+1}"', '"{ds-999999999}"', '"{nope}"', '"{{ds}}"', '"a:b"',
    '"x:clean/clean.parquet"', '"x:train"', '"x:ds=20260101,m=a:train"', '"../x/build/train"', '"odps://p/t"', '"s3://"',
    '"train[ds-1]"', '"train[zz-1]"', '"1..3"', '"3..1"', '"20260101..20269999"', '"*"', '"[", "**"', '"$HOME"', '"$"',
    '"${NOPE}"', '"' + "a" * 300 + '"', '"best"', '"aot"', '"3d"', "'{vars.x}'", '"/"', '".."', '"~"', '"ü"', "[]", "{}",
])  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(st.sampled_from("abx"), inner), max_size=2, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=4,
)
ALL_KEYS = sorted({key for table in (*TABLES.values(), *NAMED_TABLES.values()) for key in table.keys})
KEYS = st.sampled_from([*ALL_KEYS, "default", "each", "zzz", '""', "a.b.c", '"\\u0001"', "ds", "vars"])
TITLES = st.sampled_from([
    *TABLES, *NAMED_TABLES, *(f"{kind}.n" for kind in NAMED_TABLES), "each", "step.clean", "step.train", "nope", "a.b", "vars",
    "config.edit", "step.s.inputs", "step.s.outputs", "step.s.params", "step.s.resources", '"\\n"', "defaults", "defaults.train",
])  # fmt: skip
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES),
    st.builds("[{}]".format, TITLES),
    st.builds("[[{}]]".format, TITLES),
    st.text(max_size=8),
)
EDITS = st.lists(
    st.tuples(st.sampled_from(["insert", "replace", "delete"]), st.integers(0, len(BASE)), LINES), max_size=4
)


def mutate(lines, edits):
    lines = list(lines)
    for kind, at, line in edits:
        place = at % (len(lines) + 1)
        if kind == "insert":
            lines.insert(place, line)
        elif place < len(lines):
            lines[place : place + 1] = [line] if kind == "replace" else []
    return "\n".join(lines)


def load_or_refuse(texts):
    with tempfile.TemporaryDirectory() as root:
        try:
            workspace = load(root, texts, {"HOME": "h"})
        except ConfigError as error:
            for line in str(error).split("\n"):
                assert PLACE.match(line), line
                assert len(line) < 2000
        else:
            compiled = compile_workspace(workspace, lambda _pipeline, _edits: FACTS)
            assert all(isinstance(error, BuildError) for error in compiled.broken.values())


def encodable(text):
    return text.encode("utf-8", "replace").decode()


@settings(max_examples=40)
@given(EDITS)
def test_a_changed_pipeline_is_loaded_or_refused(edits):
    load_or_refuse({"": SHARED, "x": encodable(mutate(BASE, edits))})


@settings(max_examples=25)
@given(EDITS)
def test_a_changed_workspace_file_is_loaded_or_refused(edits):
    load_or_refuse({"": encodable(mutate(SHARED.split("\n"), edits)), "x": '[config]\npath = "x"'})


@settings(max_examples=40)
@given(st.lists(LINES, max_size=8))
def test_a_random_pipeline_is_loaded_or_refused(lines):
    load_or_refuse({"x": encodable("\n".join(lines)), "y": '[config]\npath = "x"'})


@settings(max_examples=25)
@given(st.text(max_size=40))
def test_any_text_is_loaded_or_refused(text):
    load_or_refuse({"x": encodable(text)})


@settings(max_examples=40)
@given(VALUES, st.sampled_from(ALL_KEYS))
def test_any_value_of_any_key_is_loaded_or_refused(value, key):
    for title in (*TABLES, *(f"{kind}.n" for kind in NAMED_TABLES)):
        if key in (TABLES.get(title) or NAMED_TABLES[title.split(".")[0]]).keys:
            head = "" if title == "config" else '[config]\npath = "c"\n'
            load_or_refuse({"x": f"{EACH}{head}[{title}]\n{key} = {value}"})
