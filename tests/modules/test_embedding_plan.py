import pytest

from tests.model_makers import dense, groups, sparse
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.modules.embedding_plan import plan_embeddings

USER = sparse("user")
ITEM = sparse("item", embedding_name="i_emb")
CLICKS = sparse("clicks", embedding_name="i_emb", is_sequence=True)
SPENT = dense("spent", is_sequence=True)
PRICE = dense("price", 2)
FEATURES = [USER, ITEM, CLICKS, SPENT, PRICE]


def _plan(text, features=FEATURES, **options):
    return plan_embeddings(features, groups(text), **options)


def _group(name, features, kind="DEEP", more=""):
    names = " ".join(f'feature_names: "{item}"' for item in features)
    return f'feature_groups {{ group_name: "{name}" group_type: {kind} {names} {more} }}'


def _tables(plan):
    return {
        name: [(table.name, table.embedding_dim, table.features) for table in tables]
        for name, tables in plan.pooled.items()
    }


def test_features_of_two_groups_share_a_table_by_name():
    plan = _plan(_group("a", ["user"]) + _group("b", ["user", "item"]))
    assert _tables(plan) == {"__BASE__": [("user_emb", 4, ("user",)), ("i_emb", 4, ("item",))]}


def test_a_wide_group_has_tables_of_its_own_with_its_own_dim_and_initialiser():
    plan = _plan(
        _group("w", ["user"], "WIDE") + _group("d", ["user"]), wide_embedding_dim=7, wide_init_fn="nn.init.zeros_"
    )
    wide, deep = plan.pooled["__BASE__"]
    assert (wide.name, wide.embedding_dim, wide.init_fn) == ("user_emb_wide", 7, "nn.init.zeros_")
    assert (deep.name, deep.embedding_dim, deep.init_fn) == ("user_emb", 4, "")


def test_a_suffix_comes_after_wide():
    plan = _plan(_group("w", ["user"], "WIDE", 'embedding_name_suffix: "x"'))
    assert plan.pooled["__BASE__"][0].name == "user_emb_wide_x"


def test_pooled_and_sequence_use_of_one_name_are_two_tables():
    plan = _plan(_group("d", ["item"]) + _group("s", ["item", "clicks", "spent"], "SEQUENCE"))
    assert [table.features for table in plan.pooled["__BASE__"]] == [("item",)]
    assert [table.features for table in plan.sequences["__BASE__", 4]] == [("item", "clicks")]
    (sequence,) = plan.sequence_groups
    assert (sequence.query_dim, sequence.sequence_dim) == (4, 5)


NESTED = 'sequence_groups { feature_names: "clicks" } sequence_encoders { pooling_encoder { input: "d" } }'


def test_an_unnamed_sequence_group_takes_name_and_suffix_of_its_parent():
    plan = _plan(_group("d", ["item"], more=NESTED + ' embedding_name_suffix: "x"'))
    assert plan.sequence_groups[0].name == "d"
    assert plan.sequences["__BASE__", 4][0].name == "i_emb_x"


def test_a_sequence_group_keeps_its_own_suffix():
    own = NESTED.replace('"clicks"', '"clicks" embedding_name_suffix: "y"')
    plan = _plan(_group("d", ["item"], more=own + ' embedding_name_suffix: "x"'))
    assert plan.sequences["__BASE__", 4][0].name == "i_emb_y"


