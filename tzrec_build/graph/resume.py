"""Long trainings that were cut off: where their resume checkpoints lie, and what a salvage needs to know of the attempt.

``.work/ARTIFACT/KEY/resume/step-N/`` is a complete checkpoint, never an output; ``attempt.json`` beside it says what was asked for.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tzrec_build.files import write_bytes
from tzrec_build.graph.publish import WORK
from tzrec_build.graph.spec import TaskSpec

RESUMED = frozenset({"tzrec_build.tools.train"})  # tools that take --resume_dir and --resume_every_s
EVERY_S = "600"
VARIABLE = "TZREC_RESUME_EVERY_S"  # seconds between two resume checkpoints; never part of a key: the result is the same
ATTEMPT = "attempt.json"
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True, slots=True)
class Cut:
    """A training that was cut off.

    Attributes:
        work: its work folder, absolute.
        step: step of the last complete resume checkpoint.
        folder: that checkpoint.
        attempt: what was asked for: key and parts of the snapshot.
    """

    work: str
    step: int
    folder: str
    attempt: Mapping[str, Any]


def resume_flags(spec: TaskSpec, work: str) -> tuple[str, ...]:
    """What a tool that can go on from a checkpoint gets besides its own command."""
    if spec.module not in RESUMED:
        return ()
    return ("--resume_dir", f"{work}/resume", "--resume_every_s", os.environ.get(VARIABLE) or EVERY_S)


def note_attempt(spec: TaskSpec, work: str, key: str, parts: Mapping[str, Any]) -> None:
    """Write down what a training was asked for, so that a salvage can record it."""
    if spec.module in RESUMED:
        body = {"task": spec.name, "key": key, "parts": parts}
        write_bytes(os.path.join(spec.folder, work, ATTEMPT), json.dumps(body).encode())


def cut_off(spec: TaskSpec) -> list[Cut]:
    """Trainings of a task that were cut off and can go on, the one that came furthest in time last."""
    base = os.path.join(spec.folder, os.path.dirname(spec.out), WORK, spec.artifact)
    found = []
    for name in os.listdir(base) if os.path.isdir(base) else ():
        work = os.path.join(base, name)
        steps = steps_in(os.path.join(work, "resume"))
        try:
            with open(os.path.join(work, ATTEMPT), encoding="utf-8") as file:
                attempt = json.load(file)
        except (OSError, ValueError):
            continue  # not a training, or killed before its first step
        if steps:
            folder = os.path.join(work, "resume", f"step-{steps[-1]}")
            found.append((os.stat(folder).st_mtime_ns, Cut(work, steps[-1], folder, attempt)))
    return [cut for _, cut in sorted(found, key=lambda one: one[0])]


def steps_in(folder: str) -> list[int]:
    """Steps of the complete checkpoints in a resume folder, ascending."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(int(found[1]) for name in names if (found := _STEP.fullmatch(name)))
