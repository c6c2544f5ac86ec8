"""DLRM: dot products between embeddings and the dense part."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.fm import DotInteraction
from tzrec_build.modules.mlp import build_mlp

_WHERE = "model_config.dlrm"


class DLRM(RankModel):
    """Groups `sparse` (or the only group) and, optionally, `dense` with `dense_mlp`.

    logits = Linear(final([interactions, dense, sparse])); sparse is left out when arch_with_sparse is false.

    Source: arXiv:1906.00091.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        config = context.config.dlrm
        groups = context.config.feature_groups
        self._sparse_group = groups[0].group_name if len(groups) == 1 else "sparse"
        if context.group(self._sparse_group, _WHERE).sequence_encoders:
            raise ConfigError(f"{_WHERE}: group {self._sparse_group!r} must not have sequence_encoders; remove them")
        dims = self.embedding_group.feature_dims(self._sparse_group)
        if len(set(dims.values())) != 1:
            raise ConfigError(
                f"model_config.feature_groups {self._sparse_group!r}: features that interact must have equal widths, "
                f"got {dims}; set one embedding_dim, and move dense features to a group named 'dense'"
            )
        self._num_sparse, self._dim = len(dims), next(iter(dims.values()))
        self._has_dense = self.embedding_group.has_group("dense") and self._sparse_group != "dense"
        if self._has_dense:
            self._add_dense(context)
        self._with_sparse = config.arch_with_sparse
        self.interaction = DotInteraction(self._num_sparse + int(self._has_dense))
        width = self.interaction.output_dim + self._dim * int(self._has_dense)
        if self._with_sparse:
            width += self._num_sparse * self._dim
        self.final_mlp = build_mlp(width, config.final, f"{_WHERE}.final")
        self.output_mlp = nn.Linear(self.final_mlp.output_dim, self.add_only_head(context))

    def _add_dense(self, context: ModelContext) -> None:
        """Make the MLP that brings the dense group to the width of the embeddings."""
        config = context.config.dlrm
        if not config.HasField("dense_mlp"):
            raise ConfigError(
                f"{_WHERE}.dense_mlp: group 'dense' needs it; add dense_mlp {{ hidden_units: {self._dim} }}"
            )
        self.dense_mlp = build_mlp(
            self.embedding_group.group_total_dim("dense"), config.dense_mlp, f"{_WHERE}.dense_mlp"
        )
        if self.dense_mlp.output_dim != self._dim:
            raise ConfigError(
                f"{_WHERE}.dense_mlp: must end as wide as the embeddings, {self._dim}, got {self.dense_mlp.output_dim}"
            )

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        inputs = self.build_input(batch)
        sparse = inputs[self._sparse_group]
        fields = sparse.reshape(-1, self._num_sparse, self._dim)
        extra = []
        if self._has_dense:
            dense = self.dense_mlp(inputs["dense"])
            fields = torch.cat([dense.unsqueeze(1), fields], dim=1)
            extra.append(dense)
        if self._with_sparse:
            extra.append(sparse)
        net = torch.cat([self.interaction(fields), *extra], dim=1)
        return self.head_outputs([self.output_mlp(self.final_mlp(net))])
