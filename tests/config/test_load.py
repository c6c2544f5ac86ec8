import json

import pytest
from google.protobuf import json_format

from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.load import (
    canonical_text,
    file_text,
    load_pipeline_config,
    parse_pipeline_config,
    save_pipeline_config,
)
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import data_pb2


def message_of(text, path="x.config", **options):
    with pytest.raises(ConfigError) as raised:
        parse_pipeline_config(text, path, **options)
    return str(raised.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("suffix", ["config", "json"])
def test_saving_and_loading_gives_the_same_config(path, suffix, tmp_path):
    config = load_pipeline_config(path)
    save_pipeline_config(config, tmp_path / f"new/x.{suffix}")
    assert load_pipeline_config(tmp_path / f"new/x.{suffix}") == config


def test_canonical_text_is_a_fixed_point():
    text = canonical_text(parse_pipeline_config(GOOD, "x.config"))
    assert canonical_text(parse_pipeline_config(text, "x.config")) == text


def test_saving_into_the_current_folder_by_a_bare_name_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pipeline_config(parse_pipeline_config(GOOD, "x.config"), "x.config")
    assert [path.name for path in tmp_path.iterdir()] == ["x.config"]


def test_control_characters_and_unicode_round_trip(tmp_path):
    config = parse_pipeline_config(GOOD, "x.config")
    config.feature_configs[0].id_feature.separator = "\x1d"
    config.feature_configs[0].id_feature.default_value = 'größe "x" \\ 雪'
    save_pipeline_config(config, tmp_path / "x.config")
    assert load_pipeline_config(tmp_path / "x.config") == config


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('modl_dir: "x"', "1:1", "EasyRecConfig has no field 'modl_dir'; did you mean 'model_dir'?"),
        ("data_config {\n  batchsize: 3\n}", "2:3", "DataConfig has no field 'batchsize'; did you mean 'batch_size'?"),
        ("data_config {\n  fg_mode: FG_DOG\n}", "2:12", "FgMode has no value 'FG_DOG'; did you mean 'FG_DAG'?"),
        ("data_config {\n  batch_size: abc\n}", "2:15", "couldn't parse integer: abc"),
        ("data_config { batch_size: -3 }", "1:27", "value out of range: -3"),
        ('model_dir: "a"\nmodel_dir: "b"', "2:12", 'should not have multiple "model_dir" fields'),
        ("model_config { deepfm {} dlrm {} }", "1:26", 'another member of oneof "model"'),
        ('model_dir: "abc', "1:12", "string missing ending quote"),
        ("data_config {", "1:13", 'expected "}"'),
    ],
)
def test_a_text_error_names_place_and_nearest_name_and_points_at_it(text, place, words):
    shown = message_of(text)
    first, line, caret = shown.split("\n")
    assert first.startswith(f"x.config:{place}: ")
    assert words in first
    assert line.strip() in text
    assert caret.strip() == "^"


def test_the_caret_stands_under_the_column():
    assert message_of("data_config {\n  fg_mode: FG_DOG\n}").split("\n")[1:] == [
        "    fg_mode: FG_DOG",
        "             ^",
    ]


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        (
            '{"data_config": {"batchsize": 3}}',
            "x.json:1:18: ",
            "DataConfig has no field 'batchsize'; did you mean 'batch_size'?",
        ),
        ('{"modelDir":\n 4}', "x.json:1:2: ", "model_dir has a value of the wrong type, got 4"),
        ('{"data_config": []}', "x.json:1:2: ", "DataConfig must be an object, got list; write {...}"),
        ('{"feature_configs": {}}', "x.json:1:2: ", "feature_configs must be a list, got dict; write [...]"),
        ('{"feature_configs":[{},\n{"idFeature":{"x":3}}]}', "x.json:2:15: ", "IdFeature has no field 'x'"),
        (
            '{"model_config": {"deepfm":{}, "dlrm":{}}}',
            "x.json:1:32: ",
            "ModelConfig.model holds one member, got 'deepfm' and 'dlrm'",
        ),
        ('{"a":', "x.json:1:6: ", "this is no JSON, expecting value"),
        ("[1]", "x.json:1:1: ", "a config must be a JSON object, got list"),
        (
            '{"model_dir": "a", "model_dir": "b"}',
            "x.json: ",
            "each key may stand once in an object, got 'model_dir' twice",
        ),
    ],
)
def test_a_json_error_names_place_and_nearest_name(text, start, words):
    shown = message_of(text, "x.json")
    assert shown.startswith(start)
    assert words in shown


def test_json_lists_every_wrong_field():
    shown = message_of('{"x": 1, "data_config": {"y": 2}}', "x.json")
    assert "'x'" in shown
    assert "'y'" in shown


def test_json_accepts_schema_names_and_camel_case():
    config = parse_pipeline_config(GOOD, "x.config")
    for names in (True, False):
        text = json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=names))
        assert parse_pipeline_config(text, "x.json") == config


