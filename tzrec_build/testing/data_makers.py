"""Made-up but learnable tables for any supported pipeline config; the same seed gives the same bytes.

A world is drawn once: users and items, each in one of a few clusters, with fixed values in their columns. A row is a user, an
item and a label. Clicks go mostly to items of the user's own cluster, histories hold such items, and every column value adds a
fixed amount to the label's logit; so ranking models beat 0.5 AUC and retrieval models beat popularity within a few steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tzrec_build.errors import ConfigError
from tzrec_build.files import write_text
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.testing.data_columns import Column, make_columns

_CLUSTERS = 8
_MATCH = frozenset({"dssm", "dssm_v2", "dat", "mind", "hstu_match"})
_MAX_HISTORY = 12  # items; longer ones would only make tests slower

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WorldSize:
    """How much there is to choose from."""

    users: int = 300
    items: int = 400


@dataclass(frozen=True, slots=True)
class MadeData:
    """Paths of what `write_data` wrote, as texts for configs and flags; `sampler_path` is "" without a sampler."""

    train_path: str
    eval_path: str
    sampler_path: str


class DataMaker:
    """Tables for one config.

    Args:
        config: a loaded pipeline config.
        seed: decides the world and, with `part`, the rows.
        size: number of users and items.

    Raises:
        ConfigError: the sampler's item_id_field is no item column of integers.
    """

    def __init__(self, config: EasyRecConfig, seed: int = 0, size: WorldSize = WorldSize()) -> None:
        self._config, self._seed, self._size = config, seed, size
        self.columns = make_columns(config)
        world = np.random.default_rng([seed, 0])
        self._user_cluster = world.integers(_CLUSTERS, size=size.users)
        self._item_cluster = np.arange(size.items) % _CLUSTERS
        self._item_of_cluster = np.argsort(self._item_cluster, kind="stable")
        self._choices = {
            column.name: self._choose(column, world) for column in self.columns if not column.sequence_length
        }
        self._effects = {column.name: world.normal(size=len(column.values)) for column in self.columns}
        if config.data_config.HasField("negative_sampler"):
            self._make_item_ids_distinct()

    def _choose(self, column: Column, world: np.random.Generator) -> Ints:
        """Draw the value (index into `column.values`) of every user or item; half of the columns tell the cluster.

        A first column with enough values is the entity's own id.
        """
        count = {"user": self._size.users, "item": self._size.items}.get(column.side, 0)
        if len(column.values) >= count > 0 and column.kind != "number":
            return world.permutation(len(column.values))[:count]
        drawn = world.integers(len(column.values), size=count)
        if column.side == "context" or world.random() < 0.5:
            return drawn
        cluster = self._user_cluster if column.side == "user" else self._item_cluster
        return (cluster * max(len(column.values) // _CLUSTERS, 1) + drawn // _CLUSTERS) % len(column.values)

    def _make_item_ids_distinct(self) -> None:
        """Give every item its own value in the sampler's id column."""
        name = self._config.data_config.negative_sampler.item_id_field
        column = next((column for column in self.columns if column.name == name), None)
        if column is None or column.side != "item" or column.kind != "id":
            raise ConfigError(
                f"item_id_field: must be an item column of integers, got {name!r}; name an id_feature with num_buckets"
            )
        if len(column.values) < self._size.items:
            raise ConfigError(
                f"item_id_field: {name!r} has {len(column.values)} ids for {self._size.items} items; make fewer items"
            )
        self._choices[name] = np.arange(self._size.items)

    def table(self, rows: int, part: int = 0) -> pa.Table:
        """Make a table: every column of the features, then labels, then sample weights.

        Args:
            rows: number of rows.
            part: another part of the same world, e.g. 0 for training and 1 for evaluation.
        """
        rng = np.random.default_rng([self._seed, 1, part])
        user = rng.integers(self._size.users, size=rows)
        near = rng.random(rows) < 0.7
        item = np.where(near, self._items_of(self._user_cluster[user], rng), rng.integers(self._size.items, size=rows))
        logit = 1.5 * (self._item_cluster[item] == self._user_cluster[user]) - 0.7
        columns: dict[str, pa.Array] = {}
        for column in self.columns:
            if column.sequence_length:
                columns[column.name] = self._history(column, self._user_cluster[user], part)
                continue
            index = self._index(column, user, item, rng)
            logit = logit + self._effects[column.name][index] / math.sqrt(len(self.columns))
            columns[column.name] = _scalars(column, index, rng)
        columns |= self._labels(logit, rng)
        for name in self._config.data_config.sample_weight_fields:
            columns[name] = pa.array(rng.uniform(0.5, 1.5, rows).astype(np.float32))
        return pa.table(columns)

    def _items_of(self, cluster: Ints, rng: np.random.Generator) -> Ints:
        """Draw an item of each given cluster; low-numbered items are more popular."""
        members = self._size.items // _CLUSTERS
        rank = (rng.random(cluster.shape) ** 2 * members).astype(np.int64)
        starts = np.searchsorted(self._item_cluster[self._item_of_cluster], np.arange(_CLUSTERS))
        return self._item_of_cluster[starts[cluster] + rank]

    def _index(self, column: Column, user: Ints, item: Ints, rng: np.random.Generator) -> Ints:
        if column.side == "user":
            return self._choices[column.name][user]
        if column.side == "item":
            return self._choices[column.name][item]
        return rng.integers(len(column.values), size=len(user))

    def _history(self, column: Column, cluster: Ints, part: int) -> pa.Array:
        """Make the users' last items, in the values of `column.source`, as text or lists; some rows are empty.

        All members of one block must have equal lengths, so lengths and items come from a generator of their own.
        """
        block = np.random.default_rng([self._seed, 2, part])
        lengths = block.integers(0, min(column.sequence_length, _MAX_HISTORY) + 1, size=len(cluster))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        items = self._items_of(np.repeat(cluster, lengths), block)
        source = self._choices.get(column.source)
        index = items % len(column.values) if source is None else source[items] % len(column.values)
        values = pa.array(
            column.values[index].repeat(column.value_dim) if column.kind == "number" else column.values[index]
        )
        if column.kind == "number":
            values = values.cast(pa.float32())
        if column.as_list:
            return pa.ListArray.from_arrays(pa.array(offsets * column.value_dim), values)
        texts = pc.cast(values, pa.string())
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), texts), column.sequence_delim)

    def _labels(self, logit: npt.NDArray[np.float64], rng: np.random.Generator) -> dict[str, pa.Array]:
        model = self._config.model_config
        kinds = {loss.WhichOneof("loss") for loss in model.losses}
        labels: dict[str, pa.Array] = {}
        for i, name in enumerate(self._config.data_config.label_fields):
            noisy = logit - 0.7 * i + rng.logistic(size=len(logit))  # later labels are rarer
            if model.WhichOneof("model") in _MATCH:
                labels[name] = pa.array(np.ones(len(logit), np.int64))
            elif "l2_loss" in kinds:
                labels[name] = pa.array(noisy.astype(np.float32))
            elif model.num_class > 1:
                cuts = np.quantile(noisy, np.linspace(0, 1, model.num_class + 1)[1:-1])
                labels[name] = pa.array(np.searchsorted(cuts, noisy))
            else:
                labels[name] = pa.array((noisy > 0).astype(np.int64))
        return labels

    def sampler_text(self) -> str:
        """Write the item table of the config's negative_sampler: id, weight (popularity) and joined attributes.

        Raises:
            ConfigError: the config has no negative_sampler, or an attribute is no item column.
        """
        sampler = self._config.data_config.negative_sampler
        by_name = {column.name: column for column in self.columns if column.side == "item"}
        for name in sampler.attr_fields:
            if name not in by_name:
                raise ConfigError(f"attr_fields: must name item columns, got {name!r}; known: {', '.join(by_name)}")
        delimiter = sampler.field_delimiter or "\t"
        ids = self._item_texts(by_name[sampler.item_id_field])
        attributes = [self._item_texts(by_name[name]) for name in sampler.attr_fields]
        joined = pc.binary_join_element_wise(*attributes, sampler.attr_delimiter)
        weights = pa.array([f"{1 / (1 + rank // _CLUSTERS):.4f}" for rank in range(self._size.items)])
        lines = pc.binary_join_element_wise(ids, weights, joined, delimiter).to_pylist()
        return "\n".join([delimiter.join(("id:int64", "weight:float", "attrs:string")), *lines]) + "\n"

    def _item_texts(self, column: Column) -> pa.Array:
        return pc.cast(pa.array(column.values[self._choices[column.name]]), pa.string())


