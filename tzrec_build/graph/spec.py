"""One task as data: what `rules.py` makes of a pipeline, and what staleness, key and command are taken from."""

from __future__ import annotations

from dataclasses import dataclass

RECORDS = "records"  # folder inside an artifact for logs and timings: kept, never digested, never an input


@dataclass(frozen=True, slots=True)
class Input:
    """A named input of a task.

    Attributes:
        name: how the command and ``doit why`` call it.
        paths: files, folders or globs, relative to the pipeline's folder.
        named_in: the place that names it, for an error message.
        made: those of `paths` that other tasks make (the tasks are in `TaskSpec.task_deps`).
        optional: whether it may be absent.
        fingerprint: what stands for its content: "content", "stat", "etag", "odps" or "lock" ([data] fingerprint).
    """

    name: str
    paths: tuple[str, ...]
    named_in: str = ""
    made: frozenset[str] = frozenset()
    optional: bool = False
    fingerprint: str = "content"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of the graph.

    Attributes:
        name: doit's name, ``verb:PIPELINE[:INSTANCE]``.
        doc: one line for ``doit list``.
        folder: the pipeline's folder, absolute; every command runs in it.
        out: the artifact's folder, relative to `folder`.
        argv: the command; ``{out}``, ``{inputs.NAME}``, ``{outputs.NAME}``, ``{params.NAME}`` are expanded item by
            item, no shell is involved.
        module: dotted name of the tool whose code closure counts, or "" for a user's step.
        inputs: what it reads.
        params: values that are part of the key.
        outputs: (name, file or glob in the artifact) pairs that must be there when the command has ended well.
        task_deps: names of the tasks that make its inputs.
        kinds: registry rows whose code counts (``model:deepfm``).
        packages: names of packages whose version counts.
        env: environment variables that are passed and whose value counts.
        threads: thread count of the command, in the key through `params` where the rule says so.
        headline: text file of the artifact that is printed after a build, or "".
        timeout_s: seconds after which the command is ended; 0 for none.
        resources: (slot name, count) pairs that it holds while its command runs.
        retries: how often a failed command is started again, with growing pauses.
        code: files or dotted names of the user's own Python whose code closure counts, relative to `folder`.
        cache: "full", "reference" or "none": what the action cache keeps of it.
        light: whether its command is pure and takes well under a second, so that ``doit why`` may run it in a scratch folder.
        exact_machine: whether processor, found device, its driver and local tags of packages count too ([cache] match).
    """

    name: str
    doc: str
    folder: str
    out: str
    argv: tuple[str, ...]
    module: str
    inputs: tuple[Input, ...]
    params: tuple[tuple[str, object], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    task_deps: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    threads: int = 1
    headline: str = ""
    timeout_s: float = 0.0
    resources: tuple[tuple[str, int], ...] = ()
    retries: int = 0
    code: tuple[str, ...] = ()
    cache: str = "full"
    light: bool = False
    exact_machine: bool = False

    @property
    def immutable(self) -> bool:
        """Whether nothing ever writes into its files once they are there, so that hard links to the cache are safe.

        Our tools replace files and never write into one; what a user's step does with its inputs is unknown.
        """
        return bool(self.module)

    @property
    def artifact(self) -> str:
        """Name of the artifact: the last part of its folder."""
        return self.out.rsplit("/", 1)[-1]
