"""What a wrong model config answers: place, rule, value, next step."""

import pytest

from tests.model_makers import dense, pipeline, sparse
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.registry import MODELS, create_model

FEATURES = [
    sparse("u"),
    sparse("i"),
    sparse("small", embedding_dim=2),
    dense("price"),
    sparse("clicks", is_sequence=True),
]
LOSS = "losses { binary_cross_entropy {} } metrics { auc {} }"
MLP = "mlp { hidden_units: 2 }"
TASK = f'task_towers {{ tower_name: "ctr" label_name: "clk" losses {{ binary_cross_entropy {{}} }} {MLP} }}'

WEIGHTED = TASK.replace(MLP, 'sample_weight_name: "w"')
RELATED = TASK.replace(MLP, 'relation_tower_names: "cvr" relation_mlp { hidden_units: 2 }')


def _group(name, features, kind="DEEP"):
    names = " ".join(f'feature_names: "{item}"' for item in features)
    return f'feature_groups {{ group_name: "{name}" group_type: {kind} {names} }}'


WIDE = _group("wide", ["u", "i"], "WIDE")
ALL = _group("all", ["u", "i", "price"])
SEQ = _group("seq", ["i", "clicks"], "SEQUENCE")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ALL, f"model_config: names no model; set one of {', '.join(MODELS)}"),
        (
            f"{WIDE} {_group('deep', ['u', 'small'])} deepfm {{ deep {{ hidden_units: 2 }} }}",
            (
                "model_config.feature_groups 'deep': features that interact must have equal widths, got {'u': 4, 'small': 2}; "
                "set one embedding_dim, or list the features to interact in a group named 'fm'"
            ),
        ),
        (
            f"{WIDE} {_group('depe', ['u'])} deepfm {{ deep {{ hidden_units: 2 }} }}",
            "model_config.deepfm: no feature group is named 'deep'; did you mean 'depe'?",
        ),
        (
            f'{ALL} multi_tower {{ towers {{ input: "al" {MLP} }} final {{ hidden_units: 2 }} }}',
            "model_config.multi_tower.towers[0].input: no feature group is named 'al'; did you mean 'all'?",
        ),
        (
            f"{ALL} multi_tower {{ final {{ hidden_units: 2 }} }}",
            "model_config.multi_tower.towers: needs at least one tower, got none; add towers { input: ... }",
        ),
        (
            f'{ALL} multi_tower {{ towers {{ input: "all" }} final {{ hidden_units: 2 }} }}',
            "model_config.multi_tower.towers[0].mlp.hidden_units: needs at least one width, got none; add e.g. hidden_units: 64",
        ),
        (
            f'{SEQ} multi_tower {{ towers {{ input: "seq" {MLP} }} final {{ hidden_units: 2 }} }}',
            "model_config.multi_tower.towers[0].input: 'seq' is a SEQUENCE group; a tower needs a DEEP or WIDE group",
        ),
        (
            f'{ALL} multi_tower {{ towers {{ input: "all" {MLP} }} towers {{ input: "all" {MLP} }} final {{ hidden_units: 2 }} }}',
            "model_config.multi_tower.towers[1].input: 'all' has a tower already; merge the two towers",
        ),
        (
            f'{ALL} multi_tower_din {{ din_towers {{ input: "all" attn_mlp {{ hidden_units: 2 }} }} final {{ hidden_units: 2 }} }}',
            "model_config.multi_tower_din.din_towers[0].input: needs a SEQUENCE group, 'all' is none; set its group_type",
        ),
        (
            f"{_group('sparse', ['u', 'small'])} dlrm {{ final {{ hidden_units: 2 }} }}",
            (
                "model_config.feature_groups 'sparse': features that interact must have equal widths, got {'u': 4, 'small': 2}; "
                "set one embedding_dim, and move dense features to a group named 'dense'"
            ),
        ),
        (
            f"{_group('sparse', ['u'])} {_group('dense', ['price'])} dlrm {{ final {{ hidden_units: 2 }} }}",
            "model_config.dlrm.dense_mlp: group 'dense' needs it; add dense_mlp { hidden_units: 4 }",
        ),
        (
            (
                f"{_group('sparse', ['u'])} {_group('dense', ['price'])} dlrm {{ dense_mlp {{ hidden_units: 3 }} "
                "final { hidden_units: 2 } }"
            ),
            "model_config.dlrm.dense_mlp: must end as wide as the embeddings, 4, got 3",
        ),
        (
            "dcn_v1 { deep { hidden_units: 2 } }",
            "model_config.dcn_v1: needs a feature group, got none; add feature_groups to",
        ),
        (
            f"{ALL} mmoe {{ expert_mlp {{ hidden_units: 2 }} }}",
            "model_config.mmoe.task_towers: needs at least one task, got none",
        ),
        (
            f"{ALL} mmoe {{ expert_mlp {{ hidden_units: 2 }} {TASK} {TASK} }}",
            "model_config.mmoe.task_towers[1].tower_name: must be unique, not empty and without dots, got 'ctr'",
        ),
        (
            f"{ALL} mmoe {{ expert_mlp {{ hidden_units: 2 }} {TASK.replace('clk', 'buy')} }}",
            "model_config.mmoe.task_towers[0].label_name: 'buy' is not in data_config.label_fields; known: clk",
        ),
        (
            f"{ALL} mmoe {{ expert_mlp {{ hidden_units: 2 }} {WEIGHTED} }}",
            "model_config.mmoe.task_towers[0].sample_weight_name: 'w' is not in data_config.sample_weight_fields",
        ),
        (
            f"{SEQ} mmoe {{ expert_mlp {{ hidden_units: 2 }} {TASK} }}",
            "model_config.mmoe: the first feature group must be DEEP;",
        ),
        (
            f"{ALL} dbmtl {{ {RELATED} }}",
            "model_config.dbmtl.task_towers[0].relation_tower_names: must name towers before 'ctr', got 'cvr'",
        ),
        (f"{ALL} ple {{ {TASK} }}", "model_config.ple.extraction_networks: needs at least one layer, got none"),
    ],
)
def test_a_wrong_config_is_refused_with_place_and_remedy(model, message):
    loss = LOSS if "task_towers" not in model else ""
    with pytest.raises(ConfigError) as caught:
        create_model(pipeline(f"{model} {loss}"), FEATURES)
    assert str(caught.value).startswith(message)


