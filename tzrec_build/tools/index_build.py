"""Build, write and read a FAISS index; imports FAISS, so tools import it when they run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.errors import DataError
from tzrec_build.logs import logger
from tzrec_build.tools.index_spec import POINTS_PER_LIST, IndexSpec, choose_nlist, use_gpu
from tzrec_build.tools.outputs import replacing

INDEX_FILE, ID_FILE, MANIFEST_FILE = "faiss_index", "id_mapping", "manifest.json"
METRICS = {"IP": faiss.METRIC_INNER_PRODUCT, "L2": faiss.METRIC_L2}


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """A FAISS index in CPU memory and the number of lists it really has (0 when it is not IVF)."""

    index: Any
    nlist: int


def build_index(vectors: npt.NDArray[np.float32], spec: IndexSpec) -> BuiltIndex:
    """Train and fill an index; row number in `vectors` = FAISS id.

    Args:
        vectors: [N, D] float32, C-contiguous; not copied here (FAISS keeps its own copy).
        spec: what to build.
    """
    rows, dim = vectors.shape
    metric = METRICS[spec.metric]
    gpu = use_gpu(spec, faiss.get_num_gpus())
    faiss.omp_set_num_threads(spec.threads)
    if spec.structure == "ivf":
        nlist = choose_nlist(rows, spec.ivf_nlist)
        _say_nlist(rows, nlist, spec.ivf_nlist)
        ivf = faiss.IndexIVFFlat(faiss.IndexFlat(dim, metric), dim, nlist, metric)
        return BuiltIndex(_fill_on_gpu(ivf, vectors) if gpu else _fill(ivf, vectors), nlist)
    if spec.structure == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, spec.hnsw_m, metric)
        graph.hnsw.efConstruction = spec.hnsw_ef_construction
        if spec.reproducible and spec.threads > 1:
            logger.info("HNSW is built with 1 thread for equal graphs; --no-reproducible uses %d", spec.threads)
            faiss.omp_set_num_threads(1)
        _fill(graph, vectors)
        faiss.omp_set_num_threads(spec.threads)
        return BuiltIndex(graph, 0)
    return BuiltIndex(_fill(faiss.IndexFlat(dim, metric), vectors), 0)


def write_index(index: Any, id_lines: Iterable[memoryview], folder: Path) -> None:
    """Write `faiss_index` and `id_mapping`, each whole or not at all.

    Args:
        index: an index in CPU memory.
        id_lines: the bytes of `id_mapping`, in parts.
        folder: made when absent.
    """
    with replacing(folder / ID_FILE) as path, path.open("wb") as out:
        out.writelines(id_lines)
    with replacing(folder / INDEX_FILE) as path:
        faiss.write_index(index, str(path))


def load_index(folder: Path) -> tuple[Any, pa.Array]:
    """Read an index folder back.

    Returns:
        The index and its ids, [N] string; ids[i] belongs to FAISS id i.
    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
    """
    for name in (INDEX_FILE, ID_FILE):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: no file {name!r}; build the index with the tool faiss_index")
    try:
        index = faiss.read_index(str(folder / INDEX_FILE))
    except RuntimeError as err:
        raise DataError(f"{folder / INDEX_FILE}: not a FAISS index, or cut short; build it again") from err
    text = pa.array([(folder / ID_FILE).read_text(encoding="utf-8")], pa.large_string())
    lines = pc.split_pattern(text, "\n").flatten()
    if len(lines) != index.ntotal + 1 or lines[-1].as_py():
        raise DataError(
            f"{folder}: {index.ntotal} vectors but {len(lines) - 1} ids; the two files are of different builds"
        )
    return index, pc.cast(lines.slice(0, index.ntotal), pa.string())


def _fill(index: Any, vectors: npt.NDArray[np.float32]) -> Any:
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return index


def _fill_on_gpu(index: Any, vectors: npt.NDArray[np.float32]) -> Any:
    resources = faiss.StandardGpuResources()
    return faiss.index_gpu_to_cpu(_fill(faiss.index_cpu_to_gpu(resources, 0, index), vectors))


def _say_nlist(rows: int, nlist: int, wanted: int) -> None:
    if nlist != wanted:
        logger.info("%d rows are fewer than --ivf_nlist %d: the index gets %d lists", rows, wanted, nlist)
    elif rows < POINTS_PER_LIST * nlist and nlist > 1:
        fit = max(1, rows // POINTS_PER_LIST)
        logger.warning(
            "%d rows for %d lists is under %d a list; --ivf_nlist %d would fit", rows, nlist, POINTS_PER_LIST, fit
        )
