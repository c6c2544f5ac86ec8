"""The module that is trained and saved: a model with its losses. Apart from the loop, whose code no prediction depends on."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.models.base import BaseModel

Losses = dict[str, torch.Tensor]


class TrainWrapper(nn.Module):
    """Predictions and losses in one call, and the prefix ``model.`` of every checkpoint name."""

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[torch.Tensor, Losses, dict[str, torch.Tensor]]:
        """Total loss [], losses by name, predictions by name."""
        predictions = self.model.predict(batch)
        losses = self.model.loss(predictions, batch)
        return torch.stack([loss.reshape(()) for loss in losses.values()]).sum(), losses, predictions
