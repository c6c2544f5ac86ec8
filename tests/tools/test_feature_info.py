"""The tool `feature_info`, run as a user runs it, and the tables that it reads."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.config.texts import GOOD
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.tools.feature_info import main

GOOD_ROWS = [
    ("a", '{"embedding_dim": "8", "hash_bucket_size": 100}', None),
    ("r", '{"embedding_dim": 4, "boundary": ["1", 2.5]}', ""),
    ("b", "", "cold: DROP IT"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.config").write_text(GOOD)
    return tmp_path


def write_csv(path, rows, names=("feature", "feature_info", "message")):
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([names, *rows])


def run(capsys, table, *flags):
    code = main(["--template_model_config_path", "x.config", "--config_table_path", table, *flags])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_applied_and_reported(folder, capsys, kind):
    if kind == "csv":
        write_csv(folder / "t.csv", GOOD_ROWS)
    else:
        columns = zip(*GOOD_ROWS, strict=True)
        pq.write_table(
            pa.table(dict(zip(("feature", "feature_info", "message"), columns, strict=True))), folder / "t.parquet"
        )
    code, out, err = run(capsys, f"t.{kind}", "--model_config_path", "new.config")
    assert (code, out, err) == (0, "2 feature(s) updated, 1 dropped: b\n", "")
    new = load_pipeline_config(folder / "new.config")
    first, raw = new.feature_configs[0].id_feature, new.feature_configs[1].raw_feature
    assert (first.embedding_dim, first.hash_bucket_size, first.HasField("num_buckets")) == (8, 100, False)
    assert list(raw.boundaries) == [1.0, 2.5]
    assert (folder / "x.config").read_text() == GOOD


def test_a_dry_run_prints_the_difference_and_writes_nothing(folder, capsys):
    write_csv(folder / "t.csv", [("a", '{"embedding_dim": 8}', ""), ("zz", '{"embedding_dim": 8, "mean": 3}', "")])
    code, out, err = run(capsys, "t.csv", "--dry_run")
    assert code == 0
    assert out == "~ feature_configs[id_feature.feature_name=a].id_feature.embedding_dim: 4 → 8\n"
    assert err.splitlines() == [
        "1 feature(s) updated, 0 dropped",
        "t.csv:3: not used of 'zz': mean",
        "row without a feature in the config: t.csv:3: 'zz'",
        "feature(s) without a row, left as they are: b, r",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["t.csv", "x.config"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("", "feature_info must be a JSON object, got '', Expecting value"),
        ("{", "feature_info must be a JSON object, got '{'"),
        ("[" * 100_000, "feature_info must be a JSON object, got '[[["),
        ("[1]", "feature_info must be a JSON object, got '[1]'; write {...}"),
        ("{}", "feature_info must hold embedding_dim, boundary or hash_bucket_size, got '{}'; add one"),
        ('{"embedding_dim": 0}', "embedding_dim must be a whole number from 1 to 1048576, got 0"),
        ('{"embedding_dim": true}', "embedding_dim must be a whole number from 1 to 1048576, got True"),
        ('{"embedding_dim": 2.5}', "embedding_dim must be a whole number from 1 to 1048576, got 2.5"),
        ('{"hash_bucket_size": "1e3"}', "hash_bucket_size must be a whole number"),
        (f'{{"hash_bucket_size": {2**63}}}', "hash_bucket_size must be a whole number"),
        ('{"boundary": []}', "boundary must be a list of numbers, got []"),
        ('{"boundary": 3}', "boundary must be a list of numbers, got 3"),
        ('{"boundary": [1, "x"]}', "boundary must be a list of finite numbers, got 'x' in it"),
        ('{"boundary": [NaN]}', "boundary must be a list of finite numbers, got nan in it"),
        ('{"boundary": [2, 1]}', "boundary must rise, got 1 after 2; sort it"),
    ],
    ids=lambda part: part[:30],
)
def test_a_wrong_cell_is_named_with_its_line(folder, capsys, cell, words):
    write_csv(folder / "t.csv", [("b", '{"embedding_dim": 8}', ""), ("a", cell, "")])
    code, out, err = run(capsys, "t.csv", "--model_config_path", "new.config")
    assert (code, out) == (1, "")
    assert err.startswith("tzrec-build feature_info: t.csv:3: ")
    assert words in err
    assert not (folder / "new.config").exists()


def test_all_wrong_rows_are_listed_and_lines_are_counted_through_quoted_cells(folder, capsys):
    write_csv(folder / "t.csv", [("a", '{\n"embedding_dim": 8}', ""), ("", "{}", ""), ("b", "{}", "")])
    _, _, err = run(capsys, "t.csv", "--model_config_path", "new.config")
    assert [line.partition(": a row")[0].partition(": feature_info")[0] for line in err.splitlines()] == [
        "tzrec-build feature_info: t.csv:4",
        "t.csv:5",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.csv: the table must have the column 'feature', got none of that name; write a header"),
        ("feature,info\n", "t.csv: the table must have the column 'feature_info', got none of that name; did you mean"),
        ("feature,feature_info\na\n", "t.csv:2: a row must have a cell for each column, got 1 cells for 2 columns"),
        ('feature,feature_info\n"a', "t.csv:2: not readable as CSV, unexpected end of data"),
        (b"feature,feature_info\n\xff,1\n", "not readable as CSV, 'utf-8' codec can't decode"),
    ],
)
def test_a_wrong_table_is_one_message(folder, capsys, text, words):
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, err = run(capsys, "t.csv", "--dry_run")
    assert code == 1
    assert words in err


def test_a_parquet_table_of_other_types_is_one_message(folder, capsys):
    pq.write_table(pa.table({"feature": ["a"], "feature_info": [[1]]}), folder / "t.parquet")
    code, _, err = run(capsys, "t.parquet", "--dry_run")
    assert code == 1
    assert "t.parquet: not readable as a table of texts" in err
    pq.write_table(
        pa.table({"feature": ["a", "b"], "feature_info": ['{"embedding_dim": 8}', None]}), folder / "t.parquet"
    )
    assert "t.parquet: row 2: feature_info must be a JSON object" in run(capsys, "t.parquet", "--dry_run")[2]


@pytest.mark.parametrize(
    ("table", "flags", "words"),
    [
        (
            "odps://p/tables/t",
            ("--dry_run",),
            "not supported yet: MaxCompute tables in --config_table_path odps://p/tables/t",
        ),
        ("t.csv", ("--reader_type", "OdpsReader", "--dry_run"), "download the table as .csv or .parquet"),
        (
            "t.csv",
            ("--reader_type", "Csv", "--dry_run"),
            "--reader_type: must be one of CsvReader, ParquetReader, OdpsReader",
        ),
        ("t.csv", ("--reader_type", "ParquetReader", "--dry_run"), "--reader_type: must fit the table's name"),
        ("t.csv", (), "--model_config_path: must name the config to write, got none; give it, or --dry_run"),
    ],
)
def test_wrong_flags_are_one_message(folder, capsys, table, flags, words):
    write_csv(folder / "t.csv", [("a", json.dumps({"embedding_dim": 8}), "")])
    code, _, err = run(capsys, table, *flags)
    assert code == 2
    assert words in err


def test_the_report_as_json_says_the_same_wherever_the_table_lies(folder, capsys):
    reports = []
    for place in ("one", "two/three"):
        (folder / place).mkdir(parents=True)
        write_csv(folder / place / "t.csv", [*GOOD_ROWS, ("zz", '{"embedding_dim": 8}', "")])
        flags = ("--model_config_path", "new.config", "--report_path", f"{place}/report.json")
        assert run(capsys, str(folder / place / "t.csv"), *flags)[0] == 0
        reports.append((folder / place / "report.json").read_text())
    assert reports[0] == reports[1]
    assert json.loads(reports[0]) == {
        "updated": ["a", "r"],
        "dropped": ["b"],
        "unmatched_rows": ["t.csv:5: 'zz'"],
        "unmatched_features": [],
        "notes": [],
    }
