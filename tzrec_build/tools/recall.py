"""Which ground-truth items a search brings back, as set operations on whole arrays; tools import it when they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.errors import DataError

Ints = npt.NDArray[np.int64]
RESULT_CELLS = 4_000_000  # requests x results of one search: 48 MiB of distances and labels


@dataclass(frozen=True, slots=True)
class Lists:
    """One list of item ids per request, flat: values[i] belongs to request rows[i].

    Attributes:
        rows: [M] request number, 0 to B - 1, ascending.
        values: [M] string.
    """

    rows: Ints
    values: pa.Array


@dataclass(frozen=True, slots=True)
class Wanted:
    """Distinct items of each request.

    Attributes:
        sizes: [B] distinct ids of the request, known to the index or not.
        keys: sorted ``row * N + FAISS id`` of those that the index knows.
    """

    sizes: Ints
    keys: Ints


@dataclass(frozen=True, slots=True)
class Found:
    """Search results after filtering, all [B, K]: K columns searched, best first.

    Attributes:
        labels: FAISS ids, -1 where the search found fewer than K.
        distances: float32 scores (inner product) or distances (L2).
        kept: a result that counts: it exists, is not excluded and is among the first top_k such.
        rank: 1 for the first kept result of a request; valid where kept.
        hit: kept and wanted.
    """

    labels: Ints
    distances: npt.NDArray[np.float32]
    kept: npt.NDArray[np.bool_]
    rank: Ints
    hit: npt.NDArray[np.bool_]


def parse_lists(column: pa.Array, where: str) -> Lists:
    """Read item lists: lists of integers or strings, or text like ``3,7,9``; null and empty mean no items.

    Raises:
        DataError: the column holds something else.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.split_pattern(column, ",")
    if not isinstance(column, (pa.ListArray, pa.LargeListArray)) or not (
        pa.types.is_integer(column.type.value_type)
        or pa.types.is_string(column.type.value_type)
        or pa.types.is_large_string(column.type.value_type)
    ):
        raise DataError(f"{where}: must hold lists of integer or string ids, or comma text, got {column.type}")
    rows = pc.list_parent_indices(column)
    values = pc.utf8_trim_whitespace(pc.cast(column.flatten(), pa.string()))
    real = pc.fill_null(pc.not_equal(values, ""), fill_value=False)
    return Lists(rows.filter(real).to_numpy(zero_copy_only=False).astype(np.int64), values.filter(real))


def look_up(lists: Lists, requests: int, item_ids: pa.Array) -> Wanted:
    """Count the distinct ids of each request and find those that the index knows.

    Args:
        lists: ids by request.
        requests: B.
        item_ids: [N] string, unique; item_ids[i] belongs to FAISS id i.
    """
    encoded = lists.values.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    distinct = max(1, len(encoded.dictionary))
    pairs = np.unique(lists.rows * distinct + codes)
    rows, codes = pairs // distinct, pairs % distinct
    known = pc.fill_null(pc.index_in(encoded.dictionary, value_set=item_ids), -1).to_numpy(zero_copy_only=False)
    labels = known.astype(np.int64)[codes] if len(codes) else codes
    keys = (rows * len(item_ids) + labels)[labels >= 0]
    return Wanted(np.bincount(rows, minlength=requests).astype(np.int64), np.sort(keys))


def nothing_wanted(requests: int) -> Wanted:
    """No item for any of the requests."""
    return Wanted(np.zeros(requests, np.int64), np.zeros(0, np.int64))


def filter_results(
    results: tuple[npt.NDArray[np.float32], Ints], top_k: int, items: int, truth: Wanted, excluded: Wanted
) -> Found:
    """Take away missing and excluded results, keep the first top_k of each request, mark the hits.

    Args:
        results: distances and labels of a search, [B, K] each, best first; label -1 = nothing found.
        top_k: results that count for a request.
        items: N, number of items in the index.
        truth: what the requests want.
        excluded: what must never count (items already seen).
    """
    distances, labels = results
    keys = np.arange(len(labels), dtype=np.int64)[:, None] * items + labels
    kept = labels >= 0
    if len(excluded.keys):
        kept &= ~np.isin(keys, excluded.keys)
    rank = np.cumsum(kept, axis=1, dtype=np.int64)
    kept &= rank <= top_k
    return Found(labels, distances, kept, rank, kept & np.isin(keys, truth.keys))


