"""From an EasyRec config to a TorchEasyRec config, with a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format

from tzrec_build.config.easyrec.attention import attentions_fit
from tzrec_build.config.easyrec.data import convert_data, convert_paths, sampler_of
from tzrec_build.config.easyrec.features import Uses, convert_feature, feature_name, is_number
from tzrec_build.config.easyrec.groups import convert_groups, features_by_column, uses_of
from tzrec_build.config.easyrec.heads import Head, losses, metrics
from tzrec_build.config.easyrec.layers import NO_PENALTY
from tzrec_build.config.easyrec.models import MODELS, PENALTIES, Job, Model, sequence_groups
from tzrec_build.config.easyrec.parts import Source, Target, apply, expand, same
from tzrec_build.config.easyrec.receipt import Leaf, Receipt, accounted, leaves
from tzrec_build.config.easyrec.training import convert_training
from tzrec_build.config.lint import lint
from tzrec_build.config.load import missing_fields
from tzrec_build.config.problems import excerpt
from tzrec_build.config.schema_source import Schema
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

if TYPE_CHECKING:
    from tzrec_build.config.easyrec.fg_json import FgJson


@dataclass(frozen=True, slots=True)
class Converted:
    """A finished conversion."""

    config: EasyRecConfig
    receipt: Receipt
    leaves: list[Leaf]  # what was set in the source and in fg.json


def parse_easyrec(text: str, path: str, schema: Schema) -> Any:
    """Parse an EasyRec config; a field given twice has its last value, as in EasyRec.

    Raises:
        ConfigError: with line, column and a caret.
    """
    config = schema.new()
    try:
        text_format.Merge(text, config, descriptor_pool=schema.pool)
    except text_format.ParseError as err:
        place, shown = excerpt(path, text, err.GetLine() or 1, err.GetColumn() or 1)
        words = str(err).rsplit(" : ", 1)[-1]
        raise ConfigError(f"{place}: {words[:1].lower()}{words[1:].rstrip('.')}\n{shown}") from err
    except (RecursionError, ValueError) as err:
        raise ConfigError(f"{path}: cannot be parsed, {err}; look for a missing closing brace") from err
    return config


def convert(message: Any, fg: FgJson | None = None, *, use_old_fg: bool = False) -> Converted:
    """Convert a parsed EasyRec config; the receipt says whether anything was refused.

    Args:
        message: EasyRec's EasyRecConfig.
        fg: the features of an fg.json, if there is one.
        use_old_fg: features of the config, with inputs from `fg`; else features of `fg`, with sizes from the config.

    The result may only be used when `receipt.refusals` is empty.
    """
    receipt, config = Receipt(), EasyRecConfig()
    found = [*leaves(message), *(fg.leaves() if fg else ())]
    source, target = Source(message, "", receipt), Target(config, "", receipt)
    features = source.parts("feature_configs") or source.part("feature_config").parts("features")
    source.part("feature_config").drop("embedding_on_cpu", "the planner places tables")
    if source.has("feature_configs"):
        source.drop("feature_config", "feature_configs is given, which wins")
    source.note(
        "fg_json_path", "mapped" if fg else "dropped", "feature_configs" if fg else "", "" if fg else "not read"
    )
    model, made = source.part("model_config"), target.child("model_config")
    job_model = _chosen(model, made, receipt)
    if job_model is None:
        _account_rest(receipt, found)
        return Converted(config, receipt, found)
    row, body = job_model
    data = source.part("data_config")
    job = Job(
        body, model, made, features_by_column(features), sampler_of(data) is not None, list(data.get("label_fields"))
    )
    numbers = {name for feature in features if is_number(feature) for name in expand([feature_name(feature)])}
    sequences = {feature_name(feature) for feature in features if feature.get("feature_type") == "SequenceFeature"}
    numbers -= fg.names_with_ids() if fg else set()
    uses = _build(job, row, source, Known(numbers, fg.sequence_members() if fg else set(), sequences))
    columns = {name: field for field in data.parts("input_fields") for name in expand([field.get("input_name")])}
    if fg is None:
        for feature in features:
            convert_feature(feature, target, uses, columns)
    else:
        from tzrec_build.config.easyrec.fg_features import FgJob, convert_fg  # as few have an fg.json

        convert_fg(fg, features, target, FgJob(uses, columns, use_old_fg))
    convert_paths(source, target)
    convert_data(source.part("data_config"), target.child("data_config"), str(model.get("label_name")))
    convert_training(source, target, row.name)
    for leaf in [] if receipt.refusals else accounted(receipt, found)[1]:
        if leaf.value == "{}":
            receipt.note(leaf.path, "dropped", (), "an empty message sets nothing")
        else:  # a schema newer than ours, or a place that nothing reads
            receipt.refuse("unaccounted field", leaf.path, "the conversion has no rule for this field here; remove it")
    if receipt.refusals:
        _account_rest(receipt, found)
    else:
        _check(config, receipt)
    return Converted(config, receipt, found)


def _chosen(model: Source, made: Target, receipt: Receipt) -> tuple[Model, Source] | None:
    """Find the row of the model and its settings, or refuse it by name."""
    name = str(model.get("model_class"))
    if model.has("backbone"):
        from tzrec_build.config.easyrec.backbone import recognise  # few configs have one: 5 ms of start

        return recognise(model)
    row = MODELS.get(name)
    if row is None:
        near = suggestion(name, MODELS) if not name else ""
        receipt.refuse(f"model {name}", model.at("model_class"), f"model_class {name!r} has no counterpart{near}")
        return None
    if not model.has(row.message):
        text = f"model_class {name!r} needs its settings {row.message}, got none"
        receipt.refuse("model without settings", model.at("model_class"), text)
        return None
    del made
    return row, model.part(row.message)


_MATCH = "simi_func temperature scale_simi user_tower_idx_in_output item_tower_idx_in_output"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of features before they are converted."""

    numbers: set[str]  # without ids
    members: set[str]  # of sequence blocks in fg.json
    sequences: set[str]  # SequenceFeature


