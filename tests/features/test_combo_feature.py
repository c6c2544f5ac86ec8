from __future__ import annotations

import pytest

from tests.features.making import SEP, encode, feature, rows
from tzrec_build.errors import ConfigError, NotSupportedError

BASE = 'feature_name: "f" expression: "user:u" expression: "item:i" embedding_dim: 4 hash_bucket_size: 100'


def made(extra: str = "", **options: str):
    return feature(f"combo_feature {{ {BASE} {extra} }}", **options)


def test_pairs_of_the_reference() -> None:
    encoded = encode(made(), u=[f"ua{SEP}ub", "uc", "ud", ""], i=[f"ia{SEP}ib", "ic", "ic", "ia"])
    assert rows(encoded) == [[37, 90, 5, 97], [60], [56], []]


def test_single_values_and_integers() -> None:
    assert rows(encode(made(), u=["uc", "ud"], i=["ic", "ic"])) == [[60], [56]]
    by_text = rows(encode(made(), u=["1", "2"], i=["3", "4"]))
    assert rows(encode(made(), u=[1, 2], i=[3, 4])) == by_text


def test_default_for_rows_without_a_pair() -> None:
    assert rows(encode(made('default_value: "xyz"'), u=["uc", None], i=["ic", "ic"])) == [[60], [13]]


def test_three_inputs_first_outermost() -> None:
    item = feature(
        'combo_feature { feature_name: "f" expression: "user:a" expression: "user:b" expression: "user:c"'
        ' embedding_dim: 4 vocab_list: ["1_x_m", "1_x_n", "1_y_m", "2_y_n"] default_bucketize_value: 0 }'
    )
    assert item.sides == ("user", "user", "user")
    encoded = encode(item, a=["1"], b=[["x", "y"]], c=[["m", "n"]])
    assert rows(encoded) == [[0, 1, 2, 0]]


def test_bucketize_mode_reads_joined_text() -> None:
    item = made(fg_mode="FG_BUCKETIZE")
    assert rows(encode(item, f=["uc_ic", f"ua_ia{SEP}ub_ib"])) == [[60], [37, 97]]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="a combo needs at least 2 expressions"):
        feature('combo_feature { feature_name: "f" expression: "user:u" embedding_dim: 4 hash_bucket_size: 9 }')
    sampler = 'negative_sampler { input_path: "t" num_sample: 2 attr_fields: "i" item_id_field: "i" }'
    with pytest.raises(NotSupportedError, match="combo_feature over a negative sampled field"):
        made(data=sampler)
