from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.features.making import SEP, encode, feature, rows
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError

BASE = 'feature_name: "f" expression: "user:x" embedding_dim: 4'


def made(extra: str, **options: str):
    return feature(f"id_feature {{ {BASE} {extra} }}", **options)


def test_hash_of_text_lists_and_integers() -> None:
    item = made("hash_bucket_size: 100")
    assert rows(encode(item, x=[f"abc{SEP}efg", "", None, "hij"])) == [[33, 44], [], [], [66]]
    assert rows(encode(item, x=[["abc", "efg"], [], None, ["hij"]])) == [[33, 44], [], [], [66]]
    assert rows(encode(item, x=[1, None, 0])) == [[95], [], [26]]
    assert rows(encode(item, x=[[1, 2], [3]])) == [[95, 70], [13]]


def test_dictionary_columns_hash_like_plain_ones() -> None:
    column = pa.array(["abc", "efg", "abc", None]).dictionary_encode()
    assert rows(encode(made("hash_bucket_size: 100"), x=column)) == [[33], [44], [33], []]


def test_default_value_fills_empty_rows() -> None:
    assert rows(encode(made('hash_bucket_size: 100 default_value: "xyz"'), x=["abc", "", None])) == [[33], [13], [13]]


def test_value_dim_keeps_the_first_values() -> None:
    assert rows(encode(made("hash_bucket_size: 100 value_dim: 1"), x=[f"abc{SEP}efg", "hij"])) == [[33], [66]]


def test_other_separator() -> None:
    assert rows(encode(made('hash_bucket_size: 100 separator: ","'), x=["abc,efg", "a,,"])) == [
        [33, 44],
        [rows(encode(made("hash_bucket_size: 100"), x=["a"]))[0][0]],
    ]


@pytest.mark.parametrize(
    ("default_value", "expected"),
    [("", [[2, 3], [], [1]]), ("xyz", [[2, 3], [0], [1]]), ("abc", [[2, 3], [2], [1]])],
)
def test_vocab_list_rows_of_the_reference(default_value: str, expected: list[list[int]]) -> None:
    item = made(f'vocab_list: "abc" vocab_list: "efg" default_value: "{default_value}"')
    assert rows(encode(item, x=[f"abc{SEP}efg", "", "hij"])) == expected
    assert item.num_embeddings == 4


def test_vocab_list_with_bucketize_default() -> None:
    item = made('vocab_list: "abc" vocab_list: "efg" default_bucketize_value: 1')
    assert item.num_embeddings == 2
    assert rows(encode(item, x=["abc", "hij"])) == [[0], [1]]


def test_vocab_dict_of_the_reference() -> None:
    item = made('vocab_dict { key: "abc" value: 2 } vocab_dict { key: "efg" value: 2 } default_value: "abc"')
    assert rows(encode(item, x=[f"abc{SEP}efg", "", "hij"])) == [[0, 2], [0], [1]]
    assert item.num_embeddings == 3


def test_vocab_file_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("abc\nnew york\nzürich\n", encoding="utf-8")
    (tmp_path / "ids.txt").write_text("new york 7\nabc\t2\n", encoding="utf-8")
    plain = made('vocab_file: "words.txt" default_bucketize_value: 0', base_dir=tmp_path)
    assert rows(encode(plain, x=["zürich", "new york", "?"])) == [[2], [1], [0]]
    numbered = made('vocab_file: "ids.txt" default_bucketize_value: 1', base_dir=tmp_path)
    assert numbered.num_embeddings == 8
    assert rows(encode(numbered, x=["new york", "abc", "?"])) == [[7], [2], [1]]


