"""The models by their name in a config, and how one is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.base import BaseModel, ModelContext
from tzrec_build.models.metric_specs import check_groupings
from tzrec_build.models.user_model import load_user_model
from tzrec_build.modules.embedding_tables import EmbeddedFeature
from tzrec_build.protos.tzrec import pipeline_pb2

MODELS: Mapping[str, str] = {
    "dbmtl": "tzrec_build.models.dbmtl:DBMTL",
    "dcn_v1": "tzrec_build.models.dcn:DCNV1",
    "dcn_v2": "tzrec_build.models.dcn:DCNV2",
    "deepfm": "tzrec_build.models.deepfm:DeepFM",
    "dlrm": "tzrec_build.models.dlrm:DLRM",
    "dssm": "tzrec_build.models.dssm:DSSM",
    "mask_net": "tzrec_build.models.mask_net:MaskNetModel",
    "mmoe": "tzrec_build.models.mmoe:MMoEModel",
    "multi_tower": "tzrec_build.models.multi_tower:MultiTower",
    "multi_tower_din": "tzrec_build.models.multi_tower:MultiTowerDIN",
    "ple": "tzrec_build.models.ple:PLE",
    "wide_and_deep": "tzrec_build.models.wide_and_deep:WideAndDeep",
    "xdeepfm": "tzrec_build.models.xdeepfm:XDeepFM",
}


def create_model(
    cfg: pipeline_pb2.EasyRecConfig, features: Sequence[EmbeddedFeature], model_class: str = ""
) -> BaseModel:
    """Make the model that a config describes, with fresh parameters from torch's global generator.

    Args:
        cfg: the whole pipeline config.
        features: its features, in config order (`tzrec_build.features.create.create_features`).
        model_class: ``FILE.py:CLASS`` of a class that is made in place of the config's own, or "".

    Raises:
        ConfigError: the config names no model, or a part of it is inconsistent.
        NotSupportedError: the model is not built yet.
    """
    kind = cfg.model_config.WhichOneof("model")
    if kind is None:
        raise ConfigError(f"model_config: names no model; set one of {', '.join(MODELS)}")
    if kind not in MODELS:
        raise NotSupportedError(f"model_config.{kind}", "the pipeline config")
    make = load_user_model(model_class) if model_class else _own_class(MODELS[kind])
    context = ModelContext(
        config=cfg.model_config,
        features=features,
        label_fields=tuple(cfg.data_config.label_fields),
        sample_weight_fields=tuple(cfg.data_config.sample_weight_fields),
        has_sampler=cfg.data_config.WhichOneof("sampler") is not None,
    )
    model = make(context)
    check_groupings(model.metric_specs, features)
    return model


def _own_class(text: str) -> Callable[[ModelContext], BaseModel]:
    module_name, _, class_name = text.partition(":")
    found: Callable[[ModelContext], BaseModel] = getattr(importlib.import_module(module_name), class_name)
    return found
