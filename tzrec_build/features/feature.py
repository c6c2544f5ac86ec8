"""What every feature type has: its columns, its embedding table, how a column becomes ids or numbers, its fg.json objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tzrec_build.data.groups import BASE_DATA_GROUP, NEG_DATA_GROUP
from tzrec_build.errors import ConfigError, NotSupportedError, suggestion
from tzrec_build.features.bucketizers import Bucketizer
from tzrec_build.features.elements import ElementError, as_float32, as_int64, check_range
from tzrec_build.features.encoded import Encoding, parse_dense, parse_sequence_dense, parse_sparse
from tzrec_build.features.scope import FG_BUCKETIZE, FG_NONE, RAW_INPUT_MODES, FeatureScope
from tzrec_build.features.values import FeatureValues

SIDES = ("user", "item", "context")
FG_SEPARATOR = "\x1d"
POOLINGS = ("SUM", "MEAN")
TABLE_TYPES = ("FP32", "FP16")


class Feature(ABC):
    """One feature of the config: where its values come from and what they become.

    Attributes:
        name: full name; of a block member ``<sequence_name>__<feature_name>``.
        kind: oneof name in the config, e.g. ``id_feature``, ``sequence_id_feature``.
        config: the protobuf message of the feature.
        inputs: columns that `encode` reads under the fg mode.
        sides: ``user``, ``item``, ``context`` of the expressions, in their order; () when the config has none.
        is_sparse: True: ids (an embedding table); False: numbers.
        is_sequence: True for block members and flat sequence features.
        sequence_name: of the block; of a flat sequence its own name; "" for no sequence.
        sequence_length: `sequence_length` of the config; 0 for no sequence.
        data_group: ``__BASE__`` or ``__NEG__``.
        value_dim: columns of a dense feature; of a sparse one ids per row, 0 = any number.
        is_weighted: ids carry weights.
        pooling: ``SUM`` or ``MEAN``.
        num_embeddings: rows of the table; 0 for a dense feature.
        embedding_dim: columns of the table; 0 for a dense feature.
        embedding_name: name of the table; "" for a dense feature.
        output_dim: columns that the feature gives to its group.
        init_fn: text of the config, "" for the default.
        trainable: False freezes the table.
        data_type: ``FP32`` or ``FP16``.
    """

    def __init__(self, config: Any, scope: FeatureScope) -> None:
        self.config = config
        self.scope = scope
        self.kind = scope.kind
        sequence = scope.sequence
        self.is_sequence = sequence is not None
        self._in_block = sequence is not None and bool(sequence.name)
        prefix = f"{sequence.name}__" if sequence is not None and sequence.name else ""
        self.name: str = prefix + config.feature_name
        self.sequence_name = "" if sequence is None else (sequence.name or self.name)
        self.sequence_length = 0 if sequence is None else sequence.length
        self._separator: str = config.separator
        if not self._separator:
            raise ConfigError(f"{scope.where}: separator must not be empty")
        self._sequence_delim = "" if sequence is None else sequence.delim
        self._place_inputs(prefix)
        self.data_group = self._find_data_group()
        self.default_value: str = config.default_value or ("0" if self.is_sequence else "")
        self.bucketizer = self._make_bucketizer()
        self.is_sparse = self.bucketizer is not None
        self.value_dim = self._find_value_dim()
        self.is_weighted = bool(getattr(config, "weighted", False))
        self._place_table()
        self.output_dim = self.embedding_dim if self.is_sparse else self.value_dim
        self._encoding = self._make_encoding()

    def _place_inputs(self, prefix: str) -> None:
        """Set `sides` and `inputs`."""
        references = [self._reference(text) for text in self._expressions()]
        raw_mode = self.scope.fg_mode in RAW_INPUT_MODES
        if raw_mode and not references:
            raise ConfigError(
                f"{self.scope.where}: expression must be set under {self.scope.fg_mode}; write the input as side:column"
            )
        self.sides = tuple(side for side, _ in references)
        sequence_fields = set(self.config.sequence_fields)
        if self._in_block and sequence_fields and not sequence_fields.issuperset(name for _, name in references):
            raise NotSupportedError("sequence_fields that leave out the feature's own input", self.scope.where)
        self.inputs = tuple(prefix + name for _, name in references) if raw_mode else (self.name,)

    def _place_table(self) -> None:
        """Set what describes the embedding table."""
        config = self.config
        self.num_embeddings = 0 if self.bucketizer is None else self.bucketizer.rows
        self.embedding_dim = int(config.embedding_dim) if self.is_sparse else 0
        self.embedding_name: str = (config.embedding_name or f"{self.name}_emb") if self.is_sparse else ""
        self.init_fn: str = config.init_fn
        self.trainable: bool = config.trainable
        self.pooling = self._choice("pooling", config.pooling, POOLINGS)
        self.data_type = self._choice("data_type", config.data_type, TABLE_TYPES)
        if self.is_sparse and self.embedding_dim == 0:
            raise ConfigError(f"{self.scope.where}: embedding_dim must be above 0, the feature gives ids")

    def encode(self, columns: Mapping[str, pa.Array]) -> FeatureValues:
        """Turn the columns named by `inputs` into ids or numbers.

        Raises:
            ColumnError: a value breaks the rules of the feature; knows the row.
        """
        if self.scope.fg_mode == FG_NONE:
            return self._parse(columns[self.name])
        return self._transform([columns[name] for name in self.inputs])

    @property
    def has_embedding(self) -> bool:
        """True when the feature owns rows of an embedding table."""
        return self.is_sparse

    @property
    def assets(self) -> Mapping[str, Path]:
        """Path as the config has it -> file, for every file the feature needs at serving time."""
        path = getattr(self.config, "vocab_file", "")
        return {path: self._asset_file(path)} if path else {}

    def fg_json(self) -> list[dict[str, Any]]:
        """The feature's objects in fg.json, keys in TorchEasyRec's order (helpers first)."""
        body = self._fg_body()
        if self.config.HasField("stub_type"):
            body["stub_type"] = self.config.stub_type
        if self._in_block:
            if self.config.sequence_fields:
                body["sequence_fields"] = list(self.config.sequence_fields)
        elif self.is_sequence:
            body["sequence_delim"] = self._sequence_delim
            body["sequence_length"] = self.sequence_length
        return [body]

    @abstractmethod
    def _expressions(self) -> list[str]:
        """The ``side:column`` references of the config."""

    @abstractmethod
    def _make_bucketizer(self) -> Bucketizer | None:
        """The rule from value to id; None for a dense feature."""

    @abstractmethod
    def _find_value_dim(self) -> int:
        """See the attribute `value_dim`."""

    @abstractmethod
    def _transform(self, columns: list[pa.Array]) -> FeatureValues:
        """`encode` for the modes that bucketize here; one column per input."""

    @abstractmethod
    def _fg_body(self) -> dict[str, Any]:
        """Keys of the fg.json object up to `stub_type`."""

    def _fg_head(self) -> dict[str, Any]:
        """The first keys of every fg.json object."""
        plain_kind = self.kind.removeprefix("sequence_")
        kind = f"sequence_{plain_kind}" if self.is_sequence and not self._in_block else plain_kind
        return {"feature_type": kind, "feature_name": self.config.feature_name, "default_value": self.default_value}

    def _fg_separator(self) -> dict[str, str]:
        return {} if self._separator == FG_SEPARATOR else {"separator": self._separator}

    def _asset_file(self, path: str) -> Path:
        return self.scope.base_dir / self.config.asset_dir / path

    def _parse(self, column: pa.Array) -> FeatureValues:
        if self.is_sparse:
            return parse_sparse(self._encoding, column)
        if self.is_sequence:
            return parse_sequence_dense(self._encoding, column)
        return parse_dense(self._encoding, column)

    def _make_encoding(self) -> Encoding:
        fill = self.config.fg_encoded_default_value
        parts = pa.array(fill.split(self.scope.multival_sep) if fill else [], pa.string())
        try:
            ids = check_range(as_int64(parts), self.num_embeddings) if fill and self.is_sparse else None
            numbers = as_float32(parts) if fill and not self.is_sparse else None
        except ElementError as err:
            raise ConfigError(f"{self.scope.where}: fg_encoded_default_value {fill!r}: {err.rule}") from err
        return Encoding(
            column=self.name,
            multival_sep=self.scope.multival_sep,
            sequence_delim=self._sequence_delim,
            weighted=self.is_weighted,
            value_dim=self.value_dim,
            rows=self.num_embeddings,
            fill_ids=ids,
            fill_numbers=numbers,
        )

    def _normalizes(self) -> bool:
        # under FG_BUCKETIZE the columns are what the feature generator wrote before bucketizing
        return self.scope.fg_mode != FG_BUCKETIZE

    def _reference(self, text: str) -> tuple[str, str]:
        side, colon, name = text.partition(":")
        if not colon or not name or ":" in name:
            raise ConfigError(f"{self.scope.where}: expression must be side:column with one colon, got {text!r}")
        if side not in SIDES:
            raise ConfigError(
                f"{self.scope.where}: unknown side {side!r} in expression {text!r}{suggestion(side, SIDES)}"
            )
        return side, name

    def _find_data_group(self) -> str:
        return NEG_DATA_GROUP if self.scope.sampled_fields.intersection(self.inputs) else BASE_DATA_GROUP

    def _choice(self, field: str, text: str, known: tuple[str, ...]) -> str:
        if text.upper() not in known:
            raise ConfigError(f"{self.scope.where}: unknown {field} {text!r}{suggestion(text.upper(), known)}")
        return text.upper()
