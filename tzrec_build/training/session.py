"""One training from config to model directory: builds the parts, runs the loop, saves and evaluates."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from tzrec_build.config.load import save_pipeline_config
from tzrec_build.errors import ConfigError
from tzrec_build.features.loader import BatchLoader, LoaderOptions
from tzrec_build.files import write_json, write_text
from tzrec_build.logs import logger
from tzrec_build.models.base import BaseModel
from tzrec_build.protos.tzrec import data_pb2
from tzrec_build.training.best import best_rule
from tzrec_build.training.checkpoint import (
    CheckpointState,
    drop_old_checkpoints,
    flatten_optimizer,
    report_restored,
    restore_state,
    save_checkpoint,
)
from tzrec_build.training.checkpoint_dir import (
    EVAL_RESULT_FILE,
    checkpoint_name,
    find_checkpoint,
    list_checkpoints,
)
from tzrec_build.training.checkpoint_reader import load_entries, read_tensors
from tzrec_build.training.distributed import Runtime, pick_device, plan_json, process_group, shard_model
from tzrec_build.training.evaluation import EvalSettings, append_result, evaluate
from tzrec_build.training.loop import LoopSettings, LossRecord, Trainer, TrainJob, read_loop_settings
from tzrec_build.training.memory import tables_in_memory
from tzrec_build.training.optimizers import (
    DenseOptimizer,
    FusedOptimizer,
    RateGroup,
    build_dense_optimizer,
    build_fused_optimizer,
)
from tzrec_build.training.pipeline import Pipeline, build_model, load_pipeline
from tzrec_build.training.resume import Position, ResumeDir
from tzrec_build.training.seeds import derived_seed, seed_everything
from tzrec_build.training.specs import TrainSpec
from tzrec_build.training.wrapper import TrainWrapper

LAYOUT_VERSION = "tzrec-build model directory 1"


@dataclass(slots=True)
class Timings:
    """Seconds by part of a run and what was found; a record, never an input of anything."""

    start_up_s: float = 0.0
    loop_s: float = 0.0
    save_s: float = 0.0
    eval_s: float = 0.0
    rows: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A model ready to train."""

    sharded: DistributedModelParallel
    plan: dict[str, dict[str, dict[str, object]]]
    dense: DenseOptimizer
    rates: list[RateGroup]


def train(spec: TrainSpec, started_s: float) -> Timings:
    """Train as asked; the model directory then holds the config, checkpoints, evaluations and records.

    Args:
        spec: what to train.
        started_s: perf_counter when the process began, for the record.
    Raises:
        ConfigError, NotSupportedError, DataError: before training where possible.
        DivergedError: a loss became NaN or infinite.
    """
    pipeline = load_pipeline(spec.config_path, spec.model_class)
    settings = read_loop_settings(pipeline.config.train_config)
    device = pick_device(spec.compute.device)
    _ready_dir(spec.model_dir)
    seed_everything(spec.seed, spec.compute.threads)
    timings = Timings(device=str(device))
    with process_group(device) as runtime:
        session = _Session(spec, pipeline, runtime, timings)
        record = LossRecord(settings.log_steps)
        trainer = Trainer(session.job(), settings, record, session.start())
        save_pipeline_config(pipeline.config, spec.model_dir / "pipeline.config")
        write_text(spec.model_dir / "version", LAYOUT_VERSION + "\n")
        timings.start_up_s = time.perf_counter() - started_s
        begun_s = time.perf_counter()
        timings.rows = trainer.run(pipeline.config.data_config.batch_size)
        timings.loop_s = time.perf_counter() - begun_s - timings.save_s - timings.eval_s
    record.write(spec.model_dir / "records" / "losses.csv")
    write_timings(spec.model_dir / "records" / "timings.json", timings)
    return timings


def write_timings(path: Path, timings: Timings) -> None:
    """Write where the time went, and rows a second inside the loop."""
    seconds = {name: round(getattr(timings, name), 3) for name in ("start_up_s", "loop_s", "save_s", "eval_s")}
    rate = round(timings.rows / max(timings.loop_s, 1e-9))
    write_json(path, {**seconds, "rows": timings.rows, "rows_per_s": rate, "device": timings.device})


