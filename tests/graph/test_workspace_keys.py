"""Every key of the grammar: what it takes, and the text that says so when it is given something else."""

from __future__ import annotations

import pytest

from tests.graph.toml_files import load, refusal
from tzrec_build.errors import NotSupportedError
from tzrec_build.graph.keys import NAMED_TABLES, ROOT_KEYS, TABLES, WORKSPACE_TABLES, Table
from tzrec_build.graph.not_built import NOT_BUILT

COUNT = "an integer in [1, 2147483647]"
NATURAL = "an integer in [0, 2147483647]"
TEXT = "a text of one line, not empty"
MODEL = "FILE.py:CLASS, a class of yours in a file as seen from the pipeline's folder"
TEXTS = "a list of different texts of one line, not empty"
PATH = "a path or a PIPELINE:ARTIFACT reference"
PATHS = "a path or a PIPELINE:ARTIFACT reference, or a list of different ones"
COMMAND = "a list of texts, the program first"
DURATION = "a duration above 0 such as '90s', '30m', '12h', '3d'"
FLAG = "true or false"
OUTPUT = "a file inside the step's own build folder: relative, not in records/, without '..', '*', '?', '[', ':'"
SCALAR = "a text, a finite number of at most 64 bits, or true or false"
FINGERPRINTS = "one of 'content', 'stat', 'etag', 'odps', 'lock'"
INDEX_TYPES = "one of 'IVFFlatIP', 'IVFFlatL2', 'HNSWFlatIP', 'HNSWFlatL2'"

