"""The action cache: action key -> manifest -> objects. What is asked for decides; what comes out is verified byte by byte.

Layout below ``$TZREC_CACHE_DIR/v1``: ``actions/ab/cdef...json`` (manifests, their time is that of the last use),
``unreproducible/ab/cdef...json`` (a second result for a known key), ``quarantine/`` (what `verify` found damaged), ``objects/`` and
``tmp/`` (see cas.py), ``lock`` (held for the moment in which an entry is replaced), ``users`` (shared by publish and restore, so
that gc waits for them). A cache is a help and never a duty: a bad entry is a miss with one warning, and publishing never fails
a build.
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
from typing import TYPE_CHECKING, TypeVar

from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.faults import fault_point
from tzrec_build.logs import logger
from tzrec_build.store.cas import ObjectStore
from tzrec_build.store.manifest import Manifest, Output, check_paths, key_digits, manifest_bytes, parse_manifest
from tzrec_build.store.settings import cache_root, link_mode, switched_off_by
from tzrec_build.store.transfer import Blob, is_executable

if TYPE_CHECKING:
    from tzrec_build.store.upkeep import Found, Policy, Removed, Stats

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = 4  # hashing and writing overlap; more only wait for the disk
NO_DIGESTS: Mapping[str, str] = {}


class ActionCache:
    """Results of earlier actions in one folder, shared by every process and workspace of a user.

    Args:
        root: the folder; made by the first publish.
        link: how files get into a work tree, one of `settings.LINKS`.
    """

    def __init__(self, root: Path, link: str = "auto") -> None:
        self.root = root
        self.objects = ObjectStore(root, share=link != "copy")
        self._link = link
        self._warned: set[str] = set()

    @classmethod
    def open(cls, env: Mapping[str, str], switch_file: str = "") -> ActionCache | None:
        """Find the user's cache: ``$TZREC_CACHE_DIR``, else ``tzrec-build`` in the user's cache folder; makes nothing.

        Args:
            env: environment variables.
            switch_file: while this file is there, the cache is off unless the environment says ``TZREC_CACHE=on``.

        Returns:
            None when it is switched off.

        Raises:
            ConfigError: a variable has a value that means nothing.
        """
        return None if switched_off_by(env, switch_file) else cls(cache_root(env), link_mode(env))

    def lookup(self, key: str) -> Manifest | None:
        """Find what an action made earlier; a damaged entry, or one whose objects are gone, is a miss with one warning."""
        try:
            manifest = self.load(key)
        except (CorruptError, OSError) as err:
            self._warn(key, f"action cache: entry of {key} is not used, {err}; it is built again")
            return None
        if manifest is None:
            return None
        missing = self.missing(manifest)
        if missing:
            self._warn(
                key,
                f"action cache: entry of {key} is not used, the object of {missing[0]!r} is gone; it is built again",
            )
            return None
        return manifest

    def restore(self, manifest: Manifest, folder: Path, *, immutable: bool = False) -> None:
        """Write all outputs of a manifest into a folder without files (made when absent), checking every byte.

        Args:
            manifest: what `lookup` found.
            folder: where the outputs go.
            immutable: whether nothing ever writes into these files, so that they may be hard links where the user asks for it.

        Raises:
            CorruptError: an object is missing or damaged. The caller builds instead.
            OSError: the folder cannot be written. The folder is empty again after either error.
            RuntimeError: there are files in the folder, which is a bug of the caller.
        """
        try:
            check_paths(output.path for output in manifest.outputs)
        except ValueError as err:
            raise CorruptError(f"action cache: entry of {manifest.key}: {err}") from err
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink() or any(not path.is_dir() or path.is_symlink() for path in folder.rglob("*")):
            raise RuntimeError(f"bug: {folder}: a restore needs a folder without files")
        write = self.objects.link if immutable and self._link == "hard" else self.objects.get
        fault_point("restore.before")
        try:
            with self.in_use():
                for parent in sorted({(folder / output.path).parent for output in manifest.outputs}):
                    parent.mkdir(parents=True, exist_ok=True)
                for_each(
                    lambda out: write(Blob(out.sha256, out.size), folder / out.path, out.mode),
                    sorted(
                        manifest.outputs, key=lambda out: -out.size
                    ),  # the longest first, so that all threads end at once
                )
        except BaseException:
            _empty(folder)
            raise
        self._note_use(manifest.key)
        fault_point("restore.after")

    def publish(
        self,
        key: str,
        folder: Path,
        files: Sequence[str],
        provenance: Mapping[str, object],
        *,
        digests: Mapping[str, str] = NO_DIGESTS,
    ) -> Manifest | None:
        """Keep the outputs of an action that just ran: objects first, then the entry, so that a kill costs nothing.

        A disk that is full or refuses is a warning. When the key already has other bits, those stay: the difference is
        reported and both manifests are written to ``unreproducible/``.

        Args:
            key: action key, taken before the action ran.
            folder: where the outputs lie.
            files: their paths below `folder`; each must be a regular file that is not reached through a link.
            provenance: JSON-able facts that are not in the key.
            digests: SHA-256 of those `files` for which it is known; one that the cache has already is then not read again.

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
            self.objects.remove_stale_temps(time.time())
            with self.in_use():
                outputs = for_each(lambda name: self._keep(folder, name, digests.get(name, "")), names)
                manifest = Manifest(key, tuple(outputs), provenance)
                self._record(manifest)
        except OSError as err:
            self._warn(key, f"action cache: outputs of {key} are not kept, {err}; the build goes on")
            return None
        return manifest

    def _keep(self, folder: Path, name: str, sha256: str) -> Output:
        """Keep the bytes of one output and describe it."""
        path = folder / name
        mode = 0o755 if is_executable(path) else 0o644
        blob = Blob(sha256, path.stat().st_size)
        if not sha256 or not self.objects.has(blob):
            blob = self.objects.put(path)
        return Output(name, blob.sha256, blob.size, mode)

    def missing(self, manifest: Manifest) -> list[str]:
        """List the outputs of an entry whose objects are gone, or of another length."""
        return [out.path for out in manifest.outputs if not self.objects.has(Blob(out.sha256, out.size))]

    def _note_use(self, key: str) -> None:
        """Give the entry the time of its last use, by which gc chooses."""
        try:
            os.utime(self.entry_path("actions", key))
        except OSError:  # a cache that may only be read, or an entry that was just replaced: nothing depends on it
            return

    def _record(self, manifest: Manifest) -> None:
        """Write the entry, unless the key has a whole one already."""
        data = manifest_bytes(manifest)
        with self.locked():
            try:
                first = self.load(manifest.key)
            except CorruptError:
                first = None
            if first is None or self.missing(first):
                fault_point("entry.before")
                self.objects.write_whole(self.entry_path("actions", manifest.key), data)
                fault_point("entry.after")
                return
        different = first.differences(manifest)
        if different:
            self._report(first, manifest, different)

    def _report(self, first: Manifest, second: Manifest, different: Sequence[str]) -> None:
        """Say that an action gave other bits for the same key, and keep both manifests to look at."""
        both = {"first": json.loads(manifest_bytes(first)), "second": json.loads(manifest_bytes(second))}
        path = self.entry_path("unreproducible", first.key)
        self.objects.write_whole(path, (json.dumps(both, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
        names = ", ".join(repr(name) for name in different[:3]) + (", ..." if len(different) > 3 else "")
        logger.warning(
            "action cache: not reproducible: %s gave other bits in %d of %d outputs (%s); the first result stays, see %s",
            first.key,
            len(different),
            len(first.outputs),
            names,
            path,
        )

    def load(self, key: str) -> Manifest | None:
        """Read an entry; None when there is none. Raises CorruptError, or OSError when the disk refuses."""
        try:
            data = self.entry_path("actions", key).read_bytes()
        except FileNotFoundError:
            return None
        return parse_manifest(data, key)

    def entry_path(self, kind: str, key: str) -> Path:
        """Name the file of a key below ``actions`` or ``unreproducible``."""
        digits = key_digits(key)
        return self.root / kind / digits[:2] / f"{digits[2:]}.json"

    def _warn(self, key: str, text: str) -> None:
        """Warn once about a key; a second lookup of the same bad entry says nothing new."""
        if key not in self._warned:
            self._warned.add(key)
            logger.warning("%s", text)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cache's lock, so that of two processes with one key exactly one is the first."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)  # released by close, a kill included
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep gc from taking objects while they are read, or while an entry that needs them is not written yet."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / "users", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except (
            OSError
        ):  # a cache that may only be read has no gc of ours; publish meets the same disk again and says so
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def stats(self) -> Stats:
        """Count entries, objects and bytes; see `upkeep.stats`."""
        from tzrec_build.store import upkeep

        return upkeep.stats(self)

    def verify(self) -> Found:
        """Hash every object and read every entry; see `upkeep.verify`."""
        from tzrec_build.store import upkeep

        return upkeep.verify(self)

    def gc(self, policy: Policy) -> Removed:
        """Remove what is old or too much; see `upkeep.gc`."""
        from tzrec_build.store import upkeep

        return upkeep.gc(self, policy)


def for_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
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
