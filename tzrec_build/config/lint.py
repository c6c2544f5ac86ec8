"""Rules that a config must keep before anything is built from it; all findings are collected, none stops another rule.

A rule is one generator of (field path, message); the table `RULES` is the whole registry. A message reads
``rule, got value; next step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tzrec_build.config import lint_data, lint_features, lint_groups, lint_model, lint_names
from tzrec_build.config.load import missing_fields
from tzrec_build.config.problems import Problem
from tzrec_build.config.subject import Subject
from tzrec_build.config.support import find_unsupported
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

Level = Literal["error", "unsupported", "warning"]  # no program builds it; this one does not; a likely slip


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its id, how bad a finding is, and what finds it."""

    name: str
    level: Level
    find: Callable[[Subject], Iterator[tuple[str, str]]]


def _required(subject: Subject) -> Iterator[tuple[str, str]]:
    """Required fields that are unset and have no default."""
    return ((problem.field_path, problem.text) for problem in missing_fields(subject.config))


def _unsupported(subject: Subject) -> Iterator[tuple[str, str]]:
    """Parts that this code base does not build yet."""
    for found in find_unsupported(subject.config):
        yield found.field_path, f"{found.what} must be left out, got it set, and it is not supported yet; remove it"


RULES: tuple[Rule, ...] = (
    Rule("required", "error", _required),
    Rule("no-model", "error", lint_model.is_chosen),
    Rule("no-feature", "error", lint_features.is_set),
    Rule("empty-sequence", "error", lint_features.block_is_filled),
    Rule("duplicate-feature", "error", lint_features.name_once),
    Rule("duplicate-group", "error", lint_groups.name_once),
    Rule("unknown-feature", "error", lint_groups.features_exist),
    Rule("rtp-name", "unsupported", lint_groups.names_are_ours),
    Rule("empty-group", "error", lint_groups.has_entries),
    Rule("unknown-group", "error", lint_model.inputs_are_groups),
    Rule("missing-group", "error", lint_model.groups_are_there),
    Rule("no-encoder", "error", lint_groups.encoder_is_chosen),
    Rule("unknown-sequence-group", "error", lint_groups.encoders_name_sequences),
    Rule("unread-sequence-group", "error", lint_groups.sequences_have_encoders),
    Rule("sequence-group-name", "error", lint_groups.sequence_names_differ),
    Rule("sequence-group-type", "error", lint_groups.only_deep_groups_nest),
    Rule("no-sequence", "error", lint_groups.sequences_hold_sequences),
    Rule("dense-in-wide", "error", lint_groups.wide_groups_hold_ids),
    Rule("duplicate-tower", "error", lint_model.towers_differ),
    Rule("unknown-tower", "error", lint_model.relations_come_before),
    Rule("no-label", "error", lint_model.label_is_named),
    Rule("unknown-label", "error", lint_model.labels_exist),
    Rule("no-loss", "error", lint_model.loss_is_chosen),
    Rule("loss-num-class", "error", lint_model.losses_fit),
    Rule("match-loss", "error", lint_model.loss_of_match),
    Rule("metric-loss", "error", lint_model.metrics_fit),
    Rule("match-metric", "error", lint_model.metric_of_match),
    Rule("unknown-key", "error", lint_model.keys_exist),
    Rule("no-negatives", "error", lint_data.negatives_exist),
    Rule("no-bucketizer", "error", lint_features.has_table),
    Rule("bucketizer-conflict", "error", lint_features.one_bucketizer),
    Rule("no-embedding-dim", "error", lint_features.has_width),
    Rule("width", "error", lint_features.width_fits),
    Rule("shared-embedding", "error", lint_features.shared_tables_agree),
    Rule("torch-name", "error", lint_names.names_are_free),
    Rule("boundaries", "error", lint_features.boundaries_rise),
    Rule("default-id", "error", lint_features.default_id_fits),
    Rule("source", "error", lint_features.sources_are_written_well),
    Rule("unknown-source", "error", lint_features.sources_exist),
    Rule("stub-mode", "error", lint_features.stubs_have_a_graph),
    Rule("sampler-attributes", "error", lint_data.sampler_has_attributes),
    Rule("sampler-size", "error", lint_data.sampler_draws),
    Rule("undeclared-column", "error", lint_data.columns_are_declared),
    Rule("missing-column", "error", lint_data.columns_are_there),
    Rule("train-length", "error", lint_data.training_ends),
    Rule("range", "error", lint_data.numbers_are_in_range),
    Rule("nesterov", "error", lint_data.nesterov_has_momentum),
    Rule("unsupported", "unsupported", _unsupported),
    Rule("unused-feature", "warning", lint_features.is_used),
    Rule("unread-group", "warning", lint_model.groups_are_read),
    Rule("repeated-name", "warning", lint_groups.names_a_feature_once),
    Rule("sampler-column", "warning", lint_data.sampler_reads_columns),
    Rule("set-twice", "warning", lint_data.is_set_once),
    Rule("old-field", "warning", lint_data.is_current),
)
LEVELS: Mapping[str, Level] = {rule.name: rule.level for rule in RULES}

_OTHERWISE_RAISED = frozenset(
    {"required", "unsupported"}
)  # by `load` and by `support.check_supported`, with their place


def lint(config: EasyRecConfig) -> list[Problem]:
    """List what keeps a config from being built: no warnings, in the order of `RULES`."""
    subject = Subject(config)
    return [
        Problem(rule.name, at, text)
        for rule in RULES
        if rule.level != "warning" and rule.name not in _OTHERWISE_RAISED
        for at, text in rule.find(subject)
    ]


def findings(subject: Subject) -> list[Problem]:
    """List what all rules find, in the order of `RULES`; `LEVELS` says how bad each is."""
    return [Problem(rule.name, at, text) for rule in RULES for at, text in rule.find(subject)]