# table, key, TOML value, the rule that the message names, how the message shows the value
WRONG = [
    ("config", "path", '""', PATH, "''"),
    ("config", "path", '["a"]', PATH, "a list"),
    ("config", "path", '"a\\u0000b"', PATH, "'a\\x00b'"),
    ("config", "easyrec", "1", PATH, "1"),
    ("config", "fg_json", "true", PATH, "true"),
    ("config", "schema", "2", PATH, "2"),
    ("config", "feature_info", '" "', PATH, "' '"),
    ("config", "model", '"mine.py"', MODEL, "'mine.py'"),
    ("config", "model", '"pkg.mine:Mine"', MODEL, "'pkg.mine:Mine'"),
    ("config.edit", "a", "nan", f"{SCALAR}, or a list of them", "nan"),
    ("config.edit", "a", "[inf]", f"{SCALAR}, or a list of them", "a list"),
    ("config.edit", "a", "2026-01-01", f"{SCALAR}, or a list of them", "2026-01-01"),
    ("config.edit", "a", "9223372036854775808", f"{SCALAR}, or a list of them", "an integer of more than 64 bits"),
    ("data", "train", "[]", PATHS, "an empty list"),
    ("data", "train", '["a", "a"]', PATHS, "a list"),
    ("data", "eval", '["a", 1]', PATHS, "a list"),
    ("data", "fingerprint", '"md5"', FINGERPRINTS, "'md5'"),
    ("train", "processes", "0", COUNT, "0"),
    ("train", "processes", "1.0", COUNT, "1.0"),
    ("train", "nodes", "true", COUNT, "true"),
    ("train", "launcher", "[]", COMMAND, "an empty list"),
    ("train", "launcher", '"srun"', COMMAND, "'srun'"),
    ("train", "launcher", '[""]', COMMAND, "a list"),
    ("train", "threads", '"2"', COUNT, "'2'"),
    ("train", "threads", "2147483648", COUNT, "2147483648"),
    ("train", "device", '"gpu"', "one of 'auto', 'cpu', 'cuda'", "'gpu'"),
    ("train", "seed", "-1", NATURAL, "-1"),
    ("train", "init_from", "[]", PATH, "an empty list"),
    ("train", "timeout", "3", DURATION, "3"),
    ("train", "timeout", '"3w"', DURATION, "'3w'"),
    ("train", "timeout", '"0s"', DURATION, "'0s'"),
    ("train", "timeout", '"-1s"', DURATION, "'-1s'"),
    ("train.resources", "gpu", "0", COUNT, "0"),
    ("train", "cache", '"off"', "one of 'full', 'reference', 'none'", "'off'"),
    ("checkpoint", "path", "3", PATH, "3"),
    ("pick", "by", '"first"', "one of 'latest', 'best', 'step'", "'first'"),
    ("pick", "metric", '"a\\nb"', TEXT, "'a\\nb'"),
    ("pick", "step", "-3", NATURAL, "-3"),
    ("pick", "smaller_is_better", '"yes"', FLAG, "'yes'"),
    ("select", "topk", "0", COUNT, "0"),
    ("select", "regularization_lambda", "0", "a finite number above 0", "0"),
    ("select", "regularization_lambda", "inf", "a finite number above 0", "inf"),
    ("fg", "reserves", '"label"', TEXTS, "'label'"),
    ("fg", "remove_bucketizer", "0", FLAG, "0"),
    ("export", "mode", '"onnx"', "one of 'script', 'aot'", "'onnx'"),
    ("index", "tower", '"both"', "one of 'item', 'user'", "'both'"),
    ("index", "input", '[["a"]]', PATH, "a list"),
    ("index", "items", "1979-05-27", PATHS, "1979-05-27"),
    ("index", "id_field", '""', TEXT, "''"),
    ("index", "embedding_field", "1", TEXT, "1"),
    ("index", "type", '"HNSW"', INDEX_TYPES, "'HNSW'"),
    ("index", "ivf_nlist", "0", COUNT, "0"),
    ("index", "hnsw_M", "1", "an integer in [2, 2147483647]", "1"),
    ("index", "hnsw_efConstruction", "0", COUNT, "0"),
    ("hitrate", "users", '""', PATHS, "''"),
    ("hitrate", "top_k", "0", COUNT, "0"),
    ("hitrate", "request_id_field", "1", TEXT, "1"),
    ("hitrate", "gt_items_field", "1", TEXT, "1"),
    ("hitrate", "exclude_items_field", '""', TEXT, "''"),
    ("hitrate", "user_embedding_field", "[]", TEXT, "an empty list"),
    ("hitrate", "baseline", "[]", PATH, "an empty list"),
    ("benchmark", "runs", "0", COUNT, "0"),
    ("benchmark", "baseline", "{}", PATH, None),
    ("eval.e", "data", "1", PATHS, "1"),
    ("predict.p", "input", '["a", ""]', PATHS, "a list"),
    ("predict.p", "reserved", "[]", TEXTS, "an empty list"),
    ("predict.p", "output_columns", '["a", "a"]', TEXTS, "a list"),
    ("step.s", "command", '"ls -l"', COMMAND, "'ls -l'"),
    ("step.s", "command", '["ls", 1]', COMMAND, "a list"),
    ("step.s.inputs", "a", "1", PATHS, "1"),
    ("step.s.outputs", "a", '"../x"', OUTPUT, "'../x'"),
    ("step.s.outputs", "a", '"/x"', OUTPUT, "'/x'"),
    ("step.s.outputs", "a", '"a/../b"', OUTPUT, "'a/../b'"),
    ("step.s.outputs", "a", '"./b"', OUTPUT, "'./b'"),
    ("step.s.outputs", "a", '"."', OUTPUT, "'.'"),
    ("step.s.outputs", "a", '"*.csv"', OUTPUT, "'*.csv'"),
    ("step.s.outputs", "a", '"other:x"', OUTPUT, "'other:x'"),
    ("step.s", "env", '["A-B"]', "a list of different names of environment variables", "a list"),
    ("step.s", "env", '{ A = "1" }', "a list of different names of environment variables", None),
    ("step.s.params", "a", "[1]", SCALAR, "a list"),
    ("step.s.params", "a", "nan", SCALAR, "nan"),
    ("step.s", "threads", "0", COUNT, "0"),
    ("step.s.resources", "gpu", "0", COUNT, "0"),
    ("step.s", "retries", "-1", NATURAL, "-1"),
    ("step.s", "timeout", '"soon"', DURATION, "'soon'"),
    ("", "default", '"no"', FLAG, "'no'"),
]
ITEM_KEYS = {"train.resources", "config.edit", "step.s.inputs", "step.s.outputs", "step.s.params", "step.s.resources"}


def one_table(table, key, value):
    return f"{key} = {value}" if not table else f"[{table}]\n{key} = {value}"


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0]}.{case[1]}={case[2]}")
def test_a_wrong_value_is_refused_with_place_rule_and_value(tmp_path, case):
    table, key, value, rule, got = case
    lines = refusal(tmp_path, {"x": one_table(table, key, value)})
    place = f"[{table}] {key}" if table else key
    tail = f"{place} must be {rule}, got " + (f"{got}; correct it" if got else "a table; write the value itself")
    assert f"workspace/x/pipeline.toml:{2 if table else 1}: {tail}" in lines


def test_the_table_of_wrong_values_has_every_key():
    written = {(table.split(".")[0], table.split(".")[-1] if table in ITEM_KEYS else key) for table, key, *_ in WRONG}
    tables = {**TABLES, **NAMED_TABLES, "": Table(None, ROOT_KEYS)}
    assert written == {(name, key) for name, table in tables.items() for key in table.keys}


