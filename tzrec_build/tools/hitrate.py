"""Tool `hitrate`: search an index with user embeddings and count how much of the ground truth comes back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tzrec_build.errors import ConfigError, DataError
from tzrec_build.files import write_json
from tzrec_build.logs import ProgressLogger, logger
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.index_spec import IndexSpec, add_index_flags, parse_index_spec
from tzrec_build.tools.outputs import replacing
from tzrec_build.tools.references import compare, load_references

if TYPE_CHECKING:
    import pyarrow as pa

    from tzrec_build.data.slices import TableSlice
    from tzrec_build.tools.recall import Requests, Search, Wanted


NPROBE, EF_SEARCH = 800, 200


@dataclass(frozen=True, slots=True)
class ItemSource:
    """Where the items come from: a built index, or a table of embeddings (then an index is built in memory)."""

    index_dir: str = ""
    embedding_input: str = ""
    id_field: str = "item_id"
    embedding_field: str = "item_tower_emb"
    index: IndexSpec = field(default_factory=lambda: IndexSpec("FlatIP"))  # exact: measures the model alone


@dataclass(frozen=True, slots=True)
class RequestTable:
    """One row per request; `exclude_field` is empty when nothing is excluded."""

    path: str
    id_field: str = "request_id"
    truth_field: str = "gt_items"
    embedding_field: str = "user_tower_emb"
    exclude_field: str = ""

    @property
    def columns(self) -> list[str]:
        """Columns to read."""
        return [name for name in (self.id_field, self.truth_field, self.embedding_field, self.exclude_field) if name]


@dataclass(frozen=True, slots=True)
class Spec:
    """What to measure.

    Attributes:
        top_k: depths, ascending; the details hold the deepest.
        ivf_nprobe: lists that an IVF index visits for a request, at most all.
        hnsw_ef_search: candidates that an HNSW index keeps, at least as many as results asked for.
        baseline: file of reference values to compare with, or "".
    """

    items: ItemSource
    requests: RequestTable
    output_dir: str
    top_k: tuple[int, ...] = (200,)
    ivf_nprobe: int = NPROBE
    hnsw_ef_search: int = EF_SEARCH
    baseline: str = ""


@dataclass(slots=True)
class Totals:
    """Sums over all requests; hits[i] belongs to the depth top_k[i]."""

    hits: list[int]
    requests: int = 0
    without_truth: int = 0
    truth_items: int = 0
    truth_unknown: int = 0
    truth_excluded: int = 0

    def add(self, requests: Requests) -> None:
        """Count the ground truth of some requests."""
        import numpy as np

        sizes, keys = requests.truth.sizes, requests.truth.keys
        self.without_truth += int((sizes == 0).sum())
        self.truth_items += int(sizes.sum())
        self.truth_unknown += int(sizes.sum()) - len(keys)
        self.truth_excluded += len(np.intersect1d(keys, requests.excluded.keys, assume_unique=True))

    def summary(self, top_k: Sequence[int]) -> dict[str, float]:
        """The content of hitrate.json."""
        rates = {f"hitrate@{k}": hits / self.truth_items for k, hits in zip(top_k, self.hits, strict=True)}
        return {
            **rates,
            **{f"hits@{k}": hits for k, hits in zip(top_k, self.hits, strict=True)},
            "requests": self.requests,
            "requests_without_ground_truth": self.without_truth,
            "ground_truth_items": self.truth_items,
            "ground_truth_not_in_index": self.truth_unknown,
            "ground_truth_excluded": self.truth_excluded,
        }


def parse_top_k(text: str) -> tuple[int, ...]:
    """Read ``50`` or ``10,50,200``.

    >>> parse_top_k("50,10")
    (10, 50)
    """
    try:
        depths = sorted({int(piece) for piece in text.split(",")})
    except ValueError as err:
        raise ConfigError(f"--top_k: must be numbers joined by commas, got {text!r}") from err
    if depths[0] < 1:
        raise ConfigError(f"--top_k: must be at least 1, got {depths[0]}")
    return tuple(depths)


def run_hitrate(spec: Spec) -> None:
    """Write `part-0.parquet` (a row per request) and `hitrate.json` (the totals).

    Raises:
        DataError: a table or the index is missing or damaged, or no request has ground truth.
    """
    import pyarrow.parquet as pq

    references = load_references(spec.baseline, "hitrate") if spec.baseline else []
    search = _load_items(spec)
    totals = Totals(hits=[0] * len(spec.top_k))
    folder = Path(spec.output_dir)
    progress = ProgressLogger("hitrate", "requests")
    with replacing(folder / "part-0.parquet") as path, ExitStack() as stack:
        writer: Any = None
        for details in _measure_all(spec.requests, search, totals):
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, details.schema))
            writer.write_batch(details)
            progress.update(totals.requests)
        if totals.truth_items == 0:
            where = f"{spec.requests.path}: column {spec.requests.truth_field!r}"
            raise DataError(f"{where}: no request has ground truth, got {totals.requests} requests; check the join")
    progress.close()
    summary = totals.summary(spec.top_k)
    rates = {name: value for name, value in summary.items() if name.startswith("hitrate@")}
    compared = {name: [asdict(each) for each in compare(name, value, references)] for name, value in rates.items()}
    write_json(folder / "hitrate.json", {**summary, "comparisons": compared} if references else summary)
    if totals.without_truth:
        logger.warning("%d of %d requests have no ground truth and do not count", totals.without_truth, totals.requests)
    for name, value in rates.items():
        against = "".join(f", {each['against']} {each['reference']:.4f}" for each in compared[name])
        logger.info("%s %.4f%s", name, value, against)


def _load_items(spec: Spec) -> Search:
    """Load the index, or build it from the embeddings."""
    import faiss
    import pyarrow as pa
    import pyarrow.compute as pc

    from tzrec_build.tools.embedding_table import read_embeddings
    from tzrec_build.tools.index_build import build_index, load_index
    from tzrec_build.tools.recall import Search

    items = spec.items
    if items.index_dir:
        faiss.omp_set_num_threads(items.index.threads)
        index, ids = load_index(Path(items.index_dir))
    else:
        table = read_embeddings(items.embedding_input, items.id_field, items.embedding_field)
        index, ids = build_index(table.vectors, items.index).index, pc.cast(table.ids, pa.string()).combine_chunks()
    return Search(index, ids, spec.top_k, spec.ivf_nprobe, spec.hnsw_ef_search)


def _measure_all(table: RequestTable, search: Search, totals: Totals) -> Iterator[pa.RecordBatch]:
    """Go through the request table; add to `totals`, yield the details."""
    from tzrec_build.data.readers import ReaderOptions, open_table
    from tzrec_build.tools import embedding_table, recall

    reader = open_table(table.path, table.columns, ReaderOptions(batch_size=embedding_table.READ_ROWS))
    for rows in reader.slices():
        requests = _parse_requests(rows, table, search)
        for details, hits in recall.measure(search, requests):
            totals.requests += details.num_rows
            totals.hits = [old + int(new) for old, new in zip(totals.hits, hits, strict=True)]
            yield details
        totals.add(requests)


def _parse_requests(rows: TableSlice, table: RequestTable, search: Search) -> Requests:
    """Check and convert some rows."""
    from tzrec_build.tools import embedding_table, recall

    vectors = embedding_table.to_vectors(rows, table.embedding_field)
    file = rows.locate(0)[0]
    if vectors.shape[1] != search.index.d:
        where = f"{file}: column {table.embedding_field!r}"
        raise DataError(f"{where}: vectors must have {search.index.d} values as in the index, got {vectors.shape[1]}")

    def wanted(name: str) -> Wanted:
        lists = recall.parse_lists(rows.columns[name], f"{file}: column {name!r}")
        return recall.look_up(lists, len(vectors), search.item_ids)

    excluded = wanted(table.exclude_field) if table.exclude_field else recall.nothing_wanted(len(vectors))
    return recall.Requests(rows.columns[table.id_field], vectors, wanted(table.truth_field), excluded)


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    items, requests = ItemSource(), RequestTable("")
    parser = argparse.ArgumentParser(prog="tzrec-build hitrate", description=__doc__)
    parser.add_argument(
        "--user_gt_input", required=True, help="table of requests: .parquet or .csv files, globs, folders"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--index_dir", default="", help="folder that the tool faiss_index wrote")
    source.add_argument("--item_embedding_input", default="", help="table of items; an index is built in memory")
    parser.add_argument("--output_dir", required=True, help="folder for hitrate.json and part-0.parquet")
    for flag, default, text in (
        ("--request_id_field", requests.id_field, "column of request ids"),
        ("--gt_items_field", requests.truth_field, "column of item id lists, or comma text"),
        ("--user_embedding_field", requests.embedding_field, "column of user vectors"),
        (
            "--exclude_items_field",
            requests.exclude_field,
            "column of items that never count, such as those seen before",
        ),
        ("--item_id_field", items.id_field, "id column of --item_embedding_input"),
        ("--item_embedding_field", items.embedding_field, "vector column of --item_embedding_input"),
    ):
        parser.add_argument(flag, default=default, help=f"{text}; default {default or 'none'}")
    parser.add_argument("--top_k", default="200", help="depth, or several like 10,50,200; default %(default)s")
    parser.add_argument("--ivf_nprobe", type=int, default=NPROBE, help="lists visited, default %(default)s")
    parser.add_argument("--hnsw_efSearch", type=int, default=EF_SEARCH, help="candidates, default %(default)s")
    parser.add_argument("--baseline", default="", help="JSON file of reference hit rates; default none")
    add_index_flags(parser, items.index)
    return parser


def parse_spec(args: argparse.Namespace) -> Spec:
    """Collect the flags."""
    return Spec(
        items=ItemSource(
            index_dir=args.index_dir,
            embedding_input=args.item_embedding_input,
            id_field=args.item_id_field,
            embedding_field=args.item_embedding_field,
            index=parse_index_spec(args),
        ),
        requests=RequestTable(
            path=args.user_gt_input,
            id_field=args.request_id_field,
            truth_field=args.gt_items_field,
            embedding_field=args.user_embedding_field,
            exclude_field=args.exclude_items_field,
        ),
        output_dir=args.output_dir,
        top_k=parse_top_k(args.top_k),
        ivf_nprobe=args.ivf_nprobe,
        hnsw_ef_search=args.hnsw_efSearch,
        baseline=args.baseline,
    )


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""
    return run_tool(make_parser(), lambda args: run_hitrate(parse_spec(args)), argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
