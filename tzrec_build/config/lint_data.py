"""Rules about data, samplers and training. Each yields (field path, message)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tzrec_build.config.positions import positions
from tzrec_build.config.ranges import RANGES, numbers_fit
from tzrec_build.config.repeats import equal_repeats
from tzrec_build.config.subject import Subject, feature_sources
from tzrec_build.errors import suggestion
from tzrec_build.protos.tzrec import data_pb2

Found = Iterator[tuple[str, str]]

SAMPLERS = ("NegativeSampler", "NegativeSamplerV2", "HardNegativeSampler", "HardNegativeSamplerV2", "TDMSampler")
_COLUMN_SIDES = frozenset({"user", "item", "context"})
_IN_BATCH = frozenset({"dssm", "dssm_v2", "dat", "mind", "hstu_match"})


def training_ends(subject: Subject) -> Found:
    """Trainings with no length, or two."""
    train = subject.config.train_config
    if subject.config.HasField("train_config") and bool(train.num_steps) == bool(train.num_epochs):
        rule = "exactly one of num_steps and num_epochs must be above 0"
        remedy = "set one" if not train.num_steps else "remove one"
        yield "train_config", f"{rule}, got num_steps {train.num_steps} and num_epochs {train.num_epochs}; {remedy}"


def numbers_are_in_range(subject: Subject) -> Found:
    """Numbers outside their range."""
    yield from (
        (found.field_path, found.text) for found in numbers_fit(subject.of_types(*RANGES)) if found.rule == "range"
    )


def nesterov_has_momentum(subject: Subject) -> Found:
    """Nesterov momentum without what it needs."""
    yield from (
        (found.field_path, found.text) for found in numbers_fit(subject.of_types(*RANGES)) if found.rule == "nesterov"
    )


def negatives_exist(subject: Subject) -> Found:
    """Match models that never see a negative item."""
    if subject.model not in _IN_BATCH or subject.config.data_config.WhichOneof("sampler"):
        return
    if not getattr(subject.config.model_config, subject.model).in_batch_negative:
        text = f"{subject.model} must have negatives, got neither a sampler nor in_batch_negative; add one of them"
        yield f"model_config.{subject.model}", text


def sampler_reads_columns(subject: Subject) -> Found:
    """Columns of a sampler that no feature reads, so that sampled items would carry them for nothing."""
    read = _read_columns(subject) | {feature.own_name: feature.at for feature in subject.features if feature.block}
    for at, sampler in subject.of_types(*SAMPLERS):
        for i, name in enumerate(sampler.attr_fields):
            if name not in read and name != sampler.item_id_field:
                text = f"attr_fields should name columns that features read, got {name!r}{_near(name, read)}"
                yield f"{at}.attr_fields[{i}]", text


def _near(name: str, known: Mapping[str, str]) -> str:
    return suggestion(name, known) if known else "; remove it"


def sampler_has_attributes(subject: Subject) -> Found:
    """Samplers that give the sampled items no column."""
    for at, sampler in subject.of_types(*SAMPLERS):
        if not sampler.attr_fields:
            text = "attr_fields must name the columns of sampled items, got none; list those that item features read"
            yield f"{at}.attr_fields", text


def sampler_draws(subject: Subject) -> Found:
    """Samplers that draw nothing."""
    for at, sampler in subject.of_types(*SAMPLERS):
        if "num_sample" in sampler.DESCRIPTOR.fields_by_name and sampler.num_sample < 1:
            yield f"{at}.num_sample", f"num_sample must be 1 or more, got {sampler.num_sample}; set it"


def columns_are_declared(subject: Subject) -> Found:
    """Columns that a CSV file without a header must have, and input_fields does not list."""
    data = subject.config.data_config
    if data.dataset_type != data_pb2.CsvDataset or data.with_header or not (data.input_fields or data.input_fields_str):
        return
    declared = declared_columns(data)
    for name, at in needed_columns(subject).items():
        if name not in declared:
            yield at, f"column {name!r} must be in input_fields of a CSV without header, got none of that name; add it"


def declared_columns(data: data_pb2.DataConfig) -> list[str]:
    """List the columns that a config declares; the text form wins over the list."""
    pairs = (part.partition(":")[0].strip() for part in data.input_fields_str.split(";"))
    return [name for name in pairs if name] or [field.input_name for field in data.input_fields]


def columns_are_there(subject: Subject) -> Found:
    """Columns that features, labels and samplers need and the data do not have."""
    if subject.columns is None:
        return
    for name, at in needed_columns(subject).items():
        if name not in subject.columns:
            yield at, f"the data must have the column {name!r}, got none of that name{_near(name, subject.columns)}"


def needed_columns(subject: Subject) -> dict[str, str]:
    """Give the columns that a training reads, each with the field that first asks for it."""
    data = subject.config.data_config
    needed = dict(_read_columns(subject))
    for field in ("label_fields", "sample_weight_fields"):
        for i, name in enumerate(getattr(data, field)):
            needed.setdefault(name, f"data_config.{field}[{i}]")
    if data.sample_cost_field:
        needed.setdefault(data.sample_cost_field, "data_config.sample_cost_field")
    for at, sampler in subject.of_types(*SAMPLERS):
        for field in ("item_id_field", "user_id_field"):
            if name := getattr(sampler, field, ""):
                needed.setdefault(name, f"{at}.{field}")
    return needed


def _read_columns(subject: Subject) -> dict[str, str]:
    """Give the columns that features read, each with the field that names it first."""
    if not subject.reads_raw_columns:
        encoded = [feature for feature in subject.features if not feature.body.stub_type]
        return {feature.name: feature.at for feature in reversed(encoded)}
    read: dict[str, str] = {}
    for feature in subject.features:
        prefix = f"{feature.block}__" if feature.block else ""
        for field, text in feature_sources(feature.body):
            side, _, name = text.partition(":")
            if side in _COLUMN_SIDES:
                joined = prefix if _is_sequence_input(feature.body, name) else ""
                read.setdefault(f"{joined}{name}", f"{feature.at}.{field}")
    return read


def _is_sequence_input(body: Any, name: str) -> bool:
    """Say whether an input of a block's member is a sequence: all are, unless sequence_fields lists which."""
    return not body.sequence_fields or name in body.sequence_fields


def is_set_once(subject: Subject) -> Found:
    """Fields of one value that the text sets again, to the same value."""
    for repeat in equal_repeats(subject.text) if subject.text else ():
        yield repeat.path, f"{repeat.name} should be set once, got the same value again; remove one"


def is_current(subject: Subject) -> Found:
    """Fields that have a successor."""
    if "fg_encoded" in subject.text and "data_config[0].fg_encoded[0]" in positions(subject.text).offsets:
        mode = data_pb2.FgMode.Name(subject.config.data_config.fg_mode)
        yield (
            "data_config.fg_encoded",
            f"fg_encoded should be replaced by fg_mode, got the old field; write fg_mode: {mode}",
        )
