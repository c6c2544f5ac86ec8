"""Sequence encoders: one vector per row from a padded sequence and, for attention, the row's own features.

All encoders share the shapes: query [B, Q], sequence [B, T, D] with zeros after each row's end, lengths [B] integers;
B rows, T longest sequence of the batch, Q and D widths of the query and of one position. Output [B, output_dim].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from tzrec_build.errors import ConfigError, NotSupportedError, suggestion
from tzrec_build.modules.mlp import MLP, MLPSpec
from tzrec_build.protos.tzrec import seq_encoder_pb2

_MASKED = float(-(2**31) + 1)
"""Score of a position after the end of its sequence: softmax makes it exactly 0 next to any real score."""


@dataclass(frozen=True, slots=True)
class SequenceDims:
    """Widths that an encoder gets.

    Args:
        query: width Q of the query, 0 when the sequence group has no features beside the sequence.
        sequence: width D of one position.
        where: place of the encoder in the config, for messages.
    """

    query: int
    sequence: int
    where: str

    def require_query(self) -> None:
        """Refuse a group without a query, or with one wider than the sequence."""
        if self.query == 0:
            raise ConfigError(
                f"{self.where}: attention needs a query, got a sequence group of sequence features only; "
                "add the item's own features to it, or use pooling_encoder"
            )
        if self.query > self.sequence:
            raise ConfigError(
                f"{self.where}: the query must not be wider than the sequence, got {self.query} > {self.sequence}; "
                "give the sequence the same features as the query"
            )


def _valid_positions(sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Boolean [B, T]: positions before each row's end."""
    positions = torch.arange(sequence.size(1), device=sequence.device)
    return positions.unsqueeze(0) < lengths.unsqueeze(1)