@pytest.mark.parametrize(
    ("table", "key"), [("config", "edit"), ("step.s", "inputs"), ("step.s", "outputs"), ("step.s", "params")]
)
def test_a_value_where_a_table_of_names_belongs(tmp_path, table, key):
    (line,) = refusal(tmp_path, {"x": f"[{table}]\n{key} = 3"})
    head = f"workspace/x/pipeline.toml:2: [{table}] {key}"
    assert line == f"{head} must be a table of names, got 3; write {{ name = value }}"


GOOD = [  # table, key, TOML value
    ("config.edit", "'feature_configs[id_feature.feature_name=c].id_feature.embedding_dim'", "16"),
    ("config.edit", "a", "[[1, 2], ['x']]"),
    ("config.edit", "a", "-9223372036854775807"),
    ("data", "train", '"a b/ü*.parquet"'),
    ("train", "threads", "2147483647"),
    ("train", "seed", "0"),
    ("train", "device", '"cuda"'),
    ("select", "regularization_lambda", "1"),
    ("pick", "by", '"latest"'),
    ("fg", "reserves", '["a", "b"]'),
    ("benchmark", "runs", "1"),
]


@pytest.mark.parametrize(("table", "key", "value"), GOOD)
def test_values_at_the_edge_are_taken(tmp_path, table, key, value):
    head = '[config]\npath = "x"\n' + ("[select]\ntopk = 1\n" if table == "select" else f"[{table}]\n")
    assert load(tmp_path, {"x": f"{head}{key} = {value}"}).pipelines[0].name == "x"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("12h", 43200.0), ("3d", 259200.0), ("0.5s", 0.5)]
)
def test_a_duration_is_kept_in_seconds(text, seconds):
    assert TABLES["train"].keys["timeout"].parse(text) == seconds


UNKNOWN = [  # text of pipeline.toml, line, message
    (
        "topk = 1",
        1,
        (
            "unknown key 'topk'; known: benchmark, checkpoint, config, data, default, each, eval, export, "
            "fg, hitrate, index, pick, predict, select, step, train"
        ),
    ),
    ("# c\n[selct]\ntopk = 1", 2, "unknown table [selct]; did you mean 'select'?"),
    ("select = 3", 1, "'select' must be a table, got 3; write it as [select]"),
    ("eval = 'x'", 1, "'eval' must be a table, got 'x'; write it as [eval.NAME]"),
    ("[[train]]\nseed = 1", 1, "'train' must be a table, got a list; write it as [train]"),
    ("[select]\n\ntopkk = 1", 3, "unknown key 'topkk' in [select]; did you mean 'topk'?"),
    (
        "[train]\nzzz = 1",
        2,
        (
            "unknown key 'zzz' in [train]; known: cache, device, init_from, launcher, nodes, "
            "processes, resources, seed, threads, timeout"
        ),
    ),
    ("[eval]\ndata = 'x'", 2, "'data' in [eval] must be a table, got 'x'; write it below [eval.NAME]"),
    ("[eval.a]\ndat = 'x'", 2, "unknown key 'dat' in [eval.a]; did you mean 'data'?"),
    (
        "[step.'a b']",
        1,
        (
            "name 'a b' in [step] must be at most 100 letters, digits, '_', '.', '-' and not begin "
            "with '.' or '-'; rename it"
        ),
    ),
    (
        "[step.s.inputs]\n1a = 'x'",
        2,
        ("name '1a' in [step.s.inputs] must be letters, digits, '_' and not begin with a digit; rename it"),
    ),
    ("[config.edit]\n'' = 1", 2, "name '' in [config.edit] must be text; rename it"),
    ("each = 3", 1, "[each] must be a table, got 3; write [each] on a line of its own"),
    (
        "[each]\nvars = 3",
        2,
        (
            "[each] name 'vars' must be letters, digits, '_' and not begin with a digit and not be "
            "one of inputs, outputs, out, params, threads, vars, argv; rename it"
        ),
    ),
]


@pytest.mark.parametrize(("text", "line", "message"), UNKNOWN)
def test_unknown_names_are_refused_with_the_nearest_known_one(tmp_path, text, line, message):
    assert f"workspace/x/pipeline.toml:{line}: {message}" in refusal(tmp_path, {"x": text})


