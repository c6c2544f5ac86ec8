"""Feature groups and sequences, and what they ask of the features."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tzrec_build.config.easyrec.features import Uses, feature_name
from tzrec_build.config.easyrec.layers import mlp
from tzrec_build.config.easyrec.parts import Source, Target, expand
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType

_TYPES = {"DEEP": "DEEP", "WIDE": "WIDE", "WIDE_AND_DEEP": "DEEP"}
ATTENTION = (128, 64, 32)  # EasyRec's layers of an attention that names none, without its last layer of width 1


def names_of(attention: Source) -> tuple[list[str], list[str]]:
    """Give the targets and the histories of an attention, in the order of the config."""
    keys: dict[str, None] = {}
    histories: dict[str, None] = {}
    for pair in attention.parts("seq_att_map"):
        keys |= dict.fromkeys(pair.get("key"))
        histories |= dict.fromkeys([*pair.get("hist_seq"), *pair.get("aux_hist_seq")])
    return list(keys), list(histories)


def uses_of(model: Source, read: Collection[str], sequence_groups: Collection[str], declared: Collection[str]) -> Uses:
    """Find what the groups of a model ask of the features.

    Args:
        model: model_config.
        read: groups that the model reads; others and their features are left out.
        sequence_groups: feature groups whose features are read as sequences, beside their targets.
        declared: features that are sequences by their type.
    """
    uses = Uses(sequence_groups=set(sequence_groups))
    for group in model.parts("feature_groups"):
        name = group.get("group_name")
        if name not in read:
            continue
        names = set(expand(group.get("feature_names")))
        kind = group.get("wide_deep")
        if name in sequence_groups:
            histories = names & set(declared) or names
            uses.sequences |= histories
            uses.queries |= names - histories
        else:
            (uses.wide if kind == "WIDE" else uses.pooled).update(names)
        for attention in group.parts("sequence_features"):
            _attend(attention, uses)
    for attention in model.parts("seq_att_groups"):
        if attention.get("group_name") in read:
            _attend(attention, uses)
    return uses


def _attend(attention: Source, uses: Uses) -> None:
    keys, histories = names_of(attention)
    uses.queries |= set(keys)
    uses.sequences |= set(histories)


def convert_groups(model: Source, target: Target, read: Mapping[str, str], uses: Uses) -> None:
    """Convert the feature groups that the model reads, in the order and under the names of `read` (old name -> new)."""
    groups = {group.get("group_name"): group for group in model.parts("feature_groups")}
    for name, group in groups.items():
        if name not in read:
            group.note("", "dropped", "", "the model does not read this group")
    taken: set[str] = set()
    for name, new_name in read.items():
        if name in groups:
            _group(groups[name], target, new_name, uses, taken)


def _group(group: Source, target: Target, name: str, uses: Uses, taken: set[str]) -> None:
    made = target.new("feature_groups")
    group.note("group_name", "kept" if name == group.get("group_name") else "mapped", made.set("group_name", name))
    kind = _TYPES[group.get("wide_deep")]
    names = list(dict.fromkeys(expand(group.get("feature_names"))))
    if group.get("group_name") in uses.sequence_groups:
        kind, plain = "SEQUENCE", names
    else:
        plain = [one for one in names if one not in uses.sequences]
    how = "the features of both parts are read in this one" if group.get("wide_deep") == "WIDE_AND_DEEP" else ""
    group.note(
        "wide_deep", "approximated" if how else "mapped", made.set("group_type", FeatureGroupType.Value(kind)), how
    )
    made.message.group_type = FeatureGroupType.Value(kind)
    made.set("feature_names", plain)
    group.note("feature_names", "kept", made.at("feature_names"))
    if kind == "WIDE":
        _without_numbers(group, made, uses)
    group.drop("negative_sampler", "a sampler names its columns")
    if kind != "SEQUENCE":
        for history in (one for one in names if one in uses.sequences):
            _pooled(history, made, taken)
            group.note(
                "feature_names",
                "approximated",
                made.at("sequence_groups"),
                f"{history} is also read as a sequence; here its mean",
            )
    for i, attention in enumerate(group.parts("sequence_features")):
        _attention(attention, made, attention.get("group_name") or f"seq_{i}", taken)


def _without_numbers(group: Source, made: Target, uses: Uses) -> None:
    """Leave numbers out of a WIDE group, which looks up one row for each id."""
    names = list(made.message.feature_names)
    numbers = [name for name in names if name in uses.numbers]
    if numbers:
        made.set("feature_names", [name for name in names if name not in uses.numbers])
        uses.wide -= set(numbers)
        note = f"numbers without boundaries have no linear weight here: {', '.join(numbers)}"
        group.note("feature_names", "approximated", made.at("feature_names"), note)


def _free(name: str, taken: set[str]) -> str:
    """Give a name that no other sequence group has: EasyRec numbers them anew in each group."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _pooled(history: str, made: Target, taken: set[str]) -> None:
    """Read a sequence by its mean, inside a DEEP group."""
    inner = made.new("sequence_groups")
    name = _free(f"{made.message.group_name}_{history}", taken)
    inner.message.group_name = name
    inner.message.feature_names.append(history)
    encoder = made.new("sequence_encoders").child("pooling_encoder")
    encoder.message.input = name
    encoder.message.pooling_type = "mean"


def _attention(attention: Source, made: Target, wanted: str, taken: set[str]) -> None:
    """Convert one attention of a DEEP group into a sequence group and its DIN encoder."""
    inner = made.new("sequence_groups")
    name = _free(wanted, taken)
    inner.message.group_name = name
    attention.note("group_name", "kept" if name == wanted else "mapped", inner.at("group_name"))
    fill_sequence(attention, inner)
    encoder = made.new("sequence_encoders").child("din_encoder")
    encoder.message.input = name
    if attention.has("seq_dnn"):
        mlp(attention.part("seq_dnn"), encoder, "attn_mlp", own_output=1)
    else:
        layers = encoder.child("attn_mlp")
        layers.put("hidden_units", ATTENTION, "EasyRec's default layers of an attention")
        layers.put("use_bn", value=True, why="EasyRec's default layers of an attention")


def fill_sequence(attention: Source, made: Target) -> None:
    """Write the features of an attention into a group, targets first, and account for its switches."""
    keys, histories = names_of(attention)
    place = made.set("feature_names", [*keys, *histories])
    for pair in attention.parts("seq_att_map"):
        for name in ("key", "hist_seq", "aux_hist_seq"):
            pair.note(name, "mapped", place)
    attention.drop("tf_summary", "no summary of the weights")
    attention.note("allow_key_search", "kept", "", "targets may be of any group")
    need = attention.get("need_key_feature")
    attention.note(
        "need_key_feature",
        "approximated" if need else "kept",
        "",
        "the target is not joined to the result" if need else "",
    )
    changed = attention.get("allow_key_transform")
    attention.note(
        "allow_key_transform",
        "approximated" if changed else "kept",
        "",
        "a narrow target is filled up with zeros" if changed else "",
    )
    attention.drop("transform_dnn", "a narrow target is filled up with zeros")


def features_by_column(features: list[Source]) -> dict[str, str]:
    """Give for each column the feature of ids that reads it alone."""
    found: dict[str, str] = {}
    for feature in features:
        inputs = feature.get("input_names")
        if len(inputs) == 1 and feature.get("feature_type") in {"IdFeature", "TagFeature"}:
            found.setdefault(str(inputs[0]), feature_name(feature))
    return found
