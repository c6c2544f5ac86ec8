"""A temporary project, driven by the real doit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DODO = """
from tzrec_build.graph.tasks import Graph

graph = Graph({root!r})
DOIT_CONFIG = graph.config()


def task_build():
    yield from graph.tasks()
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a doit call printed and how it ended."""

    code: int
    out: str

    @property
    def counts(self) -> dict[str, int]:
        """Counts of the summary line: built, restored, up to date, failed."""
        line = self.out.strip().splitlines()[-1]
        return {name.strip(): int(count) for name, count in re.findall(r"([a-z ]+) = (\d+)", line)}

    @property
    def ran(self) -> set[str]:
        """Names of the tasks that were built."""
        return set(re.findall(r"^\+ (\S+)  built", self.out, re.MULTILINE))

    @property
    def restored(self) -> set[str]:
        """Names of the tasks that were restored from the cache."""
        return set(re.findall(r"^< (\S+)  restored", self.out, re.MULTILINE))


class Project:
    """A folder with dodo.py and workspace/."""

    def __init__(self, root: Path, cache: str) -> None:
        self.root, self.cache = root, cache
        root.mkdir(parents=True, exist_ok=True)
        (root / "dodo.py").write_text(DODO.format(root=str(root)))

    def write(self, path: str, text: str) -> Path:
        """Write a file below workspace/."""
        file = self.root / "workspace" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def path(self, path: str) -> Path:
        """A path below workspace/."""
        return self.root / "workspace" / path

    def env(self, **more: str) -> dict[str, str]:
        """Environment of a call: this project's cache."""
        cache = {"TZREC_CACHE": "off"} if self.cache == "off" else {"TZREC_CACHE_DIR": self.cache}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TZREC_")}
        return {**clean, **cache, **more}

    def doit(self, *args: str, cwd: Path | None = None, **env: str) -> Done:
        """Run ``doit ARGS`` and return how it ended."""
        done = subprocess.run(
            [sys.executable, "-m", "doit", *args],
            cwd=cwd or self.root,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout + done.stderr)
