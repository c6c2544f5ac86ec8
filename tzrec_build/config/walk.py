"""Walk a config message: every set field with its path, in declaration order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    value: object

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


def child_messages(path: str, parent: Message) -> Iterator[tuple[str, Message]]:
    """Yield the messages directly inside one message, with their paths."""
    for field, value in parent.ListFields():
        if not is_own_message(field):
            continue
        at = f"{path}.{field.name}" if path else field.name
        if not field.is_repeated:
            yield at, value
            continue
        for i, element in enumerate(value):
            yield f"{at}[{i}]", element


def walk_messages(message: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """Yield a message and all messages below it, parents first, with their paths (the root's is empty)."""
    yield path, message
    for at, child in child_messages(path, message):
        yield from walk_messages(child, at)


def walk_fields(message: Message) -> Iterator[SetField]:
    """Yield every set field of a message and of all messages below it."""
    for path, parent in walk_messages(message):
        for field, value in parent.ListFields():
            yield SetField(f"{path}.{field.name}" if path else field.name, parent, field, value)


def get_path(message: Message, path: str) -> object:
    """Look a plain dotted path of singular fields up, e.g. ``data_config.fg_mode``; a default where a part is unset."""
    value: object = message
    for name in path.split("."):
        value = getattr(value, name)
    return value
