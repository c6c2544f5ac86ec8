"""Walk a config message: every set field with its path, in declaration order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class SetField:
    """One set field of one message of a config.

    `path` is written as in an edit key, e.g. ``feature_configs[3].id_feature.embedding_dim``; `parent` is the message that
    holds the field; `value` is the scalar, the message, or the container of a repeated or map field.
    """

    path: str
    parent: Message
    field: FieldDescriptor
    value: Any

    @property
    def key(self) -> str:
        """The field's place in the schema, e.g. ``IdFeature.embedding_dim``: the key of all tables of fields."""
        return f"{self.parent.DESCRIPTOR.name}.{self.field.name}"


def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map."""
    return bool(field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry)


def is_own_message(field: FieldDescriptor) -> bool:
    """Say whether a field holds messages of our schema: not a scalar, not a map, not a well known type."""
    return (
        field.message_type is not None and not is_map(field) and not field.message_type.full_name.startswith("google.")
    )


def messages_in(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[str, Message]]:
    """Yield the messages of our schema that one set field holds, with their paths; none for scalars and maps."""
    if not is_own_message(field):
        return
    if not field.is_repeated:
        yield path, value
        return
    for i, element in enumerate(value):
        yield f"{path}[{i}]", element


def walk_messages(message: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """Yield a message and all messages below it, parents first, with their paths (the root's is empty)."""
    yield path, message
    for field, value in message.ListFields():
        for at, child in messages_in(field, value, f"{path}.{field.name}" if path else field.name):
            yield from walk_messages(child, at)


def walk_fields(message: Message) -> Iterator[SetField]:
    """Yield every set field of a message and of all messages below it."""
    for path, parent in walk_messages(message):
        for field, value in parent.ListFields():
            yield SetField(f"{path}.{field.name}" if path else field.name, parent, field, value)