def _ready_dir(model_dir: Path) -> None:
    """Refuse a folder with checkpoints; forget what a training that was stopped before its first one left."""
    found = list_checkpoints(model_dir) if model_dir.is_dir() else []
    if found:
        raise ConfigError(f"--model_dir: {model_dir} holds {found[-1].path.name} already; name an empty folder")
    (model_dir / EVAL_RESULT_FILE).unlink(missing_ok=True)
    for partial in model_dir.glob(".model.ckpt-*.partial"):
        shutil.rmtree(partial)


def _check_last_batch(model: nn.Module, data: data_pb2.DataConfig, settings: LoopSettings, rows: int) -> None:
    """Refuse a batch of one row before an epoch is spent: batch normalisation has no spread to divide by.

    Raises:
        ConfigError: the model normalises over batches and some batch will have one row.
    """
    norms = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - the common base of all sizes
    if not any(isinstance(module, norms) for module in model.modules()):
        return
    size = data.batch_size
    if size == 1:
        raise ConfigError("data_config.batch_size: batch normalisation (use_bn, Dice) needs 2 rows or more, got 1")
    reached = data.shuffle or not settings.num_steps or settings.num_steps * size >= rows
    if rows % size == 1 and reached and not data.drop_remainder:
        raise ConfigError(
            f"data_config.drop_remainder: {rows} rows in batches of {size} leave a batch of one row, which batch "
            "normalisation (use_bn, Dice) cannot train on; set drop_remainder: true, or another batch_size"
        )


class _Session:
    """The parts of one training that outlive a step."""

    def __init__(self, spec: TrainSpec, pipeline: Pipeline, runtime: Runtime, timings: Timings) -> None:
        settings = read_loop_settings(pipeline.config.train_config)
        self._spec, self._pipeline, self._runtime, self._timings = spec, pipeline, runtime, timings
        config = pipeline.config
        train_path = spec.train_input_path or config.train_input_path
        if not train_path:
            raise ConfigError("--train_input_path: must be given, the config names no table either")
        self._train_loader = self._loader(train_path, "train")
        eval_path = spec.eval_input_path or config.eval_input_path
        self._eval_loader = self._loader(eval_path, "eval") if eval_path else None
        model = build_model(pipeline, spec.seed)
        self._model = model
        self._best = best_rule(spec, config, evaluates=self._eval_loader is not None)
        if self._best is not None:
            self._best.check(model.result_names())
        for loader in (self._train_loader, self._eval_loader):
            if loader is not None:
                loader.expect_labels(model.label_ranges())
        _check_last_batch(model, config.data_config, settings, self._train_loader.num_rows)
        with tables_in_memory(config, pipeline.features):
            self._parts = build_parts(model, pipeline, runtime)
        self._resume = ResumeDir(spec.resume_dir, spec.resume_every_s, spec.model_dir)
        self._cut_off = self._resume.latest(runtime.device)
        if self._cut_off is None:
            self._start_from(spec.fine_tune_checkpoint or config.train_config.fine_tune_checkpoint)
        torch.manual_seed(derived_seed(spec.seed, "train"))  # dropout masks, whatever the initialisation drew

    def job(self) -> TrainJob:
        """What the loop works on."""
        parts = self._parts
        return TrainJob(
            wrapper=parts.sharded,
            loader=self._train_loader,
            dense=parts.dense,
            rates=parts.rates,
            device=self._runtime.device,
            save=self._save,
            keep_due=self._resume.due,
            keep=self._keep,
        )

    def start(self) -> Position | None:
        """Where a training that was cut off goes on; None for one that starts."""
        return self._resume.load(self._cut_off, self._parts) if self._cut_off is not None else None

    def _keep(self, position: Position) -> None:
        begun_s = time.perf_counter()
        self._resume.save(self._parts, optimizer_state(self._parts), position, self._runtime.device)
        self._timings.save_s += time.perf_counter() - begun_s

    def _loader(self, path: str, mode: str) -> BatchLoader:
        return self._pipeline.loader(path, LoaderOptions(mode=mode, seed=self._spec.seed))

    def _start_from(self, path: str) -> None:
        if not path:
            return
        checkpoint = find_checkpoint(Path(path))
        sharded = self._parts.sharded
        report_restored("fine tune", restore_state(checkpoint.path / "model", sharded.state_dict(), strict=False))
        restore_optimizer(checkpoint.path / "optimizer", self._parts)

    def _save(self, step: int, epochs: int) -> None:
        begun_s = time.perf_counter()
        parts = self._parts
        state = CheckpointState(parts.sharded.state_dict(), optimizer_state(parts), parts.plan, epochs)
        save_checkpoint(self._spec.model_dir, step, state)
        saved_s = time.perf_counter()
        self._timings.save_s += saved_s - begun_s
        logger.info("saved %s", checkpoint_name(step))
        if self._eval_loader is not None:
            self._evaluate(step, self._eval_loader)
            self._timings.eval_s += time.perf_counter() - saved_s
        self._drop_old()

    def _evaluate(self, step: int, loader: BatchLoader) -> None:
        config = self._pipeline.config.eval_config
        settings = EvalSettings(f"evaluate {checkpoint_name(step)}", loader.num_rows, config.num_steps)
        values = evaluate(self._parts.sharded, self._model, loader, self._runtime.device, settings)
        append_result(self._spec.model_dir, step, values)
        logger.info("evaluated %s: %s", checkpoint_name(step), "  ".join(f"{k} {v:.6f}" for k, v in values.items()))

    def _drop_old(self) -> None:
        keep, model_dir = self._pipeline.config.train_config.keep_checkpoint_max, self._spec.model_dir
        protected = self._best.best_so_far(model_dir) if self._best is not None and keep else None
        drop_old_checkpoints(model_dir, keep, protected)


