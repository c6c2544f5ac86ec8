"""Wide and deep: a linear model and a deep network trained together."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.mlp import build_mlp


class WideAndDeep(RankModel):
    """Groups `wide` and `deep`.

    With `final`: logits = Linear(final([sum wide, deep])); without: sum wide + Linear(deep).

    Source: arXiv:1606.07792.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.wide_and_deep
        where = "model_config.wide_and_deep"
        super().__init__(context, config.wide_embedding_dim, config.wide_init_fn or None)
        for name in ("wide", "deep"):
            context.group(name, where)
        self.deep_mlp = build_mlp(self.embedding_group.group_total_dim("deep"), config.deep, f"{where}.deep")
        self._has_final = config.HasField("final")
        width = self.deep_mlp.output_dim
        if self._has_final:
            self.final_mlp = build_mlp(1 + width, config.final, f"{where}.final")
            width = self.final_mlp.output_dim
        self.output_mlp = nn.Linear(width, self.add_only_head(context))

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        inputs = self.build_input(batch)
        wide = inputs["wide"].sum(dim=1, keepdim=True)
        deep = self.deep_mlp(inputs["deep"])
        if self._has_final:
            logits = self.output_mlp(self.final_mlp(torch.cat([wide, deep], dim=1)))
        else:
            logits = wide + self.output_mlp(deep)
        return self.head_outputs([logits])
