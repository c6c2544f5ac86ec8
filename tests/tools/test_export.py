"""The exported graph predicts what the checkpoint predicts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.peer_cases import peer_case
from tests.tiny_pipeline import DSSM, config_text, write_pipeline
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.tools.export import main
from tzrec_build.tools.train import main as train

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
FILES = {"scripted_model.pt", "gm.code", "pipeline.config", "fg.json", "model_acc.json"}


def _digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _inputs(case, builder_size=64):
    """The rows of a case as the tensors that a server would send."""
    from tzrec_build.features.loader import LoaderOptions
    from tzrec_build.training.pipeline import load_pipeline

    pipeline = load_pipeline(str(case / "pipeline.config"))
    pipeline.config.data_config.eval_batch_size = builder_size
    batch = next(iter(pipeline.loader(str(case / "eval.parquet"), LoaderOptions(mode="predict"))))
    inputs = {}
    for ids in batch.sparse.values():
        for name, part in ids.to_dict().items():
            inputs |= {f"{name}.values": part.values(), f"{name}.lengths": part.lengths()}
    for numbers in batch.dense.values():
        inputs |= {f"{name}.values": part for name, part in numbers.to_dict().items()}
    for name, part in batch.sequence_dense.items():
        inputs |= {f"{name}.values": part.values(), f"{name}.lengths": part.lengths()}
    return inputs


@pytest.mark.parametrize("name", ["deepfm", "dbmtl", "multi_tower_din", "enc_din_pool"])
def test_the_exported_graph_predicts_as_torcheasyrec(name, tmp_path):
    case = peer_case(name)
    flags = ["--pipeline_config_path", str(case / "pipeline.config"), "--checkpoint_path", str(case / "model.ckpt-7")]
    assert main([*flags, "--export_dir", str(tmp_path / "export")]) == 0
    found = torch.jit.load(tmp_path / "export" / "scripted_model.pt")(_inputs(case))
    theirs = pq.read_table(case / "predictions.parquet")
    for column, values in found.items():
        np.testing.assert_allclose(values.detach().numpy(), theirs[column].to_numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for name, model in (("rank", None), ("match", DSSM)):
        text = config_text(train="num_steps: 2") if model is None else config_text(model, train="num_steps: 2")
        assert train([*write_pipeline(folder / name, text), "--model_dir", str(folder / name / "model")]) == 0
    return folder


def _flags(folder, out):
    config = folder / "pipeline.config"
    return ["--pipeline_config_path", str(config), "--model_dir", str(folder / "model"), "--export_dir", str(out)]


def test_two_exports_are_equal_byte_for_byte(folder, tmp_path):
    for name in ("one", "two"):  # a process each: TorchScript numbers its types by process
        command = [sys.executable, "-m", "tzrec_build.tools.export", *_flags(folder / "rank", tmp_path / name)]
        subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": str(ord(name[0]))}
        )
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    assert set(_digests(tmp_path / "one")) == FILES


def test_the_archive_holds_no_source_positions(folder, tmp_path):
    assert main(_flags(folder / "rank", tmp_path / "out")) == 0
    data = (tmp_path / "out" / "scripted_model.pt").read_bytes()
    assert b"debug_pkl" not in data
    assert b"tzrec_build/training/serving.py" not in data


def test_config_fg_and_settings_lie_beside_the_graph(folder, tmp_path):
    assert main(_flags(folder / "rank", tmp_path / "out")) == 0
    assert load_pipeline_config(tmp_path / "out" / "pipeline.config") == load_pipeline_config(
        folder / "rank" / "pipeline.config"
    )
    described = json.loads((tmp_path / "out" / "fg.json").read_text())
    assert [one["feature_name"] for one in described["features"]] == ["user", "tags", "item", "price"]
    assert json.loads((tmp_path / "out" / "model_acc.json").read_text()) == {"SPARSE_INT64": "1", "QUANT_EMB": "0"}
    assert "price.values" in (tmp_path / "out" / "gm.code").read_text()


def test_vocabularies_lie_beside_the_exported_config_which_names_them(tmp_path, monkeypatch):
    text = config_text(train="num_steps: 2").replace("FG_NONE", "FG_NORMAL")
    for name, side, words in (("user", "user", range(20)), ("item", "item", range(5, 40))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "v.txt").write_text("".join(f"{word}\n" for word in words))
        rows = {"user": 30, "item": 40}[name]
        text = text.replace(
            f'feature_name: "{name}" num_buckets: {rows}',
            f'feature_name: "{name}" expression: "{side}:{name}" asset_dir: "{name}" vocab_file: "v.txt" '
            "default_bucketize_value: 1",
        )
    text = text.replace('feature_name: "tags"', 'feature_name: "tags" expression: "user:tags"')
    text = text.replace('feature_name: "price"', 'feature_name: "price" expression: "item:price"')
    monkeypatch.chdir(tmp_path)
    assert train([*write_pipeline(tmp_path, text), "--model_dir", "model"]) == 0
    assert main(_flags(tmp_path, tmp_path / "out")) == 0
    copies = [f"v_{hashlib.md5((tmp_path / name / 'v.txt').read_bytes()).hexdigest()}.txt" for name in ("user", "item")]
    assert set(_digests(tmp_path / "out")) == FILES | set(copies)
    exported = load_pipeline_config(tmp_path / "out" / "pipeline.config").feature_configs
    named = [(one.id_feature.asset_dir, one.id_feature.vocab_file) for one in (exported[0], exported[2])]
    assert named == [(".", copy) for copy in copies]
    described = json.loads((tmp_path / "out" / "fg.json").read_text())["features"]
    assert [one["vocab_file"] for one in described if "vocab_file" in one] == copies
    assert not any("asset_dir" in one for one in described)

    from tzrec_build.training.pipeline import load_pipeline

    monkeypatch.chdir(tmp_path / "out")
    assert [one.num_embeddings for one in load_pipeline("pipeline.config").features if one.is_sparse] == [20, 12, 35]


def test_towers_are_exported_apart_with_their_own_features(folder, tmp_path):
    assert main(_flags(folder / "match", tmp_path / "out")) == 0
    for tower, names in (("user", ["user", "tags"]), ("item", ["item", "price"])):
        assert set(_digests(tmp_path / "out" / tower)) == FILES
        described = json.loads((tmp_path / "out" / tower / "fg.json").read_text())
        assert [one["feature_name"] for one in described["features"]] == names
    ids = {"item.values": torch.tensor([1, 2]), "item.lengths": torch.tensor([1, 1], dtype=torch.int32)}
    found = torch.jit.load(tmp_path / "out" / "item" / "scripted_model.pt")(ids | {"price.values": torch.ones(2, 1)})
    assert list(found) == ["item_tower_emb"]
    assert found["item_tower_emb"].shape == (2, 4)


def test_a_folder_in_use_is_refused(folder, tmp_path, capsys):
    (tmp_path / "x").touch()
    assert main(_flags(folder / "rank", tmp_path)) == 2
    assert "is in use; name a new folder" in capsys.readouterr().err


def test_a_model_that_does_not_script_is_named_and_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    from tzrec_build.models.deepfm import DeepFM

    def predict(self, batch):
        return {"probs": torch.zeros(1)} if bool(batch.dense["__BASE__"]["price"].sum() > 0) else {}

    monkeypatch.setattr(DeepFM, "predict", predict)
    assert main(_flags(folder / "rank", tmp_path / "out")) == 2
    assert "not supported yet: export of deepfm as TorchScript (" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