def _build(job: Job, row: Model, source: Source, known: Known) -> Uses:
    """Convert model_config; give what it asks of the features."""
    model, made = job.model, job.target
    read = row.groups(job)
    uses = uses_of(model, set(read), row.sequences, known.sequences | known.members)
    uses.numbers = known.numbers
    uses.sequences |= known.members & (uses.pooled | uses.wide)
    uses.pooled -= known.members
    _keep_names(uses, job, source, row)
    convert_groups(model, made, read, uses)
    sequence_groups(job)
    inner = made.child(row.name)
    model.note("model_class", "mapped", inner.path)
    row.build(job, inner)
    _rest_of_model(job, source, row)
    return uses


def _keep_names(uses: Uses, job: Job, source: Source, row: Model) -> None:
    """Add what features need to know beside the groups: sides, and keys of metrics."""
    sampler = sampler_of(source.part("data_config"))
    if sampler is not None:
        uses.item_columns |= {*sampler.get("attr_fields"), sampler.get("item_id_field")}
    for group in job.model.parts("feature_groups"):
        if row.item_group and group.get("group_name").startswith(row.item_group):
            uses.items |= set(group.get("feature_names"))
    uses.keys |= _keys(source, job.keys)


def _keys(source: Source, keys: Mapping[str, str]) -> set[str]:
    """Features that metrics or losses group rows by."""
    found = set()
    towers = _towers(source)
    for metric in [
        *source.part("eval_config").parts("metrics_set"),
        *(m for t in towers for m in t.parts("metrics_set")),
    ]:
        for kind, field in (("gauc", "uid_field"), ("session_auc", "session_id_field")):
            if metric.has(kind):
                found.add(keys.get(metric.part(kind).get(field), ""))
    for loss in [*source.part("model_config").parts("losses"), *(one for t in towers for one in t.parts("losses"))]:
        if loss.has("jrc_loss"):
            found.add(loss.part("jrc_loss").get("session_name"))
    return found - {""}