class DINEncoder(nn.Module):
    """Target attention: a small MLP scores each position against the query; softmax over the positions.

    Args:
        dims: widths; a query narrower than the sequence is padded with zeros.
        attn_mlp: layers of the scoring MLP.
        max_seq_length: use the first positions only; 0 for all.

    Source: arXiv:1706.06978.
    """

    def __init__(self, dims: SequenceDims, attn_mlp: MLPSpec, max_seq_length: int = 0) -> None:
        super().__init__()
        dims.require_query()
        self.mlp = MLP(4 * dims.sequence, attn_mlp)
        self.linear = nn.Linear(self.mlp.output_dim, 1)
        self.output_dim = dims.sequence
        self._padding = dims.sequence - dims.query
        self._max_seq_length = max_seq_length

    def forward(self, query: torch.Tensor, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the attention-weighted sum of positions, zeros for an empty sequence."""
        if self._max_seq_length > 0:
            sequence = sequence[:, : self._max_seq_length, :]
        queries = functional.pad(query, (0, self._padding)).unsqueeze(1).expand_as(sequence)
        pairs = torch.cat([queries, sequence, queries - sequence, queries * sequence], dim=2)
        scores = self.linear(self.mlp(pairs.flatten(0, 1))).view(sequence.size(0), sequence.size(1))
        return _attend(scores, sequence, lengths)


class SimpleAttention(nn.Module):
    """Target attention by dot product.

    Args:
        dims: widths; a query narrower than the sequence is padded with zeros.
        max_seq_length: use the first positions only; 0 for all.
    """

    def __init__(self, dims: SequenceDims, max_seq_length: int = 0) -> None:
        super().__init__()
        dims.require_query()
        self.output_dim = dims.sequence
        self._padding = dims.sequence - dims.query
        self._max_seq_length = max_seq_length

    def forward(self, query: torch.Tensor, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the attention-weighted sum of positions, zeros for an empty sequence."""
        if self._max_seq_length > 0:
            sequence = sequence[:, : self._max_seq_length, :]
        padded = functional.pad(query, (0, self._padding))
        scores = torch.matmul(sequence, padded.unsqueeze(2)).squeeze(2)
        return _attend(scores, sequence, lengths)


def _attend(scores: torch.Tensor, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Sum positions by the softmax of their scores [B, T]; an empty row sums zeros only."""
    masked = torch.where(_valid_positions(sequence, lengths), scores, _MASKED)
    weights = torch.softmax(masked, dim=1).unsqueeze(1)
    return torch.matmul(weights, sequence).squeeze(1)


class PoolingEncoder(nn.Module):
    """Sum or mean over the positions.

    Args:
        dims: widths; the query is not used.
        pooling_type: `sum`, or `mean` (over at least one position, so an empty sequence gives zeros).
        max_seq_length: use the first positions only; 0 for all.
    """

    def __init__(self, dims: SequenceDims, pooling_type: str = "mean", max_seq_length: int = 0) -> None:
        super().__init__()
        if pooling_type not in {"sum", "mean"}:
            hint = suggestion(pooling_type, ["sum", "mean"])
            raise ConfigError(f"{dims.where}.pooling_type: must be sum or mean, got {pooling_type!r}{hint}")
        self.output_dim = dims.sequence
        self._mean = pooling_type == "mean"
        self._max_seq_length = max_seq_length

    def forward(self, query: torch.Tensor, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the pooled positions; padding is zero and adds nothing."""
        if self._max_seq_length > 0:
            sequence = sequence[:, : self._max_seq_length, :]
            lengths = torch.clamp(lengths, max=self._max_seq_length)
        pooled = sequence.sum(dim=1)
        if self._mean:
            pooled = pooled / torch.clamp(lengths, min=1).unsqueeze(1)
        return pooled


class MultiWindowDINEncoder(nn.Module):
    """Target attention without softmax, averaged inside consecutive windows of positions.

    Args:
        dims: widths; query and sequence must be equally wide.
        attn_mlp: layers of the scoring MLP.
        windows_len: number of positions of each window, from the first position on; later positions are not used.

    State: `windows_len` and `cumsum_windows_len` (first position of each window), int64. Output: one vector per window, then the query.
    """

    windows_len: torch.Tensor
    cumsum_windows_len: torch.Tensor

    def __init__(self, dims: SequenceDims, attn_mlp: MLPSpec, windows_len: tuple[int, ...]) -> None:
        super().__init__()
        dims.require_query()
        if dims.query != dims.sequence:
            raise ConfigError(
                f"{dims.where}: query and sequence must be equally wide, got {dims.query} and {dims.sequence}; "
                "give the sequence the same features as the query"
            )
        if not windows_len or min(windows_len) < 1:
            raise ConfigError(f"{dims.where}.windows_len: needs positive lengths, got {list(windows_len)}")
        windows = torch.tensor(windows_len, dtype=torch.int64)
        self.register_buffer("windows_len", windows)
        self.register_buffer("cumsum_windows_len", torch.cumsum(windows, dim=0) - windows)
        self.mlp = MLP(3 * dims.sequence, attn_mlp)
        self.linear = nn.Linear(self.mlp.output_dim, 1)
        self.active = nn.PReLU()
        self.output_dim = dims.sequence * (len(windows_len) + 1)

    def forward(self, query: torch.Tensor, sequence: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the windows' means, weighted by attention, followed by the query: [B, (W + 1) D]."""
        queries = query.unsqueeze(1).expand_as(sequence)
        pairs = torch.cat([sequence, queries * sequence, queries], dim=2)
        scores = self.active(self.linear(self.mlp(pairs.flatten(0, 1)))).view(sequence.size(0), sequence.size(1), 1)
        positions = torch.arange(sequence.size(1), device=sequence.device).unsqueeze(0)
        starts = self.cumsum_windows_len.unsqueeze(1)
        ends = starts + self.windows_len.unsqueeze(1)
        in_window = ((positions >= starts) & (positions < ends)).to(sequence.dtype)
        sums = torch.matmul(in_window, scores * sequence)  # zeros after the end of a row add nothing
        counted = torch.clamp(lengths.unsqueeze(1) - self.cumsum_windows_len.unsqueeze(0), min=0)
        counted = torch.minimum(counted, self.windows_len.unsqueeze(0))
        means = sums / torch.clamp(counted, min=1).unsqueeze(2)
        return torch.cat([means.flatten(1), query], dim=1)


SequenceEncoder = DINEncoder | SimpleAttention | PoolingEncoder | MultiWindowDINEncoder


def _build_din(config: seq_encoder_pb2.DINEncoder, dims: SequenceDims) -> DINEncoder:
    return DINEncoder(dims, MLPSpec.from_config(config.attn_mlp, f"{dims.where}.attn_mlp"), config.max_seq_length)


def _build_simple(config: seq_encoder_pb2.SimpleAttention, dims: SequenceDims) -> SimpleAttention:
    return SimpleAttention(dims, config.max_seq_length)


def _build_pooling(config: seq_encoder_pb2.PoolingEncoder, dims: SequenceDims) -> PoolingEncoder:
    return PoolingEncoder(dims, config.pooling_type, config.max_seq_length)


def _build_multi_window(config: seq_encoder_pb2.MultiWindowDINEncoder, dims: SequenceDims) -> MultiWindowDINEncoder:
    attn_mlp = MLPSpec.from_config(config.attn_mlp, f"{dims.where}.attn_mlp")
    return MultiWindowDINEncoder(dims, attn_mlp, tuple(config.windows_len))


_BUILDERS: Mapping[str, Callable[..., SequenceEncoder]] = {
    "din_encoder": _build_din,
    "simple_attention": _build_simple,
    "pooling_encoder": _build_pooling,
    "multi_window_din_encoder": _build_multi_window,
}


def encoder_kind(config: seq_encoder_pb2.SeqEncoderConfig, where: str) -> str:
    """Name of the encoder that a config sets; ConfigError for none, NotSupportedError for others."""
    kind = config.WhichOneof("seq_module")
    if kind is None:
        raise ConfigError(f"{where}: names no encoder; set one of {', '.join(_BUILDERS)}")
    if kind not in _BUILDERS:
        raise NotSupportedError(str(kind), where)
    return kind


def build_encoder(config: seq_encoder_pb2.SeqEncoderConfig, dims: SequenceDims) -> SequenceEncoder:
    """Make the encoder that a config names."""
    kind = encoder_kind(config, dims.where)
    return _BUILDERS[kind](getattr(config, kind), dims)
