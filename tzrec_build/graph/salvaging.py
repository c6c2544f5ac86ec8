"""Publishes the last complete checkpoint of a training that was cut off, marked partial."""

from __future__ import annotations

import os
import shutil
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.graph import locks, publish
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.resume import EVERY_S, RESUMED, VARIABLE, Cut, cut_off
from tzrec_build.graph.spec import TaskSpec


def salvage(judge: Judge, spec: TaskSpec) -> int:
    """Make the last complete checkpoint of a training the artifact of its task.

    The record says partial, so the task stays stale and its next build goes on with the training; nothing goes to the cache.

    Args:
        judge: takes digests, keeps the record.
        spec: the task.
    Returns:
        The step of the checkpoint.
    Raises:
        BuildError: it is no training, runs now, or has no checkpoint.
    """
    if spec.module not in RESUMED:
        raise BuildError(f"{spec.name}: only a training leaves checkpoints behind; build it again instead")
    lock = locks.take(judge.state.folder, spec.name)
    if lock is None:
        who = locks.holder(judge.state.folder, spec.name)
        raise BuildError(f"{spec.name}: is being built now{f' by {who}' if who else ''}; end that build first")
    try:
        cuts = cut_off(spec)
        if not cuts:
            raise BuildError(
                f"{spec.name}: nothing to salvage: no training of it was cut off after a resume checkpoint; "
                f"one is written every {os.environ.get(VARIABLE) or EVERY_S} s ({VARIABLE})"
            )
        _publish(judge, spec, cuts[-1])
    finally:
        lock.release()
    return cuts[-1].step


def _publish(judge: Judge, spec: TaskSpec, cut: Cut) -> None:
    out = os.path.join(cut.work, "salvaged", "out")
    shutil.rmtree(os.path.dirname(out), ignore_errors=True)
    name = f"model.ckpt-{cut.step}"
    shutil.copytree(os.path.join(cut.folder, "out"), out)  # copies: the training may go on from the originals
    shutil.copytree(os.path.join(cut.folder, name), os.path.join(out, name), dirs_exist_ok=True)
    publish.check_promised(spec, out)
    outputs = judge.outputs(spec, out)
    publish.swap(spec, out)
    shutil.rmtree(os.path.dirname(out), ignore_errors=True)
    record: dict[str, Any] = {**cut.attempt["parts"], "outputs": outputs, "key": cut.attempt["key"]}
    judge.state.set_record(spec.name, {**record, "how": "salvaged", "elapsed_s": 0.0, "partial": cut.step})
    judge.generation += 1
