from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tzrec_build.data.writers import open_writer
from tzrec_build.errors import DataError


def test_parquet_appears_when_it_is_complete(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "out")
    writer.write({"x": pa.array([1, 2]), "l": pa.array([[1.0], []])})
    writer.write({"x": pa.array([3]), "l": pa.array([[2.0, 3.0]])})
    assert not (tmp_path / "out" / "part-0.parquet").exists()
    writer.close()
    assert pq.read_table(tmp_path / "out" / "part-0.parquet").to_pydict() == {
        "x": [1, 2, 3],
        "l": [[1.0], [], [2.0, 3.0]],
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-0.parquet"]
    assert writer.row_count == 3


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with open_writer(tmp_path / name) as writer:
            writer.write({"x": pa.array([1, 2])})
    assert (tmp_path / "a" / "part-0.parquet").read_bytes() == (tmp_path / "b" / "part-0.parquet").read_bytes()


def test_csv(tmp_path: Path) -> None:
    with open_writer(tmp_path, "csv") as writer:
        writer.write({"x": pa.array([1, None]), "s": pa.array(["a", "b"])})
    assert pa_csv.read_csv(tmp_path / "part-0.csv").to_pydict() == {"x": [1, None], "s": ["a", "b"]}


def test_an_error_leaves_no_file_and_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_text("old")

    def interrupted() -> None:
        with open_writer(tmp_path) as writer:
            writer.write({"x": pa.array([1])})
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.parquet"]
    assert (tmp_path / "part-0.parquet").read_text() == "old"


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"part-0.parquet: there is nothing to write"):
        open_writer(tmp_path / "a").close()
    assert list((tmp_path / "a").iterdir()) == []
    open_writer(tmp_path / "b", schema=pa.schema([("x", pa.int64())])).close()
    assert pq.read_table(tmp_path / "b" / "part-0.parquet").num_rows == 0


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown table kind 'parqet'; did you mean 'parquet'"):
        open_writer(tmp_path, "parqet")
    with open_writer(tmp_path / "mixed") as writer:
        writer.write({"x": pa.array([1])})
        with pytest.raises(DataError, match=r"must have the columns x int64, got x string"):
            writer.write({"x": pa.array(["1"])})
    with (
        pytest.raises(DataError, match=r"column 'l' is list<.*>: CSV cannot hold lists; write Parquet"),
        open_writer(tmp_path, "csv") as writer,
    ):
        writer.write({"l": pa.array([[1]])})
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]
    (tmp_path / "part-1.parquet").write_text("")
    with pytest.raises(DataError, match=r"holds part-1.parquet of another run"):
        open_writer(tmp_path)
