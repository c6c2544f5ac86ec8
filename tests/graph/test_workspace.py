"""Loading a workspace: what is found, what the specs hold, defaults, and errors of whole files."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.graph.toml_files import load, load_one, refusal, write_workspace
from tzrec_build.errors import ConfigError
from tzrec_build.graph.grammar import (
    BenchmarkSpec,
    CacheSpec,
    ConfigSpec,
    DataSpec,
    EvalSpec,
    ExportSpec,
    FgSpec,
    HitrateSpec,
    IndexSpec,
    PickSpec,
    PredictSpec,
    SelectSpec,
    StepSpec,
    TrainSpec,
)
from tzrec_build.graph.workspace import load_workspace, pipeline_folders

EVERYTHING = """
default = false
[config]
path = "rank.config"
[config.edit]
"data_config.batch_size" = 4096
"train_config.name" = "a"
"label_fields" = ["x", "y"]
train_config.sparse_optimizer.lr = 0.5
[data]
train = ["a/*.parquet", "b.parquet"]
eval = "e.parquet"
fingerprint = "content"
[train]
processes = 1
nodes = 1
threads = 2
device = "cpu"
seed = 11
init_from = "old/model.ckpt-7"
cache = "full"
[pick]
by = "best"
metric = "auc"
smaller_is_better = true
[select]
topk = 12
regularization_lambda = 0.02
[eval.cold]
data = "cold.parquet"
[eval.warm]
data = ["w1.parquet", "w2.parquet"]
[predict.all]
input = "all.parquet"
reserved = ["user_id"]
output_columns = ["probs"]
[fg]
reserves = ["label"]
remove_bucketizer = true
[export]
mode = "script"
[index]
tower = "item"
items = "items.parquet"
id_field = "item_id"
embedding_field = "emb"
type = "HNSWFlatIP"
hnsw_M = 16
hnsw_efConstruction = 100
[hitrate]
users = "users.parquet"
top_k = 50
request_id_field = "r"
gt_items_field = "g"
exclude_items_field = "seen"
user_embedding_field = "u"
[benchmark]
runs = 5
baseline = "baseline.json"
[step.clean]
command = ["python", "clean.py", "{inputs.raw}", "{outputs.table}", "--n={params.n}", "{threads}"]
inputs = { raw = "../data/raw/*.csv", script = ["clean.py", "lib.py"] }
outputs = { table = "clean.parquet", log = "logs/a.txt" }
env = ["TZ"]
params = { n = 3, ratio = 0.5, name = "x", fast = true }
threads = 2
retries = 0
"""


def test_every_key_reaches_its_field(tmp_path):
    spec = load_one(tmp_path, EVERYTHING)
    assert (spec.name, spec.base_name, spec.default, spec.each, spec.build_dir) == ("x", "x", False, (), "build")
    assert spec.folder == f"{tmp_path}/workspace/x"
    assert spec.source == "workspace/x/pipeline.toml"
    assert spec.config == ConfigSpec(
        path="rank.config",
        edit=(
            ("data_config.batch_size", 4096),
            ("train_config.name", "a"),
            ("label_fields", ("x", "y")),
            ("train_config.sparse_optimizer.lr", 0.5),
        ),
    )
    assert spec.data == DataSpec(("a/*.parquet", "b.parquet"), ("e.parquet",), "content")
    assert spec.train == TrainSpec(1, 1, (), 2, "cpu", 11, "old/model.ckpt-7", 0.0, "full")
    assert spec.pick == PickSpec("best", "auc", 0, smaller_is_better=True)
    assert spec.select == SelectSpec(12, 0.02)
    assert spec.evals == (EvalSpec("cold", ("cold.parquet",)), EvalSpec("warm", ("w1.parquet", "w2.parquet")))
    assert spec.predicts == (PredictSpec("all", ("all.parquet",), ("user_id",), ("probs",)),)
    assert spec.fg == FgSpec(("label",), remove_bucketizer=True)
    assert spec.export == ExportSpec("script")
    assert spec.index == IndexSpec(
        "item_id", "item", "", ("items.parquet",), "emb", "HNSWFlatIP", hnsw_M=16, hnsw_efConstruction=100
    )
    assert spec.hitrate == HitrateSpec(("users.parquet",), 50, "r", "g", "seen", "u")
    assert spec.benchmark == BenchmarkSpec(5, "baseline.json")
    assert spec.steps == (
        StepSpec(
            "clean",
            ("python", "clean.py", "{inputs.raw}", "{outputs.table}", "--n={params.n}", "{threads}"),
            (("raw", ("../data/raw/*.csv",)), ("script", ("clean.py", "lib.py"))),
            (("table", "clean.parquet"), ("log", "logs/a.txt")),
            ("TZ",),
            (("n", 3), ("ratio", 0.5), ("name", "x"), ("fast", True)),
            2,
        ),
    )


def test_the_shortest_pipeline_has_the_defaults_of_the_grammar(tmp_path):
    spec = load_one(tmp_path, '[config]\npath = "x.config"')
    assert spec.default is True
    assert spec.config == ConfigSpec("x.config")
    assert spec.data == DataSpec((), (), "content")
    assert spec.train == TrainSpec(1, 1, (), 1, "auto", 7, "", 0.0, "full")
    assert spec.pick == PickSpec("latest", "", 0, smaller_is_better=False)
    assert spec.fg == FgSpec((), remove_bucketizer=False)
    absent = (spec.select, spec.export, spec.index, spec.hitrate, spec.benchmark)
    assert absent == (None, None, None, None, None)
    assert (spec.evals, spec.predicts, spec.steps, spec.checkpoint) == ((), (), (), "")


def test_empty_tables_that_switch_a_part_on_take_their_defaults(tmp_path):
    spec = load_one(tmp_path, '[config]\npath = "x.config"\n[export]\n[benchmark]\n[pick]\n[fg]')
    assert (spec.export, spec.benchmark) == (ExportSpec("script"), BenchmarkSpec(3, ""))


def test_an_index_embeds_items_with_the_item_tower_unless_told_otherwise(tmp_path):
    spec = load_one(tmp_path, '[config]\npath = "x"\n[index]\nid_field = "i"\nitems = "t"')
    assert spec.index == IndexSpec("i", "item", "", ("t",), "", "IVFFlatIP", 1000, 32, 200)


def test_an_index_over_a_given_table_needs_no_config(tmp_path):
    spec = load_one(tmp_path, '[index]\nid_field = "i"\ninput = "e.parquet"')
    assert spec.index == IndexSpec("i", input="e.parquet")
    assert spec.config is None


def test_a_checkpoint_made_elsewhere_stands_instead_of_a_training(tmp_path):
    text = '[config]\npath = "x"\n[checkpoint]\npath = "/nas/model.ckpt-1000"\n[train]\nthreads = 4\ndevice = "cpu"'
    spec = load_one(tmp_path, text)
    assert (spec.checkpoint, spec.train.threads) == ("/nas/model.ckpt-1000", 4)


def test_a_folder_with_steps_only_is_a_pipeline(tmp_path):
    spec = load_one(tmp_path, '[step.a]\ncommand = ["true"]\noutputs = { o = "o.txt" }')
    assert spec.config is None
    assert spec.steps == (StepSpec("a", ("true",), (), (("o", "o.txt"),)),)


def test_pipelines_are_sorted_and_folders_without_a_pipeline_are_left_out(tmp_path):
    texts = dict.fromkeys(("b", "a_1", "a", ".hidden"), '[config]\npath = "x"')
    os.makedirs(tmp_path / "workspace" / "empty")
    (tmp_path / "workspace" / "file").touch()
    workspace = load(tmp_path, texts)
    assert [spec.name for spec in workspace.pipelines] == ["a", "a_1", "b"]
    assert workspace.files == tuple(f"{tmp_path}/workspace/{name}/pipeline.toml" for name in ("a", "a_1", "b"))
    assert pipeline_folders(str(tmp_path)) == ["a", "a_1", "b"]


def test_workspace_toml_is_optional_and_read_first(tmp_path):
    text = '[resources]\ngpu = 1\ncpu = 8\n[cache]\nmatch = "portable"\n[vars]\nroot = "/d"\nn = 3\nxs = [1, 2]'
    workspace = load(tmp_path, {"": text, "a": '[config]\npath = "x"'})
    assert workspace.root == str(tmp_path)
    assert workspace.resources == (("gpu", 1), ("cpu", 8))
    assert workspace.cache == CacheSpec("portable", "")
    assert workspace.vars == (("root", "/d"), ("n", 3), ("xs", (1, 2)))
    assert workspace.files[0] == f"{tmp_path}/workspace/workspace.toml"


def test_defaults_fill_missing_keys_and_the_pipeline_wins(tmp_path):
    shared = """
        [defaults]
        default = false
        [defaults.train]
        threads = 4
        seed = 1
        [defaults.select]
        topk = 9
        [defaults.config.edit]
        "a.b" = 1
        "a.c" = 2
        [defaults.eval.cold]
        data = "cold.parquet"
        """
    own = '[config]\npath = "x"\n[config.edit]\n"a.c" = 3\n[train]\nseed = 2\n[select]\n[eval.cold]'
    plain = '[config]\npath = "y"'
    first, second = load(tmp_path, {"": shared, "a": own, "b": f"default = true\n{plain}"}).pipelines
    assert (first.default, second.default) == (False, True)
    assert (first.train.threads, first.train.seed) == (4, 2)
    assert (second.train.threads, second.train.seed) == (4, 1)
    assert first.select == SelectSpec(9)
    assert first.config == ConfigSpec("x", edit=(("a.b", 1), ("a.c", 3)))
    assert first.evals == (EvalSpec("cold", ("cold.parquet",)),)
    assert (second.select, second.evals) == (None, ())


def test_defaults_of_a_config_do_not_hinder_a_pipeline_of_steps(tmp_path):
    shared = '[defaults.train]\nthreads = 2\n[defaults.data]\ntrain = "t"\n[defaults.config]\npath = "x"'
    (spec,) = load(tmp_path, {"": shared, "a": '[step.s]\ncommand = ["true"]\noutputs = { o = "o" }'}).pipelines
    assert spec.config is None


def test_vars_are_filled_in_with_their_type(tmp_path):
    shared = '[vars]\nroot = "/d"\nk = 5\nrate = 0.5\non = true\nparts = ["p", "q"]'
    own = """
        [config]
        path = "x"
        edit = { flag = "{vars.on}", text = "is {vars.on}", rate = "{vars.rate}" }
        [data]
        train = "{vars.root}/t"
        eval = "{vars.parts}"
        [select]
        topk = "{vars.k}"
        """
    (spec,) = load(tmp_path, {"": shared, "a": own}).pipelines
    assert (spec.data.train, spec.data.eval) == (("/d/t",), ("p", "q"))
    assert spec.select == SelectSpec(5)
    assert spec.config is not None
    assert spec.config.edit == (("flag", True), ("text", "is true"), ("rate", 0.5))


def test_braces_that_are_no_placeholder_are_left_alone(tmp_path):
    text = '[config]\npath = "x"\nedit = { a = "mlp {hidden_units:[3]}", b = "l2_loss{}", c = "{{x}}", d = "{ x }" }'
    config = load_one(tmp_path, text).config
    assert config is not None
    assert config.edit == (("a", "mlp {hidden_units:[3]}"), ("b", "l2_loss{}"), ("c", "{x}"), ("d", "{ x }"))


def test_no_workspace_folder(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_workspace(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/workspace: cannot be read: No such file or directory; make it, with a folder for each pipeline"
    )


def test_no_pipeline(tmp_path):
    (tmp_path / "workspace" / "a").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        load_workspace(str(tmp_path))
    assert str(caught.value) == (
        "no pipeline in workspace: needs at least one workspace/NAME/pipeline.toml, got none; "
        "write one, [config] with a path is enough"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a = 1\n[train\n",
            "workspace/x/pipeline.toml:2:7: not valid TOML: expected ']' at the end of a table declaration",
        ),
        ("a = ", "workspace/x/pipeline.toml:1:5: not valid TOML: invalid value"),
        ("a = 1\na = 2", "workspace/x/pipeline.toml:2:6: not valid TOML: cannot overwrite a value"),
        ('a = "x', "workspace/x/pipeline.toml:1:7: not valid TOML: unterminated string"),
        ("a = " + "[" * 5000, "workspace/x/pipeline.toml:1: not valid TOML: nested too deep"),
        (
            "a" + ".a" * 3000 + " = 1",
            "workspace/x/pipeline.toml:1: tables must not be nested deeper than 20 levels; write fewer levels",
        ),
    ],
)
def test_a_text_that_is_no_toml_is_shown_with_line_and_column(tmp_path, text, expected):
    (message,) = refusal(tmp_path, {"x": text})
    assert message == expected


def test_a_number_too_long_for_python(tmp_path):
    (message,) = refusal(tmp_path, {"x": "a = " + "9" * 5000})
    assert message.startswith("workspace/x/pipeline.toml:1: not valid TOML: exceeds the limit")


def test_a_file_that_is_not_utf8(tmp_path):
    write_workspace(tmp_path, {"x": ""})
    (tmp_path / "workspace/x/pipeline.toml").write_bytes(b"a = 1\n\xff")
    with pytest.raises(ConfigError) as caught:
        load_workspace(str(tmp_path))
    assert str(caught.value) == "workspace/x/pipeline.toml: must be UTF-8 text, got byte 0xff at offset 6"


def test_a_pipeline_file_that_cannot_be_read(tmp_path):
    (tmp_path / "workspace/x/pipeline.toml").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        load_workspace(str(tmp_path))
    message = "workspace/x/pipeline.toml: cannot be read: Is a directory; check that it is a file you may read"
    assert str(caught.value) == message


def test_windows_line_ends_keep_the_line_numbers(tmp_path):
    write_workspace(tmp_path, {"x": ""})
    (tmp_path / "workspace/x/pipeline.toml").write_bytes(b'[config]\r\npath = "x"\r\npth = 1\r\n')
    with pytest.raises(ConfigError) as caught:
        load_workspace(str(tmp_path))
    assert str(caught.value) == "workspace/x/pipeline.toml:3: unknown key 'pth' in [config]; did you mean 'path'?"


def test_all_problems_of_all_files_come_in_one_error(tmp_path):
    texts = {
        "": "[defaults.train]\nsed = 1\n[vras]",
        "a": "[config]\npth = 1\n[select]\ntopkk = 7",
        "b": "[config\n",
        "c": '[config]\npath = "x"',
    }
    assert refusal(tmp_path, texts) == [
        "workspace/workspace.toml:2: unknown key 'sed' in [defaults.train]; did you mean 'seed'?",
        "workspace/workspace.toml:3: unknown table [vras]; did you mean 'vars'?",
        "workspace/a/pipeline.toml:2: unknown key 'pth' in [config]; did you mean 'path'?",
        "workspace/a/pipeline.toml:4: unknown key 'topkk' in [select]; did you mean 'topk'?",
        "workspace/b/pipeline.toml:1:8: not valid TOML: expected ']' at the end of a table declaration",
    ]


def test_a_wrong_default_is_reported_once_and_in_the_file_that_has_it(tmp_path):
    pipeline = '[config]\npath = "x"'
    lines = refusal(
        tmp_path, {"": '[defaults.train]\nseed = "x"\n[defaults.eval.e]\ndata = 1', "a": pipeline, "b": pipeline}
    )
    assert lines == [
        "workspace/workspace.toml:2: [defaults.train] seed must be an integer in [0, 2147483647], got 'x'; correct it",
        (
            "workspace/workspace.toml:4: [defaults.eval.e] data must be a path or a PIPELINE:ARTIFACT reference, "
            "or a list of different ones, got 1; correct it"
        ),
    ]


def test_a_wrong_default_with_a_placeholder_is_reported_where_it_is_written(tmp_path):
    texts = {"": '[vars]\ns = "x"\n[defaults.train]\nseed = "{vars.s}"', "a": '[config]\npath = "x"'}
    assert refusal(tmp_path, texts) == [
        "workspace/workspace.toml:4: [train] seed must be an integer in [0, 2147483647], got 'x'; correct it"
    ]


def test_loading_imports_no_heavy_module(repo_root):
    code = (
        "import sys, tzrec_build.graph.workspace, tzrec_build.graph.compiled; "
        "print(sorted({'tomllib', 'torch', 'numpy', 'pathlib', 'doit', 'google', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
