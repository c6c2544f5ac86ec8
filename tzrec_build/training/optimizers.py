"""Optimizers of a config: fused into the backward pass for sharded tables, torch's own for everything else.

A fused optimizer updates only the rows that a batch touched, inside the backward pass. It is chosen for a table by attributes on
its parameter, which TorchRec reads when it shards the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_training import WeightDecayMode
from google.protobuf.message import Message
from torch import nn

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.training.schedules import Schedule, build_schedule

ADAGRAD_EPS = 1e-8  # TorchEasyRec's (fbgemm's default); 1e-10 gives visibly other losses within eight steps


@dataclass(frozen=True, slots=True)
class FusedOptimizer:
    """What fbgemm needs to update a table in the backward pass.

    Args:
        arguments: fbgemm's optimizer, learning rate and coefficients.
        initial_accumulator: value of Adagrad's sum of squares before the first step.
        schedule: learning rate over time.
    """

    arguments: Mapping[str, object]
    initial_accumulator: float
    schedule: Schedule

    @property
    def learning_rate(self) -> float:
        """Base rate, before the schedule."""
        return float(self.arguments["learning_rate"])  # type: ignore[arg-type]

    def attach(self, parameter: nn.Parameter, *, trainable: bool) -> None:
        """Mark a table's parameter before sharding; a frozen table gets SGD at rate 0, which keeps no state."""
        frozen = {"optimizer": EmbOptimType.EXACT_SGD, "learning_rate": 0.0}
        parameter._optimizer_classes = [None]  # type: ignore[attr-defined]  # noqa: SLF001 - TorchRec's protocol
        parameter._optimizer_kwargs = [dict(self.arguments) if trainable else frozen]  # type: ignore[attr-defined]  # noqa: SLF001


def _fused_sgd(_config: Message) -> dict[str, object]:
    return {"optimizer": EmbOptimType.EXACT_SGD}


def _fused_adagrad(_config: Message) -> dict[str, object]:
    return {"optimizer": EmbOptimType.EXACT_ADAGRAD, "eps": ADAGRAD_EPS}


def _fused_rowwise_adagrad(config: Message) -> dict[str, object]:
    modes = {0: WeightDecayMode.NONE, 1: WeightDecayMode.L2, 2: WeightDecayMode.DECOUPLE}
    return {
        "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        "eps": ADAGRAD_EPS,
        "weight_decay": config.weight_decay,
        "weight_decay_mode": modes[config.weight_decay_mode],
    }


def _fused_adam(config: Message) -> dict[str, object]:
    return {
        "optimizer": EmbOptimType.ADAM,
        "beta1": config.beta1,
        "beta2": config.beta2,
        "weight_decay": config.weight_decay,
        "eps": ADAGRAD_EPS,
    }


FUSED: Mapping[str, Callable[[Message], dict[str, object]]] = {  # SparseOptimizer.optimizer -> fbgemm arguments
    "sgd_optimizer": _fused_sgd,
    "adagrad_optimizer": _fused_adagrad,
    "rowwise_adagrad_optimizer": _fused_rowwise_adagrad,
    "adam_optimizer": _fused_adam,
}
CUDA_ONLY = frozenset({"adam_optimizer"})


def build_fused_optimizer(config: Message, device: torch.device) -> FusedOptimizer:
    """Read train_config.sparse_optimizer.

    Raises:
        NotSupportedError: the optimizer is not built yet, or fbgemm has no kernel for it on this device.
        ConfigError: no optimizer is set.
    """
    name = config.WhichOneof("optimizer")
    if name is None:
        raise ConfigError("train_config.sparse_optimizer: no optimizer is set; add e.g. adagrad_optimizer { lr: 0.01 }")
    if name not in FUSED:
        raise NotSupportedError(f"sparse_optimizer.{name} (use one of {', '.join(sorted(FUSED))})", "train_config")
    if name in CUDA_ONLY and device.type != "cuda":
        usable = ", ".join(sorted(set(FUSED) - CUDA_ONLY))
        raise NotSupportedError(f"sparse_optimizer.{name} on {device.type} (use one of {usable})", "train_config")
    message = getattr(config, name)
    if name == "rowwise_adagrad_optimizer" and message.weight_decay and device.type != "cuda":
        # fbgemm's CPU kernel takes the argument and leaves it out of the update (tried: equal weights with 0 and 0.5)
        raise NotSupportedError(f"sparse_optimizer.{name}.weight_decay on {device.type} (remove it)", "train_config")
    arguments = FUSED[name](message) | {
        "learning_rate": message.lr,
        "gradient_clipping": message.gradient_clipping,
        "max_gradient": message.max_gradient,
    }
    return FusedOptimizer(arguments, getattr(message, "initial_accumulator_value", 0.0), build_schedule(config))


