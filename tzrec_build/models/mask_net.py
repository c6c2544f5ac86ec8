"""MaskNet as a ranking model over the first feature group."""

from __future__ import annotations

from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.mask_net import MaskNet

_WHERE = "model_config.mask_net"


class MaskNetModel(RankModel):
    """logits = Linear(mask_net(x)), the last layer without bias.

    Source: arXiv:2102.07619.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self._input_group = context.first_group(_WHERE).group_name
        width = self.embedding_group.group_total_dim(self._input_group)
        config = context.config.mask_net.mask_net_module
        self.mask_net_layer = MaskNet(width, config, f"{_WHERE}.mask_net_module")
        self.output_linear = nn.Linear(self.mask_net_layer.output_dim, self.add_only_head(context), bias=False)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        x = self.build_input(batch)[self._input_group]
        return self.head_outputs([self.output_linear(self.mask_net_layer(x))])
