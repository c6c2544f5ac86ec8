"""Reads tensors of a torch.distributed.checkpoint folder without running anything that is stored in it.

A folder holds ``.metadata``, a pickle of names, shapes and places, and ``__<rank>_<part>.distcp`` files, in which every tensor
chunk is one torch.save blob at an offset. The pickle is read with records of ours in place of every class it names, so nothing
of torch.distributed is imported and a name outside the short list below is refused; blobs are read with weights_only.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from tzrec_build.errors import DataError, suggestion


@dataclass(frozen=True, slots=True)
class Chunk:
    """A rectangular part of a tensor: where it lies in the whole and in which bytes of which file."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a checkpoint: dtype, whole shape, and chunks that tile it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


class _Record:
    """Stands in for a class named by the pickle: keeps its state and does nothing."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = {}

    def __setstate__(self, state: object) -> None:
        self.state = state

    def get(self, name: str) -> object:
        """A field of a stored dataclass, None when absent."""
        return self.state.get(name) if isinstance(self.state, dict) else None


class _TensorRecord(_Record):
    """TensorStorageMetadata."""


class _Index(_Record):
    """MetadataIndex: a dictionary key, equal by name and offset."""

    def key(self) -> tuple[object, tuple[int, ...]]:
        """(tensor name, offsets of the chunk)."""
        offset = self.get("offset")
        return self.get("fqn"), tuple(offset) if isinstance(offset, tuple) else ()

    def __hash__(self) -> int:
        return hash(self.key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Index) and self.key() == other.key()


_ADVICE = "restore the checkpoint or use another"
_METADATA = "torch.distributed.checkpoint.metadata"
_SHARDED = "torch.distributed._shard.sharded_tensor.metadata"
ALLOWED: Mapping[tuple[str, str], Callable[..., object]] = {
    (_METADATA, "Metadata"): _Record,
    (_METADATA, "TensorStorageMetadata"): _TensorRecord,
    (_METADATA, "BytesStorageMetadata"): _Record,
    (_METADATA, "TensorProperties"): _Record,
    (_METADATA, "ChunkStorageMetadata"): _Record,
    (_METADATA, "MetadataIndex"): _Index,
    (_METADATA, "StorageMeta"): _Record,
    (_METADATA, "_MEM_FORMAT_ENCODING"): _Record,
    (_SHARDED, "TensorProperties"): _Record,
    (_SHARDED, "MEM_FORMAT_ENCODING"): _Record,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): _Record,
    ("torch.serialization", "_get_layout"): _Record,
    ("torch", "Size"): torch.Size,
    ("pathlib", "PosixPath"): PurePosixPath,
    ("pathlib._local", "PosixPath"): PurePosixPath,
    ("collections", "OrderedDict"): dict,
}


class _MetadataUnpickler(pickle.Unpickler):
    """An unpickler that knows the classes of checkpoint metadata and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        value = getattr(torch, name, None) if module == "torch" else None
        if isinstance(value, torch.dtype):
            return value
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint metadata needs")


def load_entries(folder: Path) -> dict[str, TensorEntry]:
    """List the tensors of one checkpoint part (``model`` or ``optimizer``): name -> shape, dtype and place.

    Entries that are no tensors (TorchEasyRec writes none) are left out, never unpickled.

    Raises:
        DataError: absent, damaged, or it names code to run.
    """
    path = folder / ".metadata"
    try:
        with path.open("rb") as stream:
            record = _MetadataUnpickler(stream).load()
        return _entries(record)
    except FileNotFoundError as err:
        raise DataError(
            f"{path}: absent, so this is no whole checkpoint; train again or name another checkpoint"
        ) from err
    except Exception as err:
        raise DataError(
            f"{path}: not checkpoint metadata ({err}); restore the file or name another checkpoint"
        ) from err


def _entries(record: object) -> dict[str, TensorEntry]:
    if not isinstance(record, _Record):
        raise TypeError("its top is no metadata record")
    places = {index.key(): info for index, info in record.get("storage_data").items()}  # type: ignore[attr-defined]
    entries = {}
    for name, stored in record.get("state_dict_metadata").items():  # type: ignore[attr-defined]
        if isinstance(stored, _TensorRecord):
            entries[name] = _tensor_entry(name, stored, places)
    return entries


