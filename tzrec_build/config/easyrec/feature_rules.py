"""Tables for features: what becomes of each field, by the kind of the feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tzrec_build.config.easyrec.parts import Rule, Rules, dropped, same
from tzrec_build.config.lint_names import is_taken

POOLINGS: Mapping[str, str | None] = {"sum": "sum", "mean": "mean"}
NORMALIZERS: Mapping[str, str] = {  # function -> expression in x
    "tf.math.log1p": "log(x+1)",
    "tf.log1p": "log(x+1)",
    "tf.math.log": "log(x)",
    "tf.log": "log(x)",
    "tf.sqrt": "sqrt(x)",
    "tf.math.sqrt": "sqrt(x)",
    "tf.sigmoid": "sigmoid(x)",
    "tf.math.sigmoid": "sigmoid(x)",
    "tf.sign": "sign(x)",
    "tf.math.sign": "sign(x)",
    "tf.abs": "abs(x)",
    "tf.math.abs": "abs(x)",
}


def _rising(values: Any) -> list[float]:
    """Sort boundaries, as EasyRec does."""
    return sorted({float(value) for value in values})


def table_name(name: str) -> str:
    """Give the name of a table as torch takes it."""
    return f"{name.replace('.', '_')}_" if is_taken(name) else name


_NO_DYNAMIC = "tables have a fixed size"
_COMMON: Rules = (
    dropped("max_partitions", "the planner shards tables")
    | dropped("ev_params", _NO_DYNAMIC)
    | dropped("precision", "values are not rounded")
    | dropped("sequence_combiner", "sequences are pooled by their mean")
)
_POOLING = {"combiner": Rule("pooling", convert=POOLINGS.get)}
_TABLE = {"embedding_name": Rule("embedding_name", convert=table_name)}
_IDS: Rules = _TABLE | _POOLING
_NO_NUMBER = dropped("boundaries min_val max_val normalizer_fn raw_input_dim", "an id is no number")
_NO_SEQUENCE = dropped("seq_multi_sep max_seq_len sequence_length sub_feature_type", "not a sequence")
_NO_COMBO = dropped("combo_join_sep combo_input_seps", "not a combination")
_COMBO = dropped("combo_join_sep", "parts are joined by '_', so ids differ") | dropped(
    "combo_input_seps", "parts are not split"
)
_NO_LOOKUP = dropped("lookup_max_sel_elem_num", "all elements are looked up")
_NO_TAG = dropped("kv_separator", "values have no weights")
_NO_EXPR = dropped("expression", "only an ExprFeature computes one")
_NO_IDS = dropped("hash_bucket_size vocab_list vocab_file", "a number has no ids")
_REST = _COMMON | _NO_SEQUENCE | _NO_COMBO | _NO_LOOKUP | _NO_TAG | _NO_EXPR
_ONE_VALUE = dropped("separator", "the value is not split")
_NUMBER: Rules = _TABLE | _POOLING | {"boundaries": Rule("boundaries", convert=_rising)}

_SEQUENCE_FIELDS = "sub_feature_type max_seq_len sequence_length seq_multi_sep"


def _without(rules: Rules, names: str) -> Rules:
    """Rules but for fields that a step of their own brings over."""
    return {name: rule for name, rule in rules.items() if name not in names.split()}


_SEQ = _without(_REST, _SEQUENCE_FIELDS)
_SEQ_NUMBER = _without(_NUMBER, "separator") | _NO_IDS
RULES: Mapping[str, tuple[str, Rules]] = {  # kind, see `_kind` -> field of FeatureConfig, rules for its fields
    "IdFeature": ("id_feature", _REST | _NO_NUMBER | _ONE_VALUE | _IDS),
    "TagFeature": ("id_feature", _without(_REST, "kv_separator") | _NO_NUMBER | same("separator") | _IDS),
    "ComboFeature": ("combo_feature", _REST | _NO_NUMBER | _ONE_VALUE | _IDS | _COMBO),
    "LookupFeature": ("lookup_feature", _REST | same("separator") | _NUMBER),
    "RawFeature": ("raw_feature", _REST | same("separator") | _NUMBER | _NO_IDS),
    "PassThroughFeature": ("raw_feature", _REST | same("separator") | _NUMBER | _NO_IDS),
    "ExprFeature": ("expr_feature", _without(_REST, "expression") | _ONE_VALUE | _NUMBER | _NO_IDS),
    "pooled ids": ("id_feature", _without(_SEQ | _NO_NUMBER | same("separator") | _IDS, "combiner")),
    "pooled numbers": ("raw_feature", _without(_SEQ | same("separator") | _NUMBER | _NO_IDS, "combiner")),
    "sequence of ids": ("sequence_id_feature", _SEQ | _NO_NUMBER | {"separator": Rule("sequence_delim")} | _IDS),
    "sequence of numbers": ("sequence_raw_feature", _SEQ | _SEQ_NUMBER | {"separator": Rule("sequence_delim")}),
}
SEQUENCE_KINDS = frozenset(kind for kind in RULES if " " in kind)