IN_WORKSPACE = [  # text of workspace.toml, line, message
    ("a = 1", 1, "unknown key 'a'; known: cache, defaults, max_cost, resources, vars"),
    ('["a\\n"]', 1, "unknown table ['a\\n']; known: cache, defaults, max_cost, resources, vars"),
    ("[chace]", 1, "unknown table [chace]; did you mean 'cache'?"),
    ("vars = 1", 1, "[vars] must be a table, got 1; write [vars] on its own line"),
    ("[resources]\ngpu = 0", 2, f"[resources] gpu must be {COUNT}, got 0; correct it"),
    (
        "[resources]\n'a b' = 1",
        2,
        ("name 'a b' in [resources] must be letters, digits, '_' and not begin with a digit; rename it"),
    ),
    ("[vars]\nd = 2026-01-01", 2, f"[vars] d must be {SCALAR}, or a list of them, got 2026-01-01; correct it"),
    ("[vars]\nd = { a = 1 }", 2, f"[vars] d must be {SCALAR}, or a list of them, got a table; correct it"),
    ("[vars]\nd = '{ds}'", 2, "[vars] d must not have placeholders, got '{ds}'; write it out"),
    ("[cache]\nmatch = 'cpu'", 2, "[cache] match must be one of 'portable', 'exact-machine', got 'cpu'; correct it"),
    ("[cache]\nremote = 1", 2, f"[cache] remote must be {TEXT}, got 1; correct it"),
    ("[cache]\nremot = 1", 2, "unknown key 'remot' in [cache]; did you mean 'remote'?"),
    (
        "[defaults]\neach = 1",
        2,
        (
            "unknown key 'each'; known: benchmark, checkpoint, config, data, default, eval, "
            "export, fg, hitrate, index, pick, predict, select, step, train"
        ),
    ),
    (
        "[defaults.each]",
        1,
        (
            "unknown table [defaults.each]; known: benchmark, checkpoint, config, data, default, eval, "
            "export, fg, hitrate, index, pick, predict, select, step, train"
        ),
    ),
]


@pytest.mark.parametrize(("text", "line", "message"), IN_WORKSPACE)
def test_workspace_toml_is_held_to_its_own_grammar(tmp_path, text, line, message):
    texts = {"": text, "x": '[config]\npath = "x"'}
    assert refusal(tmp_path, texts) == [f"workspace/workspace.toml:{line}: {message}"]


def test_every_workspace_table_is_tested():
    assert set(WORKSPACE_TABLES["cache"].keys) == {"match", "remote"}


NOT_YET = [  # table, key, TOML value, how the part is called
    ("data", "fingerprint", '"etag"', "[data] fingerprint = 'etag'"),
    ("train", "processes", "2", "[train] processes = 2"),
    ("train", "nodes", "4", "[train] nodes = 4"),
    ("train", "launcher", '["srun", "{argv}"]', "[train] launcher"),
    ("train", "cache", '"reference"', "[train] cache = 'reference'"),
    ("export", "mode", '"aot"', "[export] mode = 'aot'"),
]


@pytest.mark.parametrize(("table", "key", "value", "part"), NOT_YET)
def test_a_part_that_is_not_built_is_refused_by_name_and_place(tmp_path, table, key, value, part):
    if not any((row.table, row.key) == (table, key) for row in NOT_BUILT):
        pytest.skip("built by now")
    text = f'[config]\npath = "x"\n[{table}]\n{key} = {value}'.replace(
        '[config]\npath = "x"\n[config]', '[config]\npath = "x"'
    )
    line = text.count("\n") + 1
    lines = refusal(tmp_path, {"x": text}, NotSupportedError)
    assert lines == [f"not supported yet: {part} in workspace/x/pipeline.toml:{line}"]


def test_parts_that_are_not_built_are_refused_only_once_all_is_right(tmp_path):
    text = '[config]\npath = "x"\n[train]\nlauncher = ["srun", "{argv}"]\nseed = -1'
    (line,) = refusal(tmp_path, {"x": text})
    assert "[train] seed" in line


def test_all_parts_that_are_not_built_are_listed(tmp_path):
    own = '[config]\npath = "x"\n[train]\nnodes = 2\n[data]\ntrain = "odps://p/tables/t"\neval = "https://h/e.csv"'
    lines = refusal(tmp_path, {"": '[cache]\nremote = "s3://b"', "x": own}, NotSupportedError)
    assert lines == [
        "not supported yet: [cache] remote in workspace/workspace.toml:2",
        "not supported yet: [data] train = odps:// in workspace/x/pipeline.toml:6",
        "not supported yet: [data] eval = https:// in workspace/x/pipeline.toml:7",
        "not supported yet: [train] nodes = 2 in workspace/x/pipeline.toml:4",
    ]


def test_every_row_of_parts_not_built_names_a_key_of_the_grammar():
    tables = {**TABLES, **NAMED_TABLES, **WORKSPACE_TABLES}
    assert [row for row in NOT_BUILT if row.key not in tables[row.table].keys] == []
