"""What the graph must know of an EasyRec config before it is converted: the facts about what it will become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tzrec_build.config.easyrec.convert import convert
from tzrec_build.config.easyrec.fg_json import load_fg_json, places_of_fg_json
from tzrec_build.config.easyrec.files import raise_refusals, read_easyrec
from tzrec_build.config.edit import edit_config
from tzrec_build.config.facts import facts_about


@dataclass(frozen=True, slots=True)
class EasyRecFiles:
    """Files of one conversion, as seen from `folder`; "" for none."""

    folder: str
    config: str
    fg_json: str = ""
    schema: str = ""

    def at(self, path: str) -> str:
        """Where a file lies, "" for none."""
        return os.path.normpath(os.path.join(self.folder, path)) if path else ""


def fg_json_facts(files: EasyRecFiles) -> dict[str, object]:
    """Say where the fg.json that the config names may lie, seen from `files.folder`: ``{"places": [...]}``, JSON values."""
    message = read_easyrec(files.at(files.config), files.at(files.schema))
    return {"places": places_of_fg_json(message, files.config)}


def easyrec_facts(files: EasyRecFiles, edits: Mapping[str, object]) -> dict[str, object]:
    """Convert a config in memory, apply edits and give the facts about the result (see `config.facts`).

    Args:
        files: `fg_json` is the one to use; the config is not asked.
        edits: see `edit.edit_config`.

    Raises:
        ConfigError: a file or an edit is wrong, or something has no counterpart (all of it is named).
    """
    path = files.at(files.config)
    message = read_easyrec(path, files.at(files.schema))
    converted = convert(message, load_fg_json(files.at(files.fg_json)) if files.fg_json else None)
    raise_refusals(converted, path)
    return facts_about(edit_config(converted.config, edits))
