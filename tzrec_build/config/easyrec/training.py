"""Training, evaluation, export: lengths, checkpoints, optimizers, schedules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tzrec_build.config.easyrec.parts import UNSET_DEFAULT, Rule, Rules, Source, Target, apply, dropped, same

_WIDE = frozenset(
    {"deepfm", "wide_and_deep", "xdeepfm"}
)  # EasyRec's first of several optimizers is for their wide part


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer: its sparse and dense fields here, the rules for both, how the sparse one is approximated."""

    sparse: str
    dense: str
    sparse_rules: Rules
    dense_rules: Rules
    how: str = ""


_BETAS = same("beta1 beta2")
_MOMENTUM = {"momentum_optimizer_value": Rule("momentum")}
_NO_MOMENTUM = dropped("momentum_optimizer_value", "tables are trained without momentum")
_DECAY = {"weight_decay": Rule("weight_decay", always=True)}
_START = {"initial_accumulator_value": Rule("initial_accumulator_value", always=True)}
_ADAM = Optimizer("adam_optimizer", "adam_optimizer", _BETAS, _BETAS)
_ADAMW = Optimizer("adam_optimizer", "adamw_optimizer", _BETAS | _DECAY, _BETAS | _DECAY)
_RMS = {"decay": Rule("alpha", always=True), "epsilon": Rule("eps", always=True)}
_FTRL = _START | dropped("learning_rate_power l1_reg l2_reg l2_shrinkage_reg", "Adagrad stands for FTRL")
OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam_optimizer": _ADAM,
    "lazy_adam_optimizer": _ADAM,
    "adam_async_optimizer": _ADAM,
    "adamw_optimizer": _ADAMW,
    "adam_asyncw_optimizer": _ADAMW,
    "adagrad_optimizer": Optimizer("adagrad_optimizer", "adagrad_optimizer", _START, _START),
    "momentum_optimizer": Optimizer("sgd_optimizer", "sgd_optimizer", _NO_MOMENTUM, _MOMENTUM),
    "momentumw_optimizer": Optimizer(
        "sgd_optimizer",
        "sgd_optimizer",
        _NO_MOMENTUM | dropped("weight_decay", "tables are trained without weight decay"),
        _MOMENTUM | _DECAY,
    ),
    "rms_prop_optimizer": Optimizer("rmsprop_optimizer", "rmsprop_optimizer", _RMS | _NO_MOMENTUM, _RMS | _NO_MOMENTUM),
    "ftrl_optimizer": Optimizer("adagrad_optimizer", "adagrad_optimizer", _FTRL, _FTRL, "Adagrad, the nearest to FTRL"),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule: its name here, the field of the first rate, rules, how it is approximated."""

    name: str
    rate: str
    rules: Rules
    how: str = ""


_WARM = {
    "warmup_learning_rate": Rule("warmup_learning_rate", always=True),
    "warmup_steps": Rule("warmup_size", always=True),
}
SCHEDULES: Mapping[str, Schedule] = {
    "constant_learning_rate": Schedule("constant_learning_rate", "learning_rate", {}),
    "exponential_decay_learning_rate": Schedule(
        "exponential_decay_learning_rate",
        "initial_learning_rate",
        same("decay_factor staircase min_learning_rate")
        | {
            "decay_steps": Rule("decay_size", always=True),
            "burnin_learning_rate": Rule("warmup_learning_rate"),
            "burnin_steps": Rule("warmup_size"),
        },
    ),
    "manual_step_learning_rate": Schedule("manual_step_learning_rate", "initial_learning_rate", same("warmup")),
    "cosine_decay_learning_rate": Schedule(
        "cosine_annealing_learning_rate",
        "learning_rate_base",
        {"total_steps": Rule("T_max", always=True)}
        | _WARM
        | dropped("hold_base_rate_steps", "the rate falls right after the warm-up"),
    ),
    "poly_decay_learning_rate": Schedule(
        "cosine_annealing_learning_rate",
        "learning_rate_base",
        {
            "total_steps": Rule("T_max"),
            "end_learning_rate": Rule("min_learning_rate"),
            "power": Rule(how="a cosine stands for the power"),
        },
        "a cosine over the same steps",
    ),
    "transformer_learning_rate": Schedule(
        "exponential_decay_learning_rate",
        "learning_rate_base",
        {
            "warmup_steps": Rule("warmup_size"),
            "hidden_size": Rule(how="the rate does not follow the width"),
            "step_scaling_rate": Rule(how="the rate does not follow the step"),
        },
        "a warm-up, then a slow decay",
    ),
}
_OF_TENSORFLOW = "a setting of TensorFlow"
_TRAIN: Rules = (
    same("log_step_count_steps save_checkpoints_steps is_profiling")
    | {"keep_checkpoint_max": Rule("keep_checkpoint_max", always=True)}
    | dropped("save_checkpoints_secs", "checkpoints are saved by steps or epochs")
    | dropped(
        "fine_tune_checkpoint fine_tune_ckpt_var_map force_restore_shape_compatible",
        "TensorFlow's checkpoints cannot be read",
    )
    | dropped(
        "sync_replicas sparse_accumulator_type startup_delay_steps train_distribute num_gpus_per_worker protocol",
        "torchrun sets the processes up",
    )
    | dropped(
        "save_summary_steps summary_model_vars write_graph inter_op_parallelism_threads intra_op_parallelism_threads tensor_fuse",
        _OF_TENSORFLOW,
    )
    | dropped("freeze_gradient", "no layer is frozen; features have `trainable`")
    | dropped("incr_save_config", "no incremental checkpoints")
    | dropped("enable_oss_stop_signal dead_line", "training ends by steps or epochs")
)


def convert_training(source: Source, target: Target, model: str) -> None:
    """Convert train_config, with num_epochs of data_config, eval_config and export_config.

    Args:
        source: the whole EasyRec config.
        target: the whole result; its data_config and model are there already.
        model: the chosen model.
    """
    train, made = source.part("train_config"), target.child("train_config")
    apply(train, made, _TRAIN)
    _length(train, source.part("data_config"), made)
    if train.has("gradient_clipping_by_norm"):
        norm = train.get("gradient_clipping_by_norm")
        if norm > 0:
            clipping = made.child("grad_clipping")
            clipping.message.clipping_type = "norm"
            train.note("gradient_clipping_by_norm", "mapped", clipping.set("max_gradient", norm))
        else:
            train.drop("gradient_clipping_by_norm", "0 clips nothing")
    _optimizers(train, made, model)
    _evaluation(source, target)


def _length(train: Source, data: Source, made: Target) -> None:
    """Exactly one of steps and epochs."""
    steps, epochs = int(train.get("num_steps")), int(data.get("num_epochs"))
    if steps:
        train.note("num_steps", "kept", made.set("num_steps", steps))
        data.note("num_epochs", "dropped", "", "num_steps ends the training; EasyRec stops at what comes first")
    elif epochs:
        train.drop("num_steps", "0 is no end")
        data.note("num_epochs", "mapped", made.set("num_epochs", epochs))
    else:
        train.drop("num_steps", "0 is no end")
        data.drop("num_epochs", "0 is no end")
        made.put("num_epochs", 1, "EasyRec would train without end")


def _optimizers(train: Source, made: Target, model: str) -> None:
    given = train.parts("optimizer_config")
    if not given:
        for side in ("sparse_optimizer", "dense_optimizer"):
            optimizer = made.child(side)
            optimizer.child("adam_optimizer").put("lr", 0.001, "EasyRec names no optimizer")
            optimizer.child("constant_learning_rate")
        return
    wide = len(given) > 1 and model in _WIDE
    if wide:
        given[0].note("", "dropped", "", "the wide part shares the optimizer of the embeddings")
        given = given[1:]
    sparse, dense = given[0], given[min(1, len(given) - 1)]
    _optimizer(sparse, made.child("sparse_optimizer"), sparse=True, shared=sparse is dense)
    _optimizer(dense, made.child("dense_optimizer"), sparse=False, shared=sparse is dense)
    for other in given[2:]:
        other.note("", "dropped", "", "there are two optimizers, of tables and of layers")


def _optimizer(source: Source, made: Target, *, sparse: bool, shared: bool) -> None:
    kind = source.message.WhichOneof("optimizer")
    if kind not in OPTIMIZERS:
        source.refuse(f"optimizer {kind}", "optimizer_config must choose an optimizer")
        return
    rule = OPTIMIZERS[kind]
    part, inner = source.part(kind), made.child(rule.sparse if sparse else rule.dense)
    if rule.how:
        part.note("", "approximated", inner.path, rule.how)
    if not part.message.ListFields():
        part.note("", "mapped", inner.path)
    apply(part, inner, rule.sparse_rules if sparse else rule.dense_rules)
    rate = _schedule(part, made)
    factor = float(source.get("embedding_learning_rate_multiplier"))
    if sparse and source.has("embedding_learning_rate_multiplier"):
        rate *= factor
        source.note("embedding_learning_rate_multiplier", "mapped", inner.at("lr"))
    elif not shared:
        source.drop("embedding_learning_rate_multiplier", "this optimizer has no tables")
    inner.message.lr = rate
    _average(source, made, sparse=sparse)


def _average(source: Source, made: Target, *, sparse: bool) -> None:
    if source.get("use_moving_average") and not sparse:
        ema = made.child("ema")
        source.note("use_moving_average", "approximated", ema.path, "averages of layers, not of tables")
        ema.message.decay = source.get("moving_average_decay")
        source.note("moving_average_decay", "mapped", ema.at("decay"))
    elif not source.get("use_moving_average"):
        source.note("use_moving_average", "kept", "", "off on both sides")
        source.drop("moving_average_decay", "use_moving_average is off")


def _schedule(part: Source, made: Target) -> float:
    """Convert the learning rate of an optimizer; give its start."""
    if not part.has("learning_rate"):
        made.child("constant_learning_rate")
        made.receipt.add(made.at("constant_learning_rate"), "{}", UNSET_DEFAULT)
        return 0.002
    rate = part.part("learning_rate")
    kind = rate.message.WhichOneof("learning_rate")
    if kind is None:
        rate.refuse("learning rate", "learning_rate must choose a schedule, got none")
        return 0.0
    rule = SCHEDULES[kind]
    source, target = rate.part(kind), made.child(rule.name)
    source.note("", "approximated" if rule.how else "mapped", target.path, rule.how)
    apply(source, target, rule.rules)
    if kind == "manual_step_learning_rate":
        steps = source.parts("schedule")
        sizes = target.set("schedule_sizes", [step.get("step") for step in steps])
        rates = target.set("learning_rates", [step.get("learning_rate") for step in steps])
        for step in steps:
            step.note("step", "mapped", sizes)
            step.note("learning_rate", "mapped", rates)
    optimizer = made.message.WhichOneof("optimizer")
    source.note(rule.rate, "mapped", f"{made.path}.{optimizer}.lr")
    return float(source.get(rule.rate))


_EXPORTERS: Mapping[str, tuple[str, str]] = {
    "final": ("latest", ""),
    "latest": ("latest", ""),
    "best": ("best", ""),
    "large": ("latest", "one export at the end"),
    "none": ("latest", "an export is a step of its own"),
}
_METRIC_NAMES = {"gauc": "grouped_auc", "session_auc": "grouped_auc", "recall_at_topk": "recall"}
_EXPORT: Rules = (
    {"metric_bigger": Rule("metric_larger_is_better")}
    | dropped("batch_size", "exported models take any number of rows")
    | dropped("enable_early_stop early_stop_func early_stop_params max_check_steps", "training ends by steps or epochs")
    | dropped("multi_placeholder placeholder_named_by_input", "inputs of an export are named by column")
    | dropped("exports_to_keep", "one export is made")
    | dropped("multi_value_fields auto_multi_value", "features say which inputs have several values")
    | dropped("filter_inputs export_features export_rtp_outputs", "an export has the inputs and outputs of the model")
    | dropped("asset_files", "a flag of the export names further files")
)


def _evaluation(source: Source, target: Target) -> None:
    made = target.child("eval_config")
    evaluation, data = source.part("eval_config"), target.message.data_config
    rows = int(evaluation.get("num_examples"))
    size = int(data.eval_batch_size or data.batch_size)
    if rows:
        evaluation.note(
            "num_examples", "mapped", made.set("num_steps", -(-rows // size)), f"rows, in batches of {size}"
        )
    else:
        evaluation.drop("num_examples", "0 is no limit")
    evaluation.drop("eval_interval_secs max_evals", "a checkpoint is evaluated when it is saved")
    evaluation.drop("save_graph", _OF_TENSORFLOW)
    evaluation.drop("eval_online", "evaluation is a step of its own")
    if not evaluation.message.ListFields():
        evaluation.note("", "kept", made.path)
    export = target.child("export_config") if source.has("export_config") else None
    if export is None:
        return
    given = source.part("export_config")
    if not given.message.ListFields():
        given.note("", "kept", export.path)
    apply(given, export, _EXPORT)
    kind, how = _EXPORTERS.get(given.get("exporter_type"), ("latest", "no such exporter"))
    if given.has("exporter_type"):
        given.note("exporter_type", "approximated" if how else "mapped", export.set("exporter_type", kind), how)
    _best_metric(given, export, target)


def _best_metric(given: Source, export: Target, target: Target) -> None:
    """Name the metric that chooses the best checkpoint as the result's evaluation does."""
    metric = str(given.get("best_exporter_metric"))
    for old, new in _METRIC_NAMES.items():
        metric = metric.replace(old, new) if not metric.startswith(new) else metric
    names = metric_names(target)
    if metric in names:
        given.note("best_exporter_metric", "mapped", export.set("best_exporter_metric", metric))
        return
    if export.message.exporter_type != "best":
        given.drop("best_exporter_metric", "the exporter takes the latest checkpoint")
    elif names:
        export.set("best_exporter_metric", names[0])
        how = f"{metric} is no metric of the result, {names[0]} is"
        given.note("best_exporter_metric", "approximated", export.at("best_exporter_metric"), how)
        if not given.has("best_exporter_metric"):
            export.receipt.add(export.at("best_exporter_metric"), names[0], how)
    else:
        given.drop("best_exporter_metric", "no metric is left")


def metric_names(target: Target) -> list[str]:
    """List the names under which the result's metrics are evaluated."""
    model = target.message.model_config
    member = model.WhichOneof("model")
    towers = getattr(getattr(model, member), "task_towers", ()) if member else ()
    found = []
    for head, suffix in [(model, ""), *((tower, f"_{tower.tower_name}") for tower in towers)]:
        for metric in head.metrics:
            kind = metric.WhichOneof("metric")
            name = f"recall@{metric.recall_at_k.top_k}" if kind == "recall_at_k" else kind
            found.append(f"{name}{suffix}")
    return found