def _betas(config: Message) -> dict[str, Any]:
    return {"betas": (config.beta1, config.beta2), "eps": config.eps, "amsgrad": config.amsgrad}


def _sgd(config: Message) -> dict[str, Any]:
    return {"momentum": config.momentum, "dampening": config.dampening, "nesterov": config.nesterov}


def _adagrad(config: Message) -> dict[str, Any]:
    return {"initial_accumulator_value": config.initial_accumulator_value, "eps": config.eps}


DENSE: Mapping[str, tuple[type[torch.optim.Optimizer], Callable[[Message], dict[str, Any]]]] = {
    "sgd_optimizer": (torch.optim.SGD, _sgd),
    "adagrad_optimizer": (torch.optim.Adagrad, _adagrad),
    "adam_optimizer": (torch.optim.Adam, _betas),
    "adamw_optimizer": (torch.optim.AdamW, _betas),
}


@dataclass(slots=True)
class DenseOptimizer:
    """torch's optimizer over every parameter that is no sharded table, by name.

    Args:
        parameters: checkpoint name -> parameter, in model order.
        optimizer: None when the model has no such parameter.
        base_rate: learning rate before the schedule.
        schedule: learning rate over time.
    """

    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer | None
    base_rate: float
    schedule: Schedule

    def zero_grad(self) -> None:
        """Drop the gradients."""
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        if self.optimizer is not None:
            self.optimizer.step()

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Optimizer state by parameter name, as a checkpoint keeps it (step counters are tensors)."""
        if self.optimizer is None:
            return {}
        rows = {}
        for name, parameter in self.parameters.items():
            entries = self.optimizer.state.get(parameter, {})
            rows[name] = {key: value for key, value in entries.items() if isinstance(value, torch.Tensor)}
        return {name: entries for name, entries in rows.items() if entries}

    def load_state(self, stored: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
        """Take state saved under ``state.<parameter>.<entry>``; returns the parameters that it lacks (they start anew)."""
        lacking = []
        for name, parameter in self.parameters.items():
            entries = {
                key: stored[f"state.{name}.{key}"] for key in self._entry_names() if f"state.{name}.{key}" in stored
            }
            # torch's fused kernels trust the shapes: state of another shape would be read and written out of bounds
            fits = all(value.shape in {parameter.shape, torch.Size()} for value in entries.values())
            if self.optimizer is None or not entries or not fits:
                lacking.append(name)
                continue
            self.optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in entries.items()}
        return tuple(lacking)

    def _entry_names(self) -> tuple[str, ...]:
        return STATE_ENTRIES[type(self.optimizer)] if self.optimizer is not None else ()


STATE_ENTRIES: Mapping[type[torch.optim.Optimizer], tuple[str, ...]] = {  # what torch keeps for a parameter
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adagrad: ("step", "sum"),
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
}


def build_dense_optimizer(config: Message, parameters: Mapping[str, nn.Parameter]) -> DenseOptimizer:
    """Read train_config.dense_optimizer; torch's fused kernels (one call a step) on CPU and CUDA alike.

    Args:
        config: DenseOptimizer message.
        parameters: checkpoint name -> trainable parameter.
    Raises:
        NotSupportedError: the optimizer is not built yet.
        ConfigError: no optimizer is set.
    """
    name = config.WhichOneof("optimizer")
    if name is None:
        raise ConfigError("train_config.dense_optimizer: no optimizer is set; add e.g. adam_optimizer { lr: 0.001 }")
    if name not in DENSE:
        raise NotSupportedError(f"dense_optimizer.{name} (use one of {', '.join(sorted(DENSE))})", "train_config")
    message = getattr(config, name)
    kind, arguments = DENSE[name]
    optimizer = None
    if parameters:
        optimizer = kind(  # type: ignore[call-arg]
            list(parameters.values()),
            lr=message.lr,
            weight_decay=message.weight_decay,
            fused=True,
            **arguments(message),
        )
    return DenseOptimizer(parameters, optimizer, message.lr, build_schedule(config))


@dataclass(slots=True)
class RateGroup:
    """Parameter groups that share a base rate and a schedule; `push` hands a changed rate to a fused kernel."""

    groups: list[dict[str, object]]
    base_rate: float
    schedule: Schedule
    push: Callable[[], None] = field(default=lambda: None)

    def current(self) -> float:
        """Rate that the next step uses."""
        return float(self.groups[0]["lr"]) if self.groups else self.base_rate  # type: ignore[arg-type]

    def set_counter(self, step: int, epoch: int) -> None:
        """Set the rate for a step (both counters start at 0); touches nothing when the rate stays."""
        if self.schedule.constant:
            return
        rate = self.schedule.at(self.base_rate, epoch if self.schedule.by_epoch else step)
        moved = [group for group in self.groups if group["lr"] != rate]
        for group in moved:
            group["lr"] = rate
        if moved:
            self.push()
