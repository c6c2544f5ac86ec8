from __future__ import annotations

from pathlib import Path

import pytest

from tzrec_build.data.paths import find_files, table_kind
from tzrec_build.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.parquet", "a.parquet", "c.csv", "notes.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_parts_in_order_globs_and_folders_sorted(folder: Path) -> None:
    found = find_files(f"{folder}/b.parquet, {folder}/*.parquet")
    assert found == tuple(f"{folder}/{name}" for name in ("b.parquet", "a.parquet", "b.parquet"))
    assert find_files(str(folder)) == tuple(f"{folder}/{name}" for name in ("a.parquet", "b.parquet", "c.csv"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "input path is empty"),
        ("{}/d.parquet", r"d.parquet: no such file; tables in that folder: a.parquet, b.parquet, c.csv"),
        ("{}/none/d.parquet", r"d.parquet: no such file; the folder '.*none' does not exist either"),
        ("{}/z*.parquet", r"z\*.parquet: no such file matches the pattern"),
        ("odps://p/tables/t", "odps://p/tables/t: only local files can be read"),
    ],
)
def test_nothing_found(folder: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_files(path.format(folder))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder holds no .parquet or .csv file"):
        find_files(str(tmp_path))


def test_kinds() -> None:
    assert table_kind(("a.parquet", "b.PARQUET")) == "parquet"
    with pytest.raises(DataError, match=r"must not mix formats, got a.parquet and b.csv"):
        table_kind(("a.parquet", "b.csv"))
    with pytest.raises(DataError, match=r"a.txt: a table must end in .parquet or .csv"):
        table_kind(("a.txt",))
