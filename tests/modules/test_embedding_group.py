"""Lookups against plain NumPy indexing."""

import numpy as np
import pytest
import torch

from tests.model_makers import Rows, batch_of, dense, groups, sparse
from tzrec_build.errors import ConfigError
from tzrec_build.modules.embedding_group import EmbeddingGroup

IDS = {"tags": [[1, 2, 2], [], [9]], "city": [[3], [4], [3]]}
DEEP = 'feature_groups { group_name: "g" group_type: DEEP feature_names: "tags" feature_names: "price" feature_names: "city" }'


def _weight(group, table, place="emb_impls.__BASE__.ebc.embedding_bags"):
    return group.state_dict()[f"{place}.{table}.weight"].float().numpy()


def _pooled(weight, bags, reduce=np.sum, weights=None):
    rows = []
    for index, bag in enumerate(bags):
        picked = weight[bag] * (1.0 if weights is None else np.array(weights[index])[:, None])
        rows.append(reduce(picked, axis=0) if bag else np.zeros(weight.shape[1]))
    return np.stack(rows)


def test_a_deep_group_is_its_features_side_by_side_in_order():
    group = EmbeddingGroup([sparse("tags"), sparse("city", embedding_dim=2), dense("price", 3)], groups(DEEP))
    numbers = np.arange(9).reshape(3, 3)
    out = group(batch_of(Rows(ids=IDS, numbers={"price": numbers.tolist()})))["g"].detach()
    expected = [
        _pooled(_weight(group, "tags_emb"), IDS["tags"]),
        numbers,
        _pooled(_weight(group, "city_emb"), IDS["city"]),
    ]
    np.testing.assert_allclose(out, np.concatenate(expected, axis=1), rtol=1e-6)
    assert group.feature_dims("g") == {"tags": 4, "price": 3, "city": 2}
    assert group.group_total_dim("g") == 9


def test_mean_pooling_averages():
    features = [sparse("tags", pooling="MEAN"), sparse("city"), dense("price")]
    group = EmbeddingGroup(features, groups(DEEP))
    out = group(batch_of(Rows(ids=IDS, numbers={"price": [[0.0]] * 3})))["g"].detach()[:, :4]
    np.testing.assert_allclose(out, _pooled(_weight(group, "tags_emb"), IDS["tags"], np.mean), rtol=1e-6)


def test_weights_scale_ids_and_a_weighted_mean_divides_by_the_count():
    # torch's bags refuse weights with mean pooling; TorchEasyRec's sharded path gives sum(w * row) / count
    weights = {"tags": [[0.5, 2.0, 1.0], [], [3.0]]}
    rows = Rows(ids=IDS, weights=weights, numbers={"price": [[0.0]] * 3})
    for pooling, reduce in (("SUM", np.sum), ("MEAN", np.mean)):
        features = [sparse("tags", pooling=pooling, is_weighted=True), sparse("city", pooling="MEAN"), dense("price")]
        group = EmbeddingGroup(features, groups(DEEP))
        out = group(batch_of(rows))["g"].detach()
        expected = _pooled(_weight(group, "tags_emb"), IDS["tags"], reduce, weights["tags"])
        np.testing.assert_allclose(out[:, :4], expected, rtol=1e-5)
        np.testing.assert_allclose(out[:, 5:], _pooled(_weight(group, "city_emb"), IDS["city"]), rtol=1e-6)


def test_the_gradient_of_a_mean_beside_a_weighted_feature_is_divided_by_the_count():
    # TorchEasyRec differs: fbgemm's CPU kernel forgets the division when weights are given
    features = [sparse("tags", pooling="MEAN"), sparse("city", is_weighted=True), dense("price")]
    group = EmbeddingGroup(features, groups(DEEP))
    rows = Rows(ids=IDS, weights={"city": [[2.0], [1.0], [1.0]]}, numbers={"price": [[0.0]] * 3})
    group(batch_of(rows))["g"].sum().backward()
    gradient = dict(group.named_parameters())["emb_impls.__BASE__.ebc.embedding_bags.tags_emb.weight"].grad[:, 0]
    np.testing.assert_allclose(gradient, [0, 1 / 3, 2 / 3, 0, 0, 0, 0, 0, 0, 1], rtol=1e-6)


def test_a_feature_in_a_wide_and_a_deep_group_looks_up_in_both_tables():
    wide = 'feature_groups { group_name: "w" group_type: WIDE feature_names: "city" }'
    deep = 'feature_groups { group_name: "d" group_type: DEEP feature_names: "city" }'
    group = EmbeddingGroup([sparse("city")], groups(wide + deep), wide_embedding_dim=3)
    out = group(batch_of(Rows(ids=IDS)))
    np.testing.assert_allclose(out["w"].detach(), _pooled(_weight(group, "city_emb_wide"), IDS["city"]), rtol=1e-6)
    np.testing.assert_allclose(out["d"].detach(), _pooled(_weight(group, "city_emb"), IDS["city"]), rtol=1e-6)
    assert out["w"].shape[1] == 3