def _towers(source: Source) -> list[Source]:
    model = source.part("model_config")
    kind = model.message.WhichOneof("model")
    return model.part(kind).parts("task_towers") if kind else []


def _rest_of_model(job: Job, source: Source, row: Model) -> None:
    """Convert what all models have: losses and metrics of the model, penalties, dropout of features."""
    model, made = job.model, job.target
    job.source.drop(PENALTIES, NO_PENALTY)
    if row.message == "backbone":
        params = model.part("model_params")
        params.drop(PENALTIES, NO_PENALTY)
        params.drop("outputs", "the model knows its outputs")
        others = {"rank": f"task_towers {_MATCH}", "tasks": _MATCH, "match": "task_towers"}[row.kind]
        params.drop(others, "not of this kind of model")
        if model.has("model_params") and not params.message.ListFields():
            params.note("", "mapped", job.target.path)
    evaluation = source.part("eval_config")
    if row.kind == "tasks":
        model.drop("loss_type losses num_class label_name", "each task has its own")
        evaluation.drop("metrics_set", "each task has its own")
    elif row.kind == "match":
        _match_head(model, made, evaluation, job)
    else:
        apply(model, made, same("num_class"))
        head = Head(made, int(model.get("num_class")), weighted=False)
        losses(model, head)
        metrics(evaluation.parts("metrics_set"), head, job.keys)
        model.note("label_name", "mapped", "data_config.label_fields", "the first label is the model's")
    model.drop(
        "embedding_regularization",
        "TorchEasyRec has no penalty on embeddings; weight_decay of the sparse optimizer is the nearest",
    )
    model.drop("model_name", "a model has no name")
    model.drop("ev_params", "tables have a fixed size")
    model.drop("kd", "no distillation from given predictions")
    model.drop("restore_filters", "a checkpoint is restored whole")
    model.drop("loss_weight_strategy", "weights of losses are fixed")
    if model.has("variational_dropout"):
        part, target = model.part("variational_dropout"), made.child("variational_dropout")
        apply(part, target, same("regularization_lambda embedding_wise_variational_dropout"))
        if not part.message.ListFields():
            part.note("", "kept", target.path)


def _match_head(model: Source, made: Target, evaluation: Source, job: Job) -> None:
    """A match model has one loss, softmax over similarities."""
    made.new("losses").child("softmax_cross_entropy")
    model.note("num_class", "approximated", "", "a match model has no classes")
    how = "softmax over the similarities; keep only rows with a positive label"
    if model.has("losses"):
        model.note("losses", "approximated", made.at("losses"), how)
        model.drop("loss_type", "losses are given, which win")
    elif model.get("loss_type") == "SOFTMAX_CROSS_ENTROPY":
        model.note("loss_type", "mapped", made.at("losses"))
    elif model.has("loss_type"):
        model.note("loss_type", "approximated", made.at("losses"), how)
    else:
        made.receipt.add(made.at("losses"), "softmax_cross_entropy", f"EasyRec's default is CLASSIFICATION: {how}")
    model.drop("label_name", "rows are positives")
    metrics(evaluation.parts("metrics_set"), Head(made, 1, weighted=False, match=True), job.keys)


def _account_rest(receipt: Receipt, found: list[Leaf]) -> None:
    """Account for all that was not looked at, after a refusal."""
    for leaf in accounted(receipt, found)[1]:
        receipt.note(leaf.path, "dropped", (), "not looked at: the conversion was refused")


def _check(config: EasyRecConfig, receipt: Receipt) -> None:
    """Refuse a result that its own rules do not accept."""
    for problem in [*missing_fields(config), *lint(config), *attentions_fit(config)]:
        receipt.refuse(f"rule {problem.rule}", problem.field_path, problem.text)
