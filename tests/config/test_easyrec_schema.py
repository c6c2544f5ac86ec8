"""The EasyRec schema against its facts, field by field; both schemas in one process."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor

from tzrec_build.config.schema_source import our_schema

ROOT = Path(__file__).parents[2]
FACTS = json.loads((ROOT / "tests" / "data" / "schema-easyrec.json").read_text())["files"]
PREFIX, LOCAL = "easy_rec/python/protos/", "tzrec_build/protos/easyrec/"
SCALARS = "double float int64 uint64 int32 bool string message bytes uint32 enum"
TYPES = {getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name for name in SCALARS.split()}


def descriptor_of(name):
    return importlib.import_module(f"tzrec_build.protos.easyrec.{Path(name).stem}_pb2").DESCRIPTOR


def default_text(field):
    if field.type == FieldDescriptor.TYPE_ENUM:
        return field.enum_type.values_by_number[field.default_value].name
    return str(field.default_value).lower() if field.type == FieldDescriptor.TYPE_BOOL else field.default_value


def field_facts(field, *, explicit_packed):
    kind = field.message_type or field.enum_type
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
        value_type = value.message_type.full_name if value.message_type else TYPES[value.type]
        return [field.name, field.number, "map", "map", {"key": TYPES[key.type], "value": value_type}]
    options = {} if kind is None else {"type_name": kind.full_name}
    if field.has_default_value:
        options["default"] = default_text(field)
    if field.containing_oneof is not None:
        options["oneof"] = field.containing_oneof.name
    if explicit_packed and field.is_packed:
        options["packed"] = True
    label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
    return [field.name, field.number, label, TYPES[field.type], options]


def same_default(ours, theirs):
    number = isinstance(ours, (int, float)) and not isinstance(ours, bool)
    return ours == theirs or (number and ours == pytest.approx(float(theirs), rel=1e-6, abs=1e-13))


def check_message(descriptor, wanted, *, proto3):
    assert len(descriptor.fields) == len(wanted.get("fields", [])), descriptor.full_name
    for field, fact in zip(descriptor.fields, wanted.get("fields", []), strict=True):
        found = field_facts(field, explicit_packed=proto3)
        assert same_default(found[4].pop("default", None), fact[4].get("default")), (descriptor.full_name, fact)
        assert found == [*fact[:4], {key: value for key, value in fact[4].items() if key != "default"}]
    assert [oneof.name for oneof in descriptor.oneofs] == wanted.get("oneofs", [])
    enums = {name: [[v.name, v.number] for v in enum.values] for name, enum in descriptor.enum_types_by_name.items()}
    assert enums == wanted.get("enums", {})
    nested = {n: d for n, d in descriptor.nested_types_by_name.items() if not d.GetOptions().map_entry}
    facts = {n: m for n, m in wanted.get("nested", {}).items() if n in nested or not n.endswith("Entry")}
    assert set(nested) == set(facts)
    for name, inner in nested.items():
        check_message(inner, facts[name], proto3=proto3)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_each_file_has_the_messages_fields_and_enums_of_the_facts(name):
    facts, found = FACTS[name], descriptor_of(name)
    assert found.package == facts["package"]
    assert set(found.message_types_by_name) == set(facts["messages"])
    enums = {key: [[v.name, v.number] for v in enum.values] for key, enum in found.enum_types_by_name.items()}
    assert enums == facts["enums"]
    imports = sorted(path.replace(PREFIX, LOCAL) for path in facts["imports"])
    assert sorted(file.name for file in found.dependencies) == imports
    for message, wanted in facts["messages"].items():
        check_message(found.message_types_by_name[message], wanted, proto3=facts["syntax"] == "proto3")


def test_reserved_numbers_and_names_are_kept():
    for name, facts in FACTS.items():
        proto = descriptor_pb2.FileDescriptorProto()
        descriptor_of(name).CopyToProto(proto)
        for message in proto.message_type:
            wanted = facts["messages"][message.name]
            assert [[r.start, r.end - 1] for r in message.reserved_range] == wanted.get("reserved_numbers", [])
            assert list(message.reserved_name) == wanted.get("reserved_names", [])


def test_the_facts_cover_all_of_the_schema():
    assert len(FACTS) == 45
    assert sum(len(file["messages"]) for file in FACTS.values()) == 170
    assert {path.name for path in (ROOT / "protos" / "easyrec").glob("*.proto")} == {Path(name).name for name in FACTS}


def test_every_message_of_the_sources_has_a_comment():
    for path in (ROOT / "protos" / "easyrec").glob("*.proto"):
        for before, line in itertools.pairwise(path.read_text().splitlines()):
            if line.strip().startswith(("message ", "enum ")):
                assert before.strip().startswith("//"), f"{path.name}: {line}"


def test_both_schemas_live_in_one_process_with_names_of_their_own():
    from tzrec_build.protos.easyrec import pipeline_pb2 as easyrec
    from tzrec_build.protos.tzrec import pipeline_pb2 as tzrec

    full_names = [module.EasyRecConfig.DESCRIPTOR.full_name for module in (easyrec, tzrec)]
    assert full_names == ["protos.EasyRecConfig", "tzrec.protos.EasyRecConfig"]


def test_our_schema_has_a_pool_of_its_own_with_every_field_of_the_generated_modules():
    schema = our_schema()
    from tzrec_build.protos.easyrec import pipeline_pb2 as easyrec

    found = schema.new()
    assert found.DESCRIPTOR is not easyrec.EasyRecConfig.DESCRIPTOR
    assert found.DESCRIPTOR.file.pool is not easyrec.DESCRIPTOR.pool
    assert list(found.DESCRIPTOR.fields_by_name) == list(easyrec.EasyRecConfig.DESCRIPTOR.fields_by_name)
