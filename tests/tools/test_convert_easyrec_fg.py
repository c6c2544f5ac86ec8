"""Conversion with fg.json: both ways of reading it, without double sizes, and an account of every key."""

from __future__ import annotations

import json

import pytest
from google.protobuf import text_format

from tests.tools.easyrec_texts import config_text
from tzrec_build.config.easyrec.convert import convert, parse_easyrec
from tzrec_build.config.easyrec.fg_json import FgJson, find_fg_json
from tzrec_build.config.easyrec.receipt import report
from tzrec_build.config.schema_source import our_schema
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

USER = {
    "feature_name": "u",
    "feature_type": "id_feature",
    "expression": "user:uid",
    "hash_bucket_size": 50,
    "default_value": 7,
}
PRICE = {
    "feature_name": "p", "feature_type": "raw_feature", "expression": "item:price", "boundaries": [1, 2], "separator": ",",
    "normalizer": "method=log10", "value_type": "Double",
}  # fmt: skip
LOOKUP = {
    "feature_name": "i", "feature_type": "lookup_feature", "map": "user:m", "key": "item:k", "needDiscrete": True,
    "combiner": "max", "value_dimension": 2,
}  # fmt: skip
CLICKS = {
    "sequence_name": "clicks", "sequence_length": 30, "sequence_delim": "|", "sequence_pk": "user:clicks",
    "features": [{"feature_name": "i", "feature_type": "id_feature", "expression": "item:i", "num_buckets": 9}],
}  # fmt: skip
ALL = """model_class: "MMoE" feature_groups { group_name: "all" feature_names: [NAMES] wide_deep: DEEP SEQ }
  mmoe { num_expert: 2 expert_dnn { hidden_units: 4 } task_towers { tower_name: "clk" label_name: "clk" dnn { hidden_units: 4 } } }"""


def convert_fg(names, entries, features="", *, old=False, seq=""):
    body = ALL.replace("NAMES", names).replace("SEQ", seq)
    source = parse_easyrec(config_text(body, features=features), "old.config", our_schema())
    converted = convert(source, FgJson("fg.json", {"features": entries, "reserves": ["x"]}), use_old_fg=old)
    content = report(converted.receipt, converted.leaves, {})
    return converted, content


def features_of(converted):
    assert converted.receipt.refusals == []
    return list(converted.config.feature_configs)


def expected(text):
    config = EasyRecConfig()
    text_format.Parse(text, config)
    return list(config.feature_configs)


SIZES = """
features { input_names: "u" feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 100 }
features { input_names: "p" feature_type: RawFeature embedding_dim: 4 boundaries: [5, 6, 7] }
"""


def test_features_come_from_fg_json_and_sizes_of_the_config_replace_its_own():
    converted, _ = convert_fg('"u", "p"', [USER, PRICE], SIZES)
    assert features_of(converted) == expected("""
      feature_configs { id_feature { feature_name: "u" expression: "user:uid" hash_bucket_size: 100 default_value: "7"
        embedding_dim: 8 } }
      feature_configs { raw_feature { feature_name: "p" expression: "item:price" boundaries: [5, 6, 7] separator: ","
        normalizer: "method=log10" embedding_dim: 4 } }""")


def test_the_old_way_takes_only_inputs_from_fg_json():
    converted, _ = convert_fg('"u", "p"', [USER, PRICE], SIZES, old=True)
    assert (
        features_of(converted)
        == expected("""
      feature_configs { id_feature { feature_name: "u" expression: "user:uid" hash_bucket_size: 100 embedding_dim: 8
        value_dim: 1 } }
      feature_configs { raw_feature { feature_name: "p" expression: "item:price" boundaries: [5, 6, 7] embedding_dim: 4 } }""")
    )


def test_a_feature_of_fg_json_alone_has_its_own_sizes_and_the_default_width():
    converted, _ = convert_fg('"u"', [USER])
    (feature,) = features_of(converted)
    assert (feature.id_feature.hash_bucket_size, feature.id_feature.embedding_dim) == (50, 16)


def test_a_feature_of_the_config_alone_is_not_lost():
    converted, _ = convert_fg('"u", "p"', [USER], SIZES)
    names = [getattr(f, f.WhichOneof("feature")).feature_name for f in features_of(converted)]
    assert names == ["u", "p"]


