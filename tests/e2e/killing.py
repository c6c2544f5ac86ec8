"""Kills builds at named points and at random moments, resumes them, and checks what must hold: used by a test and a benchmark."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.project import Done, Project
from tests.tiny_pipeline import config_text, write_rows

CHAINS, LENGTH = 6, 7
WORKERS = 2
BUILD_POINTS = (
    *("lock.before", "lock.after", "key.after", "run.before", "run.after"),
    *("blob.before", "blob.after", "entry.before", "entry.after"),
    *("swap.before", "swap.between", "swap.after", "record.before", "record.after"),
)
RESTORE_POINTS = ("restore.before", "restore.after")
GC_POINTS = ("gc.before", "gc.between", "gc.after")
STEP = """
[step.{name}]
command = ["sh", "-c", 'echo {name} >> ../ledger; sleep 0.01; cat "$1"; cat "$1" > $0; echo {name} >> $0', "{{outputs.o}}", "{{inputs.i}}"]
inputs = {{ i = "{source}" }}
outputs = {{ o = "o.txt" }}
"""
TRAINING = """
[config]
path = "x.config"
[data]
train = "rows.parquet"
[train]
device = "cpu"
"""


def write_workspace(project: Project, *, training: bool = False) -> Project:
    """42 cheap steps in chains, each leaving a line in a ledger when it runs; and perhaps a real training."""
    text = ""
    for chain in range(CHAINS):
        for link in range(LENGTH):
            source = f"p:s{chain}_{link - 1}/o.txt" if link else "raw.txt"
            text += STEP.format(name=f"s{chain}_{link}", source=source)
    project.write("p/pipeline.toml", text)
    project.write("p/raw.txt", "raw\n")
    project.write("ledger", "")
    if training:
        project.write("t/pipeline.toml", TRAINING)
        project.write("t/x.config", config_text(train="num_epochs: 6 save_checkpoints_steps: 20"))
        write_rows(project.path("t/rows.parquet"))
    return project


def outputs(project: Project) -> dict[str, str]:
    """Path -> SHA-256 of every output of every artifact, records and work left out."""
    found = {}
    for build in sorted(project.path("").glob("*/build")):
        for path in sorted(build.rglob("*")):
            name = path.relative_to(build)
            if path.is_file() and name.parts[0] != ".work" and name.parts[1] != "records":
                found[f"{build.parent.name}/{name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def left_running(folder: Path) -> list[int]:
    """Processes whose working folder lies in a project."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                cwd = os.readlink(f"/proc/{name}/cwd")
            except OSError:
                continue
            if cwd == str(folder) or cwd.startswith(f"{folder}/"):
                found.append(int(name))
    return found


@dataclass(slots=True)
class Tally:
    """What a series of kills came to."""

    kills: int = 0
    not_hit: int = 0  # the build ended before the point came
    reruns: Counter[int] = field(default_factory=Counter)  # steps run twice -> how many kills
    restored: int = 0
    wrong: list[str] = field(default_factory=list)


class Killer:
    """Kills builds of one workspace.

    Args:
        folder: for projects and caches, each kill with a new one.
        seed: of what is random.
        training: whether the workspace has one.
    """

    def __init__(self, folder: Path, seed: int = 0, *, training: bool = False) -> None:
        self._folder, self._training = folder, training
        self._random = random.Random(seed)
        self._count = 0
        whole = self._new()
        begun_s = time.monotonic()
        done = whole.doit("-n", str(WORKERS))
        self.build_s = time.monotonic() - begun_s
        assert done.code == 0, done.out
        self._reference = outputs(whole)
        assert len(self._reference) >= CHAINS * LENGTH
        self._whole = whole

    def at_point(self, point: str, tally: Tally) -> None:
        """Kill a build at a named point, at one of its first passes, and resume it."""
        hit = f"{point}:{self._random.randint(1, CHAINS * LENGTH // 2)}"
        if point in GC_POINTS:
            self._at_gc(point, tally)
            return
        project = self._new(restores=point in RESTORE_POINTS)
        killed = project.doit("-n", str(WORKERS), TZREC_FAULT=hit)
        self._resume(project, killed.code, hit, tally, allowed=WORKERS)

    def at_random(self, tally: Tally) -> None:
        """Kill a build at a random moment, and resume it."""
        project = self._new()
        after_s = self._random.uniform(0.1, self.build_s)
        build = subprocess.Popen(
            [sys.executable, "-m", "doit", "-n", str(WORKERS)],
            cwd=project.root,
            env=project.env(TZREC_RESUME_EVERY_S="0"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            code = build.wait(after_s)
        except subprocess.TimeoutExpired:
            build.kill()
            code = build.wait()
        self._resume(project, code, f"after {after_s:.2f} s", tally, allowed=WORKERS)

    def _at_gc(self, point: str, tally: Tally) -> None:
        """Kill the collection of a cache, lose the workspace's build folder, and build."""
        project = self._new(restores=True)
        killed = project.doit("cache", "gc", "--max_size", "1B", TZREC_FAULT=point)
        self._resume(project, killed.code, point, tally, allowed=CHAINS * LENGTH)

    def _resume(self, project: Project, code: int, where: str, tally: Tally, allowed: int) -> None:
        if code != -signal.SIGKILL:
            tally.not_hit += 1
        tally.kills += 1
        before = Counter(project.path("ledger").read_text().split())
        deadline_s = time.monotonic() + 10
        while left_running(project.root) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        wrong = [f"left running: {left_running(project.root)}"] if left_running(project.root) else []
        done = project.doit("-n", str(WORKERS))
        after = Counter(project.path("ledger").read_text().split())
        twice = [name for name in before if after[name] > before[name]]
        tally.reruns[len(twice)] += 1
        tally.restored += done.counts.get("restored", 0) if done.code == 0 else 0
        wrong += [] if done.code == 0 else [f"the resume failed: {done.out}"]
        wrong += [] if outputs(project) == self._reference else ["outputs differ"]
        wrong += [f"ran twice: {twice}"] if len(twice) > allowed else []
        wrong += self._not_up_to_date(project.doit()) if self._random.random() < 0.2 else []
        tally.wrong += [f"{where}: {text}" for text in wrong]
        if not wrong:
            shutil.rmtree(project.root.parent)

    def _not_up_to_date(self, done: Done) -> Iterator[str]:
        if done.counts["built"] or done.counts["restored"]:
            yield f"the build after the resume made something: {done.out}"

    def _new(self, *, restores: bool = False) -> Project:
        self._count += 1
        folder = self._folder / str(self._count)
        project = write_workspace(Project(folder / "project", str(folder / "cache")), training=self._training)
        if restores:
            shutil.copytree(self._whole.cache, project.cache)
        return project
