"""What a light task would make, learned by running its command in a scratch folder outside the workspace.

A light task is pure and takes well under a second (`TaskSpec.light`): the plan may run it to learn whether what follows changes.
Made inputs that do not lie on disk as they will be then are put into the scratch folder too: from an earlier preview, or the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from typing import Any, Self

from tzrec_build.errors import BuildError
from tzrec_build.graph import child, publish
from tzrec_build.graph.action import Cache, expand_argv
from tzrec_build.graph.digests import walk
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec

TIMEOUT_S = 60.0
COPIED_BYTES = 64 << 20  # a cached artifact above this is not copied only to look at what follows
Files = dict[str, tuple[bool, str]]  # relative path -> (executable, SHA-256 in hex): the overlay of `Judge.key`


class Scratch:
    """Scratch copies of artifacts as they will be; everything is removed at the end.

    Args:
        cache: where restorable artifacts come from, or None.
        code_root: folder of the package, which every tool imports from.
    """

    def __init__(self, cache: Cache | None, code_root: str) -> None:
        self._cache, self._code_root = cache, code_root
        self._folder = ""
        self._manifests: dict[str, Any] = {}  # artifact folder -> manifest that would be restored there
        self._copies: dict[str, str] = {}  # artifact folder -> its scratch copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def restorable(self, folder: str, manifest: Any) -> Files:
        """Note that an artifact would be restored from the cache; returns its files."""
        self._manifests[folder] = manifest
        return {output.path: (bool(output.mode & 0o100), output.sha256) for output in manifest.outputs}

    def run(self, spec: TaskSpec) -> Files | None:
        """Run a light task; returns the files that it makes, or None when that cannot be foreseen cheaply.

        Raises:
            BuildError: the command fails, as it will in the build.
        """
        inputs = [self._placed(spec, entry) for entry in spec.inputs]
        if any(entry is None for entry in inputs):
            return None
        there = replace(spec, inputs=tuple(entry for entry in inputs if entry is not None))
        out = self._new("out")
        for _, file in spec.outputs:
            if "*" not in file:
                os.makedirs(os.path.dirname(os.path.join(out, file)), exist_ok=True)
        done = subprocess.run(
            expand_argv(there, out),
            cwd=spec.folder,
            env=child.environment(spec.env, spec.threads, self._code_root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise BuildError(f"{spec.name}: {said[-1] if said else f'ended with exit code {done.returncode}'}")
        publish.check_promised(spec, out)
        self._copies[os.path.join(spec.folder, spec.out)] = out
        return {path: _described(f"{out}/{path}") for path in walk(out, skip=RECORDS)}

    def path(self, file: str) -> str | None:
        """Where the content that a file will have can be read: itself, unless its artifact was made here or is cached."""
        folder = os.path.dirname(file)
        while folder not in self._copies and folder not in self._manifests:
            parent = os.path.dirname(folder)
            if parent == folder:
                return file
            folder = parent
        copy = self._copy(folder)
        return None if copy is None else copy + file[len(folder) :]

    def _placed(self, spec: TaskSpec, entry: Input) -> Input | None:
        """The input with the paths of scratch copies where the disk does not have what will be there."""
        paths = []
        for path in entry.paths:
            absolute = os.path.normpath(os.path.join(spec.folder, path))
            place = self.path(absolute + "/x")  # of a file inside, so that a whole artifact counts as inside itself
            if place is None:
                return None
            moved = place.removesuffix("/x")
            paths.append(path if moved == absolute else moved)
        return replace(entry, paths=tuple(paths))

    def _copy(self, folder: str) -> str | None:
        if folder not in self._copies:
            from pathlib import Path

            manifest = self._manifests[folder]
            if self._cache is None or sum(output.size for output in manifest.outputs) > COPIED_BYTES:
                return None
            copy = self._new("restored")
            self._cache.restore(manifest, Path(copy))
            self._copies[folder] = copy
        return self._copies[folder]

    def _new(self, kind: str) -> str:
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="tzrec-plan-")
        return tempfile.mkdtemp(prefix=kind + "-", dir=self._folder)


def _described(path: str) -> tuple[bool, str]:
    import hashlib

    with open(path, "rb") as file:
        return os.access(path, os.X_OK), hashlib.file_digest(file, "sha256").hexdigest()