def test_keys_with_other_names_are_mapped():
    features = 'features { input_names: "i" feature_type: TagFeature embedding_dim: 8 hash_bucket_size: 10 }'
    converted, _ = convert_fg('"i"', [LOOKUP], features)
    assert features_of(converted) == expected("""feature_configs { lookup_feature { feature_name: "i" map: "user:m"
      key: "item:k" need_discrete: true combiner: "max" value_dim: 2 embedding_dim: 8 hash_bucket_size: 10 } }""")


def test_a_sequence_becomes_a_block_whose_members_an_attention_reads():
    seq = 'sequence_features { group_name: "s" seq_att_map { key: "u" hist_seq: "clicks__i" } }'
    features = 'features { feature_name: "clicks__i" input_names: "clicks__i" feature_type: SequenceFeature embedding_dim: 8 num_buckets: 9 }'
    converted, _ = convert_fg('"u"', [USER, CLICKS], SIZES + features, seq=seq)
    assert features_of(converted)[1:] == expected("""feature_configs { sequence_feature { sequence_name: "clicks"
      sequence_length: 30 sequence_delim: "|" sequence_pk: "user:clicks"
      features { id_feature { feature_name: "i" expression: "item:i" num_buckets: 9 embedding_dim: 8 } } } }""")
    (group,) = converted.config.model_config.feature_groups
    assert list(group.sequence_groups[0].feature_names) == ["u", "clicks__i"]


def test_every_key_of_fg_json_is_accounted_for():
    _, content = convert_fg('"u"', [USER, PRICE, CLICKS], SIZES)
    rows = {row["source"]: row for row in content["fields"] if row["source"].startswith("fg_json")}
    assert rows["fg_json.features[0].default_value"]["result"] == "kept"
    assert rows["fg_json.features[1].normalizer"]["note"] == "no feature group names it"
    assert rows["fg_json.reserves"]["result"] == "dropped"
    assert {f"fg_json.features[0].{key}" for key in USER} <= set(rows)
    assert {f"fg_json.features[2].features[0].{key}" for key in CLICKS["features"][0]} <= set(rows)


def test_a_feature_from_which_another_is_computed_stays():
    base = {**USER, "feature_name": "base", "stub_type": True}
    top = {"feature_name": "u", "feature_type": "expr_feature", "expression": "base+1", "variables": ["feature:base"]}
    converted, _ = convert_fg('"u"', [base, top])
    assert [f.WhichOneof("feature") for f in features_of(converted)] == ["id_feature", "expr_feature"]


def test_types_and_values_without_counterpart_are_refused():
    converted, _ = convert_fg('"u"', [{**USER, "feature_type": "slice_feature"}])
    assert converted.receipt.refusals[0].text == "feature 'u': feature_type 'slice_feature' has no counterpart"
    converted, _ = convert_fg('"u"', [{**USER, "hash_bucket_size": "many"}])
    assert converted.receipt.refusals[0].text == "hash_bucket_size cannot be 'many'; mend fg.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "must be JSON"),
        ("[]", "must be an object with a list `features`, got none"),
        ('{"features": [3]}', r"features\[0\]: must be an object, got 3"),
        ('{"features": [{"feature_name": "a"}]}', r"features\[0\]: must have the text feature_type, got None"),
        ('{"features": [{"sequence_name": "s", "features": 3}]}', r"features\[0\].features: must be a list, got 3"),
    ],
)
def test_a_file_that_is_no_fg_json_is_refused(text, message, tmp_path):
    (tmp_path / "fg.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_fg_json(str(tmp_path / "fg.json"), our_schema().new(), "old.config")


def test_the_fg_json_that_the_config_names_is_found_beside_it(tmp_path):
    (tmp_path / "fg.json").write_text(json.dumps({"features": [USER]}))
    source = parse_easyrec('model_dir: "m" fg_json_path: "!samples/fg.json"', "x", our_schema())
    found = find_fg_json("", source, str(tmp_path / "old.config"))
    assert found is not None
    assert [one.name for one in found.features()] == ["u"]
    source.fg_json_path = "gone.json"
    with pytest.raises(
        ConfigError, match=r"fg_json_path must name a file, got 'gone.json'; give the file by --fg_json_path"
    ):
        find_fg_json("", source, str(tmp_path / "old.config"))
    source.fg_json_path = ""
    assert find_fg_json("", source, "old.config") is None
