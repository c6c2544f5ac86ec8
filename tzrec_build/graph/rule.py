"""What a rule is made of: the words of its command line.

A rule is data. `compile.py` turns each rule that applies to a pipeline into a `TaskSpec`; the words used in `flags` are:

* `Made("config/train.config")`: a file or folder of another artifact of the same pipeline
* `Given("data.train")`: path texts that pipeline.toml gives (``item`` is the instance: an [eval.NAME], a benchmark seed)
* `Param("train.seed")`: a value of pipeline.toml; the flag is left out when the value is empty
* `Out("checkpoint.json")`: a file of the artifact itself, `Out()` the artifact
* `Model()`: the checkpoint to use, in the flags that every tool takes for it
* `Runs()`: the folders of all benchmark runs; `Extras()`: which of the rule's `extra` inputs there are
* a plain text stands for itself; `Switch` is a flag without a value
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tzrec_build.graph.grammar import PipelineSpec


@dataclass(frozen=True, slots=True)
class Made:
    """A file or folder of another artifact of the same pipeline.

    Attributes:
        path: artifact, or artifact/file.
        optional: left out where no rule makes it, and it may be absent.
        fallbacks: other paths, of which the first that a rule makes is taken where none makes `path`.
    """

    path: str
    optional: bool = False
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Path texts of the pipeline, by attribute path."""

    field: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """A value of the pipeline, by attribute path."""

    field: str


@dataclass(frozen=True, slots=True)
class Out:
    """The artifact, or a file in it."""

    path: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """The checkpoint that `pick` chose, or the one that [checkpoint] names."""


@dataclass(frozen=True, slots=True)
class Extras:
    """The paths of the rule's `extra` inputs that this pipeline has, below its build folder, by comma."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The folders of all benchmark runs."""


class Switch:
    """A flag without a value."""


MODEL_TOOLS = frozenset({"train", "evaluate", "predict", "export"})  # make the model of the config, or [config] model
LIGHT_TOOLS = frozenset(
    {"convert_easyrec", "project_config", "feature_info", "prune", "pick_checkpoint", "benchmark"}
)  # pure, and done in well under a second

Word: TypeAlias = "Made | Given | Param | Out | Model | Runs | Extras | Switch | str"
Flags: TypeAlias = tuple[tuple[str, Word], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one kind of artifact is made.

    Attributes:
        verb: name of the artifact and of the doit task group.
        doc: one line for ``doit list``.
        tool: module below `tzrec_build.tools`.
        flags: its command line.
        outputs: files or globs that it promises.
        when: whether a pipeline has this artifact.
        items: one artifact for each of these (name, value) pairs, or just one.
        purpose: what the tool reads a config for; path fields of the config with this reader are inputs ("" for none).
        packages: packages whose version counts.
        extra: inputs without a flag of their own, named by `Extras()`.
        headline: text file that is shown after a build.
        threads: attribute path of the thread count; "" for one thread. A rule that has it runs on [train] device, and holds
            the slots of [train] resources.
        needs_table: the artifact is left out where neither pipeline.toml nor the config names this table.
    """

    verb: str
    doc: str
    tool: str
    flags: Flags
    outputs: tuple[str, ...]
    when: Callable[[PipelineSpec], bool]
    items: Callable[[PipelineSpec], Sequence[tuple[str, object]]] | None = None
    purpose: str = ""
    packages: tuple[str, ...] = ("protobuf",)
    extra: tuple[Made, ...] = ()
    headline: str = ""
    threads: str = ""
    needs_table: str = ""

    @property
    def trains(self) -> bool:
        """Whether [train] timeout and cache hold for it."""
        return self.tool == "train"

    @property
    def light(self) -> bool:
        """Whether ``doit why`` may run it in a scratch folder."""
        return self.tool in LIGHT_TOOLS

    @property
    def makes_model(self) -> bool:
        """Whether [config] model holds for it."""
        return self.tool in MODEL_TOOLS
