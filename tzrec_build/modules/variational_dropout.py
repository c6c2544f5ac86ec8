"""Variational dropout over the features of one group: learns how likely each feature can be left out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

_TEMPERATURE = 0.1
_EPSILON = torch.finfo(torch.float32).eps


class VariationalDropout(nn.Module):
    """Scale every feature by one minus its dropout probability `sigmoid(feature_p)`.

    In training the dropout is sampled per row and feature from the concrete distribution (temperature 0.1), so that
    the probabilities get gradients; in evaluation the probabilities themselves are used.

    Args:
        feature_dims: feature name -> width, in the order of the columns.
        regularization_lambda: strength of the penalty that pushes probabilities up.

    State: `feature_p` [n] float32, zeros at first; `feature_dim_repeat` [n] int32, the widths.
    TorchEasyRec draws the initial `feature_p` from N(0, 1). Here every feature starts equal, at probability 0.5: a training
    of usual length moves a logit by about as much as that draw spreads them, so that a ranking of features would tell more
    of the seed than of the data.
    Source: arXiv:1712.08645 (dropout feature ranking); arXiv:1705.07832 (concrete dropout).
    """

    feature_dim_repeat: torch.Tensor
    _column_feature: torch.Tensor

    def __init__(self, feature_dims: Mapping[str, int], regularization_lambda: float) -> None:
        super().__init__()
        widths = torch.tensor(list(feature_dims.values()), dtype=torch.int32)
        self.regularization_lambda = regularization_lambda
        self.feature_p = nn.Parameter(torch.zeros(len(widths)))
        self.register_buffer("feature_dim_repeat", widths)
        columns = torch.repeat_interleave(torch.arange(len(widths)), widths.long())
        self.register_buffer("_column_feature", columns, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop features of `x` [B, sum of widths]; returns the same shape."""
        p = torch.sigmoid(self.feature_p)
        if not self.training:
            return x * (1.0 - p).index_select(0, self._column_feature)
        uniform = torch.rand(x.size(0), self.feature_p.size(0), device=x.device)
        logit_p = torch.log(p + _EPSILON) - torch.log(1.0 - p + _EPSILON)
        noise = torch.log(uniform + _EPSILON) - torch.log(1.0 - uniform + _EPSILON)
        dropped = torch.sigmoid((logit_p + noise) / _TEMPERATURE)
        return x * (1.0 - dropped).index_select(1, self._column_feature)

    def penalty(self, num_rows: int) -> torch.Tensor:
        """Penalty of features that are kept, per row: `lambda / num_rows * sum(1 - p)`, a scalar."""
        return self.regularization_lambda / num_rows * (1.0 - torch.sigmoid(self.feature_p)).sum()
