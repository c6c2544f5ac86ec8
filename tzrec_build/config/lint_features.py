"""Rules about single features, their tables and what they are computed from. Each yields (field path, message)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tzrec_build.config.subject import SEQUENCE_TYPES, Feature, Subject, feature_sources, table_sizes
from tzrec_build.errors import suggestion
from tzrec_build.protos.tzrec import data_pb2
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType

_SIDES = ("user", "item", "context", "feature", "const")
_IDS = {  # message whose values are always ids: it needs a table
    "IdFeature": "num_buckets, hash_bucket_size or a vocabulary",
    "ComboFeature": "hash_bucket_size or a vocabulary",
    "BoolMaskFeature": "num_buckets, hash_bucket_size or a vocabulary",
}
_DENSE_TABLES = ("autodis", "mlp")  # members of dense_emb
_DYNAMIC = frozenset({"zch", "dynamicemb"})
Found = Iterator[tuple[str, str]]


def is_set(subject: Subject) -> Found:
    """Entries of feature_configs, and of sequence blocks, that hold nothing."""
    for at, message in subject.of_types("FeatureConfig", "SeqFeatureConfig"):
        if message.WhichOneof("feature") is None:
            yield at, f"{at.rpartition('.')[2].partition('[')[0]} must hold a feature, got {{}}; remove it"


def name_once(subject: Subject) -> Found:
    """Two features of one name."""
    for feature in subject.features:
        if subject.by_name[feature.name] is not feature:
            yield feature.at, f"feature {feature.name!r} must be configured once, got it again; rename one"


def has_table(subject: Subject) -> Found:
    """Features of ids whose table has no size."""
    for feature in subject.features:
        remedy = _IDS.get(feature.body.DESCRIPTOR.name)
        if remedy and not feature.body.stub_type and not table_sizes(feature.body):
            kind = feature.kind.removeprefix("sequence_")
            yield feature.at, f"{kind} {feature.name!r} must say how many ids there are, got no size; set {remedy}"


def one_bucketizer(subject: Subject) -> Found:
    """Features with two ways to turn a value into an id."""
    for feature in subject.features:
        sizes = table_sizes(feature.body)
        dense = [name for name in _DENSE_TABLES if _holds(feature.body, name)]
        if len(sizes) + len(dense) > 1:
            keep = sizes[-1] if _DYNAMIC.isdisjoint(sizes) else next(size for size in sizes if size in _DYNAMIC)
            text = f"feature {feature.name!r} must turn values into ids in one way, got {' and '.join(sizes + dense)}"
            yield f"{feature.at}.{keep}", f"{text}; keep one"


def _holds(body: Any, name: str) -> bool:
    return name in body.DESCRIPTOR.fields_by_name and body.HasField(name)


def has_width(subject: Subject) -> Found:
    """Features of ids in a group of embeddings, without a width."""
    for feature in subject.features:
        if feature.body.embedding_dim or not _is_sparse(feature):
            continue
        if any(
            group.DESCRIPTOR.name == "SeqGroupConfig" or group.group_type != FeatureGroupType.WIDE
            for _, group in subject.grouped.get(feature.name, ())
        ):
            text = f"feature {feature.name!r} is embedded, so embedding_dim must be above 0, got 0; set embedding_dim"
            yield feature.at, text


def _is_sparse(feature: Feature) -> bool:
    kind = feature.body.DESCRIPTOR.name
    return kind in _IDS or kind == "TokenizeFeature" or bool(table_sizes(feature.body))


def width_fits(subject: Subject) -> Found:
    """Pooled tables whose rows the fused kernels cannot hold; tables of sequences may have any width."""
    for feature in subject.features:
        pooled = any(
            group.DESCRIPTOR.name == "FeatureGroupConfig" and group.group_type == FeatureGroupType.DEEP
            for _, group in subject.grouped.get(feature.name, ())
        )
        if pooled and feature.body.embedding_dim % 4:
            yield _width(f"{feature.at}.embedding_dim", "embedding_dim", feature.body.embedding_dim)
    model = subject.model
    body = getattr(subject.config.model_config, model) if model else None
    if body is not None and "wide_embedding_dim" in body.DESCRIPTOR.fields_by_name and body.wide_embedding_dim % 4:
        yield _width(f"model_config.{model}.wide_embedding_dim", "wide_embedding_dim", body.wide_embedding_dim)


def _width(at: str, field: str, width: int) -> tuple[str, str]:
    rule = f"{field} must be a multiple of 4, which the fused kernels need"
    return at, f"{rule}, got {width}; set {width // 4 * 4 + 4}"


def shared_tables_agree(subject: Subject) -> Found:
    """Features that share a table by embedding_name, with other rows, width or start values than the first of them."""
    first: dict[tuple[str, bool], Feature] = {}
    for feature in subject.features:
        name = feature.body.embedding_name
        for unpooled in {_is_unpooled(group) for _, group in subject.grouped.get(feature.name, ())} if name else ():
            other = first.setdefault((name, unpooled), feature)
            for field, theirs, ours in _table_differences(other.body, feature.body):
                text = f"{field} of the shared table {name!r} must be that of {other.name!r}, {theirs}, got {ours}"
                yield f"{feature.at}.{field}", f"{text}; make them equal or drop embedding_name"
                break


def _is_unpooled(group: Any) -> bool:
    """Say whether a group reads tables row by row: such a table is another one than the pooled of its name."""
    return bool(group.DESCRIPTOR.name == "SeqGroupConfig" or group.group_type in SEQUENCE_TYPES)


def _table_differences(first: Any, second: Any) -> Iterator[tuple[str, object, object]]:
    if first.embedding_dim != second.embedding_dim:
        yield "embedding_dim", first.embedding_dim, second.embedding_dim
    for field in ("hash_bucket_size", "num_buckets"):
        both = all(field in table_sizes(body)[:1] for body in (first, second))
        if both and getattr(first, field) != getattr(second, field):
            yield field, getattr(first, field), getattr(second, field)
    if first.init_fn != second.init_fn:
        yield "init_fn", repr(first.init_fn), repr(second.init_fn)


def boundaries_rise(subject: Subject) -> Found:
    """Boundaries that are not in order, so that a bucket could never be reached."""
    for feature in subject.features:
        if "boundaries" not in feature.body.DESCRIPTOR.fields_by_name:
            continue
        for i, (low, high) in enumerate(itertools.pairwise(feature.body.boundaries), 1):
            if not low < high:
                text = f"boundaries of {feature.name!r} must rise, got {high:g} after {low:g}; sort them"
                yield f"{feature.at}.boundaries[{i}]", text
                break


def default_id_fits(subject: Subject) -> Found:
    """Ids for unknown words that lie outside the vocabulary, or are missing where a vocabulary file needs them."""
    for feature in subject.features:
        body = feature.body
        if "default_bucketize_value" not in body.DESCRIPTOR.fields_by_name:
            continue
        at, sizes = f"{feature.at}.default_bucketize_value", table_sizes(body)
        if sizes[:1] == ["vocab_file"] and not body.HasField("default_bucketize_value"):
            text = f"default_bucketize_value of {feature.name!r} must be set beside vocab_file, got none"
            yield at, f"{text}; set the id of unknown words"
        words = len(body.vocab_list)
        if (
            body.HasField("default_bucketize_value")
            and sizes[:1] == ["vocab_list"]
            and body.default_bucketize_value >= words
        ):
            text = f"default_bucketize_value of {feature.name!r} must be below {words}, the length of vocab_list"
            yield at, f"{text}, got {body.default_bucketize_value}; choose an id of the list"


def sources_are_written_well(subject: Subject) -> Found:
    """Inputs that are not ``side:name``, where the data are raw columns."""
    for feature in subject.features if subject.reads_raw_columns else ():
        for field, text in feature_sources(feature.body):
            side, colon, name = text.partition(":")
            if not colon or not name or ":" in name or side not in _SIDES:
                rule = f"{field} of {feature.name!r} must read SIDE:NAME with one of the sides {', '.join(_SIDES)}"
                yield f"{feature.at}.{field}", f"{rule}, got {text!r}; write for example 'user:{name or text}'"


def sources_exist(subject: Subject) -> Found:
    """Inputs ``feature:x`` of features that there are not."""
    known = set(subject.by_name) | {f"{name}__lookup" for name in subject.by_name}
    for feature in subject.features:
        for field, text in feature_sources(feature.body):
            side, _, name = text.partition(":")
            if side != "feature" or name in known or f"{feature.block}__{name}" in known:
                continue
            rule = f"{field} of {feature.name!r} must name a configured feature, got {text!r}"
            yield f"{feature.at}.{field}", f"{rule}{suggestion(name, known)}"


def stubs_have_a_graph(subject: Subject) -> Found:
    """Intermediate results in the mode that computes each feature alone."""
    if subject.config.data_config.fg_mode != data_pb2.FG_NORMAL:
        return
    for feature in subject.features:
        if feature.body.stub_type:
            text = f"stub_type of {feature.name!r} needs fg_mode FG_DAG, got FG_NORMAL; change fg_mode"
            yield f"{feature.at}.stub_type", text


def is_used(subject: Subject) -> Found:
    """Features that no group, feature, loss or metric names."""
    used = set(subject.grouped)
    for feature in subject.features:
        for _, text in feature_sources(feature.body):
            side, _, name = text.partition(":")
            if side == "feature":
                used |= {name, f"{feature.block}__{name}", name.removesuffix("__lookup")}
    for at, field in KEY_FIELDS.items():
        used |= {getattr(message, field) for _, message in subject.of_types(at)}
    for feature in subject.features if subject.groups else ():
        if feature.name not in used and f"{feature.block}_{feature.own_name}" not in used:  # the second: see rtp-name
            text = f"feature {feature.name!r} should be in a feature group, got it in none; add it to one or remove it"
            yield feature.at, text


def block_is_filled(subject: Subject) -> Found:
    """Sequence blocks without a member."""
    for at, block in subject.of_types("SequenceFeature"):
        if not block.features:
            text = f"sequence_feature {block.sequence_name!r} must have features, got none; add one or remove the block"
            yield at, text


KEY_FIELDS = {  # message -> field that names a feature whose ids group the rows
    "JRCLoss": "session_name",
    "GroupedAUC": "grouping_key",
    "GroupedXAUC": "grouping_key",
}
