"""Base of two-tower retrieval models: similarity of users and items, trained by softmax over negatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.base import BaseModel, InputStage, ModelContext
from tzrec_build.models.heads import Tensors, loss_kind
from tzrec_build.models.metric_specs import MetricOffer, MetricSpec, metric_spec
from tzrec_build.modules.embedding_group import EmbeddingGroup
from tzrec_build.modules.mlp import build_mlp
from tzrec_build.protos.tzrec import simi_pb2, tower_pb2

TOWERS = ("user", "item")
_COSINE = simi_pb2.Similarity.COSINE
_INNER_PRODUCT = simi_pb2.Similarity.INNER_PRODUCT


class MatchTower(InputStage):
    """One side of the model: group -> MLP -> linear -> unit length (cosine only).

    Args:
        context: what the model is built from.
        tower: input group and MLP.
        output_dim: width of the embedding; 0 keeps the MLP's.
        similarity: a `Similarity` value.
        where: place in the config, for messages.
    """

    def __init__(
        self, context: ModelContext, tower: tower_pb2.Tower, output_dim: int, similarity: int, where: str
    ) -> None:
        super().__init__()
        group = context.group(tower.input, f"{where}.input")
        self.group_name = tower.input
        self.embedding_group = EmbeddingGroup(context.features, [group])
        self.init_dropouts(context, [tower.input], self.embedding_group)
        self.mlp = build_mlp(self.embedding_group.group_total_dim(tower.input), tower.mlp, f"{where}.mlp")
        self.output_dim = output_dim or self.mlp.output_dim
        self._has_output = output_dim > 0
        if self._has_output:
            self.output = nn.Linear(self.mlp.output_dim, output_dim)
        self._normalize = similarity == _COSINE

    def forward(self, batch: Batch) -> torch.Tensor:
        """Embeddings [rows of the group, output_dim]."""
        x = self.mlp(self.drop(self.embedding_group(batch))[self.group_name])
        if self._has_output:
            x = self.output(x)
        if self._normalize:
            x = functional.normalize(x, p=2.0, dim=1)
        return x


class MatchModel(BaseModel):
    """Similarity [B, n]: every item of the batch, or the row's own item first and then the sampled ones.

    Args:
        context: what the model is built from.
        in_batch_negative: whether the other rows' items are the negatives.
        where: place in the config, for messages.
    """

    user_tower: MatchTower
    item_tower: MatchTower

    def __init__(self, context: ModelContext, *, in_batch_negative: bool, where: str) -> None:
        super().__init__()
        if not in_batch_negative and not context.has_sampler:
            raise ConfigError(
                f"{where}: needs negatives; set in_batch_negative: true, or a negative_sampler in data_config"
            )
        losses = [loss_kind(config, f"model_config.losses[{i}]") for i, config in enumerate(context.config.losses)]
        if losses != ["softmax_cross_entropy"]:
            raise ConfigError(f"model_config.losses: a match model needs softmax_cross_entropy alone, got {losses}")
        self._in_batch_negative = in_batch_negative
        self._label_smoothing = context.config.losses[0].softmax_cross_entropy.label_smoothing
        self._weights = context.only_weights()
        self.metric_specs = [
            metric_spec(config, MetricOffer(("similarity",)), f"model_config.metrics[{i}]")
            for i, config in enumerate(context.config.metrics)
        ]

    def towers(self) -> Mapping[str, MatchTower]:
        """Tower name -> tower."""
        return {"user": self.user_tower, "item": self.item_tower}

    def tower_embedding(self, batch: Batch, tower: str) -> torch.Tensor:
        """Embeddings of one side [rows, output_dim]; its output name is `<tower>_tower_emb`."""
        return self.towers()[tower](batch)

    def predict(self, batch: Batch) -> Tensors:
        """Similarity of users and items; see `BaseModel.predict`."""
        user = self.tower_embedding(batch, "user")
        return {"similarity": self.similarity(user, self.tower_embedding(batch, "item"))}

    def similarity(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Compare users [B, D] with items [B + negatives, D]."""
        if self._in_batch_negative:
            scores = torch.matmul(user, item.transpose(0, 1))
        else:
            rows = user.size(0)
            own = (user * item[:rows]).sum(dim=1, keepdim=True)
            scores = torch.cat([own, torch.matmul(user, item[rows:].transpose(0, 1))], dim=1)
        return scores / self.temperature

    temperature: float = 1.0

    def targets(self, similarity: torch.Tensor) -> torch.Tensor:
        """Column of each row's own item [B], int64."""
        rows = similarity.size(0)
        if self._in_batch_negative:
            return torch.arange(rows, device=similarity.device)
        return torch.zeros(rows, dtype=torch.int64, device=similarity.device)

    def loss(self, predictions: Tensors, batch: Batch) -> Tensors:
        """Softmax cross entropy over the negatives, then the penalties of variational dropout."""
        similarity = predictions["similarity"]
        rows = functional.cross_entropy(
            similarity, self.targets(similarity), reduction="none", label_smoothing=self._label_smoothing
        )
        if self._weights is not None:
            rows = rows * self._weights.rows(rows.detach(), batch.labels, batch.sample_weights)
        num_items = similarity.size(1) if self._in_batch_negative else similarity.size(0) + similarity.size(1) - 1
        return {
            "softmax_cross_entropy": rows.mean(),
            **self.user_tower.dropout_losses(similarity.size(0)),
            **self.item_tower.dropout_losses(num_items),
        }

    def loss_names(self) -> tuple[str, ...]:
        """The one loss; see `BaseModel.loss_names`."""
        return ("softmax_cross_entropy",)

    def metric_label(self, spec: MetricSpec, predictions: Tensors, batch: Batch) -> torch.Tensor:  # noqa: ARG002
        """Column of each row's own item."""
        return self.targets(predictions["similarity"])


def check_similarity(similarity: int, where: str) -> int:
    """Refuse similarities that are not built yet."""
    if similarity not in {_COSINE, _INNER_PRODUCT}:
        raise NotSupportedError(f"similarity: {simi_pb2.Similarity.Name(similarity)}", where)
    return similarity
