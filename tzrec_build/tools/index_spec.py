"""What FAISS index to build: its types, its flags, and the rules that need no FAISS to be checked."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from tzrec_build.errors import ConfigError

POINTS_PER_LIST = 39  # fewer training rows per list than this and FAISS itself warns that its k-means is poor

INDEX_TYPES: Mapping[str, tuple[str, str]] = {  # name -> (structure, metric)
    "IVFFlatIP": ("ivf", "IP"),
    "IVFFlatL2": ("ivf", "L2"),
    "HNSWFlatIP": ("hnsw", "IP"),
    "HNSWFlatL2": ("hnsw", "L2"),
    "FlatIP": ("flat", "IP"),
    "FlatL2": ("flat", "L2"),
}


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """How to build an index.

    Attributes:
        index_type: a key of `INDEX_TYPES`.
        ivf_nlist: lists of an IVF index; lowered when the table has fewer rows.
        hnsw_m: links of a node in an HNSW graph.
        hnsw_ef_construction: candidates kept while a node is linked.
        threads: OpenMP threads.
        reproducible: build HNSW with one thread, because its parallel build depends on thread timing.
        device: auto, cpu or cuda; only IVF has a GPU form.
    """

    index_type: str = "IVFFlatIP"
    ivf_nlist: int = 1000
    hnsw_m: int = 32
    hnsw_ef_construction: int = 200
    threads: int = 1
    reproducible: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that FAISS would meet with a crash."""
        for flag, value, least in (
            ("--ivf_nlist", self.ivf_nlist, 1),
            ("--hnsw_M", self.hnsw_m, 2),  # FAISS divides by log(M)
            ("--hnsw_efConstruction", self.hnsw_ef_construction, 1),
            ("--threads", self.threads, 1),
        ):
            if value < least:
                raise ConfigError(f"{flag}: must be at least {least}, got {value}")

    @property
    def structure(self) -> str:
        """One of ivf, hnsw, flat."""
        return INDEX_TYPES[self.index_type][0]

    @property
    def metric(self) -> str:
        """IP (larger is nearer) or L2 (smaller is nearer)."""
        return INDEX_TYPES[self.index_type][1]


def choose_nlist(rows: int, wanted: int) -> int:
    """Lists for an IVF index: as asked, or one for every 39 rows when there are fewer rows than lists.

    >>> choose_nlist(500, 10), choose_nlist(500, 1000), choose_nlist(5, 1000)
    (10, 12, 1)
    """
    return wanted if wanted <= rows else max(1, rows // POINTS_PER_LIST)


def use_gpu(spec: IndexSpec, gpus: int) -> bool:
    """Say whether the index is built on a GPU.

    Args:
        spec: the declared device and type.
        gpus: how many the installed FAISS sees.
    Raises:
        ConfigError: cuda is asked for and there is no GPU, or the type has no GPU form.
    """
    if spec.device != "cuda":
        return spec.device == "auto" and gpus > 0 and spec.structure == "ivf"
    if spec.structure != "ivf":
        raise ConfigError(f"--device: {spec.index_type} has no GPU form, got 'cuda'; use --device cpu")
    if gpus == 0:
        raise ConfigError("--device: this FAISS sees no GPU, got 'cuda'; install faiss-gpu or use --device cpu")
    return True


def add_index_flags(parser: argparse.ArgumentParser, spec: IndexSpec) -> None:
    """Add the flags that `IndexSpec` is made of, with the defaults of `spec`."""
    parser.add_argument("--index_type", choices=list(INDEX_TYPES), default=spec.index_type, help="default %(default)s")
    parser.add_argument(
        "--ivf_nlist", type=int, default=spec.ivf_nlist, help="lists of an IVF index, default %(default)s"
    )
    parser.add_argument("--hnsw_M", type=int, default=spec.hnsw_m, help="links of an HNSW node, default %(default)s")
    parser.add_argument(
        "--hnsw_efConstruction",
        type=int,
        default=spec.hnsw_ef_construction,
        help="candidates while an HNSW node is linked, default %(default)s",
    )
    parser.add_argument("--threads", type=int, default=spec.threads, help="OpenMP threads, default %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default=spec.device, help="default %(default)s")
    parser.add_argument(
        "--reproducible",
        action=argparse.BooleanOptionalAction,
        default=spec.reproducible,
        help="build HNSW with one thread, so that equal input gives equal bytes; default yes",
    )


def parse_index_spec(args: argparse.Namespace) -> IndexSpec:
    """Collect the flags of `add_index_flags`."""
    return IndexSpec(
        index_type=args.index_type,
        ivf_nlist=args.ivf_nlist,
        hnsw_m=args.hnsw_M,
        hnsw_ef_construction=args.hnsw_efConstruction,
        threads=args.threads,
        reproducible=args.reproducible,
        device=args.device,
    )
