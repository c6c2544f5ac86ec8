"""Holds a workspace file against the table of `keys.py`: first its shape, then, per instance, its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tzrec_build.errors import suggestion
from tzrec_build.graph.documents import Document, Problems, show
from tzrec_build.graph.keys import (
    IDENTIFIER,
    IDENTIFIER_RULE,
    NAME,
    NAME_RULE,
    NAMED_TABLES,
    ROOT_KEYS,
    TABLES,
    WORKSPACE_KEYS,
    WORKSPACE_TABLES,
    Key,
    Table,
)
from tzrec_build.graph.positions import Keys

Values = dict[str, Any]  # key -> parsed value
FAILED = object()  # stands for a value that is already reported as wrong
EACH_RESERVED = (
    "inputs",
    "outputs",
    "out",
    "params",
    "threads",
    "vars",
    "argv",
)  # of placeholders that mean something else


class Merged:
    """A pipeline's own tables over the workspace's [defaults], and which file each key came from.

    A default fills a key of a table that the pipeline has; it never adds [select], [export] or another table that
    switches something on. Tables that every pipeline has ([data], [train], [pick], [fg]) always take their defaults.
    """

    ALWAYS = ("data", "train", "pick", "fg")

    def __init__(self, own: Document, workspace: Document | None) -> None:
        self.own = own
        self._workspace = workspace
        defaults = workspace.data.get("defaults", {}) if workspace else {}
        self.data: dict[str, Any] = {key: value for key, value in defaults.items() if key in ROOT_KEYS}
        for name, value in own.data.items():
            default = defaults.get(name, {})
            if name in NAMED_TABLES:
                self.data[name] = {item: _over(default.get(item, {}), keys) for item, keys in value.items()}
            else:
                self.data[name] = _over(default, value) if isinstance(value, dict) else value
        for name in self.ALWAYS:
            if name in defaults and name not in own.data:
                self.data[name] = defaults[name]

    def at(self, keys: Keys) -> str:
        """Say ``FILE:LINE`` of a key, in the file that wrote it."""
        if not self.own.has(keys) and self._workspace and self._workspace.has(("defaults", *keys)):
            return self._workspace.at(("defaults", *keys))
        return self.own.at(keys)


def _over(default: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = {**default, **own}
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(default.get(key), dict):
            merged[key] = {**default[key], **value}
    return merged


def check_pipeline_shape(document: Document, problems: Problems) -> None:
    """Report unknown tables and keys of a pipeline.toml, and names that cannot be task names."""
    _check_tables(document, (), document.data, problems, extra=("each",))
    each = document.data.get("each", {})
    if not isinstance(each, dict):
        problems.add(
            document.at(("each",)), f"[each] must be a table, got {show(each)}; write [each] on a line of its own"
        )
        return
    for name in each:
        if not IDENTIFIER.fullmatch(name) or name in EACH_RESERVED:
            taken = f" and not be one of {', '.join(EACH_RESERVED)}"
            problems.add(document.at(("each", name)), f"[each] name {show(name)} {IDENTIFIER_RULE}{taken}; rename it")


def check_workspace_shape(document: Document, problems: Problems) -> None:
    """Report unknown tables and keys of workspace.toml, also those in its [defaults]."""
    known = ("defaults", "resources", "cache", "vars")
    for name, value in document.data.items():
        if name in WORKSPACE_KEYS:
            parse_value((name,), value, WORKSPACE_KEYS[name], document.at, problems)
        elif name not in known:
            what = f"table [{_title((name,))}]" if isinstance(value, dict) else f"key {show(name)}"
            problems.add(document.at((name,)), f"unknown {what}{suggestion(name, (*known, *WORKSPACE_KEYS))}")
        elif not isinstance(value, dict):
            problems.add(
                document.at((name,)), f"[{name}] must be a table, got {show(value)}; write [{name}] on its own line"
            )
        elif name == "defaults":
            _check_tables(document, (name,), value, problems)
            _check_defaults(document, value, problems)
        elif name in WORKSPACE_TABLES:
            _check_keys(document, (name,), value, WORKSPACE_TABLES[name], problems)
        else:
            _check_names(document, (name,), value, "identifiers", problems)


def _check_defaults(document: Document, defaults: Mapping[str, Any], problems: Problems) -> None:
    """Hold against its rule what can be judged before an instance fills in its placeholders."""
    named = ((kind, item) for kind in NAMED_TABLES if isinstance(defaults.get(kind), dict) for item in defaults[kind])
    for keys in [*((name,) for name in TABLES if name in defaults), *named]:
        table = TABLES.get(keys[0]) or NAMED_TABLES[keys[0]]
        data: Any = defaults[keys[0]] if len(keys) == 1 else defaults[keys[0]][keys[1]]
        for name, value in data.items() if isinstance(data, dict) else ():
            key = table.keys.get(name)
            if key and not key.items and not isinstance(value, dict) and "{" not in str(value):
                parse_value(("defaults", *keys, name), value, key, document.at, problems)


def _check_tables(
    document: Document, prefix: Keys, data: Mapping[str, Any], problems: Problems, extra: tuple[str, ...] = ()
) -> None:
    for name, value in data.items():
        keys = (*prefix, name)
        if name in extra:
            continue
        if name in ROOT_KEYS:
            _check_depth(document, keys, value, ROOT_KEYS[name], problems)
        elif name not in TABLES and name not in NAMED_TABLES:
            kind = f"table [{_title(keys)}]" if isinstance(value, dict) else f"key {show(name)}"
            problems.add(
                document.at(keys), f"unknown {kind}{suggestion(name, [*TABLES, *NAMED_TABLES, *ROOT_KEYS, *extra])}"
            )
        elif not isinstance(value, dict):
            title = _title(keys) + (".NAME" if name in NAMED_TABLES else "")
            problems.add(document.at(keys), f"{name!r} must be a table, got {show(value)}; write it as [{title}]")
        elif name in TABLES:
            _check_keys(document, keys, value, TABLES[name], problems)
        else:
            _check_named(document, keys, value, NAMED_TABLES[name], problems)


def _check_named(document: Document, prefix: Keys, data: Mapping[str, Any], table: Table, problems: Problems) -> None:
    for name, value in data.items():
        keys = (*prefix, name)
        if not isinstance(value, dict):
            problems.add(
                document.at(keys),
                f"{show(name)} in [{_title(prefix)}] must be a table, got {show(value)}; write it below [{_title(prefix)}.NAME]",
            )
        elif not NAME.fullmatch(name):
            problems.add(document.at(keys), f"name {show(name)} in [{_title(prefix)}] {NAME_RULE}; rename it")
        else:
            _check_keys(document, keys, value, table, problems)


def _check_keys(document: Document, prefix: Keys, data: Mapping[str, Any], table: Table, problems: Problems) -> None:
    for name, value in data.items():
        if name in table.keys:
            _check_depth(document, (*prefix, name), value, table.keys[name], problems)
        else:
            problems.add(
                document.at((*prefix, name)),
                f"unknown key {show(name)} in [{_title(prefix)}]{suggestion(name, table.keys)}",
            )


def _check_depth(document: Document, keys: Keys, value: object, key: Key, problems: Problems) -> None:
    """See that a table stands exactly where one belongs; what is inside is for `parse_value`."""
    if key.items and isinstance(value, dict):
        _check_names(document, keys, value, key.items, problems)
    elif key.items:
        problems.add(
            document.at(keys), f"{_place(keys)} must be a table of names, got {show(value)}; write {{ name = value }}"
        )
    elif isinstance(value, dict):
        problems.add(document.at(keys), f"{_place(keys)} must be {key.rule}, got a table; write the value itself")


def _check_names(document: Document, prefix: Keys, data: Mapping[str, Any], names: str, problems: Problems) -> None:
    for name in data:
        if names == "identifiers" and not IDENTIFIER.fullmatch(name):
            problems.add(
                document.at((*prefix, name)), f"name {show(name)} in [{_title(prefix)}] {IDENTIFIER_RULE}; rename it"
            )
        elif not name.strip() or not name.isprintable():
            problems.add(
                document.at((*prefix, name)), f"name {show(name)} in [{_title(prefix)}] must be text; rename it"
            )


def _title(keys: Keys) -> str:
    return ".".join(key if NAME.fullmatch(key) else show(key) for key in keys)


def _place(keys: Keys) -> str:
    """Name a key for a message: ``[train] seed``."""
    return f"[{_title(keys[:-1])}] {keys[-1]}" if len(keys) > 1 else keys[-1]


def parse_table(keys: Keys, data: Mapping[str, Any], table: Table, merged: Merged, problems: Problems) -> Values:
    """Parse the values of one table of one instance; what is wrong is reported and left out of the result."""
    values: Values = {}
    for name, value in data.items():
        key = table.keys[name]
        place = (*keys, name)
        if key.items and value is not FAILED:
            items = _flat(value) if key.items == "edits" else [((item,), part) for item, part in value.items()]
            pairs = [(item, parse_value((*place, *item), part, key, merged.at, problems)) for item, part in items]
            values[name] = tuple((".".join(item), part) for item, part in pairs if part is not FAILED)
        elif value is not FAILED:
            values[name] = parse_value(place, value, key, merged.at, problems)
    for name in table.required:
        if name not in data:
            rule = (
                f"a table of names, each {table.keys[name].rule}" if table.keys[name].items else table.keys[name].rule
            )
            problems.add(merged.at(keys), f"[{_title(keys)}] {name} is missing: it must be {rule}; add {name} = ...")
    return {name: value for name, value in values.items() if value is not FAILED}


def parse_value(keys: Keys, value: object, key: Key, at: Callable[[Keys], str], problems: Problems) -> object:
    """Parse one value, or report the rule that it breaks and return `FAILED`."""
    try:
        return key.parse(value)
    except ValueError:
        problems.add(at(keys), f"{_place(keys)} must be {key.rule}, got {show(value)}; correct it")
        return FAILED


def _flat(data: Mapping[str, Any], prefix: Keys = ()) -> list[tuple[Keys, object]]:
    """List the values of [config.edit] by path, so that an unquoted ``data_config.batch_size = 1`` means the same."""
    pairs: list[tuple[Keys, object]] = []
    for name, value in data.items():
        if isinstance(value, dict):
            pairs.extend(_flat(value, (*prefix, name)))
        else:
            pairs.append(((*prefix, name), value))
    return pairs
