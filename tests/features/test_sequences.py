from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.features.making import SEP, encode, feature, features, rows
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.values import SequenceDenseValues

BLOCK = """feature_configs { sequence_feature { sequence_name: "seen" sequence_length: 3 sequence_delim: ";"
  features { id_feature { feature_name: "item" expression: "item:item_id" embedding_dim: 4 hash_bucket_size: 100 } }
  features { raw_feature { feature_name: "ts" expression: "user:ts" } }
} }"""


def flat_id(extra: str = "hash_bucket_size: 100", fg_mode: str = "FG_DAG"):
    return feature(
        'sequence_id_feature { feature_name: "clk" expression: "user:clk" embedding_dim: 4 sequence_length: 3 '
        f"{extra} }}",
        fg_mode,
    )


def flat_raw(extra: str = "", fg_mode: str = "FG_DAG"):
    return feature(
        f'sequence_raw_feature {{ feature_name: "s" expression: "user:s" sequence_length: 3 {extra} }}', fg_mode
    )


def test_members_are_named_after_their_block() -> None:
    item, stamp = features(BLOCK)
    assert (item.name, item.inputs, item.embedding_name) == ("seen__item", ("seen__item_id",), "seen__item_emb")
    assert (stamp.name, stamp.inputs, stamp.is_sparse, stamp.output_dim) == ("seen__ts", ("seen__ts",), False, 1)
    assert (item.is_sequence, item.sequence_name, item.sequence_length, item.value_dim) == (True, "seen", 3, 1)
    assert [one.inputs for one in features(BLOCK, "FG_NONE")] == [("seen__item",), ("seen__ts",)]


def test_text_and_lists_give_the_same_ids() -> None:
    item = flat_id()
    expected = [[33, 44], [66], [26], [26]]  # an empty or null row is one element, the default "0"
    assert rows(encode(item, clk=["abc;efg", "hij", "", None])) == expected
    assert rows(encode(item, clk=[["abc", "efg"], ["hij"], [], None])) == expected
    assert rows(encode(item, clk=pa.nulls(2))) == [[26], [26]]


def test_only_the_first_elements_are_kept() -> None:
    assert rows(encode(flat_id(), clk=["1;2;3;4;0", "1"])) == [[95, 70, 13], [95]]


def test_elements_with_several_values_keep_the_first() -> None:
    item = flat_id()
    assert rows(encode(item, clk=[f"abc{SEP}x;efg", "hij"])) == [[33, 44], [66]]
    assert rows(encode(item, clk=[[["abc", "x"], ["efg"]], [["hij"]]])) == [[33, 44], [66]]


def test_missing_elements_take_the_default_and_keep_their_place() -> None:
    assert rows(encode(flat_id(), clk=["abc;;efg"])) == [[33, 26, 44]]
    assert rows(encode(flat_id(), clk=[["abc", None, "efg"]])) == [[33, 26, 44]]
    assert rows(encode(flat_id('hash_bucket_size: 100 default_value: "xyz"'), clk=["abc;"])) == [[33, 13]]
    assert rows(encode(flat_id(), clk=pa.array([[["abc"], [], None]], pa.list_(pa.list_(pa.string()))))) == [
        [33, 26, 26]
    ]


def test_integer_sequences() -> None:
    assert rows(encode(flat_id("num_buckets: 10"), clk=[[1, 9], [], None])) == [[1, 9], [0], [0]]
    with pytest.raises(ColumnError, match=r"row 1 of the batch, column 'clk': ids must be in \[0, 10\).*got 11"):
        encode(flat_id("num_buckets: 10"), clk=[[1, None], [3, 11]])


def test_dense_sequences() -> None:
    encoded = encode(flat_raw(), s=["0.5;1", "", "2;;3;4"])
    assert isinstance(encoded, SequenceDenseValues)
    assert encoded.values.tolist() == [[0.5], [1.0], [0.0], [2.0], [0.0], [3.0]]
    assert encoded.lengths.tolist() == [2, 1, 3]
    listed = encode(flat_raw(), s=[[0.5, 1.0], [], [2.0, None, 3.0, 4.0]])
    np.testing.assert_array_equal(listed.values, encoded.values)


def test_dense_sequences_of_vectors() -> None:
    item = flat_raw('value_dim: 2 default_value: "7"')
    expected = [[1.0, 2.0], [3.0, 4.0], [7.0, 7.0]]
    assert encode(item, s=[f"1{SEP}2;3{SEP}4", None]).values.tolist() == expected
    assert encode(item, s=[[[1.0, 2.0], [3.0, 4.0]], None]).values.tolist() == expected
    with pytest.raises(
        ColumnError, match="row 1 of the batch, column 's': every element must hold value_dim = 2 numbers, got 3"
    ):
        encode(item, s=[f"1{SEP}2", f"1{SEP}2;1{SEP}2{SEP}3"])


def test_sequences_with_boundaries() -> None:
    item = flat_raw("boundaries: [0.5, 1.5] embedding_dim: 4")
    assert rows(encode(item, s=["0;1;2", None])) == [[0, 1, 2], [0]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, 2], "column 'clk': a sequence must be text split by ';', a list or a list of lists, got int64"),
        ([[[["a"]]]], "column 'clk': a sequence must be a list or a list of lists, got elements of list"),
    ],
)
def test_wrong_types(column: list, message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        encode(flat_id(), clk=column)


def test_bad_number_in_a_sequence_names_its_row() -> None:
    with pytest.raises(ColumnError, match="row 2 of the batch, column 's': must be a number, got 'x'"):
        encode(flat_raw(), s=["1;2", "3", "4;x"])


def test_encoded_sequences_are_only_parsed() -> None:
    item = flat_id("num_buckets: 10", "FG_NONE")
    assert rows(encode(item, clk=[[1, 2, 3, 4], [], None])) == [[1, 2, 3, 4], [], []]
    assert rows(encode(item, clk=["1;2", "", None])) == [[1, 2], [], []]
    assert rows(encode(item, clk=[[[1], [2]], []])) == [[1, 2], []]
    with pytest.raises(
        ColumnError, match=r"row 1 .*every element of the sequence must hold 1 value\(s\) \(value_dim\), got 2"
    ):
        encode(item, clk=[[[1]], [[2, 3]]])
    dense = flat_raw("value_dim: 2", "FG_NONE")
    assert encode(dense, s=[[1.0, 2.0, 3.0, 4.0], []]).values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert encode(dense, s=["1\x032;3\x034"]).lengths.tolist() == [2]
    with pytest.raises(ColumnError, match=r"row 1 .*must hold a multiple of value_dim 2 numbers, got 3"):
        encode(dense, s=[[1.0, 2.0], [1.0, 2.0, 3.0]])


def test_refusals() -> None:
    with pytest.raises(NotSupportedError, match="sequence_fields that leave out the feature's own input"):
        features(BLOCK.replace('expression: "user:ts"', 'expression: "user:ts" sequence_fields: "other"'))
    with pytest.raises(NotSupportedError, match="weighted ids inside a sequence"):
        flat_id("hash_bucket_size: 5 weighted: true")
    with pytest.raises(NotSupportedError, match="value_dim 0 inside a sequence"):
        flat_id("hash_bucket_size: 5 value_dim: 0")
    with pytest.raises(NotSupportedError, match="combo_feature inside a sequence_feature in feature_configs"):
        features(BLOCK.replace("raw_feature { feature_name", "combo_feature { feature_name"))
    with pytest.raises(ConfigError, match="sequence_length must be at least 1"):
        feature('sequence_raw_feature { feature_name: "s" expression: "user:s" }')