def _scalars(column: Column, index: Ints, rng: np.random.Generator) -> pa.Array:
    """Make one value, or `value_dim` numbers, a row; numbers get a little noise that stays on their side of a boundary."""
    if column.kind != "number":
        return pa.array(column.values[index])
    numbers = column.values[index].astype(np.float32)
    if column.value_dim == 1:
        return pa.array(numbers)
    spread = numbers[:, None] + rng.normal(scale=0.01, size=(len(index), column.value_dim)).astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(spread.ravel()), column.value_dim).cast(pa.list_(pa.float32()))


def write_data(
    config: EasyRecConfig, folder: str | Path, *, rows: int = 2048, eval_rows: int = 1024, seed: int = 0
) -> MadeData:
    """Write train.parquet, eval.parquet and, when the config has a negative_sampler, items.txt into a folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    maker = DataMaker(config, seed, _fitting_size(config))
    for name, count, part in (("train", rows, 0), ("eval", eval_rows, 1)):
        pq.write_table(maker.table(count, part), target / f"{name}.parquet", row_group_size=max(count // 2, 1))
    sampler_path = ""
    if config.data_config.HasField("negative_sampler"):
        sampler_path = str(target / "items.txt")
        write_text(sampler_path, maker.sampler_text())
    return MadeData(str(target / "train.parquet"), str(target / "eval.parquet"), sampler_path)


def _fitting_size(config: EasyRecConfig) -> WorldSize:
    """Make no more items than the sampler's id column has values."""
    default = WorldSize()
    sampler: Any = config.data_config.negative_sampler
    ids = [len(column.values) for column in make_columns(config) if column.name == sampler.item_id_field]
    return WorldSize(default.users, max(min([default.items, *ids]), _CLUSTERS))
