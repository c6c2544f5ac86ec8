"""DeepFM: linear terms, pairwise interactions and a deep network over the same features."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.fm import FactorizationMachine
from tzrec_build.modules.mlp import build_mlp


class DeepFM(RankModel):
    """Groups `wide`, `deep` and, if the interactions use other features than `deep`, `fm`.

    With `final`: logits = Linear(final([sum wide, fm vector, deep])); without: sum wide + sum fm + Linear(deep).

    Source: arXiv:1703.04247.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.deepfm
        super().__init__(context, config.wide_embedding_dim, config.wide_init_fn or None)
        for name in ("wide", "deep"):
            context.group(name, "model_config.deepfm")
        self._fm_group = "fm" if self.embedding_group.has_group("fm") else "deep"
        dims = self.embedding_group.feature_dims(self._fm_group)
        if len(set(dims.values())) != 1:
            raise ConfigError(
                f"model_config.feature_groups {self._fm_group!r}: features that interact must have equal widths, got "
                f"{dims}; set one embedding_dim, or list the features to interact in a group named 'fm'"
            )
        self._num_fields, self._field_dim = len(dims), next(iter(dims.values()))
        self.fm = FactorizationMachine()
        self.deep_mlp = build_mlp(self.embedding_group.group_total_dim("deep"), config.deep, "model_config.deepfm.deep")
        self._has_final = config.HasField("final")
        width = self.deep_mlp.output_dim
        if self._has_final:
            self.final_mlp = build_mlp(1 + self._field_dim + width, config.final, "model_config.deepfm.final")
            width = self.final_mlp.output_dim
        self.output_mlp = nn.Linear(width, self.add_only_head(context))

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        inputs = self.build_input(batch)
        wide = inputs["wide"].sum(dim=1, keepdim=True)
        fm = self.fm(inputs[self._fm_group].reshape(-1, self._num_fields, self._field_dim))
        deep = self.deep_mlp(inputs["deep"])
        if self._has_final:
            logits = self.output_mlp(self.final_mlp(torch.cat([wide, fm, deep], dim=1)))
        else:
            logits = wide + fm.sum(dim=1, keepdim=True) + self.output_mlp(deep)
        return self.head_outputs([logits])