def test_a_model_without_a_label_column_is_refused():
    with pytest.raises(ConfigError, match=r"data_config.label_fields: needs a label, got none; name the label column"):
        create_model(
            pipeline(f"{ALL} dcn_v1 {{ deep {{ hidden_units: 2 }} final {{ hidden_units: 2 }} }} {LOSS}", ""), FEATURES
        )


@pytest.mark.parametrize(("key", "hint"), [("uu", "; did you mean 'u'?"), ("clicks", "; known: i, small, u")])
def test_a_grouping_key_must_give_one_id_a_row(key, hint):
    text = f'{ALL} multi_tower {{ towers {{ input: "all" {MLP} }} final {{ hidden_units: 2 }} }} {LOSS}'
    grouped = f'metrics {{ grouped_auc {{ grouping_key: "{key}" }} }}'
    with pytest.raises(ConfigError) as caught:
        create_model(pipeline(f"{text} {grouped}"), FEATURES)
    expected = f"metric grouped_auc: grouping_key must name a feature with one id a row, got {key!r}{hint}"
    assert str(caught.value) == expected


def test_a_model_that_is_not_built_yet_says_so():
    with pytest.raises(NotSupportedError, match=r"not supported yet: model_config.tdm in the pipeline config"):
        create_model(pipeline(f"{ALL} tdm {{}}"), FEATURES)


def test_a_group_of_one_entry_and_sequences_get_no_dropout():
    model = (
        f"{_group('one', ['u'])} {ALL} {SEQ} variational_dropout {{}} {LOSS} "
        f'multi_tower {{ towers {{ input: "all" {MLP} }} final {{ hidden_units: 2 }} }}'
    )
    state = create_model(pipeline(model), FEATURES).state_dict()
    assert [name for name in state if name.endswith("feature_p")] == ["group_variational_dropouts.all.feature_p"]


def test_every_registered_model_names_a_field_of_the_schema_and_an_existing_class():
    import importlib

    fields = {field.name for field in pipeline("").model_config.DESCRIPTOR.oneofs_by_name["model"].fields}
    for name, place in MODELS.items():
        module, _, cls = place.partition(":")
        assert name in fields
        assert hasattr(importlib.import_module(module), cls)
