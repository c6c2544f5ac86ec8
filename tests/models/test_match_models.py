"""Similarities, targets and penalties of two-tower models, with and without sampled negatives."""

import numpy as np
import pytest
import torch

from tests.model_makers import Rows, batch_of, pipeline, sparse
from tzrec_build.data.batch import NEG_DATA_GROUP, Batch
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.registry import create_model

SAMPLER = 'label_fields: "clk" negative_sampler { input_path: "x" num_sample: 2 item_id_field: "i" attr_fields: "i" }'
LOSS = "losses { softmax_cross_entropy {} } metrics { recall_at_k { top_k: 3 } }"
GROUPS = (
    'feature_groups { group_name: "user" group_type: DEEP feature_names: "u" feature_names: "v" } '
    'feature_groups { group_name: "item" group_type: DEEP feature_names: "i" feature_names: "j" }'
)


def _dssm(more="", data='label_fields: "clk"', rest=LOSS, output_dim=3):
    model = (
        f'{GROUPS} dssm {{ user_tower {{ input: "user" mlp {{ hidden_units: 6 }} }} '
        f'item_tower {{ input: "item" mlp {{ hidden_units: 5 }} }} output_dim: {output_dim} {more} }} {rest}'
    )
    items = [sparse(name, data_group=NEG_DATA_GROUP) for name in ("i", "j")]
    return create_model(pipeline(model, data), [sparse("u"), sparse("v"), *items])


def _batch(item_rows):
    rng = np.random.default_rng(2)
    draw = lambda rows: [[int(value)] for value in rng.integers(0, 10, rows)]  # noqa: E731
    user = batch_of(Rows(ids={"u": draw(4), "v": draw(4)}, labels={"clk": [1, 1, 1, 1]}))
    item = batch_of(Rows(ids={"i": draw(item_rows), "j": draw(item_rows)}), NEG_DATA_GROUP)
    return Batch(size=4, sparse={**user.sparse, **item.sparse}, labels=user.labels)


def _towers(model, batch):
    return [model.tower_embedding(batch, tower).detach().numpy() for tower in ("user", "item")]


def test_sampled_negatives_follow_the_own_item():
    model, batch = _dssm("temperature: 0.5", SAMPLER).eval(), _batch(6)
    user, item = _towers(model, batch)
    expected = np.concatenate([(user * item[:4]).sum(1, keepdims=True), user @ item[4:].T], axis=1) / 0.5
    similarity = model.predict(batch)["similarity"].detach()
    np.testing.assert_allclose(similarity, expected, rtol=1e-4, atol=1e-6)
    loss = -np.log(np.exp(expected[:, 0]) / np.exp(expected).sum(1)).mean()
    assert model.loss({"similarity": similarity}, batch)["softmax_cross_entropy"].item() == pytest.approx(
        loss, rel=1e-5
    )
    (spec,) = model.metric_specs
    assert spec.name == "recall@3"
    assert model.metric_label(spec, {"similarity": similarity}, batch).tolist() == [0, 0, 0, 0]


def test_in_batch_negatives_compare_every_pair():
    model, batch = _dssm("in_batch_negative: true").eval(), _batch(4)
    user, item = _towers(model, batch)
    expected = user @ item.T
    similarity = model.predict(batch)["similarity"].detach()
    np.testing.assert_allclose(similarity, expected, rtol=1e-4, atol=1e-6)
    loss = -np.log(np.exp(np.diag(expected)) / np.exp(expected).sum(1)).mean()
    assert model.loss({"similarity": similarity}, batch)["softmax_cross_entropy"].item() == pytest.approx(
        loss, rel=1e-5
    )
    assert model.metric_label(model.metric_specs[0], {"similarity": similarity}, batch).tolist() == [0, 1, 2, 3]


def test_cosine_towers_have_unit_length():
    model = _dssm("similarity: COSINE in_batch_negative: true").eval()
    for embedding in _towers(model, _batch(4)):
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, rtol=1e-5)


def test_label_smoothing_is_applied():
    # TorchEasyRec ignores it in match models
    smooth = _dssm("in_batch_negative: true", rest="losses { softmax_cross_entropy { label_smoothing: 0.2 } }")
    similarity = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    log_p = similarity - torch.logsumexp(similarity, 1, keepdim=True)
    expected = -(log_p * torch.tensor([[0.9, 0.1], [0.1, 0.9]])).sum(1).mean()
    assert smooth.loss({"similarity": similarity}, Batch(size=2))["softmax_cross_entropy"].item() == pytest.approx(
        expected.item()
    )


def test_the_penalty_of_the_item_tower_counts_the_sampled_rows():
    model, batch = _dssm("", SAMPLER, rest=LOSS + " variational_dropout { regularization_lambda: 0.1 }"), _batch(6)
    losses = model.loss(model.predict(batch), batch)
    for name, rows in (("user", 4), ("item", 6)):
        tower = getattr(model, f"{name}_tower")
        kept = (1 - torch.sigmoid(tower.group_variational_dropouts[name].feature_p)).sum().item()
        assert losses[f"{name}_feature_p_loss"].item() == pytest.approx(0.1 / rows * kept, rel=1e-5)


def test_one_tower_works_without_the_columns_of_the_other():
    model, batch = _dssm("in_batch_negative: true").eval(), _batch(4)
    items_only = Batch(size=4, sparse={NEG_DATA_GROUP: batch.sparse[NEG_DATA_GROUP]})
    assert model.tower_embedding(items_only, "item").shape == (4, 3)


def test_a_tower_keeps_the_width_of_its_mlp_when_output_dim_is_zero():
    model = _dssm("in_batch_negative: true", output_dim=0).eval()
    assert model.user_tower.output_dim == 6
    assert not any(".output." in name for name in model.state_dict())


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: _dssm(""),
            ConfigError,
            "model_config.dssm: needs negatives; set in_batch_negative: true, or a negative_sampler in data_config",
        ),
        (
            lambda: _dssm("in_batch_negative: true", rest=""),
            ConfigError,
            "model_config.losses: a match model needs softmax_cross_entropy alone, got []",
        ),
        (
            lambda: _dssm("in_batch_negative: true", rest="losses { softmax_cross_entropy {} } metrics { auc {} }"),
            ConfigError,
            "model_config.metrics[0]: auc reads probs1 or probs, but the losses give similarity; change the metric or the loss",
        ),
        (
            lambda: _dssm("in_batch_negative: true similarity: EUCLID"),
            NotSupportedError,
            "not supported yet: similarity: EUCLID in model_config.dssm",
        ),
    ],
)
def test_a_wrong_match_config_is_refused(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == message
