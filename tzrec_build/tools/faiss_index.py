"""Tool `faiss_index`: an embedding table becomes a FAISS index and the list of the ids behind its row numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.files import write_json
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.index_spec import IndexSpec, add_index_flags, parse_index_spec


@dataclass(frozen=True, slots=True)
class Spec:
    """What to read, what to build, where to write."""

    embedding_input_path: str
    id_field: str
    embedding_field: str
    index_output_dir: str
    index: IndexSpec


def run_faiss_index(spec: Spec) -> None:
    """Read the table, build the index, write `faiss_index`, `id_mapping` and, last, `manifest.json`.

    Raises:
        DataError: the table is missing, damaged or holds rows that an index cannot hold.
        ConfigError: the device is not there.
    """
    import faiss

    from tzrec_build.tools import index_build
    from tzrec_build.tools.embedding_table import id_lines, read_embeddings

    table = read_embeddings(spec.embedding_input_path, spec.id_field, spec.embedding_field)
    built = index_build.build_index(table.vectors, spec.index)
    folder = Path(spec.index_output_dir)
    index_build.write_index(built.index, id_lines(table.ids), folder)
    rows, dim = table.vectors.shape
    manifest: dict[str, object] = {
        "index_type": spec.index.index_type,
        "metric": spec.index.metric,
        "rows": rows,
        "dim": dim,
        "id_type": str(table.ids.type),
        **_structure_facts(spec.index, built.nlist),
        "threads": spec.index.threads,
        "faiss_version": faiss.__version__,
    }
    write_json(folder / index_build.MANIFEST_FILE, manifest)
    logger.info("%s index of %d vectors, %d dimensions, written to %s", spec.index.index_type, rows, dim, folder)


def _structure_facts(index: IndexSpec, nlist: int) -> dict[str, object]:
    if index.structure == "ivf":
        return {"nlist": nlist, "nlist_requested": index.ivf_nlist}
    if index.structure == "hnsw":
        return {"M": index.hnsw_m, "efConstruction": index.hnsw_ef_construction, "reproducible": index.reproducible}
    return {}


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build faiss_index", description=__doc__)
    parser.add_argument(
        "--embedding_input_path", required=True, help="comma list of .parquet or .csv files, globs, folders"
    )
    parser.add_argument("--index_output_dir", required=True, help="folder for faiss_index, id_mapping, manifest.json")
    parser.add_argument("--id_field", required=True, help="column of the ids, integers or strings")
    parser.add_argument("--embedding_field", required=True, help="column of the vectors, lists or comma text")
    add_index_flags(parser, IndexSpec())
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        index = parse_index_spec(args)
        run_faiss_index(
            Spec(args.embedding_input_path, args.id_field, args.embedding_field, args.index_output_dir, index)
        )

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