@dataclass(frozen=True, slots=True)
class Search:
    """An index, its ids ([N] string) and how hard to search it.

    Attributes:
        top_k: depths, ascending.
        ivf_nprobe: lists that an IVF index visits, at most all.
        hnsw_ef_search: candidates that an HNSW index keeps, at least as many as results asked for.
    """

    index: Any
    item_ids: pa.Array
    top_k: tuple[int, ...]
    ivf_nprobe: int
    hnsw_ef_search: int


@dataclass(frozen=True, slots=True)
class Requests:
    """Some rows of the request table: ids [B], vectors [B, D] float32, what they want, what must not count."""

    ids: pa.Array
    vectors: npt.NDArray[np.float32]
    truth: Wanted
    excluded: Wanted


def measure(search: Search, requests: Requests) -> Iterator[tuple[pa.RecordBatch, Ints]]:
    """Search all requests, in slices that bound the memory of the results.

    Yields:
        The details of a slice and its hits at each depth, [len(top_k)].
    """
    top_k, items, count = search.top_k[-1], len(search.item_ids), len(requests.vectors)
    step = max(1, RESULT_CELLS // search_width(top_k, items, requests.excluded, slice(0, count)))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        width = search_width(top_k, items, requests.excluded, rows)
        set_effort(search.index, width, search.ivf_nprobe, search.hnsw_ef_search)
        truth = part(requests.truth, rows, items)
        results = search.index.search(requests.vectors[rows], width)
        found = filter_results(results, top_k, items, truth, part(requests.excluded, rows, items))
        ids = requests.ids.slice(rows.start, rows.stop - rows.start)
        yield details(ids, search.item_ids, truth, found), hits_at(found, search.top_k).sum(axis=1)


def search_width(top_k: int, items: int, excluded: Wanted, rows: slice) -> int:
    """Results to ask for, so that top_k remain after the longest exclusion list of these rows was taken out."""
    most = int(excluded.sizes[rows].max(initial=0))
    return min(items, top_k + most)


def set_effort(index: Any, width: int, nprobe: int, ef_search: int) -> None:
    """Tell an IVF index how many lists to visit and an HNSW index how many candidates to keep (at least `width`)."""
    if hasattr(index, "nprobe"):
        index.nprobe = min(nprobe, index.nlist)
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = max(ef_search, width)


def hits_at(found: Found, ks: Sequence[int]) -> Ints:
    """Hits of each request among its first k results, [len(ks), B]."""
    return np.stack([(found.hit & (found.rank <= k)).sum(axis=1, dtype=np.int64) for k in ks])


def part(wanted: Wanted, rows: slice, items: int) -> Wanted:
    """The requests `rows` of `wanted`, renumbered from 0."""
    first, last = np.searchsorted(wanted.keys, [rows.start * items, rows.stop * items])
    return Wanted(wanted.sizes[rows], wanted.keys[first:last] - rows.start * items)


def details(request_ids: pa.Array, item_ids: pa.Array, truth: Wanted, found: Found) -> pa.RecordBatch:
    """One row per request: id, topk_ids, topk_dists (one inner list for the one interest), hitrate, hit_ids.

    The hit rate of a request without ground truth is null.
    """
    offsets = np.concatenate([[0], np.cumsum(found.kept.sum(axis=1))]).astype(np.int32)
    hit_counts = found.hit.sum(axis=1)
    hit_offsets = np.concatenate([[0], np.cumsum(hit_counts)]).astype(np.int32)
    one_each = np.arange(len(request_ids) + 1, dtype=np.int32)
    top_ids = pa.ListArray.from_arrays(offsets, item_ids.take(pa.array(found.labels[found.kept])))
    top_dists = pa.ListArray.from_arrays(offsets, pa.array(found.distances[found.kept], pa.float32()))
    rates = pa.array(hit_counts / np.maximum(truth.sizes, 1), pa.float64(), mask=truth.sizes == 0)
    columns = {
        "id": request_ids,
        "topk_ids": pa.ListArray.from_arrays(one_each, top_ids),
        "topk_dists": pa.ListArray.from_arrays(one_each, top_dists),
        "hitrate": rates,
        "hit_ids": pa.ListArray.from_arrays(hit_offsets, item_ids.take(pa.array(found.labels[found.hit]))),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
