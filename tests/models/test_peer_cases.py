"""Against TorchEasyRec: names, shapes, predictions and losses of every golden case that the models cover."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed.checkpoint as dcp
from google.protobuf import text_format
from torch.distributed.checkpoint import FileSystemReader

from tests.peer_cases import peer_case, state_names
from tzrec_build.features.batching import BatchBuilder
from tzrec_build.features.create import create_features
from tzrec_build.models.base import BaseModel
from tzrec_build.models.match import MatchModel
from tzrec_build.models.registry import create_model
from tzrec_build.protos.tzrec import pipeline_pb2

BATCH = 32
CASES = [
    "dbmtl",
    "dbmtl_mmoe_masknet",
    "dbmtl_seq_vd",
    "dcn_v1",
    "dcn_v2",
    "deepfm",
    "deepfm_dense_adamw",
    "deepfm_final",
    "deepfm_plan_default",
    "deepfm_rowwise_adagrad",
    "deepfm_sparse_sgd",
    "deepfm_vd",
    "dlrm",
    "dlrm_nosparse",
    "dssm",
    "dssm_ip",
    "dssm_vd",
    "enc_din_pool",
    "enc_multi_window_din",
    "fp16_emb",
    "kind_frozen",
    "kind_mean",
    "kind_mean_weighted",
    "kind_null",
    "kind_weighted",
    "loss_focal_metrics",
    "loss_l2_weighted",
    "loss_softmax3",
    "mask_net",
    "mask_net_serial",
    "mmoe",
    "mmoe_nogate",
    "multi_tower",
    "multi_tower_din",
    "multi_tower_din_viewseq",
    "multi_tower_vd",
    "ple",
    "wide_and_deep",
    "wide_and_deep_nofinal",
    "xdeepfm",
]
NAMES_ONLY = ["dbmtl_seq", "dcn_v2_min", "dssm_seq", "enc_simple_attention", "multi_tower_din_dice"]
SAMPLED = {"dbmtl_seq_vd", "deepfm_vd", "dssm_vd", "multi_tower_vd"}  # training draws dropout: only penalties are fixed
NO_START = {"dbmtl_mmoe_masknet", "mask_net"}  # come without model.ckpt-0


NOT_COVERED = {"xauc", "grouped_xauc", "normalized_entropy"}  # metrics


def covered(cfg):
    """The config without the metrics that are not built yet."""
    kept = [metric for metric in cfg.model_config.metrics if metric.WhichOneof("metric") not in NOT_COVERED]
    del cfg.model_config.metrics[:]
    cfg.model_config.metrics.extend(kept)
    return cfg


class Case:
    """One golden case: its config, features, model and tables."""

    def __init__(self, name: str) -> None:
        self.folder = peer_case(name)
        text = (self.folder / "pipeline.config").read_text()
        self.cfg = covered(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
        self.features = create_features(self.cfg, self.folder)
        self.model = create_model(self.cfg, self.features)

    def load(self, step: str) -> BaseModel:
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        reader = FileSystemReader(str(self.folder / f"model.ckpt-{step}" / "model"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one process is what we mean
            dcp.load(state, storage_reader=reader, no_dist=True)
        self.model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
        return self.model

    def batches(self, table: str):
        data = self.cfg.data_config
        builder = BatchBuilder(self.features, data.label_fields, data.sample_weight_fields)
        rows = pq.read_table(self.folder / table)
        for start in range(0, rows.num_rows, BATCH):
            part = rows.slice(start, BATCH)
            yield builder.build({name: part.column(name).combine_chunks() for name in builder.columns})

    @property
    def last_step(self) -> str:
        steps = [Path(path).name.removeprefix("model.ckpt-") for path in self.folder.glob("model.ckpt-*")]
        return max(steps, key=int)


@pytest.mark.parametrize("name", [*CASES, *NAMES_ONLY])
def test_parameters_have_the_names_shapes_and_types_of_the_original(name):
    expected = state_names(name)
    cfg = covered(text_format.Parse(expected["config"], pipeline_pb2.EasyRecConfig()))
    state = create_model(cfg, create_features(cfg)).state_dict()
    assert {key: [list(value.shape), str(value.dtype)] for key, value in state.items()} == expected["state"]


@pytest.mark.parametrize("name", CASES)
def test_predictions_equal_the_original(name):
    case = Case(name)
    model = case.load(case.last_step).eval()
    found: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad():
        for batch in case.batches("eval.parquet"):
            outputs = dict(model.predict(batch))
            if isinstance(model, MatchModel):
                outputs.update(
                    {f"{tower}_tower_emb": model.tower_embedding(batch, tower) for tower in ("user", "item")}
                )
            for key, value in outputs.items():
                found.setdefault(key, []).append(value)
    expected = pq.read_table(case.folder / "predictions.parquet").to_pydict()
    assert set(expected) <= set(found)
    for key, rows in expected.items():
        wanted = np.array(rows)
        np.testing.assert_allclose(torch.cat(found[key]).numpy().reshape(wanted.shape), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name not in NO_START])
def test_the_losses_of_the_first_step_equal_the_original(name):
    case = Case(name)
    model = case.load("0").train()
    batch = next(iter(case.batches("train.parquet")))
    expected = json.loads((case.folder / "losses.json").read_text())[0]
    found = model.loss(model.predict(batch), batch)
    assert set(found) == set(expected) - {"step"}
    checked = [key for key in found if name not in SAMPLED or key.endswith("_feature_p_loss")]
    assert checked
    for key in checked:
        assert found[key].item() == pytest.approx(expected[key], abs=1e-6), key


@pytest.mark.parametrize(
    "name",
    [
        "deepfm",
        "mmoe",
        "loss_focal_metrics",
        "loss_softmax3",
        "mask_net",
        "mask_net_serial",
        "dssm",
        "loss_l2_weighted",
    ],
)
def test_metrics_are_named_as_in_the_evaluation_of_the_original(name):
    case = Case(name)
    expected = set(json.loads((case.folder / "eval_result.txt").read_text())) - {"global_step"} - NOT_COVERED
    batch = next(iter(case.batches("eval.parquet")))
    model = case.model.eval()
    predictions = model.predict(batch)
    assert {spec.name for spec in model.metric_specs} | set(model.loss(predictions, batch)) == expected
    assert all(spec.prediction in predictions for spec in model.metric_specs)
    assert all(len(model.metric_label(spec, predictions, batch)) == BATCH for spec in model.metric_specs)