def _tensor_entry(
    name: str, stored: _TensorRecord, places: Mapping[tuple[object, tuple[int, ...]], _Record]
) -> TensorEntry:
    properties = stored.get("properties")
    dtype = properties.state[0]  # type: ignore[attr-defined]
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"tensor {name!r} has no dtype")
    chunks = []
    for part in stored.get("chunks"):  # type: ignore[attr-defined]
        offsets, sizes = tuple(part.get("offsets")), tuple(part.get("sizes"))
        info = places[name, offsets]
        file = str(info.get("relative_path"))
        if Path(file).name != file:
            raise ValueError(f"tensor {name!r} lies outside the folder, in {file!r}")
        if info.get("transform_descriptors"):
            raise ValueError(f"tensor {name!r} is stored compressed, which is not supported yet")
        chunks.append(Chunk(offsets, sizes, file, int(info.get("offset")), int(info.get("length"))))  # type: ignore[call-overload]
    return TensorEntry(dtype, tuple(stored.get("size")), tuple(chunks))  # type: ignore[arg-type]


def read_tensors(folder: Path, names: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
    """Read whole tensors of one checkpoint part, on the CPU, in the dtype in which they were saved.

    Args:
        folder: ``model.ckpt-N/model`` or ``model.ckpt-N/optimizer``.
        names: which ones; all when None.
    Raises:
        DataError: a name is not there, or a file is absent or damaged.
    """
    entries = load_entries(folder)
    wanted = list(entries) if names is None else list(names)
    for name in wanted:
        if name not in entries:
            raise DataError(f"{folder}: holds no tensor {name!r}{suggestion(name, entries)}")
    return {name: read_entry(folder, name, entries[name]) for name in wanted}


def read_entry(folder: Path, name: str, entry: TensorEntry) -> torch.Tensor:
    """Assemble one tensor from its chunks.

    Raises:
        DataError: a file is absent or cut, holds another shape or dtype, or the chunks do not tile the tensor.
    """
    fault = _tiling_fault(entry)
    if fault:
        raise DataError(f"{folder / '.metadata'}: tensor {name!r} is damaged ({fault}); {_ADVICE}")
    whole = torch.empty(entry.shape, dtype=entry.dtype)
    for chunk in entry.chunks:
        path = folder / chunk.file
        try:
            with path.open("rb") as stream:
                stream.seek(chunk.start)
                blob = stream.read(chunk.length)
            part = torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
            if tuple(part.shape) != chunk.sizes or part.dtype != entry.dtype:
                raise ValueError(
                    f"{part.dtype} of shape {tuple(part.shape)} instead of {entry.dtype} of shape {chunk.sizes}"
                )
            target = whole
            for axis, (start, size) in enumerate(zip(chunk.offsets, chunk.sizes, strict=True)):
                target = target.narrow(axis, start, size)
            target.copy_(part)
        except Exception as err:
            raise DataError(f"{path}: tensor {name!r} cannot be read ({err}); {_ADVICE}") from err
    return whole


def _tiling_fault(entry: TensorEntry) -> str:
    """Say why the chunks do not cover every value of the tensor once; "" when they do."""
    covered = 0
    for at, chunk in enumerate(entry.chunks):
        if not len(chunk.offsets) == len(chunk.sizes) == len(entry.shape):
            return f"a chunk of {len(chunk.sizes)} axes in a tensor of {len(entry.shape)}"
        if not all(
            0 <= start <= start + size <= whole
            for start, size, whole in zip(chunk.offsets, chunk.sizes, entry.shape, strict=True)
        ):
            return f"the chunk of shape {chunk.sizes} at {chunk.offsets} reaches beyond the shape {entry.shape}"
        if any(_overlap(chunk, other) for other in entry.chunks[:at]):
            return f"the chunk of shape {chunk.sizes} at {chunk.offsets} overlaps another"
        covered += math.prod(chunk.sizes)
    missing = math.prod(entry.shape) - covered
    return f"its chunks lack {missing} of {math.prod(entry.shape)} values" if missing else ""


def _overlap(one: Chunk, two: Chunk) -> bool:
    return all(
        max(start, other_start) < min(start + size, other_start + other_size)
        for start, size, other_start, other_size in zip(one.offsets, one.sizes, two.offsets, two.sizes, strict=True)
    )
