from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.data.sampler import NegativeSampler, load_item_table
from tzrec_build.errors import DataError

HEADER = "id:int64\tweight:float\tattrs:string\n"


def items(tmp_path: Path, lines: list[str], header: str = HEADER) -> str:
    path = tmp_path / "items.txt"
    path.write_text(header + "".join(f"{line}\n" for line in lines))
    return str(path)


def sampler(path: str, count: int = 5, **types: pa.DataType) -> NegativeSampler:
    types = types or {"i": pa.int64()}
    return NegativeSampler(
        load_item_table(path),
        attr_fields=["i", "c"],
        attr_delimiter=":",
        item_id_field="i",
        sample_count=count,
        types=types,
    )


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_attributes_take_the_types_of_their_columns(tmp_path: Path) -> None:
    path = items(tmp_path, ["5\t1\t5:a\x1db", "6\t0\t6:"])
    made = sampler(path, 2, i=pa.int32(), c=pa.list_(pa.string()), u=pa.int64())
    columns = {"i": pa.array([1, 2], pa.int32()), "c": pa.array([["x"], []]), "u": pa.array([8, 9])}
    extended = made.extend(columns, rng())
    assert extended["i"].to_pylist() == [1, 2, 5, 5]
    assert extended["c"].to_pylist() == [["x"], [], ["a", "b"], ["a", "b"]]
    assert extended["u"].to_pylist() == [8, 9]


def test_empty_attributes_are_nulls_or_empty_lists(tmp_path: Path) -> None:
    path = items(tmp_path, ["6\t1\t:"])
    extended = sampler(path, 1, i=pa.int64(), c=pa.list_(pa.int64())).extend(
        {"i": pa.array([1]), "c": pa.array([[1]])}, rng()
    )
    assert extended["i"].to_pylist() == [1, None]
    assert extended["c"].to_pylist() == [[1], []]


@pytest.mark.parametrize("in_batch", [[], [0], [0, 1, 2, 3]])  # none, by rejection, by one pass over all items
def test_shares_follow_the_weights_of_the_items_that_are_not_in_the_batch(tmp_path: Path, in_batch: list[int]) -> None:
    weights = np.array([4.0, 3.0, 2.0, 10.0, 1.0, 0.0, 0.5])
    path = items(tmp_path, [f"{item}\t{weight}\t{item}:" for item, weight in enumerate(weights)])
    drawn = sampler(path, 20_000).draw(np.array(in_batch, np.int64), rng())
    weights[in_batch] = 0
    shares = np.bincount(drawn, minlength=7) / 20_000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.02)
    assert shares[5] == 0
    assert set(drawn.tolist()).isdisjoint(in_batch)


def test_null_items_are_item_zero(tmp_path: Path) -> None:
    path = items(tmp_path, ["0\t1\t0:", "1\t1\t1:"])
    assert sampler(path, 3).extend({"i": pa.array([None], pa.int64())}, rng())["i"].to_pylist() == [None, 1, 1, 1]


def test_one_seed_one_series(tmp_path: Path) -> None:
    path = items(tmp_path, [f"{item}\t1\t{item}:" for item in range(100)])
    made = sampler(path)

    def series(seed: int) -> list[list[int]]:
        numbers = rng(seed)
        return [made.draw(np.array([1]), numbers).tolist() for _ in range(3)]

    assert series(7) == series(7)
    assert series(7) != series(8)
    assert series(7)[0] != series(7)[1]


def test_no_item_left(tmp_path: Path) -> None:
    path = items(tmp_path, ["1\t1\t1:", "2\t0\t2:"])
    with pytest.raises(DataError, match=r"items.txt: every item with a weight is in the batch"):
        sampler(path).draw(np.array([1]), rng())


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("id\tweight\tattrs\n", ["1\t1\t1:"], "the first line must be 'id:int64"),
        (HEADER, ["x\t1\t1:"], "not a readable sampler table"),
        (HEADER, ["1\t1\t1:", "1\t1\t1:"], "ids must be unique, got 1 repeated ones"),
        (HEADER, ["1\t-1\t1:"], "weights must be finite, not negative"),
        (HEADER, ["1\t0\t1:"], ".*one of them above 0"),
        (HEADER, ["1\t\t1:"], "every line needs an id and a weight"),
        (HEADER, ["1\t1\t1:a", "2\t1\t2"], r"line 3: attrs must hold 2 values split by ':' \(attr_fields\), got 1"),
        (HEADER, ["1\t1\tx:a"], "attribute 'i' must be int64 as in the data"),
    ],
)
def test_bad_tables(tmp_path: Path, header: str, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"items.txt: {message}"):
        sampler(items(tmp_path, lines, header))


def test_missing_table_and_wrong_item_column(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none.txt: no such file; the negative sampler's input_path starts from the current"
    ):
        load_item_table(str(tmp_path / "none.txt"))
    made = sampler(items(tmp_path, ["1\t1\t1:"]))
    with pytest.raises(
        ColumnError, match="column 'i': item_id_field of the negative sampler must hold integers, got string"
    ):
        made.extend({"i": pa.array(["a"])}, rng())
