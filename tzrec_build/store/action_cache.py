"""The action cache: action key -> manifest -> objects. What is asked for decides; what comes out is verified byte by byte.

Layout below ``$TZREC_CACHE_DIR/v1``: ``actions/ab/cdef...json`` (manifests), ``unreproducible/ab/cdef...json`` (a second result for
a known key), ``objects/`` and ``tmp/`` (see cas.py), ``lock`` (held for the moment in which an entry is replaced).
A cache is a help and never a duty: a bad entry is a miss with one warning, and publishing never fails a build.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tzrec_build.errors import BuildError, ConfigError, CorruptError
from tzrec_build.faults import fault_point
from tzrec_build.logs import logger
from tzrec_build.store.cas import Blob, ObjectStore, is_executable
from tzrec_build.store.manifest import Manifest, Output, check_paths, key_digits, manifest_bytes, parse_manifest

Item = TypeVar("Item")
Result = TypeVar("Result")
LAYOUT = "v1"
THREADS = 4  # hashing and writing overlap; more only wait for the disk
SWITCH: Mapping[str, bool] = {"": True, "on": True, "off": False}  # values of TZREC_CACHE


class ActionCache:
    """Results of earlier actions in one folder, shared by every process and workspace of a user.

    Args:
        root: the folder; made by the first publish.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = ObjectStore(root)
        self._warned: set[str] = set()

    @classmethod
    def open(cls, env: Mapping[str, str]) -> ActionCache | None:
        """Find the user's cache: ``$TZREC_CACHE_DIR``, else ``tzrec-build`` in the user's cache folder; touches no disk.

        Returns:
            None when ``TZREC_CACHE=off``.

        Raises:
            ConfigError: a variable has a value that means nothing.
        """
        switch = env.get("TZREC_CACHE", "")
        if switch not in SWITCH:
            raise ConfigError(f"TZREC_CACHE: must be 'on' or 'off', got {switch!r}")
        if not SWITCH[switch]:
            return None
        home = env.get("HOME") or str(Path.home())
        caches = env.get("XDG_CACHE_HOME", "")
        default = os.path.join(caches if os.path.isabs(caches) else os.path.join(home, ".cache"), "tzrec-build")
        folder = env.get("TZREC_CACHE_DIR") or default
        if folder == "~" or folder.startswith("~/"):
            folder = home + folder[1:]
        if not os.path.isabs(folder):
            raise ConfigError(f"TZREC_CACHE_DIR: must be an absolute path, got {folder!r}")
        return cls(Path(folder) / LAYOUT)

    def lookup(self, key: str) -> Manifest | None:
        """Find what an action made earlier; a damaged entry, or one whose objects are gone, is a miss with one warning."""
        try:
            manifest = self._load(key)
        except (CorruptError, OSError) as err:
            self._warn(key, f"action cache: entry of {key} is not used, {err}; it is built again")
            return None
        if manifest is None:
            return None
        missing = [
            output.path for output in manifest.outputs if not self._objects.has(Blob(output.sha256, output.size))
        ]
        if missing:
            self._warn(
                key,
                f"action cache: entry of {key} is not used, the object of {missing[0]!r} is gone; it is built again",
            )
            return None
        return manifest

    def restore(self, manifest: Manifest, folder: Path) -> None:
        """Write all outputs of a manifest into an empty folder (made when absent), checking every byte.

        Raises:
            CorruptError: an object is missing or damaged. The caller builds instead.
            OSError: the folder cannot be written. The folder is empty again after either error.
            RuntimeError: the folder is not empty, which is a bug of the caller.
        """
        try:
            check_paths(output.path for output in manifest.outputs)
        except ValueError as err:
            raise CorruptError(f"action cache: entry of {manifest.key}: {err}") from err
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() or any(folder.iterdir()):
            raise RuntimeError(f"bug: {folder}: a restore needs an empty folder")
        fault_point("restore.before")
        try:
            _for_each(lambda output: self._restore_one(output, folder), manifest.outputs)
        except BaseException:
            _empty(folder)
            raise
        fault_point("restore.after")

    def publish(
        self, key: str, folder: Path, files: Sequence[str], provenance: Mapping[str, object]
    ) -> Manifest | None:
        """Keep the outputs of an action that just ran: objects first, then the entry, so that a kill costs nothing.

        A disk that is full or refuses is a warning. When the key already has other bits, those stay: the difference is
        reported and both manifests are written to ``unreproducible/``.

        Args:
            key: action key, taken before the action ran.
            folder: where the outputs lie.
            files: their paths below `folder`; each must be a regular file that is not reached through a link.
            provenance: JSON-able facts that are not in the key.

        Returns:
            The manifest of what lies in `folder`; None when the disk refused and nothing was kept.

        Raises:
            BuildError: an output cannot be read, or is not a regular file inside the folder.
        """
        key_digits(key)
        names = sorted(files)
        try:
            check_paths(names)
        except ValueError as err:
            raise BuildError(f"{folder}: {err}") from err
        for name in names:
            _check_output(folder, name)
        try:
            self._objects.remove_stale_temps(time.time())
            outputs = _for_each(lambda name: self._keep(folder, name), names)
            manifest = Manifest(key, tuple(outputs), provenance)
            self._record(manifest)
        except OSError as err:
            self._warn(key, f"action cache: outputs of {key} are not kept, {err}; the build goes on")
            return None
        return manifest

    def _keep(self, folder: Path, name: str) -> Output:
        """Keep the bytes of one output and describe it."""
        path = folder / name
        mode = 0o755 if is_executable(path) else 0o644
        blob = self._objects.put(path)
        return Output(name, blob.sha256, blob.size, mode)

    def _restore_one(self, output: Output, folder: Path) -> None:
        target = folder / output.path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._objects.get(Blob(output.sha256, output.size), target, output.mode)

    def _record(self, manifest: Manifest) -> None:
        """Write the entry, unless the key has a whole one already."""
        data = manifest_bytes(manifest)
        with self._locked():
            try:
                first = self._load(manifest.key)
            except CorruptError:
                first = None
            whole = first is not None and all(self._objects.has(Blob(out.sha256, out.size)) for out in first.outputs)
            if first is None or not whole:
                fault_point("entry.before")
                self._objects.write_whole(self._path("actions", manifest.key), data)
                fault_point("entry.after")
                return
        different = first.differences(manifest)
        if different:
            self._report(first, manifest, different)

    def _report(self, first: Manifest, second: Manifest, different: Sequence[str]) -> None:
        """Say that an action gave other bits for the same key, and keep both manifests to look at."""
        both = {"first": json.loads(manifest_bytes(first)), "second": json.loads(manifest_bytes(second))}
        path = self._path("unreproducible", first.key)
        self._objects.write_whole(
            path, (json.dumps(both, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        )
        names = ", ".join(repr(name) for name in different[:3]) + (", ..." if len(different) > 3 else "")
        logger.warning(
            "action cache: not reproducible: %s gave other bits in %d of %d outputs (%s); the first result stays, see %s",
            first.key,
            len(different),
            len(first.outputs),
            names,
            path,
        )

    def _load(self, key: str) -> Manifest | None:
        """Read an entry; None when there is none. Raises CorruptError, or OSError when the disk refuses."""
        try:
            data = self._path("actions", key).read_bytes()
        except FileNotFoundError:
            return None
        return parse_manifest(data, key)

    def _path(self, kind: str, key: str) -> Path:
        digits = key_digits(key)
        return self.root / kind / digits[:2] / f"{digits[2:]}.json"

    def _warn(self, key: str, text: str) -> None:
        """Warn once about a key; a second lookup of the same bad entry says nothing new."""
        if key not in self._warned:
            self._warned.add(key)
            logger.warning("%s", text)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the cache's lock, so that of two processes with one key exactly one is the first."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # released by close, a kill included
            yield


def _for_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do the work for each item in a few threads (hashing and disk calls run at once); the first error in order is raised."""
    from concurrent.futures import ThreadPoolExecutor  # 5 ms that a no-op does not pay

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def _check_output(folder: Path, name: str) -> None:
    """Refuse an output that a colleague would not get back as it is here."""
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise BuildError(
                f"{folder / name}: an output must not be or lie behind a symbolic link, got one at {path}; copy the file"
            )
    if not path.is_file():
        raise BuildError(
            f"{folder / name}: an output must be a regular file, got {_kind(path)}; write the data itself into a file"
        )
    if not os.access(path, os.R_OK):
        raise BuildError(f"{path}: an output must be readable, got mode {path.stat().st_mode & 0o777:o}")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a pipe, socket or device" if path.exists() else "nothing"


def _empty(folder: Path) -> None:
    """Remove everything in a folder, but not the folder."""
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
