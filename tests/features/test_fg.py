from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.features.making import features
from tzrec_build.features.fg import copy_assets, fg_json


def described(text: str, base_dir: Path | str = ".") -> str:
    """Objects as text, so that the order of the keys counts."""
    return json.dumps(fg_json(features(text, base_dir=base_dir))["features"])


def one(text: str) -> str:
    return described(f"feature_configs {{ {text} }}")


def test_id_feature() -> None:
    assert one(
        'id_feature { feature_name: "brand" expression: "item:brand" embedding_dim: 4 hash_bucket_size: 5000 }'
    ) == (
        '[{"feature_type": "id_feature", "feature_name": "brand", "default_value": "", "expression": "item:brand", '
        '"value_type": "string", "need_prefix": false, "hash_bucket_size": 5000, "value_dim": 0}]'
    )


def test_vocabularies() -> None:
    base = 'feature_name: "sex" expression: "user:sex" embedding_dim: 4'
    assert one(f'id_feature {{ {base} vocab_list: ["m", "f"] }}') == (
        '[{"feature_type": "id_feature", "feature_name": "sex", "default_value": "", "expression": "user:sex", '
        '"value_type": "string", "need_prefix": false, "vocab_list": ["", "<OOV>", "m", "f"], '
        '"default_bucketize_value": 1, "value_dim": 0}]'
    )
    dictionary = one(
        f'id_feature {{ {base} default_value: "0" vocab_dict {{ key: "a" value: 2 }} vocab_dict {{ key: "b" value: 3 }} }}'
    )
    assert '"vocab_dict": {"a": 2, "b": 3, "0": 0}, "default_bucketize_value": 1, "value_dim": 0' in dictionary


def test_weighted_separator_and_value_type() -> None:
    text = (
        'id_feature { feature_name: "w" expression: "user:w" embedding_dim: 4 num_buckets: 9 weighted: true '
        'separator: "," fg_value_type: "int64" value_dim: 2 }'
    )
    assert one(text) == (
        '[{"feature_type": "id_feature", "feature_name": "w", "default_value": "", "expression": "user:w", '
        '"value_type": "int64", "need_prefix": false, "separator": ",", "num_buckets": 9, "weighted": true, "value_dim": 2}]'
    )


def test_raw_feature() -> None:
    text = (
        'raw_feature { feature_name: "price" expression: "item:price" normalizer: "method=log10" '
        "boundaries: [1, 2, 3] embedding_dim: 4 }"
    )
    assert one(text) == (
        '[{"feature_type": "raw_feature", "feature_name": "price", "default_value": "0", "expression": "item:price", '
        '"value_type": "float", "normalizer": "method=log10", "boundaries": [1.0, 2.0, 3.0]}]'
    )
    vector = one(
        'raw_feature { feature_name: "v" expression: "item:v" separator: "," value_dim: 3 boundaries: 0.1 embedding_dim: 4 }'
    )
    assert vector.endswith(
        '"value_type": "float", "separator": ",", "value_dim": 3, "boundaries": [0.10000000149011612]}]'
    )


def test_combo_feature() -> None:
    text = (
        'combo_feature { feature_name: "age_x_cate" expression: "user:age" expression: "item:cate" '
        "embedding_dim: 4 hash_bucket_size: 100000 }"
    )
    assert one(text) == (
        '[{"feature_type": "combo_feature", "feature_name": "age_x_cate", "default_value": "", '
        '"expression": ["user:age", "item:cate"], "value_type": "string", "need_prefix": false, "value_dim": 0, '
        '"hash_bucket_size": 100000}]'
    )


