"""The importance tables against TorchEasyRec's own, from its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peer_cases import peer_case, peer_folder
from tzrec_build.errors import ConfigError, DataError
from tzrec_build.protos.tzrec import model_pb2, pipeline_pb2
from tzrec_build.tools import feature_importance as tool
from tzrec_build.tools.importance_files import format_table, group_entries, load_tables
from tzrec_build.training.checkpoint_dir import choose_checkpoint

CASES = ("deepfm_vd", "multi_tower_vd", "dbmtl_seq_vd", "dssm_vd")


def run(case: str, out: Path, *flags: str) -> int:
    config = ["--pipeline_config_path", str(peer_folder("vd") / case / "input_pipeline.config")]
    return tool.main([*config, "--output_dir", str(out), *flags])


@pytest.mark.parametrize("case", CASES)
def test_tables_equal_those_of_torch_easyrec_byte_for_byte(case: str, tmp_path: Path) -> None:
    assert run(case, tmp_path, "--checkpoint_path", str(peer_case(case) / "model.ckpt-7")) == 0
    expected = sorted((peer_folder("vd") / case / "topk2").glob("*.csv"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in expected]
    for path in expected:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_model_directory_with_a_pick_gives_that_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "pick.json").write_text('{"checkpoint": "model.ckpt-0", "step": 0}')
    flags = ["--model_dir", str(peer_case("deepfm_vd")), "--pick", str(tmp_path / "pick.json")]
    assert run("deepfm_vd", tmp_path / "picked", *flags) == 0
    assert run("deepfm_vd", tmp_path / "latest", *flags[:2]) == 0
    trained = load_tables(peer_folder("vd") / "deepfm_vd" / "topk2")
    assert load_tables(tmp_path / "latest") == trained
    assert load_tables(tmp_path / "picked") != trained


def test_pictures_are_the_same_each_time_and_grow_with_the_group(tmp_path: Path) -> None:
    flags = ["--checkpoint_path", str(peer_case("deepfm_vd") / "model.ckpt-7"), "--visualize"]
    for name in ("a", "b"):
        assert run("deepfm_vd", tmp_path / name, *flags) == 0
    names = [path.name for path in sorted((tmp_path / "a").glob("*.png"))]
    assert names == [f"feature_dropout_pic_{group}.png" for group in ("deep", "fm", "wide")]
    heights = []
    for name in names:
        data = (tmp_path / "a" / name).read_bytes()
        assert data == (tmp_path / "b" / name).read_bytes()
        heights.append(int.from_bytes(data[20:24], "big"))  # PNG: width and height stand at bytes 16 and 20
    assert heights[0] > heights[1]  # 7 features, 5 features


def test_a_checkpoint_without_variational_dropout_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(peer_case("deepfm") / "model.ckpt-7")
    assert run("deepfm_vd", tmp_path / "out", "--checkpoint_path", checkpoint) == 1
    assert "no variational dropout in this checkpoint; add model_config.variational_dropout" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def config_of(*groups: model_pb2.FeatureGroupConfig) -> pipeline_pb2.EasyRecConfig:
    config = pipeline_pb2.EasyRecConfig()
    config.model_config.feature_groups.extend(groups)
    return config


def test_a_checkpoint_of_another_config_is_refused() -> None:
    config = config_of(model_pb2.FeatureGroupConfig(group_name="user", feature_names=["a", "b"]))
    with pytest.raises(DataError, match=r"group 'users' is not in the config; did you mean 'user'\?"):
        tool.name_probabilities(config, {"users": [0.1, 0.2]})
    with pytest.raises(DataError, match="group 'user' must have 2 dropout probabilities for this config, got 3"):
        tool.name_probabilities(config, {"user": [0.1, 0.2, 0.3]})


def test_sequence_encoders_stand_after_the_features() -> None:
    group = model_pb2.FeatureGroupConfig(group_name="all", feature_names=["b", "a"])
    group.sequence_encoders.add()
    group.sequence_encoders.add()
    assert group_entries(group) == ["b", "a", "all_seq_encoder_0", "all_seq_encoder_1"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({}, "--checkpoint_path, --model_dir: exactly one must be given"),
        ({"checkpoint_path": "a", "model_dir": "b"}, "--checkpoint_path, --model_dir: exactly one must be given"),
        ({"checkpoint_path": "a", "pick": "p"}, "--pick: chooses inside --model_dir, got --checkpoint_path"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        choose_checkpoint(**{"checkpoint_path": "", "model_dir": "", "pick": "", **flags})


def test_a_pick_that_is_no_choice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pick.json").write_text("{}")
    with pytest.raises(DataError, match=r"not a choice of a checkpoint .*; write it with pick_checkpoint"):
        choose_checkpoint("", str(tmp_path), str(tmp_path / "pick.json"))


def test_equal_probabilities_keep_the_order_of_the_group() -> None:
    assert format_table({"z": 0.5, "a": 0.5, "m": 0.25}) == "feature_name,mean_drop_p\nm,0.25\nz,0.5\na,0.5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv:1: must be 'feature_name,mean_drop_p', got ''"),
        ("feature_name,mean_drop_p\na\n", "t.csv:2: must be a name and a probability in [0, 1], got 'a'"),
        ("feature_name,mean_drop_p\na,1.5\n", "t.csv:2: must be a name and a probability in [0, 1], got 'a,1.5'"),
        ("feature_name,mean_drop_p\na,x\n", "t.csv:2: must be a name and a probability in [0, 1], got 'a,x'"),
        ("feature_name,mean_drop_p\na,0.1\na,0.2\n", "t.csv:3: 'a' stands twice"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "feature_dropout_ratio_t.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        load_tables(tmp_path)
    assert message in str(caught.value)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file feature_dropout_ratio_\*.csv; make them with the tool"):
        load_tables(tmp_path)
