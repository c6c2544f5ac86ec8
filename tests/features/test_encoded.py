from __future__ import annotations

import pyarrow as pa
import pytest

from tests.features.making import encode, feature, rows
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError


def sparse(extra: str = "", data: str = ""):
    return feature(f'id_feature {{ feature_name: "f" embedding_dim: 4 num_buckets: 10 {extra} }}', "FG_NONE", data)


def dense(extra: str = ""):
    return feature(f'raw_feature {{ feature_name: "f" {extra} }}', "FG_NONE")


@pytest.mark.parametrize(
    "column",
    [
        [[1, 2], [], None, [3]],
        ["1\x032", "", None, "3"],
        [["1", "2"], [], None, ["3"]],
        pa.array([[1, 2], [], None, [3]], pa.list_(pa.int32())),
        pa.array([[1, 2], [], None, [3]], pa.large_list(pa.int64())),
        [[1.0, 2.0], [], None, [3.0]],
    ],
)
def test_forms_of_many_ids(column: object) -> None:
    assert rows(encode(sparse(), f=column)) == [[1, 2], [], [], [3]]


@pytest.mark.parametrize("column", [[1, None, 3], [1.0, None, 3.0], ["1", "", "3"], pa.array([1, None, 3], pa.uint8())])
def test_forms_of_one_id(column: object) -> None:
    assert rows(encode(sparse(), f=column)) == [[1], [], [3]]


def test_other_separator_and_fill_value() -> None:
    item = sparse('fg_encoded_default_value: "4,5"', 'fg_encoded_multival_sep: ","')
    assert rows(encode(item, f=["1,2", None, ""])) == [[1, 2], [4, 5], [4, 5]]


def test_weights_in_lists_texts_and_maps() -> None:
    item = sparse('weighted: true fg_encoded_default_value: "7"')
    for column in ([["1:0.5", "2:2"], None], ["1:0.5\x032:2", None]):
        encoded = encode(item, f=column)
        assert rows(encoded) == [[1, 2], [7]]
        assert encoded.weights.tolist() == [0.5, 2.0, 1.0]
    mapped = encode(item, f=pa.array([[(1, 0.5), (2, 2.0)], None], pa.map_(pa.int32(), pa.float64())))
    assert rows(mapped) == [[1, 2], [7]]
    assert mapped.weights.tolist() == [0.5, 2.0, 1.0]


def test_slices_of_a_column_parse_like_their_own() -> None:
    whole = pa.array([[1], [2, 3], None, [], [4, 5, 6]])
    assert rows(encode(sparse(), f=whole.slice(1, 4))) == [[2, 3], [], [], [4, 5, 6]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1], [2, 10]], r"row 1 of the batch, column 'f': ids must be in \[0, 10\), the rows of its table, got 10"),
        ([1, -1], r"row 1 of the batch, column 'f': ids must be in \[0, 10\).*got -1"),
        ([[1], [2, None]], "row 1 of the batch, column 'f': must hold no null inside a list"),
        (["1", "a"], "row 1 of the batch, column 'f': must be an integer, got 'a'"),
        (pa.array([[(1, 0.5)]], pa.map_(pa.int32(), pa.float64())), "column 'f': is a map.*set weighted: true"),
        (pa.array([b"1"]), "column 'f': must hold numbers, text or lists of them, got binary"),
    ],
)
def test_bad_ids(column: object, message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        encode(sparse(), f=column)


def test_dense_forms() -> None:
    vector = dense("value_dim: 2")
    for column in ([[1.0, 2.0], [3.0, 4.0]], ["1\x032", "3\x034"]):
        assert encode(vector, f=column).values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    fixed = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    assert encode(vector, f=fixed.slice(1)).values.tolist() == [[3.0, 4.0]]
    assert encode(dense(), f=[1, 2]).values.tolist() == [[1.0], [2.0]]


def test_dense_null_needs_a_fill_value() -> None:
    assert encode(dense('fg_encoded_default_value: "9"'), f=[1.0, None]).values.tolist() == [[1.0], [9.0]]
    with pytest.raises(ColumnError, match="row 1 of the batch, column 'f': must not be null or empty; fill it"):
        encode(dense(), f=[1.0, None])


def test_boundaries_are_not_applied_again() -> None:
    item = dense("boundaries: [0.5, 1.5] embedding_dim: 4")
    assert rows(encode(item, f=[2, 0])) == [[2], [0]]
    with pytest.raises(ColumnError, match=r"ids must be in \[0, 3\)"):
        encode(item, f=[3])


def test_bad_fill_values() -> None:
    with pytest.raises(ConfigError, match="fg_encoded_default_value 'x': must be an integer, got 'x'"):
        sparse('fg_encoded_default_value: "x"')
    with pytest.raises(ConfigError, match=r"fg_encoded_default_value '10': ids must be in \[0, 10\)"):
        sparse('fg_encoded_default_value: "10"')
    with pytest.raises(ConfigError, match="fg_encoded_default_value 'x': must be a number"):
        dense('fg_encoded_default_value: "x"')