def build_parts(model: BaseModel, pipeline: Pipeline, runtime: Runtime) -> Parts:
    """Shard a model and give it its optimizers.

    Args:
        model: with its initial weights.
        pipeline: its config.
        runtime: device and rank.
    """
    config = pipeline.config.train_config
    fused = build_fused_optimizer(config.sparse_optimizer, runtime.device)
    sharded, plan = shard_model(TrainWrapper(model), fused, runtime)
    dense = build_dense_optimizer(config.dense_optimizer, dense_parameters(sharded))
    return Parts(sharded, plan_json(plan), dense, rate_groups(sharded, fused, dense))


def dense_parameters(sharded: DistributedModelParallel) -> dict[str, nn.Parameter]:
    """Parameters that the dense optimizer trains: all that are trainable and in no fused table."""
    fused = set(sharded.fused_optimizer.params)
    return {
        name: parameter
        for name, parameter in sharded.named_parameters()
        if name not in fused and parameter.requires_grad
    }


def rate_groups(sharded: DistributedModelParallel, fused: FusedOptimizer, dense: DenseOptimizer) -> list[RateGroup]:
    """Learning rates of the tables (frozen ones left out) and of the rest."""
    tables = [group for group in sharded.fused_optimizer.param_groups if group["lr"]]
    groups = [RateGroup(tables, fused.learning_rate, fused.schedule, sharded.fused_optimizer.step)] if tables else []
    if dense.optimizer is not None:
        groups.append(RateGroup(dense.optimizer.param_groups, dense.base_rate, dense.schedule))
    return groups


def restore_optimizer(folder: Path, parts: Parts) -> None:
    """Take the state of both optimizers from a checkpoint; what it lacks starts anew, which is only warned about."""
    if not (folder / ".metadata").is_file():
        logger.warning("fine tune: %s is absent, the optimizers start anew", folder)
        return
    restored = restore_state(
        folder, flatten_optimizer(parts.sharded.fused_optimizer.state_dict()["state"]), strict=False
    )
    report_restored("fine tune, fused optimizer", restored)
    names = [name for name in load_entries(folder) if name.startswith("state.")]
    for name in parts.dense.load_state(read_tensors(folder, names)):
        logger.warning("fine tune, dense optimizer: no state for %s there, or of another shape; it starts anew", name)


def optimizer_state(parts: Parts) -> dict[str, dict[str, object]]:
    """State of both optimizers by parameter name, as a checkpoint keeps it."""
    tables = parts.sharded.fused_optimizer.state_dict()["state"]
    return {name: dict(entries) for name, entries in (*tables.items(), *parts.dense.state().items()) if entries}
