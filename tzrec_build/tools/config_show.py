"""`config show`: a config, or the part at a path, in canonical form."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from google.protobuf.message import Message

from tzrec_build.config.diff import field_text
from tzrec_build.config.edit import Place, select
from tzrec_build.config.edit_keys import parse_key
from tzrec_build.config.load import canonical_text, parse_config, read_config_text
from tzrec_build.config.walk import walk_messages
from tzrec_build.errors import ConfigError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("file", metavar="FILE", help="config, text or .json")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="", help="show this part only, a key as for config edit"
    )
    parser.add_argument("--defaults", action="store_true", help="write out the defaults of unset fields as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--allow_unknown", "--allow-unknown", action="store_true", help="leave out fields that the schema does not have"
    )


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    config = parse_config(read_config_text(args.file), args.file, allow_unknown=args.allow_unknown)
    if args.defaults:
        fill_defaults(config)
    places = select(config, parse_key(args.path), args.path) if args.path else []
    if args.json:
        import json

        values = [_json_value(place) for place in places] if places else [_json_message(config)]
        print(json.dumps(values[0] if len(values) == 1 else values, indent=2, ensure_ascii=False))
        return 0
    if not args.path:
        print(canonical_text(config), end="")
    for text in _texts(places):
        print(text)
    return 0


def fill_defaults(config: Message) -> None:
    """Set every unset scalar that has a default in the schema, in place, in all messages that are set; oneofs stay as they are."""
    for _, message in list(walk_messages(config)):
        for field in message.DESCRIPTOR.fields:
            single = not field.is_repeated and field.message_type is None and field.containing_oneof is None
            if single and not message.HasField(field.name) and field.has_default_value:
                setattr(message, field.name, field.default_value)


def _texts(places: list[Place]) -> Iterator[str]:
    for place in places:
        value = getattr(place.parent, place.field.name)
        held = [value] if not place.field.is_repeated else list(value) if place.index is None else [value[place.index]]
        if place.field.message_type is None:
            yield field_text(place.field, held, whole=place.field.is_repeated and place.index is None)
            continue
        if not all(isinstance(message, Message) for message in held):  # the keys of a map
            raise ConfigError(f"show: {place.field.name} is a map; show it with --json, or the message around it")
        for message in held:
            yield canonical_text(message).rstrip("\n")


def _json_message(message: Message) -> object:
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _json_value(place: Place) -> object:
    """Give the JSON value of a place: a copy of its parent that holds nothing else is turned to JSON."""
    alone = type(place.parent)()
    alone.MergeFrom(place.parent)
    for field, _ in place.parent.ListFields():
        if field.name != place.field.name:
            alone.ClearField(field.name)
    fields = _json_message(alone)
    default: object = None if not place.field.is_repeated else []
    value = fields.get(place.field.name, default) if isinstance(fields, dict) else None
    return value[place.index] if isinstance(value, list) and place.index is not None else value
