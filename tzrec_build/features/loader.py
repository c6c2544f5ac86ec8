"""From an input path to batches: read, sample negatives, encode; one batch ahead of the model in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tzrec_build.data.batch import Batch
from tzrec_build.data.labels import LabelRange
from tzrec_build.data.options import ReaderOptions, csv_options
from tzrec_build.data.paths import find_files, table_kind
from tzrec_build.data.readers import TableReader, open_table
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.data.sampler import NegativeSampler, load_item_table
from tzrec_build.data.slices import TableSlice
from tzrec_build.errors import ConfigError, DataError, suggestion
from tzrec_build.features.batching import BatchBuilder
from tzrec_build.features.feature import Feature
from tzrec_build.features.prefetch import prefetched
from tzrec_build.protos.tzrec import data_pb2, pipeline_pb2, sampler_pb2

MODES = ("train", "eval", "predict")
ALL_COLUMNS = "ALL_COLUMNS"
ALL_EFFECTIVE_COLUMNS = "ALL_EFFECTIVE_COLUMNS"
_DEPTH = 4
_EVAL_SEED = 0


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """What the batches are for.

    Attributes:
        mode: ``train`` (labels, weights, shuffling), ``eval`` (labels, weights) or ``predict`` (features and reserves only).
        seed: of shuffling and sampling in training; an evaluation draws the same negatives whoever runs it.
        reserved_columns: columns to hand through; ``ALL_COLUMNS`` takes the whole table, ``ALL_EFFECTIVE_COLUMNS`` what is read anyway.
        rank: which of `world_size` readers.
    """

    mode: str = "train"
    seed: int = 0
    reserved_columns: tuple[str, ...] = ()
    rank: int = 0
    world_size: int = 1


class BatchLoader:
    """Iterable of the batches of a table; every iteration starts anew.

    Args:
        cfg: the pipeline config, supported as `config.support` says; `data_config` is read.
        features: `create_features(cfg)`.
        input_path: comma separated files, globs, folders.
        options: see `LoaderOptions`.
    Raises:
        DataError: the table is missing, damaged, empty or lacks a column.
        ConfigError: `data_config` is wrong.
    """

    def __init__(
        self,
        cfg: pipeline_pb2.EasyRecConfig,
        features: Sequence[Feature],
        input_path: str,
        options: LoaderOptions | None = None,
    ) -> None:
        self._options = options or LoaderOptions()
        if self._options.mode not in MODES:
            raise RuntimeError(f"bug: loader mode {self._options.mode!r}")
        config = cfg.data_config
        supervised = self._options.mode != "predict"
        labels = tuple(config.label_fields) if supervised else ()
        weights = tuple(config.sample_weight_fields) if supervised else ()
        sampled = config.WhichOneof("sampler") == "negative_sampler" and supervised
        item_columns = (config.negative_sampler.item_id_field,) if sampled else ()
        needed = BatchBuilder(features, labels, weights).columns + item_columns
        reserved, read = _resolve_reserved(self._options.reserved_columns, needed)
        self._reader = open_table(input_path, read, _reader_options(config, input_path, self._options))
        if ALL_COLUMNS in self._options.reserved_columns:
            _check_present(needed, self._reader, input_path)
            reserved = tuple(self._reader.types)
        self._builder = BatchBuilder(features, labels, weights, reserved)
        self._sampler = _make_sampler(config.negative_sampler, self._options.mode, self._reader) if sampled else None
        self._epoch = 0

    @property
    def num_rows(self) -> int:
        """Rows of the table (of this rank's part)."""
        return self._reader.num_rows

    def set_epoch(self, epoch: int) -> None:
        """Choose shuffling and sampling of the next iteration; the same epoch gives the same batches."""
        self._epoch = epoch

    def expect_labels(self, ranges: Mapping[str, LabelRange]) -> None:
        """Refuse labels outside these ranges (`BaseModel.label_ranges`) from the next iteration on."""
        self._builder.label_ranges = dict(ranges)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        return prefetched(lambda: self._batches(epoch), _DEPTH)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        seed = self._options.seed if self._options.mode == "train" else _EVAL_SEED
        rng = np.random.default_rng([seed, epoch, self._options.rank])
        for item in self._reader.slices(epoch):
            columns: Mapping[str, pa.Array] = item.columns
            try:
                if self._sampler is not None:
                    columns = self._sampler.extend(columns, rng)
                yield self._builder.build(columns, item.row_count)
            except ColumnError as err:
                raise _placed(err, item) from err


def _placed(err: ColumnError, item: TableSlice) -> DataError:
    """Name file and row in it instead of the row of the batch."""
    file, file_row = item.locate(err.row or 0)
    return err.at(file, None if err.row is None else file_row)


def _reader_options(config: data_pb2.DataConfig, input_path: str, options: LoaderOptions) -> ReaderOptions:
    training = options.mode == "train"
    batch_size = config.batch_size
    if not training and config.HasField("eval_batch_size"):
        batch_size = config.eval_batch_size
    if batch_size < 1:
        raise ConfigError(f"data_config.batch_size: must be at least 1, got {batch_size}")
    base = ReaderOptions(
        batch_size=batch_size,
        # evaluations and predictions cover every row
        drop_remainder=config.drop_remainder and training,
        shuffle=config.shuffle and training,
        shuffle_buffer_size=max(1, config.shuffle_buffer_size),
        seed=options.seed,
        rank=options.rank,
        world_size=options.world_size,
    )
    # The files decide, not dataset_type: a config made for ODPS trains on a Parquet copy of its table unchanged.
    if table_kind(find_files(input_path)) == "csv":
        return replace(base, csv=csv_options(config))
    return base


def _resolve_reserved(reserved: tuple[str, ...], needed: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns to hand through, and columns to read (() = all)."""
    if ALL_COLUMNS in reserved:
        return (), ()
    if ALL_EFFECTIVE_COLUMNS in reserved:
        reserved = tuple(dict.fromkeys([*needed, *(name for name in reserved if name != ALL_EFFECTIVE_COLUMNS)]))
    return reserved, tuple(dict.fromkeys([*needed, *reserved]))


def _check_present(needed: tuple[str, ...], reader: TableReader, input_path: str) -> None:
    for name in needed:
        if name not in reader.types:
            raise DataError(f"{input_path}: column {name!r} is missing{suggestion(name, reader.types)}")


def _make_sampler(config: sampler_pb2.NegativeSampler, mode: str, reader: TableReader) -> NegativeSampler:
    count = config.num_eval_sample if mode == "eval" and config.num_eval_sample else config.num_sample
    if count < 1:
        raise ConfigError(f"data_config.negative_sampler.num_sample: must be at least 1, got {count}")
    return NegativeSampler(
        load_item_table(config.input_path, config.field_delimiter or "\t"),
        attr_fields=tuple(config.attr_fields),
        attr_delimiter=config.attr_delimiter,
        item_id_field=config.item_id_field,
        sample_count=count,
        types=reader.types,
    )
