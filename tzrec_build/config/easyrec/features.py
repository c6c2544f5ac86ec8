"""Features, without fg.json: each EasyRec feature becomes one feature that reads raw columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tzrec_build.config.easyrec.feature_rules import NORMALIZERS, RULES, SEQUENCE_KINDS
from tzrec_build.config.easyrec.parts import UNSET_DEFAULT, Source, Target, apply, expand

DEFAULT_LENGTH = 50
TABLE_SIZES = ("hash_bucket_size", "vocab_list", "vocab_file", "num_buckets")  # EasyRec takes the first that is set


@dataclass(slots=True)
class Uses:
    """How the model uses features: by name, what the groups ask of each."""

    pooled: set[str] = field(default_factory=set)  # in DEEP groups
    wide: set[str] = field(default_factory=set)
    sequences: set[str] = field(default_factory=set)  # histories of an attention, or in a SEQUENCE group
    queries: set[str] = field(default_factory=set)  # targets of an attention
    item_columns: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)  # features of the item tower
    keys: set[str] = field(default_factory=set)  # columns that losses and metrics group rows by
    sequence_groups: set[str] = field(default_factory=set)  # groups that are read step by step
    numbers: set[str] = field(default_factory=set)  # features without ids
    expressions: dict[str, list[str]] = field(default_factory=dict)  # column or feature -> inputs that fg.json gives it

    def used(self, name: str) -> bool:
        """Say whether anything names a feature."""
        return name in self.pooled | self.wide | self.sequences | self.queries


def feature_name(source: Source) -> str:
    """Give the name of an EasyRec feature: its own, or that of its first input."""
    if source.get("feature_name"):
        return str(source.get("feature_name"))
    inputs = source.get("input_names")
    return str(inputs[0]) if inputs else ""


def is_number(source: Source) -> bool:
    """Say whether a feature is a number without buckets."""
    kind = source.get("feature_type")
    sub = source.get("sub_feature_type") if kind == "SequenceFeature" else kind
    if sub not in {"RawFeature", "ExprFeature", "PassThroughFeature"} or source.has("boundaries"):
        return False
    return not (source.get("num_buckets") > 1 and source.get("max_val") > source.get("min_val"))


def _round_up(width: int) -> int:
    return -(-int(width) // 4) * 4


def _kind(source: Source, name: str, uses: Uses) -> str:
    """Say how a feature is converted: by its type, and as a sequence only where the model reads it as one."""
    declared = str(source.get("feature_type"))
    sub = source.get("sub_feature_type") if declared == "SequenceFeature" else declared
    what = "numbers" if sub == "RawFeature" else "ids"
    if name in uses.sequences:
        return f"sequence of {what}"
    return f"pooled {what}" if declared == "SequenceFeature" else declared


def convert_feature(source: Source, config: Target, uses: Uses, columns: Mapping[str, Source]) -> None:
    """Convert one feature, and the others that share its settings by `shared_names`.

    Args:
        source: the EasyRec feature.
        config: the whole result.
        uses: what the model asks of the features.
        columns: input_fields by name, for the values of missing cells.
    """
    expanded = expand([feature_name(source)])
    if len(expanded) > 1:
        _several(source, config, uses, expanded, columns)
        return
    name = expanded[0]
    shared = [other for other in source.get("shared_names") if uses.used(other) or other in uses.keys]
    if not name:
        source.refuse("feature without a name", "a feature must have feature_name or input_names, got neither")
        return
    if not (uses.used(name) or name in uses.keys) and not shared:
        source.note("", "dropped", "", "no feature group names it")
        return
    before = len(config.message.feature_configs)
    if uses.used(name) or name in uses.keys:
        _one_feature(source, config, uses, _Named(name, list(source.get("input_names")), columns))
    for other in shared:
        _one_feature(source, config, uses, _Named(other, [other], columns))
    if shared and not source.has("embedding_name"):
        for feature in config.message.feature_configs[before:]:
            getattr(feature, feature.WhichOneof("feature")).embedding_name = f"{name}_shared"
    source.note("shared_names", "mapped", "feature_configs", "a feature each, with one table")


def _several(source: Source, config: Target, uses: Uses, names: list[str], columns: Mapping[str, Source]) -> None:
    """Convert a feature whose name has a range of numbers into one feature each."""
    used = [name for name in names if uses.used(name)]
    if not used:
        source.note("", "dropped", "", "no feature group names it")
    for name in used:
        _one_feature(source, config, uses, _Named(name, [name], columns))


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    inputs: list[str]
    columns: Mapping[str, Source]


def _one_feature(source: Source, config: Target, uses: Uses, named: _Named) -> None:
    kind = _kind(source, named.name, uses)
    if kind not in RULES:
        source.refuse(f"feature type {kind}", f"feature {named.name!r}: {kind} has no counterpart", "feature_type")
        return
    member, rules = RULES[kind]
    made = config.new("feature_configs").child(member)
    source.note("feature_type", "mapped", made.path)
    source.note("feature_name", "kept", made.at("feature_name"))
    made.message.feature_name = named.name
    made.message.SetInParent()
    apply(source, made, rules)
    for step in (_inputs, _sizes, _EXTRA.get(member, _nothing), _width, _initializer):
        step(source, made, uses, named)
    if kind in SEQUENCE_KINDS:
        _sequence(source, made, kind)


def _nothing(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """A type without fields of its own."""


def _side(column: str, uses: Uses, named: _Named) -> str:
    return "item" if column in uses.item_columns or named.name in uses.items else "user"


def _inputs(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Write what the feature reads, and the value of missing cells."""
    texts = _texts(uses, named)
    kind = made.message.DESCRIPTOR.name
    if kind == "LookupFeature":
        if len(texts) != 2:
            source.refuse("lookup inputs", f"a LookupFeature must have 2 inputs, got {len(texts)}", "input_names")
            return
        made.set("map", texts[0])
        target = made.set("key", texts[1])
    elif kind == "ComboFeature":
        target = made.set("expression", texts)
    elif kind == "ExprFeature":
        target = made.set("variables", texts)
    else:
        target = made.set("expression", texts[0])
    if len(texts) > 1 and kind in {"IdFeature", "RawFeature"}:
        source.note("input_names", "approximated", target, "only the first column is read")
    else:
        source.note("input_names", "mapped", target)
    _default_value(made, named)


