"""The receipt of a conversion: what became of every field that the source sets; nothing is left unaccounted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from google.protobuf.message import Message

from tzrec_build.config.walk import is_own_message, messages_in

Result = Literal["kept", "mapped", "approximated", "dropped"]
RESULTS: tuple[Result, ...] = ("kept", "mapped", "approximated", "dropped")
_SHOWN_TEXT = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one source field, or of everything below it: `targets` are paths of the result, `note` says how or why."""

    result: Result
    targets: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """One set field of the source: its path and its value as text."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that the result cannot express: `cause` is its name in tables, `path` its place in the source."""

    cause: str
    path: str
    text: str


@dataclass(slots=True)
class Receipt:
    """Collects while a conversion runs."""

    entries: dict[str, Entry] = field(default_factory=dict)
    added: list[tuple[str, str, str]] = field(default_factory=list)  # target path, value, why
    refusals: list[Refusal] = field(default_factory=list)

    def note(self, path: str, result: Result, targets: tuple[str, ...] = (), note: str = "") -> None:
        """Account for a source path; a second account joins the first, and lost in part is approximated."""
        old = self.entries.get(path)
        if old is not None:
            if "dropped" in {old.result, result} and old.result != result:
                result = "approximated"
            else:
                result = max(old.result, result, key=RESULTS.index)
            targets = tuple(dict.fromkeys(old.targets + targets))
            note = "; ".join(dict.fromkeys(filter(None, (old.note, note))))
        self.entries[path] = Entry(result, targets, note)

    def add(self, target: str, value: object, why: str) -> None:
        """Note a field of the result that no field of the source asked for."""
        self.added.append((target, text_of(value), why))

    def refuse(self, cause: str, path: str, text: str) -> None:
        """Note something without a counterpart; the conversion will fail and name it."""
        refusal = Refusal(cause, path, text)
        if refusal not in self.refusals:
            self.refusals.append(refusal)


def leaves(message: Message, path: str = "") -> Iterator[Leaf]:
    """Yield every set scalar, list, map and empty message of a source config, in declaration order."""
    for field_, value in message.ListFields():
        at = f"{path}.{field_.name}" if path else field_.name
        if not is_own_message(field_):
            yield Leaf(at, _value_text(field_, value))
            continue
        for child_at, child in messages_in(field_, value, at):
            if child.ListFields():
                yield from leaves(child, child_at)
            else:
                yield Leaf(child_at, "{}")


def _value_text(field_: Any, value: Any) -> str:
    if field_.cpp_type == field_.CPPTYPE_FLOAT:
        short = [float(f"{number:.7g}") for number in (value if field_.is_repeated else [value])]
        return text_of(short if field_.is_repeated else short[0])
    if field_.enum_type is None:
        return text_of(list(value) if field_.is_repeated and field_.message_type is None else value)
    names = [field_.enum_type.values_by_number[number].name for number in (value if field_.is_repeated else [value])]
    return ", ".join(names)


def text_of(value: object) -> str:
    """Write a value on one short line."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 3]}..."


def accounted(receipt: Receipt, found: Iterable[Leaf]) -> tuple[list[tuple[Leaf, Entry]], list[Leaf]]:
    """Pair every leaf of the source with its account, its own or the nearest above; give those without one as well."""
    known, unknown = [], []
    for leaf in found:
        entry = _nearest(receipt, leaf.path)
        if entry is None:
            unknown.append(leaf)
        else:
            known.append((leaf, entry))
    return known, unknown


def _nearest(receipt: Receipt, path: str) -> Entry | None:
    while path:
        if path in receipt.entries:
            return receipt.entries[path]
        path = path[: max(path.rfind("."), path.rfind("["))] if "." in path or "[" in path else ""
    return None


def report(receipt: Receipt, found: Iterable[Leaf], head: dict[str, object]) -> dict[str, Any]:
    """Give the JSON of a receipt: `head`, the number of fields by result, every field, what was added.

    Raises:
        RuntimeError: a leaf has no account, which is a bug of the conversion.
    """
    known, unknown = accounted(receipt, found)
    if unknown:
        names = ", ".join(leaf.path for leaf in unknown[:5])
        raise RuntimeError(f"bug: {len(unknown)} fields of the source are unaccounted for: {names}")
    counts = {result: sum(entry.result == result for _, entry in known) for result in RESULTS}
    fields = [
        {
            "source": leaf.path,
            "value": leaf.value,
            "result": entry.result,
            "targets": list(entry.targets),
            "note": entry.note,
        }
        for leaf, entry in known
    ]
    added = [{"target": target, "value": value, "why": why} for target, value, why in receipt.added]
    refused = [{"cause": one.cause, "source": one.path, "text": one.text} for one in receipt.refusals]
    return {**head, "counts": counts, "fields": fields, "added": added, "refused": refused}


def table(content: dict[str, Any]) -> str:
    """Write a report as text: counts, then each field that was not simply kept, worst first."""
    counts = content["counts"]
    lines = [", ".join(f"{counts[result]} {result}" for result in RESULTS) + f", {len(content['added'])} added"]
    for result in ("dropped", "approximated", "mapped"):
        rows = [row for row in content["fields"] if row["result"] == result]
        if rows:
            lines += ["", f"{result}:"]
        lines += [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def _row(row: dict[str, Any]) -> str:
    place = f" -> {', '.join(row['targets'])}" if row["targets"] else ""
    note = f": {row['note']}" if row["note"] else ""
    return f"  {row['source']} = {row['value']}{place}{note}"
