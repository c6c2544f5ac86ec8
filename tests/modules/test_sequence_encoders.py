"""Encoders against a loop over rows that never sees the padding."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.modules.mlp import MLPSpec
from tzrec_build.modules.sequence_encoders import (
    DINEncoder,
    MultiWindowDINEncoder,
    PoolingEncoder,
    SequenceDims,
    SimpleAttention,
    build_encoder,
)
from tzrec_build.protos.tzrec import seq_encoder_pb2

LENGTHS = [3, 0, 5, 1]
DIM = 4
RNG = np.random.default_rng(11)
ROWS = [RNG.normal(size=(length, DIM)).astype(np.float32) for length in LENGTHS]
QUERY = RNG.normal(size=(4, DIM)).astype(np.float32)


def _padded(rows=ROWS):
    padded = np.zeros((len(rows), max(len(row) for row in rows), DIM), dtype=np.float32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded), torch.tensor([len(row) for row in rows], dtype=torch.int32)


def _run(encoder, query=QUERY):
    sequence, lengths = _padded()
    return encoder(torch.from_numpy(query), sequence, lengths).detach().numpy()


def _dims(query=DIM, sequence=DIM):
    return SequenceDims(query, sequence, "enc")


def _scores(encoder, parts):
    hidden = np.concatenate(parts, axis=1)
    for layer in encoder.mlp.mlp:
        linear = layer.perceptron[0]
        hidden = np.maximum(hidden @ linear.weight.detach().numpy().T + linear.bias.detach().numpy(), 0)
    return (hidden @ encoder.linear.weight.detach().numpy().T + encoder.linear.bias.detach().numpy())[:, 0]


def _softmax(x):
    shifted = np.exp(x - x.max())
    return shifted / shifted.sum()


def _din_row(encoder, query, row):
    if len(row) == 0:
        return np.zeros(DIM, dtype=np.float32)
    q = np.repeat(query[None], len(row), axis=0)
    return _softmax(_scores(encoder, [q, row, q - row, q * row])) @ row


def test_din_attends_to_the_real_positions_only():
    encoder = DINEncoder(_dims(), MLPSpec((6, 3)))
    expected = [_din_row(encoder, query, row) for query, row in zip(QUERY, ROWS, strict=True)]
    np.testing.assert_allclose(_run(encoder), expected, rtol=1e-4, atol=1e-5)


def test_din_pads_a_narrow_query_with_zeros():
    encoder = DINEncoder(_dims(query=3), MLPSpec((6,)))
    wide = np.concatenate([QUERY[:, :3], np.zeros((4, 1), dtype=np.float32)], axis=1)
    expected = [_din_row(encoder, query, row) for query, row in zip(wide, ROWS, strict=True)]
    np.testing.assert_allclose(_run(encoder, QUERY[:, :3]), expected, rtol=1e-4, atol=1e-5)


def test_din_cuts_at_max_seq_length():
    encoder = DINEncoder(_dims(), MLPSpec((6,)), max_seq_length=2)
    expected = [_din_row(encoder, query, row[:2]) for query, row in zip(QUERY, ROWS, strict=True)]
    np.testing.assert_allclose(_run(encoder), expected, rtol=1e-4, atol=1e-5)


def test_simple_attention_weighs_by_dot_products():
    expected = [
        _softmax(row @ query) @ row if len(row) else np.zeros(DIM) for query, row in zip(QUERY, ROWS, strict=True)
    ]
    np.testing.assert_allclose(_run(SimpleAttention(_dims())), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut", [0, 2])
def test_pooling_sums_or_averages(cut):
    rows = [row[:cut] if cut else row for row in ROWS]
    sums = np.stack([row.sum(0) for row in rows])
    means = sums / np.maximum([len(row) for row in rows], 1)[:, None]
    np.testing.assert_allclose(_run(PoolingEncoder(_dims(0), "sum", cut)), sums, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(_run(PoolingEncoder(_dims(0), "mean", cut)), means, rtol=1e-4, atol=1e-5)


def test_multi_window_din_averages_weighted_positions_in_each_window():
    encoder = MultiWindowDINEncoder(_dims(), MLPSpec((6,)), (1, 2, 4))
    slope = encoder.active.weight.item()
    expected = []
    for query, row in zip(QUERY, ROWS, strict=True):
        q = np.repeat(query[None], len(row), axis=0)
        scores = _scores(encoder, [row, q * row, q])
        weighted = np.where(scores > 0, scores, slope * scores)[:, None] * row
        windows = [
            weighted[start:end].sum(0) / max(len(weighted[start:end]), 1) for start, end in ((0, 1), (1, 3), (3, 7))
        ]
        expected.append(np.concatenate([*windows, query]))
    np.testing.assert_allclose(_run(encoder), expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_an_empty_sequence_are_finite():
    encoder = DINEncoder(_dims(), MLPSpec((6,)))
    sequence, lengths = _padded([row[:0] for row in ROWS[:1]] + ROWS[1:2] + [ROWS[3]])
    encoder(torch.from_numpy(QUERY[:3]), sequence, lengths).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DINEncoder(_dims(query=0), MLPSpec((2,))), "enc: attention needs a query, got a sequence group of"),
        (lambda: SimpleAttention(_dims(query=5)), "enc: the query must not be wider than the sequence, got 5 > 4;"),
        (lambda: PoolingEncoder(_dims(), "max"), "enc.pooling_type: must be sum or mean, got 'max'"),
        (
            lambda: MultiWindowDINEncoder(_dims(query=3), MLPSpec((2,)), (1,)),
            "enc: query and sequence must be equally wide",
        ),
        (lambda: MultiWindowDINEncoder(_dims(), MLPSpec((2,)), ()), "enc.windows_len: needs positive lengths, got []"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(message)


def _config(text):
    return text_format.Parse(text, seq_encoder_pb2.SeqEncoderConfig())


def test_a_config_makes_its_encoder():
    encoder = build_encoder(
        _config('din_encoder { input: "s" attn_mlp { hidden_units: 2 } max_seq_length: 7 }'), _dims()
    )
    assert isinstance(encoder, DINEncoder)
    assert encoder._max_seq_length == 7


def test_an_encoder_config_without_encoder_is_refused():
    with pytest.raises(ConfigError, match="enc: names no encoder; set one of din_encoder, simple_attention"):
        build_encoder(_config(""), _dims())


def test_an_encoder_that_is_not_built_yet_says_so():
    with pytest.raises(NotSupportedError, match="not supported yet: self_attention_encoder in enc"):
        build_encoder(_config('self_attention_encoder { input: "s" }'), _dims())