def test_block() -> None:
    text = """sequence_feature { sequence_name: "seen" sequence_length: 50
      features { id_feature { feature_name: "item_id" expression: "item:item_id" embedding_dim: 4 hash_bucket_size: 100000 } }
      features { raw_feature { feature_name: "ts" expression: "user:ts" } } }"""
    assert one(text) == (
        '[{"sequence_name": "seen", "sequence_length": 50, "sequence_delim": ";", "sequence_pk": "user:seen", "features": ['
        '{"feature_type": "id_feature", "feature_name": "item_id", "default_value": "0", "expression": "item:item_id", '
        '"value_type": "string", "need_prefix": false, "hash_bucket_size": 100000, "value_dim": 1}, '
        '{"feature_type": "raw_feature", "feature_name": "ts", "default_value": "0", "expression": "user:ts", '
        '"value_type": "float"}]}]'
    )


def test_flat_sequence() -> None:
    text = (
        'sequence_id_feature { feature_name: "clk" expression: "user:clk" embedding_dim: 4 hash_bucket_size: 1000 '
        "sequence_length: 20 }"
    )
    assert one(text) == (
        '[{"feature_type": "sequence_id_feature", "feature_name": "clk", "default_value": "0", "expression": "user:clk", '
        '"value_type": "string", "need_prefix": false, "hash_bucket_size": 1000, "value_dim": 1, "sequence_delim": ";", '
        '"sequence_length": 20}]'
    )


def test_blocks_of_one_name_merge_at_the_first() -> None:
    block = """feature_configs {{ sequence_feature {{ sequence_name: "seen" sequence_length: {0} features {{
      id_feature {{ feature_name: "{1}" expression: "item:{1}" embedding_dim: 4 hash_bucket_size: 10 }} }} }} }}"""
    middle = 'feature_configs { raw_feature { feature_name: "r" expression: "user:r" } }'
    result = fg_json(features(block.format(5, "a") + middle + block.format(7, "b")), ["label", "request_id"])
    assert [item.get("sequence_name", item.get("feature_name")) for item in result["features"]] == ["seen", "r"]
    assert result["features"][0]["sequence_length"] == 5
    assert [member["feature_name"] for member in result["features"][0]["features"]] == ["a", "b"]
    assert result["reserves"] == ["label", "request_id"]
    assert list(fg_json([])) == ["features"]


def test_remove_bucketizer() -> None:
    text = (
        'feature_configs { id_feature { feature_name: "b" expression: "item:b" embedding_dim: 4 hash_bucket_size: 5 } }'
    )
    keys = list(fg_json(features(text), remove_bucketizer=True)["features"][0])
    assert keys == [
        "feature_type",
        "feature_name",
        "default_value",
        "expression",
        "value_type",
        "need_prefix",
        "value_dim",
    ]


def test_assets_are_named_by_content(tmp_path: Path) -> None:
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "w.txt").write_text("a\nb\n")
    text = (
        'feature_configs { id_feature { feature_name: "b" expression: "item:b" embedding_dim: 4 asset_dir: "vocab" '
        'vocab_file: "w.txt" default_bucketize_value: 0 } }'
    )
    made = features(text, base_dir=tmp_path)
    name = f"w_{hashlib.md5(b'a' + bytes([10]) + b'b' + bytes([10])).hexdigest()}.txt"
    assert fg_json(made)["features"][0]["vocab_file"] == name
    assert copy_assets(made, tmp_path / "out") == {("vocab", "w.txt"): name}
    assert (tmp_path / "out" / name).read_text() == "a\nb\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_assets_of_one_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    text, expected = "", {}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "v.txt").write_text(f"{folder}\n")
        expected[folder, "v.txt"] = f"v_{hashlib.md5(f'{folder}{chr(10)}'.encode()).hexdigest()}.txt"
        text += (
            f'feature_configs {{ id_feature {{ feature_name: "{folder}" expression: "item:x" embedding_dim: 4 '
            f'asset_dir: "{folder}" vocab_file: "v.txt" default_bucketize_value: 0 }} }}'
        )
    made = features(text, base_dir=tmp_path)
    assert copy_assets(made, tmp_path / "out") == expected
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(expected.values())
    described = fg_json(made)["features"]
    assert [one["vocab_file"] for one in described] == list(expected.values())
    assert not any("asset_dir" in one for one in described)
