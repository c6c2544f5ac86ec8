"""What one of our own tools works from while people go on editing: a copy of the package's code, and of its small inputs.

``STATE/code/DIGEST/`` is the package as it was when its files had these digests, made once however many tasks run from it. Whoever
runs from a copy holds a shared lock on ``DIGEST.lock``; copies that nobody holds are dropped when a new one is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping

from tzrec_build.errors import BuildError
from tzrec_build.graph.digests import BYTECODE, Digests

PACKAGE = "tzrec_build"
TRIES = 5  # people save several files at once; a task takes what is there when they are done
CHUNK_BYTES = 1 << 20
_TEMP = "making"


class EditedError(BuildError):
    """A file was edited between the moment that the key was taken and the moment that it was copied."""


class FrozenCode:
    """Copies of the package of one checkout.

    Args:
        folder: where they lie.
        root: the checkout.
        digests: the digest table.
    """

    def __init__(self, folder: str, root: str, digests: Digests) -> None:
        self._folder, self._root, self._digests = folder, root, digests

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Hold a copy of the code as it is now.

        Yields:
            The folder to import from, and the digests of the files in it (path below the folder -> xxh3-128 in hex).
        Raises:
            EditedError: files were edited whenever they were copied.
        """
        os.makedirs(self._folder, exist_ok=True)
        with contextlib.ExitStack() as stack:
            for left in reversed(range(TRIES)):
                try:
                    found = stack.enter_context(self._held())
                    break
                except EditedError:
                    if not left:
                        raise
            yield found

    @contextlib.contextmanager
    def _held(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        source = os.path.join(self._root, PACKAGE)
        contents = {
            f"{PACKAGE}/{path}": content
            for path, content in self._digests.tree(source).items()
            if not path.startswith(".") and "/." not in path  # a swap or an editor at work
        }
        name = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:24]
        target = os.path.join(self._folder, name)
        with self._locked(f"{name}.lock", fcntl.LOCK_SH):
            if not os.path.isdir(target):
                with self._locked("make.lock", fcntl.LOCK_EX):
                    if not os.path.isdir(target):
                        self._make(contents, target)
                        self._drop_others(name)
            yield target, {path: content.removeprefix("x") for path, content in contents.items()}

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        file = os.open(os.path.join(self._folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, how)
            yield
        finally:
            os.close(file)

    def _make(self, contents: Mapping[str, str], target: str) -> None:
        temp = os.path.join(self._folder, _TEMP)
        shutil.rmtree(temp, ignore_errors=True)
        for path, content in contents.items():
            copied = os.path.join(temp, path)
            os.makedirs(os.path.dirname(copied), exist_ok=True)
            try:
                copy_checked(os.path.join(self._root, path), copied, content)
            except FileNotFoundError as err:
                raise EditedError(f"{path}: was removed while the task started; run again") from err
            _copy_bytecode(os.path.join(self._root, path), copied)
        os.rename(temp, target)

    def _drop_others(self, kept: str) -> None:
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if name == kept or not os.path.isdir(path):
                continue
            with contextlib.suppress(BlockingIOError), self._locked(f"{name}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(path, ignore_errors=True)


def copy_checked(source: str, target: str, content: str) -> None:
    """Copy a file, its time and its executable bit; EditedError when its bytes are not those that `content` names."""
    import xxhash

    digest = xxhash.xxh3_128()
    with open(source, "rb", buffering=0) as reading, open(target, "wb", buffering=0) as writing:
        while chunk := reading.read(CHUNK_BYTES):
            digest.update(chunk)
            writing.write(chunk)
        times = os.fstat(reading.fileno())
        if content.startswith("x"):
            os.fchmod(writing.fileno(), 0o777 & times.st_mode)
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    if digest.hexdigest() != content.removeprefix("x"):
        raise EditedError(f"{source}: was edited while the task started; run again")


def _copy_bytecode(source: str, copied: str) -> None:
    """Take compiled code along where it is surely that of the source: else each copy would compile hundreds of files anew."""
    folder, file = os.path.split(source)
    name = f"{file.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
    compiled = os.path.join(folder, BYTECODE, name)
    try:
        stat, made = os.stat(source), os.stat(compiled)
        with open(compiled, "rb") as reading:
            data = reading.read()
    except OSError:
        return
    stamp = int(stat.st_mtime).to_bytes(8, "little")[:4] + stat.st_size.to_bytes(8, "little")[:4]
    if data[4:16] != bytes(4) + stamp or made.st_mtime_ns <= stat.st_ctime_ns:
        return  # Python itself would believe a time stamp that was put back
    target = os.path.join(os.path.dirname(copied), BYTECODE)
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, name), "wb") as writing:
        writing.write(data)
