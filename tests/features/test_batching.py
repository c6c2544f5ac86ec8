from __future__ import annotations

import pyarrow as pa
import pytest
import torch

from tests.features.making import features
from tzrec_build.data.labels import LabelRange
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.features.batching import BatchBuilder, label_tensor, weight_tensor

TEXT = """
feature_configs { id_feature { feature_name: "a" expression: "user:a" embedding_dim: 4 num_buckets: 10 weighted: true } }
feature_configs { id_feature { feature_name: "b" expression: "user:b" embedding_dim: 4 num_buckets: 10 } }
feature_configs { raw_feature { feature_name: "c" expression: "user:c" } }
feature_configs { raw_feature { feature_name: "d" expression: "user:d" value_dim: 2 } }
feature_configs { sequence_raw_feature { feature_name: "e" expression: "user:e" sequence_length: 2 } }
"""
COLUMNS = {
    "a": pa.array(["1:0.5\x1d2:0.25", ""]),
    "b": pa.array([3, 4]),
    "c": pa.array([0.5, 1.5]),
    "d": pa.array([[1.0, 2.0], [3.0, 4.0]]),
    "e": pa.array(["1;2;3", "4"]),
    "y": pa.array([1, 0]),
    "w": pa.array([0.5, 2.0]),
    "id": pa.array(["r1", "r2"]),
}


def builder() -> BatchBuilder:
    return BatchBuilder(features(TEXT), ["y"], ["w"], ["id", "b"])


def test_tensors() -> None:
    made = builder()
    assert made.columns == ("a", "b", "c", "d", "e", "y", "w", "id")
    batch = made.build(COLUMNS)
    assert batch.size == 2
    sparse = batch.sparse["__BASE__"]
    assert sparse.keys() == ["a", "b"]
    assert sparse.values().dtype == torch.int64
    assert sparse.lengths().dtype == torch.int32
    assert sparse["a"].values().tolist() == [1, 2]
    assert sparse["a"].lengths().tolist() == [2, 0]
    assert sparse["a"].weights().tolist() == [0.5, 0.25]
    assert sparse["b"].weights().tolist() == [1.0, 1.0]
    dense = batch.dense["__BASE__"]
    assert dense.keys() == ["c", "d"]
    assert dense.values().tolist() == [[0.5, 1.0, 2.0], [1.5, 3.0, 4.0]]
    assert batch.sequence_dense["e"].values().tolist() == [[1.0], [2.0], [4.0]]
    assert batch.sequence_dense["e"].lengths().tolist() == [2, 1]
    assert batch.labels["y"].tolist() == [1, 0]
    assert batch.sample_weights["w"].dtype == torch.float32
    assert batch.reserves.to_pydict() == {"id": ["r1", "r2"], "b": [3, 4]}


def test_moving_keeps_everything() -> None:
    batch = builder().build(COLUMNS)
    moved = batch.to(torch.device("cpu"), non_blocking=True)
    assert moved.size == 2
    assert moved.sparse["__BASE__"]["a"].values().tolist() == [1, 2]
    assert moved.reserves is batch.reserves


def test_labels() -> None:
    assert label_tensor("y", pa.array([True, False])).tolist() == [1, 0]
    assert label_tensor("y", pa.array([1, 2], pa.int8())).dtype == torch.int64
    assert label_tensor("y", pa.array([0.5], pa.float64())).dtype == torch.float32


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, None]), "row 1 of the batch, column 'y': a label must not be null"),
        (pa.array([1.0, float("nan")]), "row 1 of the batch, column 'y': a label must be a finite number, got nan"),
        (pa.array([float("-inf")]), "row 0 of the batch, column 'y': a label must be a finite number, got -inf"),
        (pa.array([1e300]), "row 0 of the batch, column 'y': a label must be a finite number, got inf"),  # as float32
        (pa.array(["1"]), "column 'y': a label must be an integer or a float column, got string"),
    ],
)
def test_bad_labels(column: pa.Array, message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        label_tensor("y", column)


def test_bad_weights() -> None:
    with pytest.raises(ColumnError, match="column 'w': a sample weight must be a float column, got int64"):
        weight_tensor("w", pa.array([1]))
    with pytest.raises(ColumnError, match=r"row 0 .*a sample weight must not be null"):
        weight_tensor("w", pa.array([None], pa.float32()))
    with pytest.raises(ColumnError, match=r"row 1 .*a sample weight must be a finite number, got inf"):
        weight_tensor("w", pa.array([1.0, float("inf")]))


@pytest.mark.parametrize(
    ("allowed", "values", "message"),
    [
        (LabelRange(0, 1, asked_by="l"), [0, 1, 4], "row 2 .*a label must be in [0, 1] for l, got 4; mend the table"),
        (LabelRange(0, 1), [0.5, -0.25], "row 1 .*a label must be in [0, 1], got -0.25"),
        (LabelRange(0, 2, whole=True), [2, 3], "row 1 .*a label must be a whole number in [0, 3), got 3"),
        (LabelRange(0, 2, whole=True), [1.0, 1.5], "row 1 .*a label must be a whole number in [0, 3), got 1.5"),
    ],
)
def test_labels_outside_what_the_losses_allow(allowed: LabelRange, values: list[float], message: str) -> None:
    with pytest.raises(ColumnError, match=message.replace("[", r"\[").replace(")", r"\)")):
        label_tensor("y", pa.array(values), allowed)


def test_labels_at_the_ends_of_their_range_pass() -> None:
    assert label_tensor("y", pa.array([0.0, 1.0, 0.5]), LabelRange(0, 1)).tolist() == [0.0, 1.0, 0.5]
    assert label_tensor("y", pa.array([0, 2]), LabelRange(0, 2, whole=True)).tolist() == [0, 2]
    assert label_tensor("y", pa.array([], pa.int64()), LabelRange(0, 1)).tolist() == []
