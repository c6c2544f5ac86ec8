"""Round trips and damage: whatever the text, the answer is a config or one ConfigError that names the file."""

import json
import random

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.mutations import PIECES
from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import lint
from tzrec_build.config.load import canonical_text, parse_pipeline_config
from tzrec_build.config.problems import located
from tzrec_build.config.projection import PURPOSES, project
from tzrec_build.config.support import find_unsupported
from tzrec_build.config.walk import is_map, is_own_message
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

TEXTS = [GOOD, *(path.read_text() for path in CONFIGS)]
INTS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}


def scalar(field, draw):
    if field.enum_type is not None:
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    if field.cpp_type in INTS:
        return draw(st.integers(*INTS[field.cpp_type]))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return draw(st.text(max_size=6))
    return draw(st.floats(width=32, allow_nan=False))


def fill(message, draw, depth=0):
    """Set the required fields of a message, and a few others, to something legal."""
    others = [field for field in message.DESCRIPTOR.fields if not field.is_required]
    some = draw(st.lists(st.sampled_from(range(len(others))), max_size=4 - depth // 2)) if others else []
    required = [field for field in message.DESCRIPTOR.fields if field.is_required]
    for field in [*required, *(others[i] for i in some)]:
        if is_map(field):
            continue
        if field.message_type is None:
            value = scalar(field, draw)
            getattr(message, field.name).append(value) if field.is_repeated else setattr(message, field.name, value)
        elif is_own_message(field) and (depth < 4 or field.is_required):
            child = getattr(message, field.name)
            child = child.add() if field.is_repeated else child
            child.SetInParent()
            fill(child, draw, depth + 1)


@st.composite
def configs(draw):
    config = EasyRecConfig()
    fill(config, draw)
    config.data_config.ClearField("fg_encoded")
    return config


@settings(max_examples=30)
@given(configs())
def test_any_config_survives_text_and_json(config):
    assert parse_pipeline_config(canonical_text(config), "x.config") == config
    text = json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True))
    assert parse_pipeline_config(text, "x.json") == config


@settings(max_examples=20)
@given(configs())
def test_any_config_is_linted_checked_and_projected_without_a_traceback(config):
    text = canonical_text(config)
    located(lint(config), "x.config", text)
    find_unsupported(config)
    for purpose in PURPOSES:
        part = project(config, purpose)
        assert project(part, purpose) == part


@settings(max_examples=20)
@given(configs(), st.data())
def test_editing_a_field_to_its_own_value_changes_nothing(config, data):
    scalars = [field.name for field, _ in config.data_config.ListFields() if field.message_type is None]
    if not scalars:
        return
    name = data.draw(st.sampled_from(scalars))
    value = getattr(config.data_config, name)
    value = list(value) if config.data_config.DESCRIPTOR.fields_by_name[name].is_repeated else value
    assert edit_config(config, {f"data_config.{name}": value}) == config


def outcome(text, name):
    config, message = None, name
    try:
        config = parse_pipeline_config(text, name)
    except ConfigError as error:
        message = str(error)
    assert message.startswith(name)
    if config is None:
        return "refused"
    located(lint(config), name, text)
    return "loaded"


def mutate(text, rng):
    for _ in range(rng.randint(1, 3)):
        i, j = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        j = min(j, i + rng.choice([1, 3, 30]))
        text = rng.choice(
            [text[:i] + text[j:], text[:i] + rng.choice(PIECES) + text[j:], text[:j] + text[i:j] + text[j:]]
        )
    return text


@pytest.mark.parametrize("kind", ["config", "json"])
def test_damaged_texts_load_or_give_one_error_that_starts_with_the_file(kind):
    rng = random.Random(7)
    texts = TEXTS
    if kind == "json":
        texts = [json.dumps(json_format.MessageToDict(parse_pipeline_config(text, "x.config"))) for text in TEXTS]
    seen = {outcome(mutate(rng.choice(texts), rng), f"x.{kind}") for _ in range(80)}
    assert seen == {"refused", "loaded"}


@settings(max_examples=60)
@given(st.text(max_size=60), st.sampled_from(["x.config", "x.json"]))
def test_any_text_at_all_loads_or_gives_one_error(text, name):
    outcome(text, name)


KEY_PIECES = [
    "data_config",
    "feature_configs",
    ".",
    "[",
    "]",
    "0",
    "-1",
    ":",
    "=",
    "id_feature",
    "feature_name",
    "a",
    ">",
    ";",
    " ",
    "é",
]
KEYS = st.lists(st.sampled_from(KEY_PIECES), min_size=1, max_size=9).map("".join)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{", "[1, 2]", "{a: 1}", "[{}]"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
CONFIG = parse_pipeline_config(GOOD, "x.config")


@settings(max_examples=80)
@given(
    KEYS | st.sampled_from(["data_config", "data_config.batch_size", "feature_configs[:]", "model_config.losses[0]"]),
    VALUES,
)
def test_any_edit_applies_or_gives_one_error(key, value):
    message = "edit "
    try:
        edit_config(CONFIG, {key: value})
    except ConfigError as error:
        message = str(error)
    assert message.startswith("edit ")
