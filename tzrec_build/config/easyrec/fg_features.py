"""Features with fg.json: inputs, defaults and separators from there, sizes from the EasyRec config where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from tzrec_build.config.easyrec.feature_rules import table_name
from tzrec_build.config.easyrec.features import TABLE_SIZES, Uses, convert_feature, feature_name
from tzrec_build.config.easyrec.fg_json import FgFeature, FgJson
from tzrec_build.config.easyrec.parts import Source, Target, expand

DEFAULT_WIDTH = 16  # EasyRec's for a feature of fg.json without one
TYPES = frozenset(
    [
        "id_feature",
        "raw_feature",
        "combo_feature",
        "lookup_feature",
        "match_feature",
        "expr_feature",
        "overlap_feature",
        "tokenize_feature",
        "custom_feature",
        "kv_dot_product",
        "bool_mask_feature",
        "combine_feature",
    ]
)
_PLAIN = frozenset(
    {"id_feature", "raw_feature", "combo_feature"}
)  # the old way takes only inputs of these from fg.json
KEYS: Mapping[str, str] = {  # key of fg.json -> field; others have the same name
    "value_dimension": "value_dim",
    "needDiscrete": "need_discrete",
    "needKey": "need_key",
    "user": "nested_map",
    "category": "pkey",
    "item": "skey",
    "show_category": "show_pkey",
    "show_item": "show_skey",
    "embedding_dimension": "embedding_dim",
    "shared_name": "embedding_name",
    "bucketize_boundaries": "boundaries",
}
_NOTHING: Mapping[str, str] = {  # key -> why it has no field
    "feature_type": "",
    "value_type": "the type of the feature says it",
    "need_prefix": "names never become part of a value",
    "group": "groups are in model_config",
    "is_multi": "a feature takes any number of values",
    "matchType": "wildcards in pkey and skey say it",
}
_NUMBERS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})


@dataclass(frozen=True, slots=True)
class FgJob:
    """What the features of an fg.json are converted with."""

    uses: Uses
    columns: Mapping[str, Source]
    old: bool


def convert_fg(fg: FgJson, features: list[Source], target: Target, job: FgJob) -> None:
    """Convert the features of fg.json that the model uses, then those that only the EasyRec config has."""
    by_name = {name: feature for feature in features for name in expand([feature_name(feature)])}
    by_input = {feature.get("input_names")[0]: feature for feature in features if feature.get("input_names")}
    done: set[str] = set()
    blocks: dict[str, Target] = {}
    members = list(fg.features())
    needed = _needed(members, job.uses)
    for one in members:
        own = by_name.get(one.name) or by_input.get(one.name)
        if one.name not in needed:
            target.receipt.note(one.path, "dropped", (), "no feature group names it")
            continue
        if job.old and own is not None and one.keys["feature_type"] in _PLAIN and one.block is None:
            _inputs_only(one, target, job.uses)
            continue
        made = _place(one, target, blocks)
        if made is None:
            continue
        done.add(one.name)
        _keys(one, made)
        if own is not None:
            done.add(feature_name(own))
            _sizes(own, made)
        _finish(made)
    for key in fg.content.keys() - {"features"}:
        target.receipt.note(f"fg_json.{key}", "dropped", (), "not a feature")
    for feature in features:
        if feature_name(feature) not in done:
            convert_feature(feature, target, job.uses, job.columns)
    _account_others(features, target)


def _account_others(features: list[Source], target: Target) -> None:
    for feature in features:
        for field, _ in feature.message.ListFields():
            if feature.at(field.name) not in target.receipt.entries and feature.path not in target.receipt.entries:
                feature.note(field.name, "dropped", "", "fg.json says it")


def _needed(members: list[FgFeature], uses: Uses) -> set[str]:
    """Features that the model uses, and those from which they are computed."""
    texts = {one.name: " ".join(map(str, one.keys.values())) for one in members}
    needed = {one.name for one in members if uses.used(one.name) or one.name in uses.keys}
    waiting = list(needed)
    while waiting:
        text = texts[waiting.pop()]
        for name in texts.keys() - needed:
            if f"feature:{name}" in text:
                needed.add(name)
                waiting.append(name)
    return needed


def _inputs_only(one: FgFeature, target: Target, uses: Uses) -> None:
    """Take the inputs from fg.json; the feature itself is converted from the EasyRec config."""
    expression = one.keys.get("expression")
    texts = expression if isinstance(expression, list) else [expression]
    uses.expressions[one.name] = [str(text) for text in texts if text]
    target.receipt.note(f"{one.path}.expression", "mapped", ("feature_configs",))
    target.receipt.note(one.path, "dropped", (), "the feature of the EasyRec config counts")


def _place(one: FgFeature, target: Target, blocks: dict[str, Target]) -> Target | None:
    """Make the message of a feature, in its block when it has one."""
    kind = str(one.keys["feature_type"])
    plain = kind.removeprefix("sequence_")
    if plain not in TYPES:
        target.receipt.refuse(
            f"fg type {kind}", one.path, f"feature {one.name!r}: feature_type {kind!r} has no counterpart"
        )
        return None
    if one.block is None:
        member = kind if f"sequence_{plain}" == kind else plain
        made = target.new("feature_configs").child(member)
        made.set("feature_name", one.name)
        return made
    if one.block_path not in blocks:
        blocks[one.block_path] = _block(one, target)
    made = blocks[one.block_path].new("features").child(plain)
    made.set("feature_name", one.keys["feature_name"])
    return made


def _block(one: FgFeature, target: Target) -> Target:
    made = target.new("feature_configs").child("sequence_feature")
    block = one.block or {}
    for key in ("sequence_name", "sequence_length", "sequence_delim", "sequence_pk"):
        if key in block:
            _set(made, key, block[key], f"{one.block_path}.{key}")
    if "sequence_length" not in block:
        made.put("sequence_length", 50, "fg.json gives no length")
    for key in block.keys() - {"sequence_name", "sequence_length", "sequence_delim", "sequence_pk", "features"}:
        target.receipt.note(f"{one.block_path}.{key}", "dropped", (), "a block has no such field")
    return made


def _keys(one: FgFeature, made: Target) -> None:
    """Bring the keys of one feature over."""
    fields = made.message.DESCRIPTOR.fields_by_name
    others: dict[str, Any] = {}
    for key, value in one.keys.items():
        at, name = f"{one.path}.{key}", KEYS.get(key, key)
        if key == "combiner" and made.message.DESCRIPTOR.name in {"IdFeature", "ComboFeature"}:
            name = "pooling"
            if str(value).lower() not in {"sum", "mean"}:
                made.receipt.note(at, "dropped", (), f"values are pooled by sum or mean, not by {value!r}")
                continue
        if key in _NOTHING:
            made.receipt.note(
                at,
                "mapped" if key == "feature_type" else "dropped",
                (made.path,) if key == "feature_type" else (),
                _NOTHING[key],
            )
        elif name in fields and key != "embedding_name":
            _set(made, name, value, at)
        elif made.message.DESCRIPTOR.name == "CustomFeature":
            others[key] = value
            made.receipt.note(at, "mapped", (made.at("operator_params"),))
        else:
            made.receipt.note(at, "dropped", (), f"{made.message.DESCRIPTOR.name} has no such field")
    if others:
        made.message.operator_params.update(others)


def _set(made: Target, name: str, value: Any, at: str) -> None:
    """Set a field from a JSON value, or refuse the value."""
    field = made.message.DESCRIPTOR.fields_by_name[name]
    if name == "feature_name":
        made.receipt.note(at, "kept", (made.at(name),))
        return
    try:
        if field.message_type is not None and field.is_repeated:
            getattr(made.message, name).update({str(key): int(number) for key, number in value.items()})
        elif field.is_repeated:
            made.set(name, [_scalar(field, one) for one in (value if isinstance(value, list) else [value])])
        else:
            made.set(name, _scalar(field, value))
    except (TypeError, ValueError, AttributeError, OverflowError):
        made.receipt.refuse("value in fg.json", at, f"{name} cannot be {value!r:.60}; mend fg.json")
        return
    made.receipt.note(at, "kept" if at.endswith(f".{name}") else "mapped", (made.at(name),))


def _scalar(field: Any, value: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if isinstance(value, (dict, list)):
            raise TypeError
        return str(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return value if isinstance(value, bool) else str(value).lower() in {"1", "true"}
    return float(value) if field.cpp_type in _NUMBERS else int(value)


def _sizes(own: Source, made: Target) -> None:
    """Sizes of the EasyRec config replace those of fg.json: they are what the model was made with."""
    fields = made.message.DESCRIPTOR.fields_by_name
    size = next(
        (name for name in (*TABLE_SIZES, "boundaries") if own.has(name) and own.get(name) and name in fields), ""
    )
    if size:
        for name in (*TABLE_SIZES, "vocab_dict", "boundaries"):
            if name in fields:
                made.message.ClearField(name)
        value = own.get(size)
        own.note(size, "kept", made.set(size, sorted(value) if size == "boundaries" else value))
    if own.get("embedding_dim") and "embedding_dim" in fields:
        own.note("embedding_dim", "kept", made.set("embedding_dim", own.get("embedding_dim")))
    if own.get("embedding_name"):
        table = table_name(own.get("embedding_name"))
        own.note(
            "embedding_name",
            "kept" if table == own.get("embedding_name") else "mapped",
            made.set("embedding_name", table),
        )
    own.note("feature_name", "kept", made.at("feature_name"))
    own.note("input_names", "mapped", made.path, "fg.json has the inputs")
    own.note("feature_type", "mapped", made.path, "fg.json has the type")


def _finish(made: Target) -> None:
    """Widths: one for features of ids, multiples of 4 in pooled tables, none for numbers."""
    body = made.message
    fields = body.DESCRIPTOR.fields_by_name
    if "embedding_dim" not in fields or getattr(body, "stub_type", False):
        return
    ids = body.DESCRIPTOR.name in {"IdFeature", "ComboFeature", "BoolMaskFeature", "TokenizeFeature"} or any(
        name in fields and bool(getattr(body, name)) for name in (*TABLE_SIZES, "boundaries")
    )
    if not ids:
        body.ClearField("embedding_dim")
        return
    if not body.embedding_dim:
        made.put("embedding_dim", DEFAULT_WIDTH, "EasyRec's default for features of fg.json")
    width = -(-body.embedding_dim // 4) * 4
    if width != body.embedding_dim:
        made.put("embedding_dim", width, "rounded up to a multiple of 4, which the fused kernels need")
