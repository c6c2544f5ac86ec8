"""The commands of `config`, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.config.texts import CONFIGS, GOOD
from tests.e2e.pages import DOCS, codes, rows, section
from tzrec_build.config.lint import RULES
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.tools.config import COMMANDS, main, make_parser


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.config"
    path.write_text(GOOD)
    return "x.config"


@pytest.fixture
def run(file, capsys):
    def call(*argv):
        code = main([*argv])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_an_unknown_command_gets_the_nearest_name(run):
    code, _, err = run("shwo", "x.config")
    assert (code, err) == (2, "tzrec-build config: there is no command 'shwo'; did you mean 'show'?\n")


def test_a_process_imports_protobuf_and_nothing_heavy():
    code = "import sys; from tzrec_build import cli; cli.main(sys.argv[1:]); print(*sys.modules)"
    heavy = {"torch", "pyarrow", "numpy", "pandas", "asyncio", "tzrec_build.tools.config_edit"}
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "lint", CONFIGS[0]], capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
    assert "google.protobuf" in done.stdout.split()


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (("data_config.batch_size",), "8\n"),
        (("model_dir",), '"m"\n'),
        (("data_config.label_fields",), '["clk"]\n'),
        (("data_config.label_fields[0]",), '"clk"\n'),
        (("data_config.fg_mode",), "FG_DAG\n"),
        (("model_config.losses",), "binary_cross_entropy {\n}\n"),
        (("feature_configs[:].id_feature.feature_name",), '"a"\n"b"\n'),
        (("feature_configs[2].raw_feature.boundaries", "--json"), "[\n  0.5,\n  1.0\n]\n"),
        (("train_config.dense_optimizer.adam_optimizer", "--json"), '{\n  "lr": 0.001\n}\n'),
        (("eval_config",), "\n"),
        (("eval_config", "--json"), "null\n"),
    ],
)
def test_show_prints_a_part(run, file, argv, out):
    assert run("show", file, *argv) == (0, out, "")


def test_show_prints_the_canonical_whole_and_defaults_on_request(run, file):
    _, whole, _ = run("show", file)
    assert whole.startswith('train_input_path: "train.parquet"\n')
    assert "shuffle" not in whole
    _, filled, _ = run("show", file, "data_config", "--defaults")
    assert "shuffle: false\n" in filled
    assert "negative_sampler" not in filled
    _, as_json, _ = run("show", file, "--json")
    assert json.loads(as_json)["data_config"]["label_fields"] == ["clk"]


def test_show_says_which_step_of_a_path_fails(run, file):
    code, _, err = run("show", file, "data_config.batchsize")
    assert code == 2
    assert "DataConfig has no field 'batchsize'; did you mean 'batch_size'?" in err


def test_edit_prints_and_diff_compares(run, file, tmp_path):
    code, out, _ = run("edit", file, "data_config.batch_size=16", "data_config.label_fields=['x', 'y']")
    assert code == 0
    (tmp_path / "y.config").write_text(out)
    wanted = '~ data_config.batch_size: 8 → 16\n~ data_config.label_fields: ["clk"] → ["x", "y"]\n'
    assert run("diff", file, "y.config") == (0, wanted, "")
    assert run("diff", file, "y.config", "--exit-code") == (1, wanted, "")
    assert run("diff", file, file, "--exit-code") == (0, "", "")
    _, rows_, _ = run("diff", file, "y.config", "--json")
    assert json.loads(rows_)[0] == {"path": "data_config.batch_size", "old": "8", "new": "16"}


def test_edit_writes_where_it_is_told(run, file, tmp_path):
    edits = ("--edit_config_json", '{"model_dir": "n", "train_config.num_epochs": 3}', "model_dir=o=p")
    assert run("edit", file, *edits, "--dry_run") == (
        0, '~ model_dir: "m" → "o=p"\n~ train_config.num_epochs: 1 → 3\n', "",
    )  # fmt: skip
    assert run("edit", file, *edits, "--output", "sub/z.json") == (0, "", "")
    assert load_pipeline_config(tmp_path / "sub" / "z.json").model_dir == "o=p"
    assert (tmp_path / file).read_text() == GOOD
    assert run("edit", file, *edits, "--in_place")[0] == 0
    assert load_pipeline_config(tmp_path / file).train_config.num_epochs == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "PATH=VALUE: at least one edit must be given, got none"),
        (("model_dir",), "edit 'model_dir': must read PATH=VALUE, got no ="),
        (("model_dir=a", "--in_place", "--output", "y"), "--output: cannot stand beside --in_place, got 'y'"),
        (
            ("model_dir=a", "--in_place", "--allow_unknown"),
            "--in_place: would lose the fields that --allow_unknown skips",
        ),
        (("--edit_config_json", "[]"), "--edit_config_json: must be a JSON object, got '[]'"),
        (("feature_configs[0].id_feature={}",), "x.config:16: IdFeature must set feature_name"),
        (("data_config.batch_size=x",), "batch_size must be a whole number in the range of its type, got 'x'"),
    ],
)
def test_a_wrong_edit_writes_nothing(run, file, tmp_path, argv, words):
    code, out, err = run("edit", file, *argv)
    assert (code, out) == (2, "")
    assert words in err
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == GOOD


def test_lint_lists_the_findings_of_all_files(run, file, tmp_path):
    (tmp_path / "bad.config").write_text(GOOD.replace('input: "user"', 'input: "usr"').replace("num_epochs: 1", ""))
    (tmp_path / "torn.config").write_text("data_config {")
    code, out, err = run("lint", file, "bad.config", "torn.config")
    lines = out.splitlines()
    assert (code, err) == (2, "")
    assert lines[0] == (
        "bad.config:5:1: error: exactly one of num_steps and num_epochs must be above 0, got num_steps 0 and num_epochs 0; "
        "set one [train-length]"
    )
    assert lines[1].startswith("bad.config:20:3: warning: feature group 'user' should be a tower's input")
    assert lines[2].startswith("bad.config:23:14: error: a tower's input must name a feature group, got 'usr'")
    assert lines[3].startswith("error: torn.config:1:")
    assert lines[-1] == "3 file(s): 3 error, 1 warning"
    code, out, _ = run("lint", "bad.config", "--json", "--ignore", "unknown-group,train-length")
    assert code == 0
    (finding,) = json.loads(out)
    assert (finding["rule"], finding["level"], finding["line"]) == ("unread-group", "warning", 20)
    assert finding["remedy"] == "add a tower or remove the group"
    assert run("lint", "bad.config", "--ignore", "unknown-group,train-length", "--strict")[0] == 2
    assert run("lint", file) == (0, "1 file(s): clean\n", "")


def test_lint_checks_columns_of_data(run, file, tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [1], "r": [0.5], "clk": [1]}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"a": [1], "b": [1], "clk": [1]}), tmp_path / "bad.parquet")
    (tmp_path / "bad.csv").write_text("a,b,r\n")
    assert run("lint", file, "--data", "good.parquet")[:2] == (0, "1 file(s): clean\n")
    code, out, _ = run("lint", file, "--data", "*.parquet")
    assert code == 2
    assert "the data must have the column 'r', got none of that name" in out
    code, _, err = run("lint", file, "--data", "bad.csv")
    assert (code, "bad.csv: a CSV needs data_config.with_header or input_fields, got neither" in err) == (1, True)
    (tmp_path / "csv.config").write_text(GOOD.replace("data_config {", "data_config { with_header: true"))
    assert "the data must have the column 'clk'" in run("lint", "csv.config", "--data", "bad.csv")[1]
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    code, _, err = run("lint", file, "--data", "torn.parquet")
    assert code == 1
    assert "torn.parquet: not readable as Parquet" in err


def test_lint_refuses_unknown_rules(run, file):
    code, _, err = run("lint", file, "--ignore", "no-labl")
    assert code == 2
    assert "--ignore: must name rules, got 'no-labl'; did you mean 'no-label'?" in err


def test_canonical_checks_and_rewrites(run, file, tmp_path):
    assert run("canonical", file, "--check") == (1, f"{file}: not in canonical form\n", "")
    _, text, _ = run("canonical", file)
    assert run("canonical", file, "--write") == (0, f"{file}: rewritten\n", "")
    assert (tmp_path / file).read_text() == text
    assert run("canonical", file, "--check") == (0, "", "")
    assert run("canonical", file, "--write") == (0, "", "")
    code, _, err = run("canonical", file, file, "--check", "--write")
    assert (code, "--check: writes nothing, got --write as well" in err) == (2, True)
    code, _, err = run("canonical", file, "y.config")
    assert (code, "FILE: one config can be printed, got 2" in err) == (2, True)


def test_canonical_writes_nothing_when_one_file_is_torn(run, file, tmp_path):
    (tmp_path / "torn.config").write_text("data_config {")
    assert run("canonical", file, "torn.config", "--write")[0] == 2
    assert (tmp_path / file).read_text() == GOOD


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_the_flags_of_each_command(command):
    table = {codes(cells[0])[0]: cells for cells in rows(section(DOCS / "tools" / "config.md", f"## {command}"))}
    wanted = {
        action.option_strings[0]: {False: "off", "": "none"}[action.default]
        for action in make_parser(command)._actions
        if action.option_strings and action.dest != "help"
    }
    flags = {flag: cells[1] for flag, cells in table.items() if flag.startswith("--")}
    assert flags == {**wanted, "--debug": "off"}


def test_the_page_lists_every_rule_with_its_level():
    table = [cells for cells in rows(section(DOCS / "tools" / "config.md", "## lint")) if len(codes(cells[0])) == 1]
    listed = [(codes(cells[0])[0], cells[1]) for cells in table if not cells[0].startswith("`--")]
    assert listed == [(rule.name, rule.level) for rule in RULES]
