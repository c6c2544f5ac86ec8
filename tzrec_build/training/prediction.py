"""Runs a model over a table without labels and gives its outputs as Arrow columns, batch by batch in the table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.features.feature import Feature
from tzrec_build.features.loader import BatchLoader, LoaderOptions
from tzrec_build.logs import ProgressLogger
from tzrec_build.models.base import BaseModel
from tzrec_build.models.match import TOWERS, MatchModel
from tzrec_build.training.pipeline import LoadedModel, Pipeline

Outputs = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class PredictSpec:
    """What to predict.

    Args:
        input_path: table.
        tower: ``user`` or ``item`` for the embeddings of a match model's tower; empty for the predictions of another model.
        output_columns: which outputs; all, sorted by name, when empty.
        reserved_columns: columns of the table to hand through, after the outputs.
    """

    input_path: str
    tower: str = ""
    output_columns: tuple[str, ...] = ()
    reserved_columns: tuple[str, ...] = ()


def predict_columns(loaded: LoadedModel, spec: PredictSpec) -> Iterator[dict[str, pa.Array]]:
    """Predict a table.

    Yields:
        Column name -> values of one batch: outputs (float [B], or lists for [B, n]), then reserved columns.
    Raises:
        ConfigError: the tower or an output does not exist.
    """
    model = loaded.wrapper.model
    outputs = output_function(model, spec.tower)
    pipeline = Pipeline(loaded.pipeline.config, tower_features(loaded.pipeline, spec.tower))
    options = LoaderOptions(mode="predict", reserved_columns=spec.reserved_columns)
    loader: BatchLoader = pipeline.loader(spec.input_path, options)
    progress = ProgressLogger("predict", "rows", loader.num_rows)
    rows = 0
    with torch.inference_mode():
        for batch in loader:
            moved = batch.to(loaded.device) if loaded.device.type != "cpu" else batch
            found = outputs(moved)
            columns = {name: to_arrow(found[name]) for name in _chosen(spec.output_columns, found)}
            yield columns | _reserved(batch)
            rows += batch.size
            progress.update(rows)
    progress.close()


def output_function(model: BaseModel, tower: str) -> Callable[[Batch], Outputs]:
    """What to call for a batch: one tower's embeddings, or the predictions."""
    if isinstance(model, MatchModel):
        if tower not in TOWERS:
            raise ConfigError(f"--tower: a match model predicts one tower at a time, got {tower!r}; give user or item")
        return lambda batch: {f"{tower}_tower_emb": model.tower_embedding(batch, tower)}
    if tower:
        raise ConfigError(
            f"--tower: only match models have towers, got {tower!r} for a {type(model).__name__}; leave it out"
        )
    return model.predict


def tower_features(pipeline: Pipeline, tower: str) -> list[Feature]:
    """Features that an output needs: those of the tower's group, so that an item table needs no user columns."""
    if not tower:
        return pipeline.features
    model = pipeline.config.model_config
    group_name = getattr(getattr(model, str(model.WhichOneof("model"))), f"{tower}_tower").input
    group = next(one for one in model.feature_groups if one.group_name == group_name)
    names = set(group.feature_names) | {name for part in group.sequence_groups for name in part.feature_names}
    return [feature for feature in pipeline.features if feature.name in names]


def _chosen(wanted: Sequence[str], found: Mapping[str, torch.Tensor]) -> list[str]:
    for name in wanted:
        if name not in found:
            raise ConfigError(f"--output_columns: the model gives no {name!r}{suggestion(name, found)}")
    return list(wanted) or sorted(found)


def _reserved(batch: Batch) -> dict[str, pa.Array]:
    if batch.reserves is None:
        return {}
    return dict(zip(batch.reserves.schema.names, batch.reserves.columns, strict=True))


def to_arrow(tensor: torch.Tensor) -> pa.Array:
    """[B] to a flat array, [B, n, ...] to lists of n (further axes flattened).

    >>> to_arrow(torch.tensor([[1.0, 2.0]])).to_pylist()
    [[1.0, 2.0]]
    """
    values = tensor.detach().cpu().contiguous()
    if values.dim() == 1:
        return pa.array(values.numpy())
    width = values[0].numel() if len(values) else 0
    offsets = pa.array(torch.arange(len(values) + 1, dtype=torch.int32).mul_(width).numpy())
    return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1).numpy()))