def test_num_buckets_takes_the_number() -> None:
    item = made("num_buckets: 5")
    assert rows(encode(item, x=["4", f"0{SEP}3"])) == [[4], [0, 3]]
    assert rows(encode(item, x=[4, None])) == [[4], []]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, 2, 5], r"row 2 of the batch, column 'x': ids must be in \[0, 5\), the rows of its table, got 5"),
        ([[1], [2, -1]], r"row 1 of the batch, column 'x': ids must be in \[0, 5\).*got -1"),
        (["1", f"2{SEP}two"], r"row 1 of the batch, column 'x': must be an integer, got 'two'"),
        ([1.0, 1.5], r"row 1 of the batch, column 'x': must be a whole number, got 1.5"),
        ([True, False], r"column 'x': must hold numbers, text or lists of them, got bool"),
    ],
)
def test_num_buckets_refuses(column: list, message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        encode(made("num_buckets: 5"), x=column)


def test_weighted_ids() -> None:
    item = made('hash_bucket_size: 100 weighted: true default_value: "xyz"')
    encoded = encode(item, x=[f"abc:0.5{SEP}efg:2", "", "hij"])
    assert rows(encoded) == [[33, 44], [13], [66]]
    assert encoded.weights.tolist() == [0.5, 2.0, 1.0, 1.0]
    assert item.is_weighted
    mapped = encode(item, x=pa.array([[("abc", 0.5)], None], pa.map_(pa.string(), pa.float32())))
    assert rows(mapped) == [[33], [13]]
    assert mapped.weights.tolist() == [0.5, 1.0]


def test_weight_that_is_no_number() -> None:
    with pytest.raises(
        ColumnError, match="row 1 of the batch, column 'x': the weight after the colon must be a number, got 'much'"
    ):
        encode(made("hash_bucket_size: 100 weighted: true"), x=["a:1", "b:much"])


def test_floats_have_no_text_to_hash() -> None:
    with pytest.raises(ColumnError, match="column 'x': must hold text or integers, got double"):
        encode(made("hash_bucket_size: 100"), x=[0.5])


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ("", ConfigError, "must set one of hash_bucket_size, .* got none"),
        ("num_buckets: 3 hash_bucket_size: 4", ConfigError, "got hash_bucket_size and num_buckets"),
        ("hash_bucket_size: 0", ConfigError, "hash_bucket_size must be at least 1"),
        ('num_buckets: 3 pooling: "avg"', ConfigError, "unknown pooling 'avg'"),
        ('num_buckets: 3 data_type: "FP8"', ConfigError, "unknown data_type 'FP8'"),
        (
            'vocab_file: "none.txt" default_bucketize_value: 0',
            ConfigError,
            "none.txt: no such file; a relative path starts from the current directory",
        ),
        ('vocab_list: "a" default_bucketize_value: 1', ConfigError, "default_bucketize_value must be below 1"),
        ('num_buckets: 3 default_value: "9"', None, ""),
    ],
)
def test_config_errors(extra: str, error: type[Exception] | None, message: str) -> None:
    if error is None:
        with pytest.raises(ConfigError, match=r"default_value '9': ids must be in \[0, 3\)"):
            encode(made(extra), x=[None])
        return
    with pytest.raises(error, match=message):
        made(extra)


@pytest.mark.parametrize("expression", ["x", "user:", "user:a:b", "feature:a", "usr:x"])
def test_bad_expressions(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"side"):
        feature(f'id_feature {{ feature_name: "f" expression: "{expression}" embedding_dim: 4 num_buckets: 3 }}')


def test_missing_expression_matters_only_for_raw_inputs() -> None:
    text = 'id_feature { feature_name: "f" embedding_dim: 4 num_buckets: 3 }'
    with pytest.raises(ConfigError, match="expression must be set under FG_NORMAL"):
        feature(text, fg_mode="FG_NORMAL")
    assert feature(text, fg_mode="FG_NONE").inputs == ("f",)


def test_bucketize_mode_reads_the_feature_column() -> None:
    item = made("hash_bucket_size: 100", fg_mode="FG_BUCKETIZE")
    assert item.inputs == ("f",)
    assert rows(encode(item, f=["abc", None])) == [[33], []]


def test_attributes() -> None:
    item = made('num_buckets: 3 pooling: "Mean" embedding_name: "t" init_fn: "nn.init.zeros_" trainable: false')
    assert (item.name, item.kind, item.inputs, item.sides) == ("f", "id_feature", ("x",), ("user",))
    assert (item.num_embeddings, item.embedding_dim, item.output_dim, item.embedding_name) == (3, 4, 4, "t")
    assert (item.pooling, item.init_fn, item.trainable, item.data_type) == ("MEAN", "nn.init.zeros_", False, "FP32")
    assert (item.is_sparse, item.is_sequence, item.sequence_name, item.value_dim) == (True, False, "", 0)


def test_fg_value_type_integer_reads_numbers_first() -> None:
    item = made('hash_bucket_size: 100 fg_value_type: "int64" default_value: "01"')
    assert rows(encode(item, x=["001", "2", None])) == [[95], [70], [95]]
    with pytest.raises(ColumnError, match="row 0 of the batch, column 'x': must be an integer, got 'a'"):
        encode(item, x=["a"])
    with pytest.raises(NotSupportedError, match="fg_value_type 'float'"):
        made('hash_bucket_size: 100 fg_value_type: "float"')


def test_empty_separator() -> None:
    with pytest.raises(ConfigError, match="separator must not be empty"):
        made('hash_bucket_size: 100 separator: ""')
