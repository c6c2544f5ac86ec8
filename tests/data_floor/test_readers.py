from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tzrec_build.data.readers import CsvOptions, ReaderOptions, open_table
from tzrec_build.errors import DataError


def write(path: Path, first: int, count: int, group: int = 4) -> str:
    numbers = list(range(first, first + count))
    lists = pa.array([[number] * (number % 3) for number in numbers], pa.list_(pa.int64()))
    table = pa.table(
        {"x": pa.array(numbers, pa.int64()), "s": pa.array([str(number) for number in numbers]), "l": lists}
    )
    pq.write_table(table, path, row_group_size=group)
    return str(path)


def values(path: str, **options: object) -> list[list[int]]:
    return [part["x"].to_pylist() for part in open_table(path, ["x"], ReaderOptions(**options))]


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=3).filter(any),
    group=st.integers(1, 5),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 4),
)
@settings(max_examples=30)
def test_ranks_read_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int, batch_size: int, world_size: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    for number, size in enumerate(sizes):
        write(folder / f"{number}.parquet", sum(sizes[:number]), size, group)
    seen = []
    for rank in range(world_size):
        options = ReaderOptions(batch_size=batch_size, rank=rank, world_size=world_size)
        reader = open_table(str(folder), ["l", "x"], options)
        parts = list(reader)
        assert all(list(part) == ["l", "x"] for part in parts)
        assert reader.num_rows == sum(len(part["x"]) for part in parts)
        seen += [row for part in parts for row in zip(part["x"].to_pylist(), part["l"].to_pylist(), strict=True)]
    assert seen == [(number, [number] * (number % 3)) for number in range(sum(sizes))]


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    reader = open_table(write(tmp_path / "t.parquet", 0, 10), ["x"], ReaderOptions(batch_size=4))
    first = [part["x"].to_pylist() for part in reader]
    assert [part["x"].to_pylist() for part in reader] == first == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    def peak_bytes(groups: int) -> int:
        path = tmp_path / f"{groups}.parquet"
        numbers = np.random.default_rng(0).random(groups * 40_000)  # random: the file is as large as the rows
        pq.write_table(pa.table({"x": numbers}), path, row_group_size=40_000)
        before = pa.total_allocated_bytes()
        reader = open_table(str(path), ["x"], ReaderOptions(batch_size=1000))
        return max(pa.total_allocated_bytes() - before for _ in reader)

    peak_bytes(2)
    assert peak_bytes(16) <= 1.2 * peak_bytes(2)


def test_all_columns_by_default(tmp_path: Path) -> None:
    reader = open_table(write(tmp_path / "t.parquet", 0, 3))
    assert list(reader.types) == ["x", "s", "l"]


def test_all_null_column_takes_the_type_of_the_other_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.nulls(2)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": pa.array([5])}), tmp_path / "b.parquet")
    assert values(str(tmp_path), batch_size=9) == [[None, None, 5]]


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": [1], "item": [2]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: column 'user_idd' is missing; did you mean 'user_id'\?"):
        open_table(str(tmp_path / "t.parquet"), ["user_idd"])


def test_types_that_differ_between_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: column 'x' must be int64 as in the files before it, got string"):
        open_table(str(tmp_path), ["x"])


def test_empty_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t.parquet: the table has no rows"):
        open_table(write(tmp_path / "t.parquet", 0, 0), ["x"])


def test_not_a_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"t.parquet: not a readable Parquet file"):
        open_table(str(tmp_path / "t.parquet"), ["x"])


def test_truncated_parquet_file(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "t.parquet", 0, 100))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t.parquet: not a readable Parquet file"):
        open_table(str(path), ["x"])


def test_damage_inside_a_parquet_file(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "t.parquet", 0, 1000, 1000))
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"t.parquet: damaged Parquet file"):
        values(str(path))


def csv_values(path: Path, columns: tuple[str, ...] = (), **options: object) -> list[dict[str, list]]:
    reader = open_table(str(path), columns, ReaderOptions(batch_size=2, csv=CsvOptions(**options)))
    return [{name: array.to_pylist() for name, array in part.items()} for part in reader]


def test_csv_with_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('x,s\n1,"a,b"\n2,\n3,c\n')
    assert csv_values(tmp_path / "t.csv") == [{"x": [1, 2], "s": ["a,b", ""]}, {"x": [3], "s": ["c"]}]
    assert csv_values(tmp_path / "t.csv", ("s",))[1] == {"s": ["c"]}
    assert open_table(str(tmp_path / "t.csv"), ["x"]).num_rows == 3


def test_csv_without_header_takes_the_declared_names_and_types(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1;007\n2;\n")
    fields = (("x", pa.int64()), ("s", pa.string()))
    assert csv_values(tmp_path / "t.csv", delimiter=";", with_header=False, fields=fields) == [
        {"x": [1, 2], "s": ["007", ""]}
    ]


def test_csv_ranks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n0\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n3\n4\n")
    parts = [values(str(tmp_path), batch_size=9, rank=rank, world_size=2) for rank in range(2)]
    assert parts == [[[0, 1, 2]], [[3, 4]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: the file is empty; its first line must name the columns"),
        ("y,z\n1,2\n", "t.csv: column 'x' is missing; known: y, z"),
        ("x,y\n1,2\n3\n", "t.csv: not readable as CSV"),
        ("x\n", "t.csv: the table has no rows"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        csv_values(tmp_path / "t.csv", ("x",))
