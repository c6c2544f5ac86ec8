"""The rules from a user's config to the one that is trained: conversion, edits, sizes of features, selection, projections."""

from __future__ import annotations

from tzrec_build.graph.grammar import PipelineSpec
from tzrec_build.graph.rule import Flags, Given, Made, Out, Param, Rule, Switch

TORCH = ("torch", "torchrec", "fbgemm-gpu", "torchmetrics", "tensordict", "numpy", "pyarrow", "protobuf")
DEVICE: Flags = (("--threads", Param("train.threads")), ("--device", Param("train.device")))
TRAINED = ("model.ckpt-*",)
_UNSELECTED = (
    "feature_info/pipeline.config",
    "config/pipeline.config",
)  # the config before any selection: the first that is made
_BASE = Made(_UNSELECTED[0], fallbacks=_UNSELECTED[1:])


def has_config(p: PipelineSpec) -> bool:
    """Whether a pipeline has [config]."""
    return p.config is not None


def _converts(p: PipelineSpec) -> bool:
    return p.config is not None and bool(p.config.easyrec)


def _has_path(p: PipelineSpec) -> bool:
    return p.config is not None and bool(p.config.path)


def _has_feature_info(p: PipelineSpec) -> bool:
    return p.config is not None and bool(p.config.feature_info)


def _selects(p: PipelineSpec) -> bool:
    return p.config is not None and p.select is not None


CONFIG_RULES: tuple[Rule, ...] = (
    Rule(
        "convert",
        "the TorchEasyRec config that an EasyRec config becomes, and the receipt of every field",
        "convert_easyrec",
        (
            ("--easyrec_config_path", Given("config.easyrec")),
            ("--fg_json_path", Given("config.fg_json", optional=True)),
            ("--easyrec_package_path", Given("config.schema", optional=True)),
            ("--output_tzrec_config_path", Out("pipeline.config")),
            ("--report_path", Out("conversion_report.json")),
            ("--table_path", Out("conversion_report.txt")),
        ),
        ("pipeline.config", "conversion_report.json", "conversion_report.txt"),
        _converts,
    ),
    *(
        Rule(
            "config",
            "check the pipeline config, apply [config.edit], write it in canonical form",
            "project_config",
            (
                ("--pipeline_config_path", source),
                ("--output_dir", Out()),
                ("--edit_config_json", Param("config.edit")),
            ),
            ("pipeline.config",),
            when,
        )
        for source, when in ((Given("config.path"), _has_path), (Made("convert/pipeline.config"), _converts))
    ),
    Rule(
        "feature_info",
        "the config with the sizes of [config] feature_info, and without the features that it drops",
        "feature_info",
        (
            ("--template_model_config_path", Made("config/pipeline.config")),
            ("--config_table_path", Given("config.feature_info")),
            ("--model_config_path", Out("pipeline.config")),
            ("--report_path", Out("feature_info_report.json")),
        ),
        ("pipeline.config", "feature_info_report.json"),
        _has_feature_info,
        packages=("pyarrow", "protobuf"),
    ),
    Rule(
        "select_config",
        "the config of the selection training: variational dropout switched on",
        "project_config",
        (
            ("--pipeline_config_path", _BASE),
            ("--output_dir", Out()),
            ("--purposes", "select"),
            ("--require_variational_dropout", Param("select.regularization_lambda")),
        ),
        ("select.config",),
        _selects,
    ),
    Rule(
        "train_select",
        "train with variational dropout, to learn which features matter",
        "train",
        (
            ("--pipeline_config_path", Made("select_config/select.config")),
            ("--train_input_path", Given("data.train")),
            ("--model_dir", Out()),
            ("--seed", Param("train.seed")),
            *DEVICE,
        ),
        TRAINED,
        _selects,
        purpose="select",
        packages=TORCH,
        threads="train.threads",
    ),
    Rule(
        "importance",
        "feature importance from variational dropout: a table and a picture per feature group",
        "feature_importance",
        (
            ("--pipeline_config_path", Made("select_config/select.config")),
            ("--model_dir", Made("train_select")),
            ("--output_dir", Out()),
            ("--visualize", Switch()),
        ),
        ("feature_dropout_ratio_*.csv",),
        _selects,
        packages=("torch", "matplotlib", "numpy", "protobuf"),
    ),
    Rule(
        "prune",
        "the config with the [select] topk features of each group only",
        "prune",
        (
            ("--pipeline_config_path", _BASE),
            ("--importance_dir", Made("importance")),
            ("--topk", Param("select.topk")),
            ("--output_config_path", Out("pipeline.config")),
        ),
        ("pipeline.config",),
        _selects,
    ),
    Rule(
        "final_config",
        "the config that is trained, and the part of it that each later tool reads",
        "project_config",
        (
            ("--pipeline_config_path", Made("prune/pipeline.config", fallbacks=_UNSELECTED)),
            ("--output_dir", Out()),
            ("--purposes", "train,eval,predict,fg,export"),
        ),
        ("pipeline.config", "train.config", "eval.config", "predict.config", "fg.config", "export.config"),
        has_config,
    ),
    Rule(
        "fg",
        "fg.json and its vocabulary files, for the feature generator in serving",
        "fg_json",
        (
            ("--pipeline_config_path", Made("final_config/fg.config")),
            ("--fg_output_dir", Out()),
            ("--reserves", Param("fg.reserves")),
            ("--remove_bucketizer", Param("fg.remove_bucketizer")),
        ),
        ("fg.json",),
        has_config,
        purpose="fg",
        packages=("pyarrow", "numpy", "protobuf"),
    ),
)
