"""Values to ids: hash, number, vocabulary or boundaries; one class a rule, chosen by a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.errors import ConfigError
from tzrec_build.features.elements import ElementError, as_float32, as_int64, check_range
from tzrec_build.features.hashing import hash_buckets
from tzrec_build.features.ragged import is_text
from tzrec_build.features.values import Float32Array, Int64Array

OOV_WORD = "<OOV>"
OOV_ID = 1


class Bucketizer(Protocol):
    """Turns flat elements (no nulls) into row numbers of an embedding table."""

    @property
    def rows(self) -> int:
        """Rows of the table: one more than the largest id."""

    def ids(self, values: pa.Array) -> Int64Array:
        """Ids, int64 [n]; raises ElementError with the first offending position."""

    def fg_keys(self) -> dict[str, Any]:
        """The keys of fg.json that describe it, in their order."""


@dataclass(frozen=True, slots=True)
class HashBucketizer:
    """Hash of the text modulo a count."""

    rows: int

    def ids(self, values: pa.Array) -> Int64Array:
        """See `Bucketizer`."""
        return hash_buckets(_text(values), self.rows)

    def fg_keys(self) -> dict[str, Any]:
        """See `Bucketizer`."""
        return {"hash_bucket_size": self.rows}


@dataclass(frozen=True, slots=True)
class NumberBucketizer:
    """The number itself is the id (`num_buckets`)."""

    rows: int

    def ids(self, values: pa.Array) -> Int64Array:
        """See `Bucketizer`."""
        return check_range(as_int64(values), self.rows)

    def fg_keys(self) -> dict[str, Any]:
        """See `Bucketizer`."""
        return {"num_buckets": self.rows}


@dataclass(frozen=True, slots=True)
class BoundaryBucketizer:
    """Number of boundaries that are not above the value: a value equal to a boundary goes to the upper bucket."""

    boundaries: tuple[float, ...]

    @property
    def rows(self) -> int:
        """See `Bucketizer`."""
        return len(self.boundaries) + 1

    def ids(self, values: pa.Array) -> Int64Array:
        """See `Bucketizer`."""
        return self.ids_of_floats(as_float32(values))

    def ids_of_floats(self, values: Float32Array) -> Int64Array:
        """Ids of numbers; both sides are float32, as the boundaries are in the config.

        >>> BoundaryBucketizer((0.5, 1.5)).ids_of_floats(np.array([0.4, 1.5], np.float32)).tolist()
        [0, 2]
        """
        return np.searchsorted(np.array(self.boundaries, np.float32), values, side="right").astype(np.int64)

    def fg_keys(self) -> dict[str, Any]:
        """See `Bucketizer`."""
        return {"boundaries": list(self.boundaries)}


class VocabBucketizer:
    """Words with given ids; any other word gets one common id.

    Args:
        words: word -> id.
        unknown_id: id of a word that is not listed.
        rows: rows of the table.
        fg_keys: what fg.json says about it.
    """

    def __init__(self, words: Mapping[str, int], unknown_id: int, rows: int, fg_keys: Mapping[str, Any]) -> None:
        self.rows = rows
        self._words = pa.array(list(words), pa.string())
        # one more entry at the end: where `index_in` finds nothing
        self._ids = np.array([*words.values(), unknown_id], np.int64)
        self._fg_keys = dict(fg_keys)

    def ids(self, values: pa.Array) -> Int64Array:
        """See `Bucketizer`."""
        found = pc.index_in(_text(values).cast(pa.string()), self._words)
        return self._ids[pc.fill_null(found, len(self._words)).to_numpy(zero_copy_only=False)]

    def fg_keys(self) -> dict[str, Any]:
        """See `Bucketizer`."""
        return dict(self._fg_keys)


def vocab_list_bucketizer(
    words: Sequence[str], default_value: str, unknown_id: int | None, where: str
) -> VocabBucketizer:
    """`vocab_list`: id = position; without `default_bucketize_value` the default is 0, an unknown word 1, the first word 2.

    Raises:
        ConfigError: `default_bucketize_value` is not a position of the list.
    """
    if unknown_id is None:
        effective = [default_value, OOV_WORD, *words]
        unknown_id = OOV_ID
    else:
        effective = list(words)
        if unknown_id >= len(effective):
            raise ConfigError(
                f"{where}: default_bucketize_value must be below {len(effective)}, the size of vocab_list, got {unknown_id}"
            )
    ids = {word: position for position, word in enumerate(effective)}  # a word listed twice takes its later position
    return VocabBucketizer(
        ids, unknown_id, len(effective), {"vocab_list": effective, "default_bucketize_value": unknown_id}
    )


def vocab_dict_bucketizer(
    words: Mapping[str, int], default_value: str, unknown_id: int | None, where: str
) -> VocabBucketizer:
    """`vocab_dict`: given ids; without `default_bucketize_value` a non-empty default is 0 and an unknown word 1.

    Raises:
        ConfigError: `default_bucketize_value` is above the largest id.
    """
    ids = dict(words)
    # the default's id never makes the table larger: 0 is always a row
    rows = max(ids.values()) + 1
    if unknown_id is None:
        unknown_id = OOV_ID
        rows = max(rows, OOV_ID + 1)
        if default_value:
            ids[default_value] = 0
    elif unknown_id >= rows:
        raise ConfigError(
            f"{where}: default_bucketize_value must be below {rows}, one more than the largest id of vocab_dict, got {unknown_id}"
        )
    return VocabBucketizer(ids, unknown_id, rows, {"vocab_dict": ids, "default_bucketize_value": unknown_id})


def vocab_file_bucketizer(path: Path, shown_name: str, unknown_id: int | None, where: str) -> VocabBucketizer:
    """`vocab_file`: lines ``word`` (id = line number from 0) or ``word id``; UTF-8.

    Args:
        path: the file.
        shown_name: its name in fg.json.
        unknown_id: `default_bucketize_value`, mandatory here.
        where: place in the config.
    Raises:
        ConfigError: the file is missing, not UTF-8, empty, mixes the two forms, or the unknown id is no row of it.
    """
    if unknown_id is None:
        raise ConfigError(
            f"{where}: vocab_file needs default_bucketize_value, the id of a word that is not in the file"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{where}: vocab_file {path}: cannot be read as UTF-8 text ({err})") from err
    ids = _vocab_lines(lines, f"{where}: vocab_file {path}")
    rows = max(ids.values()) + 1
    if unknown_id >= rows:
        raise ConfigError(
            f"{where}: default_bucketize_value must be below {rows}, the rows of {path}, got {unknown_id}"
        )
    return VocabBucketizer(ids, unknown_id, rows, {"vocab_file": shown_name, "default_bucketize_value": unknown_id})


def _vocab_lines(lines: Sequence[str], where: str) -> dict[str, int]:
    if not lines:
        raise ConfigError(f"{where}: is empty; it needs at least one word")
    # an id is what follows the last blank, so that words may hold blanks only when every line has an id
    split = [line.rsplit(maxsplit=1) for line in lines]
    with_id = [len(parts) == 2 and parts[1].isdigit() for parts in split]
    if all(with_id):
        return {parts[0]: int(parts[1]) for parts in split}
    if any(with_id):
        number = with_id.index(not with_id[0]) + 1
        raise ConfigError(f"{where}:{number}: must be like the first line ({lines[0]!r}), got {lines[number - 1]!r}")
    return {line.strip(): number for number, line in enumerate(lines)}


def _text(values: pa.Array) -> pa.Array:
    if is_text(values.type):
        return values
    if pa.types.is_integer(values.type):
        return values.cast(pa.string())
    raise ElementError(
        f"must hold text or integers, got {values.type}; numbers with a fraction have no single text form"
    )