SEQUENCE = (
    'feature_groups { group_name: "s" group_type: SEQUENCE feature_names: "price" feature_names: "item" '
    'feature_names: "clicks" feature_names: "spent" }'
)
SEQUENCE_FEATURES = [
    sparse("item", embedding_name="i"),
    sparse("clicks", embedding_name="i", is_sequence=True),
    dense("spent", 1, is_sequence=True),
    dense("price"),
]
SEQUENCE_ROWS = Rows(
    ids={"item": [[7, 8], [], [1]], "clicks": [[1, 2], [], [3]]},
    numbers={"price": [[5.0], [6.0], [7.0]]},
    sequences={"spent": [[[0.1], [0.2]], [], [[0.3]]]},
)


def test_a_sequence_group_gives_query_padded_sequence_and_lengths():
    group = EmbeddingGroup(SEQUENCE_FEATURES, groups(SEQUENCE))
    out = group(batch_of(SEQUENCE_ROWS))
    weight = _weight(group, "i", "seq_emb_impls.__BASE__.ec_dict.4.embeddings")
    zeros = np.zeros(4)
    query = np.array([[5, *weight[7]], [6, *zeros], [7, *weight[1]]])
    np.testing.assert_allclose(out["s.query"].detach(), query, rtol=1e-6)
    padding = np.zeros(5)
    sequence = [[[*weight[1], 0.1], [*weight[2], 0.2]], [padding, padding], [[*weight[3], 0.3], padding]]
    np.testing.assert_allclose(out["s.sequence"].detach(), np.array(sequence), rtol=1e-6)
    assert out["s.sequence_length"].tolist() == [2, 0, 1]
    assert (group.group_total_dim("s.query"), group.group_total_dim("s.sequence")) == (5, 5)


def test_a_batch_of_empty_sequences_is_padded_to_one_position():
    rows = Rows(ids={"clicks": [[], []]})
    text = 'feature_groups { group_name: "s" group_type: SEQUENCE feature_names: "clicks" }'
    out = EmbeddingGroup([sparse("clicks", is_sequence=True)], groups(text))(batch_of(rows))
    assert out["s.sequence"].shape == (2, 1, 4)
    assert out["s.query"].shape == (2, 0)


def test_encoders_follow_the_features_and_are_named_in_the_dims():
    more = (
        'sequence_groups { group_name: "c" feature_names: "clicks" } '
        'sequence_encoders { pooling_encoder { input: "c" pooling_type: "sum" } } '
        'sequence_encoders { pooling_encoder { input: "c" } }'
    )
    text = f'feature_groups {{ group_name: "g" group_type: DEEP feature_names: "item" {more} }}'
    group = EmbeddingGroup(SEQUENCE_FEATURES, groups(text))
    assert group.feature_dims("g") == {"item": 4, "g_seq_encoder_0": 4, "g_seq_encoder_1": 4}
    out = group(batch_of(SEQUENCE_ROWS))["g"].detach()
    weight = _weight(group, "i", "seq_emb_impls.__BASE__.ec_dict.4.embeddings")
    np.testing.assert_allclose(out[:, 4:8], _pooled(weight, SEQUENCE_ROWS.ids["clicks"]), rtol=1e-6)
    np.testing.assert_allclose(out[:, 8:], _pooled(weight, SEQUENCE_ROWS.ids["clicks"], np.mean), rtol=1e-6)


def test_a_frozen_table_has_no_gradient():
    features = [sparse("tags", trainable=False), sparse("city"), dense("price")]
    group = EmbeddingGroup(features, groups(DEEP))
    frozen = {name for name, parameter in group.named_parameters() if not parameter.requires_grad}
    assert frozen == {"emb_impls.__BASE__.ebc.embedding_bags.tags_emb.weight"}


def test_half_precision_tables_give_float32_outputs():
    group = EmbeddingGroup([sparse("tags", data_type="FP16"), sparse("city"), dense("price")], groups(DEEP))
    assert group.state_dict()["emb_impls.__BASE__.ebc.embedding_bags.tags_emb.weight"].dtype == torch.float16
    assert group(batch_of(Rows(ids=IDS, numbers={"price": [[0.0]] * 3})))["g"].dtype == torch.float32


def test_the_initialiser_of_the_config_fills_the_table():
    group = EmbeddingGroup(
        [sparse("tags", init_fn="nn.init.constant_,val=0.25"), sparse("city"), dense("price")], groups(DEEP)
    )
    assert (_weight(group, "tags_emb") == 0.25).all()


def test_by_default_tables_start_uniform_within_the_inverse_root_of_their_rows():
    group = EmbeddingGroup([sparse("tags", num_embeddings=10_000), sparse("city"), dense("price")], groups(DEEP))
    values = _weight(group, "tags_emb")
    assert 0.0099 < values.max() <= 0.01
    assert -0.01 <= values.min() < -0.0099


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda group: group.group_total_dim("h"), "model_config.feature_groups: no group is named 'h'; known: g"),
        (
            lambda _: EmbeddingGroup([sparse("tags", data_type="FP8"), sparse("city"), dense("price")], groups(DEEP)),
            "embedding 'tags_emb': data_type must be FP32 or FP16, got 'FP8'",
        ),
    ],
)
def test_wrong_names_are_refused(ask, message):
    group = EmbeddingGroup([sparse("tags"), sparse("city"), dense("price")], groups(DEEP))
    with pytest.raises(ConfigError) as caught:
        ask(group)
    assert str(caught.value).startswith(message)
