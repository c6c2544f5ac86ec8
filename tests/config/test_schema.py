import itertools
import json
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from tzrec_build.protos.tzrec import pipeline_pb2

FACTS = json.loads((Path(__file__).parents[1] / "data" / "schema-tzrec.json").read_text())["files"]
PREFIX, LOCAL = "tzrec/protos/", "tzrec_build/protos/tzrec/"
TYPES = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("double", "float", "int64", "uint64", "int32", "bool", "string", "message", "bytes", "uint32", "enum")
}


def local_file(name):
    path = name.replace(PREFIX, LOCAL) if name.startswith(PREFIX) else name
    return pipeline_pb2.DESCRIPTOR.pool.FindFileByName(path)


def default_text(field):
    value = field.default_value
    if field.type == FieldDescriptor.TYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    if field.type == FieldDescriptor.TYPE_BOOL:
        return str(value).lower()
    return value


def field_facts(field):
    options = {}
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map:
        entry = field.message_type.fields_by_name
        options = {"key": TYPES[entry["key"].type], "value": TYPES[entry["value"].type]}
        return [field.name, field.number, "map", "map", options]
    if field.message_type is not None:
        options["type_name"] = field.message_type.full_name
    if field.enum_type is not None:
        options["type_name"] = field.enum_type.full_name
    if field.has_default_value:
        options["default"] = default_text(field)
    if field.containing_oneof is not None:
        options["oneof"] = field.containing_oneof.name
    label = "repeated" if field.is_repeated else "required" if field.is_required else "optional"
    return [field.name, field.number, label, TYPES[field.type], options]


def same_default(ours, theirs):
    return ours == theirs or (
        isinstance(ours, (int, float)) and ours == pytest.approx(float(theirs), rel=1e-6, abs=1e-13)
    )


def enum_facts(enum):
    return [[value.name, value.number] for value in enum.values]


@pytest.mark.parametrize("name", sorted(FACTS))
def test_each_proto_file_has_the_messages_fields_and_enums_of_the_facts(name):
    facts, found = FACTS[name], local_file(name)
    assert found.package == facts["package"]
    assert set(found.message_types_by_name) == set(facts["messages"])
    assert {key: enum_facts(enum) for key, enum in found.enum_types_by_name.items()} == facts["enums"]
    assert sorted(file.name for file in found.dependencies) == sorted(
        i.replace(PREFIX, LOCAL) for i in facts["imports"]
    )
    for message, wanted in facts["messages"].items():
        descriptor = found.message_types_by_name[message]
        assert list(map(field_key, descriptor.fields)) == [f[:4] for f in wanted["fields"]], message
        for field, fact in zip(descriptor.fields, wanted["fields"], strict=True):
            ours, theirs = field_facts(field)[4], fact[4]
            assert ours.keys() == theirs.keys(), (message, fact)
            assert same_default(ours.pop("default", None), theirs.get("default")), (message, fact)
            assert ours == {key: value for key, value in theirs.items() if key != "default"}, (message, fact)
        assert [oneof.name for oneof in descriptor.oneofs] == wanted.get("oneofs", []), message
        nested = {key: enum_facts(enum) for key, enum in descriptor.enum_types_by_name.items()}
        assert nested == wanted.get("enums", {}), message


def field_key(field):
    return field_facts(field)[:4]


def test_reserved_numbers_and_names_are_kept():
    from google.protobuf import descriptor_pb2

    for name, facts in FACTS.items():
        proto = descriptor_pb2.FileDescriptorProto()
        local_file(name).CopyToProto(proto)
        for message in proto.message_type:
            wanted = facts["messages"][message.name]
            assert [[r.start, r.end - 1] for r in message.reserved_range] == wanted.get("reserved_numbers", [])
            assert list(message.reserved_name) == wanted.get("reserved_names", [])


def test_the_facts_cover_all_of_the_schema():
    assert len(FACTS) == 20
    assert sum(len(file["messages"]) for file in FACTS.values()) == 168


def test_every_message_of_the_sources_has_a_comment():
    for path in (Path(__file__).parents[2] / "protos" / "tzrec").rglob("*.proto"):
        lines = path.read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if line.startswith(("message ", "enum ")):
                assert before.startswith("//"), f"{path.name}: {line}"
