"""Every kind of model can be traced by FX and compiled by TorchScript, and then gives the same numbers for other sizes."""

import io
import warnings
from typing import Dict  # noqa: UP035 - the generated code knows this name only

import pytest
import torch
from torchrec import JaggedTensor, KeyedJaggedTensor, KeyedTensor
from torchrec.fx import Tracer

from tests.models.test_peer_cases import Case
from tzrec_build.data.batch import Batch

CASES = [
    "dbmtl_seq_vd",
    "deepfm_vd",
    "dlrm",
    "dssm",
    "enc_multi_window_din",
    "kind_mean_weighted",
    "mmoe",
    "multi_tower_din",
    "ple",
]


class FromTensors(torch.nn.Module):
    """Rebuilds the batch from plain tensors, as a served model must."""

    def __init__(self, model, batch) -> None:
        super().__init__()
        self.model = model
        self.sparse = {name: (kjt.keys(), kjt.weights_or_none() is not None) for name, kjt in batch.sparse.items()}
        self.dense = {name: (kt.keys(), kt.length_per_key()) for name, kt in batch.dense.items()}
        self.sequences = list(batch.sequence_dense)

    def forward(self, data: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:  # noqa: UP006
        sparse = {
            name: KeyedJaggedTensor(
                keys=keys,
                values=data[f"{name}.ids"],
                lengths=data[f"{name}.counts"],
                weights=data[f"{name}.w"] if weighted else None,
            )
            for name, (keys, weighted) in self.sparse.items()
        }
        dense = {
            name: KeyedTensor(keys=keys, length_per_key=widths, values=data[f"{name}.dense"])
            for name, (keys, widths) in self.dense.items()
        }
        sequences = {
            name: JaggedTensor(data[f"{name}.values"], lengths=data[f"{name}.lengths"]) for name in self.sequences
        }
        return self.model.predict(Batch(size=0, sparse=sparse, dense=dense, sequence_dense=sequences))


def _tensors(batch):
    found = {}
    for name, kjt in batch.sparse.items():
        found |= {f"{name}.ids": kjt.values(), f"{name}.counts": kjt.lengths()}
        if kjt.weights_or_none() is not None:
            found[f"{name}.w"] = kjt.weights()
    found |= {f"{name}.dense": kt.values() for name, kt in batch.dense.items()}
    for name, jagged in batch.sequence_dense.items():
        found |= {f"{name}.values": jagged.values(), f"{name}.lengths": jagged.lengths()}
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_scripted_model_predicts_as_the_model_itself(name):
    case = Case(name)
    first, second = case.batches("eval.parquet")
    wrapped = FromTensors(case.model.eval(), first).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on tracing and scripting
        traced = torch.fx.GraphModule(wrapped, Tracer().trace(wrapped)).eval()
        saved = io.BytesIO()
        torch.jit.save(torch.jit.script(traced), saved)
        loaded = torch.jit.load(io.BytesIO(saved.getvalue()))
    for batch in (first, second):
        expected = wrapped(_tensors(batch))
        found = loaded(_tensors(batch))
        assert set(found) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
