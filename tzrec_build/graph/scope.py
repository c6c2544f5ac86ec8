"""One pipeline while it is compiled: what its texts and attribute paths stand for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.graph.builds import Builds
from tzrec_build.graph.grammar import PipelineSpec
from tzrec_build.graph.positions import Keys
from tzrec_build.graph.references import Ref, parse_ref

Facts = Mapping[str, Any]
TABLE_FIELDS = {"data.train": "train_input_path", "data.eval": "eval_input_path"}
FG_JSON = "fg_json_path"  # the fact which fg.json an EasyRec config names
_DEFAULT_EMBEDDING = {"item": "item_tower_emb", "user": "user_tower_emb"}


class WrongPipelineError(ConfigError):
    """A reference names a pipeline that is itself wrong."""

    def __init__(self, pipeline: str, text: str) -> None:
        super().__init__(f"{text!r} names pipeline {pipeline!r}, which is wrong itself; mend that one first")
        self.pipeline = pipeline


@dataclass(frozen=True, slots=True)
class Scope:
    """One pipeline while it is compiled.

    Attributes:
        pipeline: the pipeline.
        others: every pipeline by name, for references.
        made: pipeline -> artifact -> name of the task that makes it; a pipeline that cannot be compiled is not in it.
        builds: where all pipelines build.
        edits: [config.edit] with references replaced by paths.
        edited: those paths -> the task that makes the file, and the edit path.
        facts: what the config says (`tzrec_build.config.facts`); empty without [config].
        exact_machine: [cache] match = "exact-machine".
    """

    pipeline: PipelineSpec
    others: Mapping[str, PipelineSpec]
    made: Mapping[str, Mapping[str, str]]
    builds: Builds
    exact_machine: bool = False
    edits: dict[str, object] = field(default_factory=dict)
    edited: dict[str, tuple[str, str]] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)

    def place(self, text: str) -> tuple[str, str]:
        """A path text as a path relative to the pipeline's folder, and the task that makes it ("" for a user's file)."""
        ref = parse_ref(text, self.others)
        if ref is None:
            return text, ""
        if ref.pipeline not in self.made:
            raise WrongPipelineError(ref.pipeline, text)
        if ref.artifact == "checkpoint":
            return self._checkpoint(ref)
        if ref.artifact not in self.made[ref.pipeline]:
            known = ", ".join(sorted(self.made[ref.pipeline]))
            raise ConfigError(
                f"{self.pipeline.source}: {text}: pipeline {ref.pipeline!r} makes no {ref.artifact!r}; it makes: {known}"
            )
        other = self.others[ref.pipeline]
        path = os.path.join(other.folder, other.build_dir, ref.artifact, ref.path).rstrip("/")
        return os.path.relpath(path, self.pipeline.folder), self.made[ref.pipeline][ref.artifact]

    def _checkpoint(self, ref: Ref) -> tuple[str, str]:
        """``PIPELINE:checkpoint``: the model directory, whose latest checkpoint is what the pipeline's own [pick] takes too."""
        other = self.others[ref.pipeline]
        if other.checkpoint or other.pick.by != "latest":
            where = f"{self.pipeline.source}; name the folder, or {ref.pipeline}:train/model.ckpt-N"
            raise NotSupportedError(f"{ref.pipeline}:checkpoint of a pipeline with [checkpoint] or [pick] by", where)
        return self.place(f"{ref.pipeline}:train")

    def value(self, path: str, item: object) -> Any:
        """A value of the pipeline by attribute path; `_WORKED_OUT` names stand for values that are worked out."""
        if path in _WORKED_OUT:
            return _WORKED_OUT[path](self)
        value: Any = item if path.partition(".")[0] == "item" else self.pipeline
        for name in path.split("."):
            if name != "item":
                value = getattr(value, name)
        return value

    def texts(self, path: str, item: object = None) -> tuple[str, ...]:
        """Path texts of a `Given`; the config's own tables where pipeline.toml names none."""
        value = self.value(path, item)
        texts = tuple(filter(None, (value,) if isinstance(value, str) else value))
        if not texts and path in TABLE_FIELDS:
            texts = tuple(filter(None, str(self.facts.get(TABLE_FIELDS[path], "")).split(",")))
            self.check_own_paths(TABLE_FIELDS[path], texts)
        elif not texts and path == "config.fg_json" and self.facts.get(FG_JSON):
            texts = (str(self.facts[FG_JSON]),)
            self.check_own_paths(FG_JSON, texts)
        return texts

    def check_own_paths(self, field_path: str, paths: Iterable[str]) -> None:
        """Refuse paths of the config itself that lead to what a task makes: no text there can be a reference.

        Raises:
            ConfigError: one does; the message names both places.
        """
        source = self.pipeline.config.file if self.pipeline.config else ""
        for path in paths:
            try:
                self.builds.check(self.pipeline.folder, path)
            except ValueError as err:
                where = f"{self.pipeline.source}: {source}: {field_path}"
                raise ConfigError(f"{where}: {err} in [config.edit] or [data]") from None


def _embedding_field(scope: Scope) -> str:
    index = scope.pipeline.index
    return (index.embedding_field or _DEFAULT_EMBEDDING[index.tower or "item"]) if index else ""


def _hitrate_columns(scope: Scope) -> tuple[str, ...]:
    wanted = scope.pipeline.hitrate
    return (
        tuple(filter(None, (wanted.request_id_field, wanted.gt_items_field, wanted.exclude_items_field)))
        if wanted
        else ()
    )


_WORKED_OUT: Mapping[str, Callable[[Scope], object]] = {
    "config.edit": lambda scope: json.dumps(scope.edits, sort_keys=True) if scope.edits else "",
    "embedding_field": _embedding_field,
    "index.tower": lambda scope: (scope.pipeline.index.tower or "item") if scope.pipeline.index else "",
    "hitrate_columns": _hitrate_columns,
}


def keys_of(field_path: str, item: object) -> Keys:
    """The keys of pipeline.toml that a `Given` reads, for a message.

    >>> keys_of("data.train", None), keys_of("checkpoint", None)
    (('data', 'train'), ('checkpoint', 'path'))
    """
    kind = {"item.data": "eval", "item.input": "predict"}.get(field_path)
    if kind:
        return (kind, str(getattr(item, "name", "")), field_path.removeprefix("item."))
    return ("checkpoint", "path") if field_path == "checkpoint" else tuple(field_path.split("."))
