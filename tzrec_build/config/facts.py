"""What the graph must know of a config before any task runs: files it names, registry rows it uses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from tzrec_build.config.edit import edit_config
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.config.paths import classified_paths
from tzrec_build.config.walk import walk_messages
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_CHOICES = {  # message.oneof -> prefix of its registry key
    "ModelConfig.model": "model",
    "FeatureConfig.feature": "feature",
    "SeqFeatureConfig.feature": "feature",
    "SeqEncoderConfig.seq_module": "encoder",
    "LossConfig.loss": "loss",
    "LossConfig.sid_loss": "loss",
    "MetricConfig.metric": "metric",
    "DataConfig.sampler": "sampler",
    "SparseOptimizer.optimizer": "sparse_optimizer",
    "SparseOptimizer.learning_rate": "schedule",
    "DenseOptimizer.optimizer": "dense_optimizer",
    "DenseOptimizer.learning_rate": "schedule",
}


def config_facts(path: str | os.PathLike[str], edits: Mapping[str, object] | None = None) -> dict[str, object]:
    """Load a config, apply edits (see `edit.edit_config`) and give the facts about it."""
    return facts_about(edit_config(load_pipeline_config(path), edits or {}))


def facts_about(config: EasyRecConfig) -> dict[str, object]:
    """Give the facts about a config, all JSON values.

    Returns:
        `paths`: path fields with kind and readers (see `paths.classified_paths`); `kinds`: sorted registry keys such as
        ``model:deepfm``; `has_variational_dropout`; `train_input_path`, `eval_input_path`, `model_dir` ("" when unset);
        `label_fields`; `pick`: how the config wants its checkpoint chosen (`by` latest or best, `metric`,
        `smaller_is_better`; a metric that the file does not name is "").
    """
    export = config.export_config
    return {
        "paths": classified_paths(config),
        "kinds": sorted(set(_kinds(config))),
        "has_variational_dropout": config.model_config.HasField("variational_dropout"),
        "train_input_path": config.train_input_path,
        "eval_input_path": config.eval_input_path,
        "model_dir": config.model_dir,
        "label_fields": list(config.data_config.label_fields),
        "pick": {
            "by": "best" if export.exporter_type == "best" else "latest",
            "metric": export.best_exporter_metric if export.HasField("best_exporter_metric") else "",
            "smaller_is_better": not export.metric_larger_is_better,
        },
    }


def _kinds(config: EasyRecConfig) -> Iterator[str]:
    for _, message in walk_messages(config):
        name = message.DESCRIPTOR.name
        for oneof in message.DESCRIPTOR.oneofs:
            prefix = _CHOICES.get(f"{name}.{oneof.name}")
            member = message.WhichOneof(oneof.name)
            if prefix and member:
                yield f"{prefix}:{member}"
