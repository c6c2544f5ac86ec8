"""Pruned configs against TorchEasyRec's own, and against what it deletes though something still needs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format

from tests.peer_cases import peer_folder
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import pipeline_pb2
from tzrec_build.tools import prune

CONFIG = """
data_config {
  batch_size: 4 label_fields: "y"
  negative_sampler {
    input_path: "s" num_sample: 2 attr_fields: "color" attr_fields: "shape" item_id_field: "item"
  }
}
feature_configs { id_feature { feature_name: "a" expression: "user:a" } }
feature_configs { id_feature { feature_name: "b" expression: "user:b" } }
feature_configs { id_feature { feature_name: "color_id" expression: "item:color" } }
feature_configs { id_feature { feature_name: "item_id" expression: "item:item" } }
feature_configs { combo_feature { feature_name: "mix" expression: "item:color" expression: "user:a" } }
feature_configs { id_feature { feature_name: "session" expression: "user:session" } }
feature_configs { id_feature { feature_name: "page" expression: "user:page" } }
feature_configs { id_feature { feature_name: "lonely" expression: "user:lonely" } }
feature_configs { id_feature { feature_name: "liked" expression: "user:liked" } }
feature_configs { id_feature { feature_name: "base" expression: "user:base" stub_type: true } }
feature_configs { expr_feature { feature_name: "top" expression: "base+1" variables: "feature:base" } }
feature_configs { sequence_feature { sequence_name: "seen" sequence_length: 3
  features { id_feature { feature_name: "x" expression: "item:x" } } } }
model_config {
  feature_groups { group_name: "all" group_type: DEEP
    feature_names: "a" feature_names: "b" feature_names: "color_id" feature_names: "item_id" feature_names: "mix"
    feature_names: "session" feature_names: "page" feature_names: "liked" feature_names: "top"
    sequence_groups { group_name: "s" feature_names: "liked" feature_names: "seen__x" }
    sequence_encoders { pooling_encoder { input: "s" } } }
  feature_groups { group_name: "one" group_type: DEEP feature_names: "lonely" }
  losses { jrc_loss { session_name: "session" } }
  metrics { grouped_auc { grouping_key: "page" } }
  variational_dropout { regularization_lambda: 0.1 }
}
"""
ALL = {
    "all_seq_encoder_0": 0.05, "top": 0.1, "b": 0.2, "a": 0.3, "color_id": 0.4, "item_id": 0.5, "mix": 0.6, "session": 0.7,
    "page": 0.8, "liked": 0.9,
}  # fmt: skip


def config() -> pipeline_pb2.EasyRecConfig:
    parsed = pipeline_pb2.EasyRecConfig()
    text_format.Parse(CONFIG, parsed)
    return parsed


def feature_names(pruned: pipeline_pb2.EasyRecConfig) -> list[str]:
    return [prune._feature_name(feature) for feature in pruned.feature_configs]


@pytest.mark.parametrize("case", ["deepfm_vd", "multi_tower_vd", "dbmtl_seq_vd", "dssm_vd"])
@pytest.mark.parametrize("variant", ["topk2", "topk2_clear"])
def test_pruned_configs_equal_those_of_torch_easyrec(case: str, variant: str, tmp_path: Path) -> None:
    folder = peer_folder("vd") / case
    out = tmp_path / "pruned.config"
    flags = ["--pipeline_config_path", str(folder / "input_pipeline.config"), "--importance_dir", str(folder / variant)]
    clear = "--clear_variational_dropout" if variant == "topk2_clear" else "--no-clear_variational_dropout"
    assert prune.main([*flags, "--topk", "2", "--output_config_path", str(out), clear]) == 0
    assert load_pipeline_config(out) == load_pipeline_config(folder / variant / "pipeline.config")


def test_topk_counts_features_and_not_sequence_encoders() -> None:
    # TorchEasyRec lets the output of a sequence encoder take one of the k places, though it can never be dropped:
    # with k = 2 it would keep `top` alone here.
    pruned = prune.prune_config(config(), {"all": ALL}, 2)
    assert list(pruned.model_config.feature_groups[0].feature_names) == ["b", "top"]


def test_what_something_else_needs_stays_configured() -> None:
    # TorchEasyRec deletes all of these but `liked` and `seen`, and leaves references to features that are gone.
    pruned = prune.prune_config(config(), {"all": ALL}, 2)
    why = {
        "b": "among the first two",
        "top": "among the first two",
        "base": "top is computed from it",
        "color_id": "reads the sampler's attr field color; mix reads more than that column and may go",
        "item_id": "reads the sampler's item_id_field",
        "session": "jrc_loss.session_name",
        "page": "grouped_auc.grouping_key",
        "lonely": "its group has a single feature, hence no dropout and no table",
        "liked": "a sequence group names it",
        "seen": "sequence blocks stay whole",
    }
    assert set(feature_names(pruned)) == set(why)
    assert pruned.model_config.feature_groups[1] == config().model_config.feature_groups[1]


def test_fewer_features_than_topk_changes_no_group() -> None:
    pruned = prune.prune_config(config(), {"all": ALL}, 100)
    assert pruned == config()


def test_the_input_stays_as_it_is() -> None:
    given = config()
    prune.prune_config(given, {"all": ALL}, 1)
    assert given == config()


@pytest.mark.parametrize(
    ("tables", "topk", "text"),
    [
        ({"all": ALL}, 0, "--topk: must be at least 1, got 0"),
        ({"al": ALL}, 2, "group 'al' is not in the config; did you mean 'all'?; rank the features of this config"),
        ({"all": ALL | {"new": 0.5}}, 2, "the table of group 'all' has the unknown 'new'; rank the features"),
        ({"one": {}}, 2, "the table of group 'one' lacks 'lonely'; rank the features"),
    ],
)
def test_tables_of_another_config_are_refused(tables: dict[str, dict[str, float]], topk: int, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prune.prune_config(config(), tables, topk)
    assert text in str(caught.value)
