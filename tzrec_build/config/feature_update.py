"""Bring the sizes of features, found by looking at the data, into a config: widths, boundaries, hash tables, drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tzrec_build.config.feature_drop import drop_features, users_of
from tzrec_build.config.lint import lint
from tzrec_build.config.subject import Feature, Subject
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_VOCABULARY = ("vocab_list", "vocab_dict", "vocab_file", "asset_dir", "default_bucketize_value")
_DENSE = ("autodis", "mlp")
COMPETING: Mapping[str, tuple[str, ...]] = {  # what is set -> other ways to turn a value into an id, cleared with it
    "boundaries": ("hash_bucket_size", "num_buckets", "zch", "dynamicemb", *_VOCABULARY, *_DENSE),
    "hash_bucket_size": ("boundaries", "num_buckets", "zch", "dynamicemb", *_VOCABULARY, *_DENSE),
}


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What a table says of one feature; `where` names the row in messages. Empty values change nothing."""

    where: str
    feature: str
    drop: bool = False
    embedding_dim: int = 0
    boundaries: tuple[float, ...] = ()
    hash_bucket_size: int = 0


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update came to: names of features by what happened to them, and sentences about everything else."""

    updated: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    unmatched_rows: list[str] = field(default_factory=list)  # "where: feature"
    unmatched_features: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def update_features(config: EasyRecConfig, infos: Sequence[FeatureInfo]) -> tuple[EasyRecConfig, UpdateReport]:
    """Apply a table of feature infos to a copy of a config.

    Args:
        config: left as it is.
        infos: in the order of the table; of several about one feature the last counts, a drop counts in any.
    Returns:
        The new config, and what happened.
    Raises:
        ConfigError: a value does not fit its feature, something needs a dropped feature, or the new config breaks a rule of lint
            that the old one kept; all are listed.
    """
    new = type(config)()
    new.CopyFrom(config)
    report = UpdateReport()
    known = {feature.name: feature for feature in Subject(new).features}
    last = _last_of_each(infos, report)
    problems: list[str] = []
    for name, info in last.items():
        if name not in known:
            report.unmatched_rows.append(f"{info.where}: {name!r}")
        elif not info.drop:
            problems += _update(known[name], info)
            report.updated.append(name)
    report.unmatched_features.extend(name for name in known if name not in last)
    dropped = {name: info.where for name, info in last.items() if info.drop and name in known}
    problems += users_of(new, dropped)
    _raise(problems)
    report.dropped.extend(dropped)
    report.notes.extend(drop_features(new, dropped))
    _raise(_new_problems(config, new))
    return new, report


def _last_of_each(infos: Sequence[FeatureInfo], report: UpdateReport) -> dict[str, FeatureInfo]:
    last: dict[str, FeatureInfo] = {}
    for info in infos:
        earlier = last.get(info.feature)
        if earlier is not None:
            kept = earlier if earlier.drop and not info.drop else info
            report.notes.append(f"{info.where}: {info.feature!r} is in the table again; {kept.where} counts")
            last[info.feature] = kept
        else:
            last[info.feature] = info
    return last


def _update(feature: Feature, info: FeatureInfo) -> list[str]:
    """Set what the info says, in place; returns what does not fit."""
    body, problems = feature.body, []
    if info.embedding_dim:
        body.embedding_dim = info.embedding_dim
    for name, value in (("boundaries", info.boundaries), ("hash_bucket_size", info.hash_bucket_size)):
        if not value:
            continue
        if name not in body.DESCRIPTOR.fields_by_name:
            kind = feature.kind.removeprefix("sequence_")
            has = [other for other in COMPETING if other in body.DESCRIPTOR.fields_by_name]
            remedy = f"give {has[0]}" if has else "leave the size out"
            problems.append(f"{info.where}: {feature.name!r} is a {kind}, which has no {name}, got one; {remedy}")
            continue
        _clear(body, COMPETING[name])
        if name == "boundaries":
            del body.boundaries[:]
            body.boundaries.extend(info.boundaries)
        else:
            body.hash_bucket_size = info.hash_bucket_size
    return problems


def _clear(body: Any, names: Sequence[str]) -> None:
    for name in names:
        if name in body.DESCRIPTOR.fields_by_name:
            body.ClearField(name)


def _new_problems(old: EasyRecConfig, new: EasyRecConfig) -> list[str]:
    """List the rules that the new config breaks and the old one kept."""
    before = {
        (problem.rule, problem.text.rpartition("; ")[0]) for problem in lint(old)
    }  # without the remedy, which may change
    found = [
        f"after the update: {problem.text}"
        for problem in lint(new)
        if (problem.rule, problem.text.rpartition("; ")[0]) not in before
    ]
    if old.model_config.feature_groups and not new.model_config.feature_groups:
        found.append("after the update: a model must have a feature group, got none; drop fewer features")
    for at, towers in (
        ("multi_tower", new.model_config.multi_tower.towers),
        ("multi_tower_din", new.model_config.multi_tower_din.towers),
    ):
        if new.model_config.HasField(at) and not towers and len(getattr(old.model_config, at).towers):
            found.append(f"after the update: {at} must have a tower, got none; drop fewer features")
    return found


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))
