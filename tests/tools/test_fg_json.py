"""The tool around the feature floor's fg.json: files beside it, form of the text, errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tzrec_build.tools import fg_json

CONFIG = """
train_input_path: "t" eval_input_path: "e" model_dir: "m"
train_config { sparse_optimizer { sgd_optimizer { lr: 0.1 } constant_learning_rate {} }
  dense_optimizer { sgd_optimizer { lr: 0.1 } constant_learning_rate {} } }
data_config { batch_size: 2 label_fields: "y" fg_mode: FG_NORMAL dataset_type: ParquetDataset }
feature_configs { id_feature { feature_name: "色" expression: "item:color" embedding_dim: 4 vocab_file: "VOCAB" default_bucketize_value: 1 } }
feature_configs { id_feature { feature_name: "size" expression: "item:size" embedding_dim: 4 num_buckets: 9 } }
model_config {
  feature_groups { group_name: "deep" feature_names: "色" feature_names: "size" group_type: DEEP }
  losses { binary_cross_entropy {} }
  multi_tower { towers { input: "deep" mlp { hidden_units: 4 } } final { hidden_units: 4 } }
}
"""


def run(folder: Path, *flags: str) -> int:
    vocabulary = folder / "colors.txt"
    if not vocabulary.exists() and "--no-vocabulary" not in flags:
        vocabulary.write_text("red\nblue\n")
    config = folder / "pipeline.config"
    config.write_text(CONFIG.replace("VOCAB", str(vocabulary)))
    flags = tuple(flag for flag in flags if flag != "--no-vocabulary")
    return fg_json.main(["--pipeline_config_path", str(config), "--fg_output_dir", str(folder / "fg"), *flags])


def test_fg_json_names_its_assets_by_content_and_has_the_form_of_torch_easyrec(tmp_path: Path) -> None:
    assert run(tmp_path, "--reserves", "request_id, y") == 0
    digest = hashlib.md5(b"red\nblue\n").hexdigest()
    assert sorted(path.name for path in (tmp_path / "fg").iterdir()) == [f"colors_{digest}.txt", "fg.json"]
    text = (tmp_path / "fg" / "fg.json").read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=4)  # four spaces, ASCII, no newline at the end
    assert [feature["feature_name"] for feature in content["features"]] == ["色", "size"]
    assert content["features"][0]["vocab_file"] == f"colors_{digest}.txt"
    assert content["reserves"] == ["request_id", "y"]


def test_without_bucketizers_no_asset_is_copied(tmp_path: Path) -> None:
    assert run(tmp_path, "--remove_bucketizer") == 0
    assert [path.name for path in (tmp_path / "fg").iterdir()] == ["fg.json"]
    features = json.loads((tmp_path / "fg" / "fg.json").read_text())["features"]
    assert not {"vocab_file", "num_buckets"} & {key for feature in features for key in feature}


def test_a_missing_vocabulary_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--no-vocabulary") == 2
    assert "colors.txt: no such file" in capsys.readouterr().err
    assert not (tmp_path / "fg").exists()
