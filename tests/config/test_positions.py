import json

import pytest
from google.protobuf import json_format

from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.load import parse_pipeline_config
from tzrec_build.config.positions import line_of, positions
from tzrec_build.config.walk import walk_fields


def line_with(part):
    return next(i for i, line in enumerate(GOOD.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("model_dir", "model_dir"),
        ("data_config.fg_mode", "fg_mode"),
        ("feature_configs[1]", 'feature_name: "b"'),
        ("feature_configs[2].raw_feature.boundaries[1]", "boundaries"),
        ("model_config.feature_groups[1].feature_names[1]", '["b", "r"]'),
        ("model_config.multi_tower.towers[1].mlp.hidden_units", "hidden_units: 8"),
        ("model_config.multi_tower.final", "final {"),
    ],
)
def test_a_field_is_found_at_its_line(path, part):
    assert line_of(GOOD, path) == line_with(part)


def test_a_field_that_is_not_there_has_the_line_of_its_parent():
    assert line_of(GOOD, "feature_configs[1].id_feature.vocab_file") == line_with('feature_name: "b"')
    assert line_of(GOOD, "export_config.exporter_type") == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb < c: 'x' 'y'\n >\nd { e: 2 }",
        "a: 1\nb: { c: 'x'\n'y' }\nd: { e: 2 }",
        'a: -1.5e3; # b { d {\nb {\nc: "}\'\\" {" },\nd { e: inf }',
    ],
)
def test_other_spellings_of_textproto_are_followed(text):
    assert line_of(text, "d.e") == 4
    assert line_of(text, "b") == 2


def test_lists_of_messages_and_repeated_blocks_count_alike():
    text = "x { a: 1 }\nx: [{ a: 2 },\n{ a: 3 }]\nx { a: 4 }"
    assert [line_of(text, f"x[{i}].a") for i in range(4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("camel", [True, False])
def test_every_set_field_is_found_in_text_and_json(path, camel):
    config = parse_pipeline_config(path.read_text(), "x.config")
    tree = json_format.MessageToDict(config, preserving_proto_field_name=not camel)
    for text in (path.read_text(), json.dumps(tree, indent=1), json.dumps(tree)):
        index = positions(text)
        for field in walk_fields(config):
            steps = [step if step.endswith("]") else f"{step}[0]" for step in field.path.split(".")]
            offset = index.offsets[".".join(steps)]
            name = field.field.json_name if camel and text.startswith("{") else field.field.name
            assert text[offset:].lstrip('"').startswith(name) or field.field.is_repeated


def test_positions_of_damaged_text_never_fail():
    for text in ("}}}}", "]", "a: [", "a { b", '{"a', "{,,:]", ": : :", "[[[{", "a: [[1]]"):
        assert positions(text).place("a.b") >= (1, 1)
