"""From a config file to features, a model and a checkpoint: the common start of train, evaluate, predict and export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from tzrec_build.config.lint import lint
from tzrec_build.config.load import parse_pipeline_config, read_config_text
from tzrec_build.config.problems import raise_problems
from tzrec_build.config.support import check_supported
from tzrec_build.errors import ConfigError, DataError
from tzrec_build.features.create import create_features
from tzrec_build.features.feature import Feature
from tzrec_build.features.loader import BatchLoader, LoaderOptions
from tzrec_build.models.base import BaseModel
from tzrec_build.models.registry import create_model
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.training.checkpoint import restore_state
from tzrec_build.training.checkpoint_dir import Checkpoint, checkpoint_name, find_checkpoint
from tzrec_build.training.distributed import pick_device
from tzrec_build.training.loop import TrainWrapper
from tzrec_build.training.seeds import derived_seed, seed_everything
from tzrec_build.training.specs import ModelSpec


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked config and its features."""

    config: EasyRecConfig
    features: list[Feature]

    def loader(self, input_path: str, options: LoaderOptions) -> BatchLoader:
        """Batches of a table."""
        return BatchLoader(self.config, self.features, input_path, options)

    @property
    def eval_batch_size(self) -> int:
        """Rows of an evaluation or prediction batch."""
        data = self.config.data_config
        return int(data.eval_batch_size if data.HasField("eval_batch_size") else data.batch_size)


def load_pipeline(path: str) -> Pipeline:
    """Read a config and refuse what is wrong or not covered yet, before anything is computed.

    Raises:
        ConfigError: unreadable, unknown or missing fields, names that lead nowhere (all at once).
        NotSupportedError: a part that is not built yet.
    """
    text = read_config_text(path)
    config = parse_pipeline_config(text, path)
    check_supported(config, path, text)
    raise_problems(lint(config), path, text)
    return Pipeline(config, create_features(config))


def build_model(pipeline: Pipeline, seed: int = 0) -> BaseModel:
    """Create the model; its initial weights come from the seed alone."""
    torch.manual_seed(derived_seed(seed, "init"))
    return create_model(pipeline.config, pipeline.features)


def restored_model(pipeline: Pipeline, checkpoint: Checkpoint, device: torch.device) -> TrainWrapper:
    """The model with a checkpoint's weights, whole on one device, ready to predict.

    Raises:
        DataError: the checkpoint lacks a parameter of this config's model.
    """
    wrapper = TrainWrapper(build_model(pipeline))
    restore_state(checkpoint.path / "model", wrapper.state_dict(), strict=True)
    return wrapper.to(device).eval()


def chosen_checkpoint(spec: ModelSpec) -> Checkpoint:
    """The checkpoint that the flags name: a path, or a model directory with the file that `pick_checkpoint` wrote.

    Raises:
        ConfigError: neither or both ways are given.
        DataError: there is no such checkpoint.
    """
    if bool(spec.checkpoint_path) == bool(spec.model_dir):
        raise ConfigError("--checkpoint_path, --model_dir: exactly one must be given; remove or add one")
    if spec.pick and not spec.model_dir:
        raise ConfigError("--pick: chooses inside --model_dir, got --checkpoint_path; remove one of them")
    if not spec.pick:
        return find_checkpoint(Path(spec.checkpoint_path or spec.model_dir))
    try:
        name = checkpoint_name(int(json.loads(Path(spec.pick).read_text())["step"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{spec.pick}: not a choice of a checkpoint ({err}); write it with pick_checkpoint") from err
    return find_checkpoint(Path(spec.model_dir) / name)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A trained model on its device."""

    pipeline: Pipeline
    wrapper: TrainWrapper
    checkpoint: Checkpoint
    device: torch.device


def load_model(spec: ModelSpec) -> LoadedModel:
    """Load config and checkpoint that the flags name, ready to predict.

    Raises:
        ConfigError, NotSupportedError: the config or a flag is wrong.
        DataError: there is no such checkpoint, or it is of another model.
    """
    pipeline = load_pipeline(spec.config_path)
    checkpoint = chosen_checkpoint(spec)
    device = pick_device(spec.compute.device)
    seed_everything(0, spec.compute.threads)
    return LoadedModel(pipeline, restored_model(pipeline, checkpoint, device), checkpoint, device)
