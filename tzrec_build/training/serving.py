"""The prediction graph of a model as TorchScript: tensors by name in, predictions by name out.

Inputs are ``<feature>.values`` (ids int64, or numbers float32 [B, value_dim]), ``<feature>.lengths`` (int32 [B]; ids and
sequences) and ``<feature>.weights`` (float32; weighted ids).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Dict  # noqa: UP035 - see `script`

import torch
from torch import nn
from torchrec import JaggedTensor, KeyedJaggedTensor
from torchrec.fx import Tracer

from tzrec_build.data.batch import Batch
from tzrec_build.errors import NotSupportedError
from tzrec_build.features.feature import Feature

Tensors = dict[str, torch.Tensor]
CHECK_ROWS = 6
CHECK_TOLERANCE = 1e-6
_CONSTANTS = re.compile(rb"(?:^  \w+ : Final\[.*\n){2,}", re.MULTILINE)


class ServingModel(nn.Module):
    """A batch from named tensors, then the model's outputs.

    Args:
        model: BaseModel, which holds every parameter.
        outputs: batch -> outputs, a method of the model.
        features: features that the outputs need.
    """

    def __init__(self, model: nn.Module, outputs: Callable[[Batch], Tensors], features: Sequence[Feature]) -> None:
        super().__init__()
        self.model = model
        self._outputs, self._features = outputs, list(features)

    def forward(self, inputs: Tensors) -> Tensors:
        """Predictions by name."""
        return self._outputs(build_batch(self._features, inputs))


def build_batch(features: Sequence[Feature], inputs: Mapping[str, torch.Tensor]) -> Batch:
    """Group named tensors as the models read them; plain enough for FX to trace."""
    sparse: dict[str, list[Feature]] = {}
    dense: dict[str, Tensors] = {}
    sequence_dense = {}
    for feature in features:
        values = inputs[f"{feature.name}.values"]
        if feature.is_sparse:
            sparse.setdefault(feature.data_group, []).append(feature)
        elif feature.is_sequence:
            sequence_dense[feature.name] = JaggedTensor(values=values, lengths=inputs[f"{feature.name}.lengths"])
        else:
            dense.setdefault(feature.data_group, {})[feature.name] = values
    keyed = {group: _keyed_jagged(members, inputs) for group, members in sparse.items()}
    return Batch(size=0, sparse=keyed, dense=dense, sequence_dense=sequence_dense)


def _keyed_jagged(features: Sequence[Feature], inputs: Mapping[str, torch.Tensor]) -> KeyedJaggedTensor:
    values = torch.cat([inputs[f"{one.name}.values"] for one in features])
    lengths = torch.cat([inputs[f"{one.name}.lengths"] for one in features])
    names = [one.name for one in features]
    if not any(one.is_weighted for one in features):
        return KeyedJaggedTensor(keys=names, values=values, lengths=lengths)
    weights = [
        inputs[f"{one.name}.weights"]
        if one.is_weighted
        else torch.ones_like(inputs[f"{one.name}.values"], dtype=torch.float32)
        for one in features
    ]
    return KeyedJaggedTensor(keys=names, values=values, lengths=lengths, weights=torch.cat(weights))


@dataclass(frozen=True, slots=True)
class Scripted:
    """An exported graph: its archive's bytes and its code as text."""

    archive: bytes
    code: str


def script(serving: ServingModel, what: str) -> Scripted:
    """Trace and script a model, load it again from its bytes and compare with the model itself.

    Args:
        serving: in evaluation mode, on the CPU.
        what: name of the model in messages.
    Raises:
        NotSupportedError: the model cannot be traced or scripted, or the result predicts something else.
    """
    try:
        graph = Tracer().trace(serving)
        for node in (*graph.find_nodes(op="placeholder"), graph.output_node()):
            node.type = Dict[str, torch.Tensor]  # noqa: UP006 - TorchScript of generated code knows this name
        traced = torch.fx.GraphModule(serving, graph)
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch and TorchRec warn about each other's old parts
            torch.jit.save(torch.jit.script(traced), buffer)
    except Exception as err:
        reason = next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
        raise NotSupportedError(f"export of {what} as TorchScript ({reason})", "model_config") from err
    archive = canonical_archive(buffer.getvalue())
    difference = largest_difference(serving, _load(archive))
    if not difference <= CHECK_TOLERANCE:
        raise NotSupportedError(
            f"export of {what} as TorchScript (it differs from the model by {difference:.2g})", "model_config"
        )
    return Scripted(archive, traced.code)


def _load(archive: bytes) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(io.BytesIO(archive))


def largest_difference(serving: ServingModel, loaded: nn.Module) -> float:
    """Greatest absolute difference of any output on made-up rows; infinity when names or shapes differ."""
    inputs = sample_inputs(serving._features)  # noqa: SLF001 - same file
    with torch.no_grad():
        ours, theirs = serving(inputs), loaded(inputs)
    if set(ours) != set(theirs) or any(ours[name].shape != theirs[name].shape for name in ours):
        return float("inf")
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def sample_inputs(features: Sequence[Feature], rows: int = CHECK_ROWS) -> Tensors:
    """Repeatable made-up inputs: ids in range, empty and longer bags, one length for all members of a sequence."""
    generator = torch.Generator().manual_seed(0)
    inputs: Tensors = {}
    lengths_of: dict[str, torch.Tensor] = {}
    for feature in features:
        if not feature.is_sparse and not feature.is_sequence:
            inputs[f"{feature.name}.values"] = torch.randn(rows, feature.value_dim, generator=generator)
            continue
        drawn = torch.randint(0, 4, (rows,), generator=generator, dtype=torch.int32)
        lengths = lengths_of.setdefault(feature.sequence_name or feature.name, drawn)
        count = int(lengths.sum())
        inputs[f"{feature.name}.lengths"] = lengths
        if feature.is_sparse:
            inputs[f"{feature.name}.values"] = torch.randint(0, feature.num_embeddings, (count,), generator=generator)
        else:
            inputs[f"{feature.name}.values"] = torch.randn(count, feature.value_dim, generator=generator)
        if feature.is_weighted:
            inputs[f"{feature.name}.weights"] = torch.rand(count, generator=generator)
    return inputs


def canonical_archive(archive: bytes) -> bytes:
    """Make equal models equal bytes, in any checkout and process.

    Left out are the records with source positions, which hold the paths of this checkout. Constants of a class, which
    torch writes in the order of a set of names, are sorted; they are no part of the stored state.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(archive))  # noqa: SLF001 - the only aligned writer of this format
    out = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(out)  # noqa: SLF001
    own = {"version", ".data/version", "byteorder", ".data/serialization_id"}  # the writer adds these itself
    for name in reader.get_all_records():
        if name.endswith(".debug_pkl") or name in own:
            continue
        record = reader.get_record(name)
        if name.endswith(".py"):
            record = _CONSTANTS.sub(_sorted_lines, record)
        writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return out.getvalue()


def _sorted_lines(match: re.Match[bytes]) -> bytes:
    return b"".join(sorted(match.group().splitlines(keepends=True)))
