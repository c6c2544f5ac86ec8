"""The literal table of the workspace grammar: every table, every key, and the rule that its value must obey.

To add a key: a field with its default in `grammar.py`, a row here, and where it is read; `not_built.py` lists the rest.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from tzrec_build.graph.grammar import (
    BenchmarkSpec,
    CacheSpec,
    ConfigSpec,
    DataSpec,
    EvalSpec,
    ExportSpec,
    FgSpec,
    HitrateSpec,
    IndexSpec,
    PickSpec,
    PredictSpec,
    SelectSpec,
    StepSpec,
    TrainSpec,
)

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # part of task names and of folder names
NAME_RULE = "must be at most 100 letters, digits, '_', '.', '-' and not begin with '.' or '-'"
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IDENTIFIER_RULE = "must be letters, digits, '_' and not begin with a digit"
MAX_INT = 2**31 - 1
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Key(NamedTuple):
    """Rule of one key.

    Attributes:
        rule: completes "must be".
        parse: value as TOML gives it -> value of the spec; raises ValueError when the rule is broken.
        is_path: the value is a path text or a tuple of them.
        items: a table of names with one such value each; "identifiers" or "edits" says what the names are.
    """

    rule: str
    parse: Callable[[object], object]
    is_path: bool = False
    items: str = ""


class Table(NamedTuple):
    """One table of pipeline.toml.

    Attributes:
        spec: class that holds it, or None where one key stands for the table.
        needs_config: the table means nothing without [config].
    """

    spec: type[tuple[object, ...]] | None
    keys: Mapping[str, Key]
    required: tuple[str, ...] = ()
    needs_config: bool = False


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _integer(low: int, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= MAX_INT:
        return value
    raise ValueError


def _positive(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise ValueError


def _choice(known: tuple[str, ...], value: object) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ValueError


def _texts(value: object) -> tuple[str, ...]:
    texts = tuple(_text(item) for item in value) if isinstance(value, list) else ()
    if texts and len(set(texts)) == len(texts):
        return texts
    raise ValueError


def _paths(value: object) -> tuple[str, ...]:
    return _texts([value] if isinstance(value, str) else value)


def _identifiers(value: object) -> tuple[str, ...]:
    texts = _texts(value)
    if all(IDENTIFIER.fullmatch(text) for text in texts):
        return texts
    raise ValueError


def _model(value: object) -> str:
    text = _text(value)
    if re.fullmatch(r"[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*", text):
        return text
    raise ValueError


def _command(value: object) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(item, str) and "\0" not in item for item in value)
    ):
        raise ValueError
    _text(value[0])
    return tuple(value)


def _duration(value: object) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", _text(value), re.ASCII)
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if seconds > 0:
        return seconds
    raise ValueError


def _scalar(value: object) -> bool | int | float | str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError
    if isinstance(value, bool | int | float) or (isinstance(value, str) and "\0" not in value):
        return value
    raise ValueError


def _edit(value: object) -> object:
    if isinstance(value, list):
        return tuple(_edit(item) for item in value)
    return _scalar(value)


def _output(value: object) -> str:
    text = _text(value)
    outside = text.startswith(("/", "~")) or ".." in text.split("/") or text != os.path.normpath(text) or text == "."
    if outside or text.partition("/")[0] == "records" or any(mark in text for mark in "*?[:\\"):
        raise ValueError
    return text


def _choice_key(*known: str) -> Key:
    return Key("one of " + ", ".join(repr(name) for name in known), partial(_choice, known))


def _integer_key(low: int) -> Key:
    return Key(f"an integer in [{low}, {MAX_INT}]", partial(_integer, low))


FLAG = Key("true or false", _flag)
COUNT = _integer_key(1)
NATURAL = _integer_key(0)
POSITIVE = Key("a finite number above 0", _positive)
TEXT = Key("a text of one line, not empty", _text)
TEXTS = Key("a list of different texts of one line, not empty", _texts)
NAMES = Key("a list of different names of environment variables", _identifiers)
PATH = Key("a path or a PIPELINE:ARTIFACT reference", _text, is_path=True)
PATHS = Key("a path or a PIPELINE:ARTIFACT reference, or a list of different ones", _paths, is_path=True)
COMMAND = Key("a list of texts, the program first", _command)
DURATION = Key("a duration above 0 such as '90s', '30m', '12h', '3d'", _duration)
MODEL = Key("FILE.py:CLASS, a class of yours in a file as seen from the pipeline's folder", _model)
SCALAR_RULE = "a text, a finite number of at most 64 bits, or true or false"
EDITS = Key(f"{SCALAR_RULE}, or a list of them", _edit, is_path=True, items="edits")
PARAMS = Key(SCALAR_RULE, _scalar, items="identifiers")
COUNTS = Key(COUNT.rule, COUNT.parse, items="identifiers")
INPUTS = Key(PATHS.rule, _paths, is_path=True, items="identifiers")
OUTPUTS = Key(
    "a file inside the step's own build folder: relative, not in records/, without '..', '*', '?', '[', ':'",
    _output,
    items="identifiers",
)

TABLES: Mapping[str, Table] = {
    "config": Table(
        ConfigSpec,
        {
            "path": PATH,
            "easyrec": PATH,
            "fg_json": PATH,
            "schema": PATH,
            "feature_info": PATH,
            "edit": EDITS,
            "model": MODEL,
        },
    ),
    "data": Table(
        DataSpec,
        {"train": PATHS, "eval": PATHS, "fingerprint": _choice_key("content", "stat", "etag", "odps", "lock")},
        needs_config=True,
    ),
    "train": Table(
        TrainSpec,
        {
            "processes": COUNT,
            "nodes": COUNT,
            "launcher": COMMAND,
            "threads": COUNT,
            "device": _choice_key("auto", "cpu", "cuda"),
            "seed": NATURAL,
            "init_from": PATH,
            "timeout": DURATION,
            "cache": _choice_key("full", "reference", "none"),
            "resources": COUNTS,
        },
        needs_config=True,
    ),
    "checkpoint": Table(None, {"path": PATH}, ("path",), needs_config=True),
    "pick": Table(
        PickSpec,
        {"by": _choice_key("latest", "best", "step"), "metric": TEXT, "step": NATURAL, "smaller_is_better": FLAG},
        needs_config=True,
    ),
    "select": Table(
        SelectSpec,
        {"topk": COUNT, "regularization_lambda": POSITIVE},
        ("topk",),
        needs_config=True,
    ),
    "fg": Table(FgSpec, {"reserves": TEXTS, "remove_bucketizer": FLAG}, needs_config=True),
    "export": Table(ExportSpec, {"mode": _choice_key("script", "aot")}, needs_config=True),
    "index": Table(
        IndexSpec,
        {
            "tower": _choice_key("item", "user"),
            "input": PATH,
            "items": PATHS,
            "id_field": TEXT,
            "embedding_field": TEXT,
            "type": _choice_key("IVFFlatIP", "IVFFlatL2", "HNSWFlatIP", "HNSWFlatL2"),
            "ivf_nlist": COUNT,
            "hnsw_M": _integer_key(2),
            "hnsw_efConstruction": COUNT,
        },
        ("id_field",),
    ),
    "hitrate": Table(
        HitrateSpec,
        {
            "users": PATHS,
            "top_k": COUNT,
            "request_id_field": TEXT,
            "gt_items_field": TEXT,
            "exclude_items_field": TEXT,
            "user_embedding_field": TEXT,
            "baseline": PATH,
        },
        ("users",),
        needs_config=True,
    ),
    "benchmark": Table(BenchmarkSpec, {"runs": COUNT, "baseline": PATH}, needs_config=True),
}
NAMED_TABLES: Mapping[str, Table] = {  # [KIND.NAME], any number
    "eval": Table(EvalSpec, {"data": PATHS}, ("data",), needs_config=True),
    "predict": Table(
        PredictSpec, {"input": PATHS, "reserved": TEXTS, "output_columns": TEXTS}, ("input",), needs_config=True
    ),
    "step": Table(
        StepSpec,
        {
            "command": COMMAND,
            "inputs": INPUTS,
            "outputs": OUTPUTS,
            "env": NAMES,
            "params": PARAMS,
            "threads": COUNT,
            "resources": COUNTS,
            "retries": NATURAL,
            "timeout": DURATION,
        },
        ("command", "outputs"),
    ),
}
ROOT_KEYS: Mapping[str, Key] = {"default": FLAG}  # keys of pipeline.toml outside of any table
WORKSPACE_KEYS: Mapping[str, Key] = {"max_cost": DURATION}  # the same of workspace.toml
WORKSPACE_TABLES: Mapping[str, Table] = {  # of workspace.toml, beside [defaults], [resources] and [vars]
    "cache": Table(CacheSpec, {"match": _choice_key("portable", "exact-machine"), "remote": TEXT}),
}
FIELDS: Mapping[str, str] = {"timeout": "timeout_s"}  # key -> field of the spec, where a unit was parsed

# (table, key that must be set, other key, values of it with which the first must be set)
NEEDED_WITH: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("pick", "metric", "by", ("best",)),
    ("pick", "step", "by", ("step",)),
)
# (table, key, other key, values of it with which the first has an effect)
ONLY_WITH: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("pick", "metric", "by", ("best",)),
    ("pick", "smaller_is_better", "by", ("best",)),
    ("pick", "step", "by", ("step",)),
    ("index", "ivf_nlist", "type", ("IVFFlatIP", "IVFFlatL2")),
    ("index", "hnsw_M", "type", ("HNSWFlatIP", "HNSWFlatL2")),
    ("index", "hnsw_efConstruction", "type", ("HNSWFlatIP", "HNSWFlatL2")),
)
