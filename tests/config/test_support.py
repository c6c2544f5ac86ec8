import pytest
from google.protobuf.descriptor import FieldDescriptor

from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.edit import edit_config
from tzrec_build.config.load import canonical_text, load_pipeline_config, parse_pipeline_config, read_config_text
from tzrec_build.config.support import NO_EFFECT, READ, REFUSED_VALUES, check_supported, find_unsupported
from tzrec_build.config.walk import is_own_message
from tzrec_build.errors import NotSupportedError
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig


def all_messages():
    seen, queue = {}, [EasyRecConfig.DESCRIPTOR]
    while queue:
        descriptor = queue.pop()
        if descriptor.name not in seen:
            seen[descriptor.name] = descriptor
            queue += [field.message_type for field in descriptor.fields if is_own_message(field)]
    return seen


MESSAGES = all_messages()


def test_the_tables_name_only_fields_that_exist_and_none_twice():
    read = {f"{message}.{field}" for message, fields in READ.items() for field in fields.split()}
    assert sum(len(fields.split()) for fields in READ.values()) == len(read)
    for key in [*read, *NO_EFFECT, *REFUSED_VALUES]:
        message, field = key.split(".")
        assert field in MESSAGES[message].fields_by_name, key
    assert not read & set(NO_EFFECT)
    assert set(REFUSED_VALUES) <= read | set(NO_EFFECT)


def test_every_message_that_can_be_reached_has_a_row():
    for message, fields in READ.items():
        for name in fields.split():
            field = MESSAGES[message].fields_by_name[name]
            if is_own_message(field):
                assert field.message_type.name in READ, f"{message}.{name}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_test_configs_are_supported(path):
    check_supported(load_pipeline_config(path), str(path), read_config_text(path))


def refused(edits, text=GOOD):
    config = edit_config(parse_pipeline_config(text, "x.config"), edits)
    with pytest.raises(NotSupportedError) as raised:
        check_supported(config, "x.config", canonical_text(config))
    return raised.value


def test_a_part_that_is_not_built_is_named_with_file_and_line():
    text = GOOD.replace("  losses {", "  use_pareto_loss_weight: true\n  losses {")
    config = parse_pipeline_config(text, "x.config")
    with pytest.raises(NotSupportedError) as raised:
        check_supported(config, "x.config", text)
    line = text.splitlines().index("  use_pareto_loss_weight: true") + 1
    assert str(raised.value) == f"not supported yet: model_config.use_pareto_loss_weight in x.config:{line}"


def test_all_parts_are_listed_and_the_first_is_the_errors_own():
    error = refused({"data_config.sample_mask_prob": 0.5, "export_config.mixed_precision": "BF16"})
    assert [line.split(" in ")[0] for line in str(error).split("\n")] == [
        "not supported yet: export_config.mixed_precision",
        "not supported yet: data_config.sample_mask_prob",
    ]
    assert error.what == "export_config.mixed_precision"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model_config.use_pareto_loss_weight", True),
        ("data_config.force_base_data_group", True),
        ("data_config.batch_cost_size", 5),
        ("data_config.sample_cost_field", "c"),
        ("data_config.negative_sample_mask_prob", 0.5),
        (
            "data_config.tdm_sampler",
            '{item_input_path: "a" edge_input_path: "a" predict_edge_input_path: "a" item_id_field: "i"}',
        ),
        ("train_config.dense_optimizer.ema", "{}"),
        ("train_config.dense_optimizer.part_optimizers", '{regex_pattern: "x"}'),
    ],
)
def test_parts_that_would_change_a_result_are_refused_here_and_nowhere_below(path, value):
    assert f"not supported yet: {path}" in str(refused({path: value}))


def test_a_refused_value_is_named_with_the_value():
    assert "data_config.dataset_type = KafkaDataset" in str(refused({"data_config.dataset_type": "KafkaDataset"}))


def test_a_field_without_effect_and_a_spelled_out_default_pass():
    config = edit_config(
        parse_pipeline_config(GOOD, "x.config"),
        {"data_config.num_workers": 3, "data_config.sample_mask_prob": 0.0, "train_config.is_profiling": False},
    )
    check_supported(config, "x.config", GOOD)


def other_value(field):
    if field.enum_type is not None:
        return next((value.number for value in field.enum_type.values if value.number != field.default_value), None)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return f"{field.default_value if not field.is_repeated else ''}x"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not field.default_value
    return 7


def test_every_scalar_of_the_data_section_is_read_or_explained_or_refused():
    for field in (field for field in MESSAGES["DataConfig"].fields if field.message_type is None):
        config = EasyRecConfig()
        value = other_value(field)
        if field.is_repeated:
            getattr(config.data_config, field.name).append(value)
        else:
            setattr(config.data_config, field.name, value)
        key = f"DataConfig.{field.name}"
        known = field.name in READ["DataConfig"].split() or key in NO_EFFECT
        assert bool(find_unsupported(config)) is not known, key
