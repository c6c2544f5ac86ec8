"""xDeepFM: compressed interactions over wide embeddings beside a deep network."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.cin import CIN
from tzrec_build.modules.mlp import build_mlp

_WHERE = "model_config.xdeepfm"


class XDeepFM(RankModel):
    """Groups `wide` (fields of the interactions) and `deep`: logits = Linear(final([cin, deep])).

    Source: arXiv:1803.05170.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.xdeepfm
        super().__init__(context, config.wide_embedding_dim, config.wide_init_fn or None)
        for name in ("wide", "deep"):
            context.group(name, _WHERE)
        self._num_fields, self._field_dim = len(self.embedding_group.group_dims("wide")), config.wide_embedding_dim
        self.cin = CIN(self._num_fields, tuple(config.cin.cin_layer_size), f"{_WHERE}.cin")
        self.deep = build_mlp(self.embedding_group.group_total_dim("deep"), config.deep, f"{_WHERE}.deep")
        self.final = build_mlp(self.cin.output_dim + self.deep.output_dim, config.final, f"{_WHERE}.final")
        self.output_mlp = nn.Linear(self.final.output_dim, self.add_only_head(context))

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        inputs = self.build_input(batch)
        interactions = self.cin(inputs["wide"].reshape(-1, self._num_fields, self._field_dim))
        net = torch.cat([interactions, self.deep(inputs["deep"])], dim=1)
        return self.head_outputs([self.output_mlp(self.final(net))])
