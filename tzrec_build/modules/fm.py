"""Feature interactions without parameters: factorization machine and pairwise dot products."""

from __future__ import annotations

import torch
from torch import nn


class FactorizationMachine(nn.Module):
    """Sum over all pairs of fields of their element-wise product.

    Shapes: input [B, F, D], output [B, D]; B rows, F fields, D embedding_dim.
    Source: S. Rendle, Factorization Machines, ICDM 2010, lemma 3.1 (linear time form).
    """

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Return `((sum v)^2 - sum v^2) / 2`."""
        total = fields.sum(dim=1)
        return 0.5 * (total * total - (fields * fields).sum(dim=1))


class DotInteraction(nn.Module):
    """Dot product of every pair of fields.

    Args:
        num_fields: F, number of fields.

    Shapes: input [B, F, D], output [B, F (F - 1) / 2]: pairs (0, 1), (0, 2), ..., (F - 2, F - 1).
    Source: arXiv:1906.00091, section 2.1.4.
    """

    _flat_pairs: torch.Tensor

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        row, column = torch.triu_indices(num_fields, num_fields, offset=1)
        self.register_buffer("_flat_pairs", row * num_fields + column, persistent=False)
        self.output_dim = num_fields * (num_fields - 1) // 2

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Return the upper triangle, without the diagonal, of `fields @ fields^T`."""
        products = torch.bmm(fields, fields.transpose(1, 2))
        return products.flatten(1).index_select(1, self._flat_pairs)
