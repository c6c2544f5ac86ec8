from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.features.making import SEP, encode, feature, rows
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.values import DenseValues

BASE = 'feature_name: "f" expression: "item:x"'


def made(extra: str = "", **options: str):
    return feature(f"raw_feature {{ {BASE} {extra} }}", **options)


def test_numbers_and_their_text() -> None:
    expected = [[1.5], [-2.0], [0.0]]
    for column in ([1.5, -2.0, None], ["1.5", " -2e0", ""], [[1.5], [-2.0], []]):
        encoded = encode(made(), x=column)
        assert isinstance(encoded, DenseValues)
        assert encoded.values.dtype == np.float32
        assert encoded.values.tolist() == expected
    assert encode(made(), x=[3, None]).values.tolist() == [[3.0], [0.0]]


def test_log10_of_the_reference_leaves_the_default_alone() -> None:
    item = made('normalizer: "method=log10,threshold=0.05,default=-5" default_value: "0.01"')
    np.testing.assert_allclose(encode(item, x=["0.1", "", "10", "0.01"]).values[:, 0], [-1, 0.01, 1, -5], rtol=1e-6)


def test_zscore_of_the_reference() -> None:
    item = made('normalizer: "method=zscore,mean=0.1,standard_deviation=10"')
    np.testing.assert_allclose(encode(item, x=[0.2, 0.1, 0.3]).values[:, 0], [0.01, 0, 0.02], atol=1e-8)


def test_minmax_of_the_reference() -> None:
    item = made(f'normalizer: "method=minmax,min=0.1,max=0.6" value_dim: 2 default_value: "0.1{SEP}0.4"')
    encoded = encode(item, x=[[0.2, 0.5], [], [0.3, 0.6]])
    np.testing.assert_allclose(encoded.values, [[0.2, 0.8], [0.1, 0.4], [0.4, 1]], rtol=1e-6)


def test_boundaries_of_the_reference_give_one_id_per_dimension() -> None:
    item = made(f'boundaries: [0.05, 0.15, 0.25] embedding_dim: 4 value_dim: 2 default_value: "0.1{SEP}0.4"')
    assert item.num_embeddings == 4
    assert rows(encode(item, x=[[0.2, 0.5], [], [0.3, 0.6]])) == [[2, 3], [1, 3], [3, 3]]


def test_a_value_equal_to_a_boundary_goes_up() -> None:
    item = made("boundaries: [0.1, 1.5] embedding_dim: 4")
    assert rows(encode(item, x=["0.1", "1.5", "1.4999", None])) == [[1], [2], [1], [0]]


def test_normalizer_comes_before_boundaries_except_when_the_columns_are_normalized() -> None:
    extra = 'boundaries: [0.5] embedding_dim: 4 normalizer: "method=log10"'
    assert rows(encode(made(extra), x=[1.0, 10.0])) == [[0], [1]]
    assert rows(encode(made(extra, fg_mode="FG_BUCKETIZE"), f=[1.0, 10.0])) == [[1], [1]]


@pytest.mark.parametrize(
    ("extra", "column", "message"),
    [
        ("", ["1", "one"], "row 1 of the batch, column 'x': must be a number, got 'one'"),
        ("", [1.0, float("nan")], "row 1 of the batch, column 'x': must be a number, got NaN; store null"),
        ("value_dim: 2", [[1.0, 2.0], [1.0]], "row 1 of the batch, column 'x': must hold value_dim = 2 numbers, got 1"),
        ('default_value: ""', [1.0, None], "row 1 of the batch, column 'x': must not be null or empty"),
        ("", [[1.0], [[1.0]]], None),
    ],
)
def test_bad_values(extra: str, column: list, message: str | None) -> None:
    if message is None:
        column = pa.array([[[1.0]], [[2.0]]])
        message = r"column 'x': must hold numbers, text or lists of them, got list"
    with pytest.raises(ColumnError, match=message):
        encode(made(extra), x=column)


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ("boundaries: [1, 1] embedding_dim: 4", ConfigError, "boundaries must increase"),
        ("boundaries: [1, 2]", ConfigError, "embedding_dim must be above 0"),
        ("value_dim: 0", ConfigError, "value_dim must be at least 1"),
        ('normalizer: "method=expression,expr=sign(x)"', NotSupportedError, "normalizer method=expression"),
        ('normalizer: "method=zscor"', ConfigError, "unknown method 'zscor' .*did you mean 'zscore'"),
        ('normalizer: "method=zscore,mean=1"', ConfigError, "must set standard_deviation"),
        ('normalizer: "method=minmax,min=1,max=1"', ConfigError, "min and max must differ"),
        ('normalizer: "method=log10,threshold=x"', ConfigError, "threshold must be a number, got 'x'"),
        ("embedding_dim: 4 mlp {}", NotSupportedError, "not supported yet: raw_feature.mlp"),
        ('default_value: "none"', ConfigError, "default_value 'none': must be a number"),
    ],
)
def test_config_errors(extra: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(extra)


def test_attributes() -> None:
    dense = made("value_dim: 3 embedding_dim: 8")
    assert (dense.is_sparse, dense.output_dim, dense.embedding_dim, dense.num_embeddings) == (False, 3, 0, 0)
    cut = made("boundaries: [1, 2] embedding_dim: 8")
    assert (cut.is_sparse, cut.output_dim, cut.num_embeddings, cut.embedding_name) == (True, 8, 3, "f_emb")
