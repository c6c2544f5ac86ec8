import re

from tests.config.test_support import MESSAGES
from tests.config.texts import CONFIGS
from tzrec_build.config.load import load_pipeline_config, parse_pipeline_config
from tzrec_build.config.paths import NOT_PATHS, PATH_FIELDS, classified_paths, path_fields
from tzrec_build.config.projection import PURPOSES

LOOKS_LIKE_A_PATH = re.compile(r"path|file|dir$|dir_|folder|checkpoint|ckpt|table$|_map$|^map$|uri|url")


def test_every_text_field_that_looks_like_a_path_is_classified():
    for name, descriptor in MESSAGES.items():
        for field in descriptor.fields:
            if field.type == field.TYPE_STRING and LOOKS_LIKE_A_PATH.search(field.name):
                key = f"{name}.{field.name}"
                assert (key in PATH_FIELDS) != (key in NOT_PATHS), f"{key}: add it to PATH_FIELDS or to NOT_PATHS"


def test_the_tables_name_only_text_fields_that_exist():
    for key in [*PATH_FIELDS, *NOT_PATHS]:
        message, field = key.split(".")
        found = MESSAGES[message].fields_by_name[field]
        assert found.type == found.TYPE_STRING
    assert all(set(row.read_by) <= set(PURPOSES) for row in PATH_FIELDS.values())


def test_the_paths_of_a_config_are_listed_in_order():
    config = load_pipeline_config(next(path for path in CONFIGS if path.stem == "dssm_taobao"))
    assert path_fields(config) == [
        ("train_input_path", "odps://project/tables/taobao_train"),
        ("eval_input_path", "odps://project/tables/taobao_test"),
        ("model_dir", "experiments/dssm_taobao"),
        ("data_config.negative_sampler.input_path", "odps://project/tables/taobao_items"),
    ]


def test_a_vocabulary_is_joined_to_its_folder_and_bundled_libraries_are_left_out():
    text = """
    model_dir: ""
    feature_configs { id_feature { feature_name: "a" embedding_dim: 4 vocab_file: "v.txt" asset_dir: "assets" } }
    feature_configs { id_feature { feature_name: "b" embedding_dim: 4 vocab_file: "/abs/v.txt" asset_dir: "assets" } }
    feature_configs { custom_feature { feature_name: "c" operator_name: "o" operator_lib_file: "pyfg/lib/libo.so" } }
    feature_configs { custom_feature { feature_name: "d" operator_name: "o" operator_lib_file: "libo.so" } }
    """
    config = parse_pipeline_config(text, "x.config")
    assert path_fields(config) == [
        ("feature_configs[0].id_feature.vocab_file", "assets/v.txt"),
        ("feature_configs[1].id_feature.vocab_file", "/abs/v.txt"),
        ("feature_configs[3].custom_feature.operator_lib_file", "libo.so"),
    ]
    assert [row["kind"] for row in classified_paths(config)] == ["asset"] * 3
