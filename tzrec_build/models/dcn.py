"""Deep and cross networks, both versions, over the first feature group."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.cross import Cross, CrossV2
from tzrec_build.modules.mlp import build_mlp


class DCNV1(RankModel):
    """logits = Linear(final([cross(x), deep(x)])), the last layer without bias.

    Source: arXiv:1708.05123.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        config = context.config.dcn_v1
        where = "model_config.dcn_v1"
        self._input_group = context.first_group(where).group_name
        width = self.embedding_group.group_total_dim(self._input_group)
        self.cross = Cross(width, config.cross.cross_num)
        self.deep = build_mlp(width, config.deep, f"{where}.deep")
        self.final_dnn = build_mlp(width + self.deep.output_dim, config.final, f"{where}.final")
        self.output_linear = nn.Linear(self.final_dnn.output_dim, self.add_only_head(context), bias=False)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        x = self.build_input(batch)[self._input_group]
        return self.head_outputs([self.output_linear(self.final_dnn(torch.cat([self.cross(x), self.deep(x)], dim=1)))])


class DCNV2(RankModel):
    """logits = Linear(final([cross(backbone(x)), deep(x)])), backbone and deep optional, the last layer without bias.

    Source: arXiv:2008.13535.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        config = context.config.dcn_v2
        where = "model_config.dcn_v2"
        self._input_group = context.first_group(where).group_name
        input_dim = self.embedding_group.group_total_dim(self._input_group)
        width = input_dim
        self._has_backbone = config.HasField("backbone")
        if self._has_backbone:
            self.backbone = build_mlp(input_dim, config.backbone, f"{where}.backbone")
            width = self.backbone.output_dim
        self.cross = CrossV2(width, config.cross.cross_num, config.cross.low_rank)
        self._has_deep = config.HasField("deep")
        if self._has_deep:
            self.deep = build_mlp(input_dim, config.deep, f"{where}.deep")
            width += self.deep.output_dim
        self.final = build_mlp(width, config.final, f"{where}.final")
        self.output_mlp = nn.Linear(self.final.output_dim, self.add_only_head(context), bias=False)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        x = self.build_input(batch)[self._input_group]
        net = self.cross(self.backbone(x) if self._has_backbone else x)
        if self._has_deep:
            net = torch.cat([net, self.deep(x)], dim=1)
        return self.head_outputs([self.output_mlp(self.final(net))])
