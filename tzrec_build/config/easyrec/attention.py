"""What an attention of the result must keep beside the rules of lint: EasyRec allows more than TorchEasyRec builds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tzrec_build.config.problems import Problem
from tzrec_build.config.subject import Feature, Subject, feature_sources
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig


def attentions_fit(config: EasyRecConfig) -> Iterator[Problem]:
    """Find attentions whose target is wider than the history, or that mix sampled items with unsampled rows."""
    subject = Subject(config)
    columns = _sampled_columns(config)
    for at, names in _attentions(config):
        features = [subject.by_name[name] for name in names if name in subject.by_name]
        target = sum(_width(feature) for feature in features if not feature.is_sequence)
        history = sum(_width(feature) for feature in features if feature.is_sequence)
        if target > history:
            text = f"the target of an attention must not be wider than its history, got {target} and {history}"
            yield Problem("attention-width", at, f"{text}; embed the history, or name other targets")
        sampled = {bool(_columns(feature) & columns) for feature in features}
        if len(sampled) > 1:
            text = "an attention must not mix sampled items with columns that are not sampled"
            yield Problem("attention-sampler", at, f"{text}, got {', '.join(names)}; leave the target out")


def _attentions(config: EasyRecConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield the features of each DIN encoder and DIN tower, with their place."""
    model = config.model_config
    towers = {tower.input for tower in model.multi_tower_din.din_towers}
    for i, group in enumerate(model.feature_groups):
        at = f"model_config.feature_groups[{i}]"
        if group.group_name in towers:
            yield at, list(group.feature_names)
        read = {encoder.din_encoder.input for encoder in group.sequence_encoders if encoder.HasField("din_encoder")}
        for j, inner in enumerate(group.sequence_groups):
            if inner.group_name in read:
                yield f"{at}.sequence_groups[{j}]", list(inner.feature_names)


def _width(feature: Feature) -> int:
    body = feature.body
    return int(body.embedding_dim or getattr(body, "value_dim", 1) or 1)


def _columns(feature: Feature) -> set[str]:
    return {text.partition(":")[2] for _, text in feature_sources(feature.body)}


def _sampled_columns(config: EasyRecConfig) -> set[str]:
    kind = config.data_config.WhichOneof("sampler")
    sampler: Any = getattr(config.data_config, kind) if kind else None
    return set(sampler.attr_fields) if sampler is not None else set()
