"""From a config file to features, a model and a checkpoint: the common start of train, evaluate, predict and export."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tzrec_build.config.lint import lint
from tzrec_build.config.load import parse_pipeline_config, read_config_text
from tzrec_build.config.problems import raise_problems
from tzrec_build.config.support import check_supported
from tzrec_build.features.create import create_features
from tzrec_build.features.feature import Feature
from tzrec_build.features.loader import BatchLoader, LoaderOptions
from tzrec_build.models.base import BaseModel
from tzrec_build.models.registry import create_model
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.training.checkpoint import restore_state
from tzrec_build.training.checkpoint_dir import Checkpoint, choose_checkpoint
from tzrec_build.training.distributed import pick_device
from tzrec_build.training.memory import tables_in_memory
from tzrec_build.training.seeds import derived_seed, seed_everything
from tzrec_build.training.specs import ModelSpec
from tzrec_build.training.wrapper import TrainWrapper


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked config and its features."""

    config: EasyRecConfig
    features: list[Feature]
    model_class: str = ""  # FILE.py:CLASS in place of the config's model

    def loader(self, input_path: str, options: LoaderOptions) -> BatchLoader:
        """Batches of a table."""
        return BatchLoader(self.config, self.features, input_path, options)

    @property
    def eval_batch_size(self) -> int:
        """Rows of an evaluation or prediction batch."""
        data = self.config.data_config
        return int(data.eval_batch_size if data.HasField("eval_batch_size") else data.batch_size)


def load_pipeline(path: str, model_class: str = "") -> Pipeline:
    """Read a config and refuse what is wrong or not covered yet, before anything is computed.

    Raises:
        ConfigError: unreadable, unknown or missing fields, names that lead nowhere (all at once).
        NotSupportedError: a part that is not built yet.
    """
    text = read_config_text(path)
    config = parse_pipeline_config(text, path)
    check_supported(config, path, text)
    raise_problems(lint(config), path, text)
    return Pipeline(config, create_features(config), model_class)


def build_model(pipeline: Pipeline, seed: int = 0) -> BaseModel:
    """Create the model; its initial weights come from the seed alone.

    Raises:
        ConfigError, NotSupportedError: the model is inconsistent, or its tables do not fit into memory.
    """
    torch.manual_seed(derived_seed(seed, "init"))
    with tables_in_memory(pipeline.config, pipeline.features):
        return create_model(pipeline.config, pipeline.features, pipeline.model_class)


def restored_model(pipeline: Pipeline, checkpoint: Checkpoint, device: torch.device) -> TrainWrapper:
    """The model with a checkpoint's weights, whole on one device, ready to predict.

    Raises:
        DataError: the checkpoint lacks a parameter of this config's model.
    """
    wrapper = TrainWrapper(build_model(pipeline))
    restore_state(checkpoint.path / "model", wrapper.state_dict(), strict=True)
    return wrapper.to(device).eval()


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
    pipeline = load_pipeline(spec.config_path, spec.model_class)
    checkpoint = choose_checkpoint(spec.checkpoint_path, spec.model_dir, spec.pick)
    device = pick_device(spec.compute.device)
    seed_everything(0, spec.compute.threads)
    return LoadedModel(pipeline, restored_model(pipeline, checkpoint, device), checkpoint, device)