def _texts(uses: Uses, named: _Named) -> list[str]:
    """Give the inputs as ``side:column``, those of fg.json where it is read."""
    if named.name in uses.expressions:
        return uses.expressions[named.name]
    texts: list[str] = []
    for column in named.inputs or [named.name]:
        texts += uses.expressions.get(column, [f"{_side(column, uses, named)}:{column}"])
    return texts


def _default_value(made: Target, named: _Named) -> None:
    column = named.columns.get(named.inputs[0]) if len(named.inputs) == 1 else None
    if column is None or not column.has("default_val"):
        return
    value = str(column.get("default_val"))
    if made.message.DESCRIPTOR.name != "IdFeature":
        try:
            float(value)
        except ValueError:
            column.drop("default_val", f"{value!r} is no number")
            return
    column.note("default_val", "mapped", made.set("default_value", value))


def _sizes(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Choose one way from value to id."""
    del uses, named
    fields = made.message.DESCRIPTOR.fields_by_name
    if "hash_bucket_size" not in fields or (
        made.message.DESCRIPTOR.name == "LookupFeature" and source.has("boundaries")
    ):
        source.drop(" ".join(TABLE_SIZES), "boundaries give the ids") if "hash_bucket_size" in fields else None
        return
    given = [name for name in TABLE_SIZES if source.has(name) and source.get(name)]
    usable = [name for name in given if name in fields]
    for name in TABLE_SIZES:
        if usable and name == usable[0]:
            source.note(name, "kept", made.set(name, source.get(name)))
            if name == "vocab_file":
                made.put("default_bucketize_value", 0, "TorchEasyRec needs the id of unknown words")
        else:
            source.drop(name, f"{usable[0]} wins" if usable else "0 is no size")
    if not usable and made.message.DESCRIPTOR.name != "LookupFeature":
        _size_of_dynamic(source, made)


def _size_of_dynamic(source: Source, made: Target) -> None:
    """Give a feature without a size that of EasyRec's dynamic table, or refuse it."""
    if not source.has("ev_params") or "zch" not in made.message.DESCRIPTOR.fields_by_name:
        source.refuse("id feature without size", f"feature {feature_name(source)!r} must say how many ids there are")
        return
    rows = source.part("ev_params").get("max_capacity")
    zch = made.child("zch")
    zch.message.zch_size = rows
    zch.child("lfu")
    source.receipt.note(source.at("ev_params"), "approximated", (zch.path,), "a managed table of max_capacity rows")


def _width(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Write embedding_dim; the fused kernels need multiples of 4 in pooled tables."""
    given = int(source.get("embedding_dim"))
    body = made.message
    ids = body.DESCRIPTOR.name in {"IdFeature", "ComboFeature"} or any(
        bool(getattr(body, name, None)) for name in ("boundaries", "hash_bucket_size", "num_buckets", "vocab_list")
    )
    pooled = named.name in uses.pooled
    if not ids and (named.name in uses.sequences or not pooled):
        source.drop("embedding_dim", "numbers of a sequence, or of no DEEP group, have no embedding here")
        return
    if not given and not (ids and body.DESCRIPTOR.name in {"IdFeature", "ComboFeature"}):
        source.drop("embedding_dim", "0 is no width")
        return
    if not given:
        if pooled or named.name in uses.sequences | uses.queries:
            source.refuse("no embedding_dim", f"feature {named.name!r} must have an embedding_dim", "embedding_dim")
            return
        made.put("embedding_dim", 4, "required; a WIDE group has a width of its own")
        source.drop("embedding_dim", "0 is no width")
        return
    width = _round_up(given)  # all, as the targets, histories and shared tables of one model must agree
    target = made.set("embedding_dim", width)
    how = "rounded up to a multiple of 4, which the fused kernels need" if width != given else ""
    source.note("embedding_dim", "approximated" if how else "kept", target, how)
    if not ids:
        made.child("mlp")
        made.receipt.add(made.at("mlp"), "{}", "EasyRec multiplies a number with a learned vector")


def _initializer(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Write init_fn."""
    del uses, named
    if not source.has("initializer"):
        return
    initializer = source.part("initializer")
    for name, write in _INITIALIZERS.items():
        if initializer.has(name):
            target = made.set("init_fn", write(initializer.part(name).message))
            source.note("initializer", "mapped", target)
            return
    source.drop("initializer", "no kind is chosen")


_INITIALIZERS: Mapping[str, Callable[[Any], str]] = {
    "truncated_normal_initializer": lambda m: f"nn.init.trunc_normal_,mean={m.mean:g},std={m.stddev:g}",
    "random_normal_initializer": lambda m: f"nn.init.normal_,mean={m.mean:g},std={m.stddev:g}",
    "glorot_normal_initializer": lambda _: "nn.init.xavier_normal_",
    "constant_initializer": lambda m: (
        f"nn.init.constant_,val={getattr(m, 'consts', [0])[0] if getattr(m, 'consts', None) else 0:g}"
    ),
}


def _raw(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Number of values, normalizer, buckets."""
    del uses, named
    width = int(source.get("raw_input_dim"))
    if source.has("raw_input_dim"):
        source.note("raw_input_dim", "mapped", made.set("value_dim", width))
    _normalizer(source, made)
    body = made.message
    buckets = int(source.get("num_buckets"))
    if not body.boundaries and buckets > 1 and source.get("max_val") > source.get("min_val"):
        place = made.set("boundaries", [i / buckets for i in range(buckets)])
        source.note("num_buckets", "mapped", place, "EasyRec's buckets of a number between min_val and max_val")
    else:
        source.drop("num_buckets", "boundaries give the ids, or an empty range has no buckets")


def _normalizer(source: Source, made: Target) -> None:
    low, high = float(source.get("min_val")), float(source.get("max_val"))
    fn = str(source.get("normalizer_fn"))
    if high > low:
        target = made.set("normalizer", f"method=minmax,min={low:g},max={high:g}")
        source.note("min_val", "mapped", target)
        source.note("max_val", "mapped", target)
        source.drop("normalizer_fn", "min_val and max_val win")
        return
    source.drop("min_val max_val", "an empty range scales nothing")
    if fn in NORMALIZERS:
        source.note("normalizer_fn", "mapped", made.set("normalizer", f"method=expression,expr={NORMALIZERS[fn]}"))
    else:
        source.drop("normalizer_fn", f"{fn!r} has no counterpart")


def _lookup(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Numbers of a looked up value."""
    del uses, named
    _normalizer(source, made)
    source.drop("raw_input_dim", "one value is looked up")


def _tag(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """Weights of the values of a tag."""
    del uses, named
    if source.get("feature_type") == "TagFeature" and source.has("kv_separator"):
        mark = source.get("kv_separator")
        how = "" if mark == ":" else f"weights are parted by ':' here, write them so instead of {mark!r}"
        source.note("kv_separator", "approximated" if how else "mapped", made.set("weighted", value=True), how)
    if source.get("feature_type") == "TagFeature" and not source.has("separator"):
        made.put("separator", source.get("separator"), UNSET_DEFAULT)
    if source.get("feature_type") == "IdFeature":
        made.put("value_dim", 1, "an IdFeature has one value")


def _expr(source: Source, made: Target, uses: Uses, named: _Named) -> None:
    """The formula."""
    del uses, named
    formula = source.get("expression").replace(" and ", " && ").replace(" or ", " || ")
    target = made.set("expression", formula)
    how = "check its functions: TorchEasyRec has operators of its own"
    source.note("expression", "approximated", target, how)
    source.drop("min_val max_val normalizer_fn raw_input_dim", "an expression is not scaled")
    if source.has("num_buckets"):
        source.drop("num_buckets", "boundaries give the ids")


def _sequence(source: Source, made: Target, kind: str) -> None:
    """Length and separators of a sequence; one that is only pooled becomes a feature of many values."""
    source.note("sub_feature_type", "mapped", made.path)
    pooled = kind.startswith("pooled")
    if not source.has("separator"):
        made.put("separator" if pooled else "sequence_delim", source.get("separator"), UNSET_DEFAULT)
    if pooled:
        made.put("pooling", "mean", "EasyRec takes the mean of a sequence in a plain group")
        source.drop("combiner", "a sequence in a plain group is its mean")
        source.drop("max_seq_len sequence_length", "a pooled feature keeps all values")
        source.drop("seq_multi_sep", "elements of one value are pooled with the others")
        if kind == "pooled numbers" and not made.message.boundaries:
            text = f"feature {feature_name(source)!r}: numbers can only be pooled with boundaries"
            source.refuse("sequence of numbers in a plain group", text)
        return
    length = max(int(source.get("max_seq_len")), int(source.get("sequence_length")))
    for name in ("max_seq_len", "sequence_length"):
        if length > 1 and source.get(name) == length:
            source.note(name, "mapped", made.set("sequence_length", length))
        else:
            source.drop(name, "the longer length counts" if length > 1 else "1 is no length of a sequence")
    if length <= 1:
        made.put("sequence_length", DEFAULT_LENGTH, "TorchEasyRec needs a length, EasyRec does not")
    if source.has("seq_multi_sep"):
        if kind == "sequence of ids" or made.message.boundaries:
            made.put("value_dim", 0, "elements have several values")
        source.note("seq_multi_sep", "mapped", made.set("separator", source.get("seq_multi_sep")))


_EXTRA: Mapping[str, Callable[[Source, Target, Uses, _Named], None]] = {
    "raw_feature": _raw,
    "sequence_raw_feature": _raw,
    "lookup_feature": _lookup,
    "id_feature": _tag,
    "expr_feature": _expr,
}
