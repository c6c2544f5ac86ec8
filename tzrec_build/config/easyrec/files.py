"""An EasyRec config from its files: what the tool and the graph do alike before and after a conversion."""

from __future__ import annotations

from typing import Any

from tzrec_build.config.easyrec.convert import Converted, parse_easyrec
from tzrec_build.config.load import read_config_text
from tzrec_build.config.schema_source import load_schema, our_schema
from tzrec_build.errors import ConfigError


def read_easyrec(path: str, package: str = "", sha256: str = "") -> Any:
    """Read an EasyRec config with our schema, or with that of an EasyRec package.

    Raises:
        ConfigError: the config or the package is wrong.
    """
    schema = load_schema(package, sha256) if package else our_schema()
    return parse_easyrec(read_config_text(path), path, schema)


def raise_refusals(converted: Converted, path: str) -> None:
    """Raise ConfigError with everything that has no counterpart, if there is anything."""
    refusals = converted.receipt.refusals
    if refusals:
        lines = [f"{path}: {one.path}: {one.text}" for one in refusals]
        raise ConfigError("\n".join([*lines, f"{path}: not converted; change what is named above"]))