def test_unknown_fields_are_skipped_on_request():
    assert parse_pipeline_config('zzz { a: [1, 2] } model_dir: "m"', "x.config", allow_unknown=True).model_dir == "m"
    assert parse_pipeline_config('{"zzz": [1], "model_dir": "m"}', "x.json", allow_unknown=True).model_dir == "m"


@pytest.mark.parametrize(
    ("old", "mode"),
    [
        ("fg_encoded: true", data_pb2.FG_NONE),
        ("fg_encoded: true fg_mode: FG_DAG", data_pb2.FG_NONE),
        ("fg_encoded: false", data_pb2.FG_DAG),  # fg_threads is 1 unless set
        ("fg_encoded: false fg_threads: 0", data_pb2.FG_NORMAL),
        ("fg_encoded: false fg_mode: FG_NONE fg_threads: 2", data_pb2.FG_DAG),
        ("fg_mode: FG_BUCKETIZE", data_pb2.FG_BUCKETIZE),
    ],
)
def test_fg_encoded_becomes_the_fg_mode_it_stands_for(old, mode):
    data = parse_pipeline_config(f"data_config {{ {old} }}", "x.config").data_config
    assert data.fg_mode == mode
    assert not data.HasField("fg_encoded")


def test_missing_required_fields_are_listed_together_with_their_lines():
    text = 'data_config { fg_mode: FG_DAG }\nfeature_configs {\n  id_feature { feature_name: "a" } }\nfeature_configs { raw_feature {} }'
    assert message_of(text).split("\n") == [
        "x.config:3: IdFeature 'a' must set expression; add `expression: ...` to it",
        "x.config:4: RawFeature must set feature_name; add `feature_name: ...` to it",
        "x.config:4: RawFeature must set expression; add `expression: ...` to it",
    ]


def test_an_encoded_feature_needs_no_expression_and_paths_may_come_from_flags():
    parse_pipeline_config('feature_configs { id_feature { feature_name: "a" embedding_dim: 4 } }', "x.config")


def test_a_required_field_with_a_default_may_be_left_out():
    group = parse_pipeline_config(
        'model_config { feature_groups { group_name: "g" } }', "x.config"
    ).model_config.feature_groups[0]
    assert group.group_type == 0


def test_a_width_may_be_left_out_of_a_feature_that_no_group_embeds():
    parse_pipeline_config('feature_configs { id_feature { feature_name: "a" num_buckets: 3 } }', "x.config")


def test_the_same_value_given_twice_does_no_harm_but_hides_no_other_error():
    text = "data_config {\n  batch_size: 8\n  batch_size: 8\n}\n"
    assert parse_pipeline_config(text, "x.config").data_config.batch_size == 8
    assert message_of(f"{text}model_dirr: 'm'").startswith("x.config:5:1: EasyRecConfig has no field 'model_dirr'")
    clash = "model_config {\n  deepfm {}\n  dlrm {}\n}"
    assert message_of(f"{text}{clash}").startswith("x.config:7:3: field ")


def test_an_encoder_without_input_reads_the_one_sequence_group_beside_it():
    group = """model_config { feature_groups { group_name: "g" sequence_groups { %s feature_names: "a" }
      sequence_encoders { pooling_encoder {} } sequence_encoders { pooling_encoder { input: "x" } } } }"""
    for own, wanted in (("", "g"), ('group_name: "s"', "s")):
        encoders = parse_pipeline_config(group % own, "x.config").model_config.feature_groups[0].sequence_encoders
        assert [encoder.pooling_encoder.input for encoder in encoders] == [wanted, "x"]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_float_comes_back_from_json(sign):
    config = parse_pipeline_config("", "x.config")
    config.model_config.deepfm.deep.dropout_ratio.append(sign * (2 - 2**-23) * 2.0**127)
    config.model_config.deepfm.deep.hidden_units.append(1)
    assert parse_pipeline_config(file_text(config, "x.json"), "x.json") == config
    text = '{"modelConfig": {"deepfm": {"deep": {"dropoutRatio": [%s3.5e38]}}}}' % ("-" if sign < 0 else "")
    assert "dropout_ratio has a value of the wrong type" in message_of(text, "x.json")


def test_an_unreadable_file_is_one_message(tmp_path):
    with pytest.raises(
        ConfigError, match=r"nope\.config: cannot read this config, No such file or directory; give the path"
    ):
        load_pipeline_config(tmp_path / "nope.config")
    (tmp_path / "bin.config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bin\.config: a config must be UTF-8 text"):
        load_pipeline_config(tmp_path / "bin.config")


def test_nesting_without_end_is_one_message():
    assert "nested too deeply" in message_of("a {" * 100_000, allow_unknown=True)
    assert "nested too deeply" in message_of('{"a":' * 100_000, "x.json")