A = "model_config.feature_groups 'a'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_group("a", ["usr"]), f"{A}: no feature is named 'usr'; did you mean 'user'?"),
        (_group("a", []), f"{A}: has no features; add feature_names or remove the group"),
        (_group("a", ["user", "user"]), f"{A}.feature_names: must be unique, got 'user' twice; remove or rename one"),
        (
            _group("a", ["user"]) * 2,
            "model_config.feature_groups: group_name: must be unique, got 'a' twice; remove or rename one",
        ),
        (
            _group("a", ["price"], "WIDE"),
            (
                f"{A}: a WIDE group holds features with an embedding only, got the dense 'price'; give it boundaries and an "
                "embedding_dim, or remove it from this group"
            ),
        ),
        (
            _group("a", ["clicks"]),
            (
                f"{A}: 'clicks' is a sequence, which a DEEP or WIDE group cannot hold as a feature; move it to sequence_groups "
                "of this group, with a sequence encoder"
            ),
        ),
        (_group("a", ["user"], "SEQUENCE"), f"{A}: needs at least one sequence feature, got ['user']"),
        (
            _group("a", ["clicks"], "SEQUENCE", NESTED.replace('"d"', '"a"')),
            f"{A}: only a DEEP group may hold sequence_groups and sequence_encoders; move them",
        ),
        (
            _group("a", ["user"], more='sequence_groups { feature_names: "clicks" }'),
            f"{A}: has sequence_groups but no sequence_encoders; one needs the other",
        ),
        (
            _group("a", ["user"], more='sequence_encoders { pooling_encoder { input: "a" } }'),
            f"{A}: has sequence_encoders but no sequence_groups; one needs the other",
        ),
        (
            _group("a", ["user"], more=NESTED.replace('input: "d"', 'input: "b"')),
            f"{A}.sequence_encoders: input names no sequence group of this group, got 'b'; known: a",
        ),
        (
            _group(
                "a",
                ["user"],
                more='sequence_groups { group_name: "x" feature_names: "clicks" } '
                'sequence_groups { group_name: "y" feature_names: "clicks" } '
                'sequence_encoders { pooling_encoder { input: "x" } }',
            ),
            f"{A}: no encoder reads sequence group 'y'; add one or remove the group",
        ),
        (
            _group(
                "a",
                ["user"],
                more='sequence_groups { feature_names: "clicks" } sequence_groups { feature_names: "clicks" } '
                'sequence_encoders { pooling_encoder { input: "x" } }',
            ),
            f"{A}.sequence_groups: each of several groups needs a group_name; add them",
        ),
    ],
)
def test_an_inconsistent_group_is_refused_with_place_and_remedy(text, message):
    with pytest.raises(ConfigError) as caught:
        _plan(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"num_embeddings": 20}, "num_embeddings, got 20 for 'b' and 10 for 'a'"),
        ({"embedding_dim": 8}, "embedding_dim, got 8 for 'b' and 4 for 'a'"),
        ({"pooling": "MEAN"}, "pooling, got 'MEAN' for 'b' and 'SUM' for 'a'"),
        ({"init_fn": "nn.init.zeros_"}, "init_fn, got 'nn.init.zeros_' for 'b' and '' for 'a'"),
        ({"trainable": False}, "trainable, got False for 'b' and True for 'a'"),
    ],
)
def test_sharing_needs_equal_properties(changes, what):
    features = [sparse("a", embedding_name="e"), sparse("b", embedding_name="e", **changes)]
    with pytest.raises(ConfigError) as caught:
        _plan(_group("g", ["a", "b"]), features)
    assert str(caught.value) == (
        f"model_config.feature_groups 'g': features that share the embedding 'e' must agree on {what}; make them equal or "
        "rename one"
    )


def test_one_name_reached_through_two_suffixes_is_refused():
    features = [sparse("a", embedding_name="e_wide"), sparse("b", embedding_name="e")]
    with pytest.raises(ConfigError, match="share the embedding 'e_wide' must agree on origin"):
        _plan(_group("d", ["a"]) + _group("w", ["b"], "WIDE"), features)


def test_a_group_must_not_mix_rows_with_and_without_negatives():
    features = [USER, sparse("neg", data_group="__NEG__")]
    with pytest.raises(ConfigError) as caught:
        _plan(_group("a", ["user", "neg"]), features)
    assert str(caught.value) == (
        f"{A}: must not mix rows with and without sampled negatives, got 'user' in __BASE__ and 'neg' in __NEG__; split the "
        "group"
    )


def test_jagged_sequence_groups_are_not_built_yet():
    with pytest.raises(NotSupportedError, match="not supported yet: group_type: JAGGED_SEQUENCE in model_config"):
        _plan(_group("a", ["clicks"], "JAGGED_SEQUENCE"))
