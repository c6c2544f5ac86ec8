"""Digests of files and folders, each file read once however many tasks use it.

A row of the digest table is good while path, device, inode, size, mtime_ns and ctime_ns are unchanged. A file that is as new as
its reading (within `RACY_NS`) may change again without a new stamp, so its row is not trusted ("racily clean"); what was so when a
build ended is read once more then. Listings of folders are kept in the same way: a no-op stats, and scans nothing.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tzrec_build.errors import DataError
from tzrec_build.graph.stamp import files_text, seen_from
from tzrec_build.graph.state import SHA_CHARS, FileRow, State

RACY_NS = 20_000_000  # coarser than the time stamps of ext4, xfs and tmpfs at 250 Hz (4 ms)
CHUNK_BYTES = 1 << 20
AHEAD_BYTES = 8 << 20  # from here on threads pay for themselves
THREADS = 2
SPARE_ROWS = 1000  # of the table: below this many new ones nobody looks for rows of files that are no more
KEPT_ROWS = "rows of the digest table after the last look"  # key of a fact
BYTECODE = "__pycache__"  # made by whoever imports a module; never content
_GLOB_MARKS = frozenset("*?[")
_buffers = threading.local()


class _Reading(NamedTuple):
    """A file or folder before and after it was read, and when that began."""

    before: os.stat_result
    after: os.stat_result
    start_ns: int


class Digests:
    """Digest table of one process over the committed one.

    xxh3-128 answers "did it change here"; SHA-256 names content in action keys and in the store.

    Attributes:
        read_bytes: bytes of file content read so far, for tests and the summary.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._racy: set[str] = set()
        self._learnt = False  # whether the table has changed
        self.read_bytes = 0
        self.expected: Callable[[], None] | None = (
            None  # reads ahead what this run will need; called once, at the first reading
        )

    def xxh(self, path: str) -> bytes | None:
        """xxh3-128 of a file's content, from the table when its stat values are unchanged; None when it is not there."""
        return self._look(path)[1]

    def content(self, path: str) -> str | None:
        """What counts of a file: ``x`` when it is executable, then its xxh3-128 in hex; None when it is not there."""
        mode, xxh = self._look(path)
        return None if xxh is None else ("x" if mode & stat.S_IXUSR else "") + xxh.hex()

    def text(self, path: str, skip: str = "") -> str:
        """`stamp.files_text` of what one path without glob marks names: a file, or all in a folder but `skip`."""
        try:
            st = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return "0\0"
        row = self._state.files.get(path)
        if (  # `_holds`, written out: this runs twice a task in a no-op
            row is not None
            and row[3] == st.st_mtime_ns
            and row[4] == st.st_ctime_ns
            and row[2] == st.st_size
            and row[1] == st.st_ino
            and row[0] == st.st_dev
        ):
            mark = "x" if st.st_mode & 0o100 else ""
            return f"1\0{path[path.rfind('/') + 1 :]}\0{mark}{row[5].hex()}\0"
        if stat.S_ISDIR(st.st_mode):
            tree = self.tree(path, skip)
            return files_text(zip(seen_from(path, list(tree)), tree.values(), strict=True))
        content = self.content(path)
        return "0\0" if content is None else files_text([(os.path.basename(path), content)])

    def folder_text(self, folder: str, skip: str) -> str:
        """`stamp.files_text` of a folder; the common one, with a few files and nothing below, takes two stats and no more."""
        files, folders = self.listing(folder)
        if len(files) == 1 and (not folders or folders == (skip,)):
            return self.text(f"{folder}/{files[0]}")
        return files_text(self.tree(folder, skip).items())

    def _look(self, path: str) -> tuple[int, bytes | None]:
        try:
            st = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return 0, None
        row = self._state.files.get(path)
        if row is not None and _holds(row, st):
            return st.st_mode, row[5]
        if self.expected is not None:
            expected, self.expected = self.expected, None
            expected()
            return self._look(path)
        return st.st_mode, self._read(path, with_sha=False)[0]

    def sha256(self, path: str) -> str:
        """SHA-256 (hex) of a file's content, from the table when it is known for the present content."""
        known = self.known_sha256(path)
        if known:
            return known
        if not os.path.exists(path):
            raise DataError(f"{path}: no such file; it was there a moment ago, run again")
        return self._read(path, with_sha=True)[1]

    def known_sha256(self, path: str) -> str:
        """SHA-256 of a file's present content if the table has it, else ""; nothing is read."""
        row = self._state.files.get(path)
        try:
            known = row is not None and row[6] is not None and _holds(row, os.stat(path))
        except OSError:
            return ""
        return _checked(row) if known and row is not None else ""

    def note_sha256(self, path: str, sha256: str) -> None:
        """Keep the SHA-256 of a file that was just read for another purpose, if its row is that of its present content."""
        row = self._state.files.get(path)
        if row is not None and row[6] is None and _holds(row, os.stat(path)):
            self._state.set_file(path, (*row[:6], _with_check(sha256, row[5])))

    def look_ahead(self, paths: Iterable[str], *, with_sha: bool = False) -> None:
        """Digest on several threads what is not in the table yet, when it is much; xxhash and SHA-256 both release the GIL."""
        sizes = dict(self._unknown(paths, with_sha=with_sha))
        if len(sizes) < THREADS or sum(sizes.values()) < AHEAD_BYTES:
            return
        todo = sorted(sizes, key=lambda path: sizes[path])  # the largest is taken first, from the end
        errors: list[DataError] = []

        def work() -> None:
            while todo and not errors:
                try:
                    self._read(todo.pop(), with_sha=with_sha)
                except IndexError:
                    return  # another thread took the last one
                except DataError as err:
                    errors.append(err)

        threads = [threading.Thread(target=work) for _ in range(max(THREADS, len(os.sched_getaffinity(0))))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _unknown(self, paths: Iterable[str], *, with_sha: bool) -> Iterator[tuple[str, int]]:
        for path in paths:
            try:
                st = os.stat(path)
            except OSError:
                continue  # reported by whoever needs it
            row = self._state.files.get(path)
            known = row is not None and _holds(row, st) and (row[6] is not None or not with_sha)
            if not known and stat.S_ISREG(st.st_mode):
                yield path, st.st_size

    def _read(self, path: str, *, with_sha: bool) -> tuple[bytes, str]:
        import xxhash

        fast, slow = xxhash.xxh3_128(), hashlib.sha256()
        buffer = _buffer()
        try:
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                before = os.fstat(file.fileno())
                _check_is_file(path, before)
                _outlive(before)
                start_ns = time.time_ns()
                while count := file.readinto(buffer):
                    fast.update(buffer[:count])
                    if with_sha:
                        slow.update(buffer[:count])
                    self.read_bytes += count
                after = os.fstat(file.fileno())
        except OSError as err:
            raise DataError(f"{path}: cannot be read ({err.strerror}); check its permissions") from err
        xxh, sha = fast.digest(), slow.hexdigest()
        self._keep(path, _Reading(before, after, start_ns), xxh, _with_check(sha, xxh) if with_sha else None)
        return xxh, sha

    def _keep(self, path: str, reading: _Reading, found: bytes, sha: str | None = None) -> None:
        """Put a row in the table, unless what it says may be out of date unseen."""
        self._learnt = True
        before, after = reading.before, reading.after
        racy = reading.start_ns - _newest_ns(before, reading.start_ns) < RACY_NS
        if _stamp(before) == _stamp(after) and not racy:
            self._state.set_file(path, (*_stamp(after), found, sha))
        else:
            self._state.files.pop(path, None)
            self._racy.add(path)

    def listing(self, folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the files and of the folders in a folder, sorted; nothing where it is none."""
        try:
            st = os.stat(folder)
        except (FileNotFoundError, NotADirectoryError):
            return (), ()
        row = self._state.files.get(folder + "//")
        if row is not None and _holds(row, st):
            found, _, below = os.fsdecode(row[5]).partition("//")
            return tuple(found.split("/") if found else ()), tuple(below.split("/") if below else ())
        return self._scan(folder)

    def _scan(self, folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        files: list[str] = []
        folders: list[str] = []
        links = False
        try:
            before, start_ns = os.stat(folder), time.time_ns()
            with os.scandir(folder) as entries:
                for entry in entries:
                    links = links or entry.is_symlink()
                    (folders if entry.is_dir() else files).append(entry.name)
            after = os.stat(folder)
        except (FileNotFoundError, NotADirectoryError):
            return (), ()
        files.sort()
        folders.sort()
        if not links:  # what a link leads to may change without a sign here
            listed = os.fsencode(f"{'/'.join(files)}//{'/'.join(folders)}")
            self._keep(folder + "//", _Reading(before, after, start_ns), listed)
        return tuple(files), tuple(folders)

    def tree(self, folder: str, skip: str = "") -> dict[str, str]:
        """Content of a folder: relative path -> mode bit and xxh3-128 in hex, sorted; empty when the folder is not there.

        Args:
            folder: an absolute path.
            skip: a first-level folder that does not count (the records of an artifact).
        """
        found: list[str] = []
        stack = [""]
        while stack:
            inside = stack.pop()
            files, folders = self.listing(f"{folder}/{inside}".rstrip("/"))
            found += [inside + name for name in files]
            stack += [f"{inside}{name}/" for name in folders if inside + name != skip and name != BYTECODE]
        contents = {path: self.content(f"{folder}/{path}") for path in sorted(found)}
        return {path: content for path, content in contents.items() if content is not None}

    def moved(self, old: str, new: str) -> None:
        """Keep the row of a file whose folder was renamed: its inode and stamps are the same, only its path is another."""
        self._state.move_file(old, new)
        self._learnt = True
        if old in self._racy:
            self._racy.discard(old)
            self._racy.add(new)
        self._racy.add(os.path.dirname(new) + "//")  # its listing too is taken at the end

    def settle(self) -> None:
        """At the end of a build: read again what was too new to be trusted, and drop rows of files that are no more."""
        if self._racy:
            time.sleep(RACY_NS / 1e9)  # now old enough: the next no-op reads nothing
        for path in sorted(self._racy):
            if path.endswith("/"):
                self.listing(path[:-2])
            elif os.path.isfile(path):
                self._look(path)
        self._racy.clear()
        if self._learnt:
            self._learnt = False
            self._prune()

    def _prune(self) -> None:
        """Drop rows of files that are no more, once the table has grown by a quarter: a look at every file takes its time."""
        state = self._state
        kept = (state.facts(KEPT_ROWS) or {"rows": 0})["rows"]
        if len(state.files) < kept * 5 // 4 + SPARE_ROWS:
            return
        state.drop_files([path for path in state.files if not os.path.lexists(path)])
        state.set_facts(KEPT_ROWS, {"rows": len(state.files)})


def _stamp(st: os.stat_result) -> tuple[int, int, int, int, int]:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def _holds(row: FileRow, st: os.stat_result) -> bool:
    return (
        row[3] == st.st_mtime_ns
        and row[4] == st.st_ctime_ns
        and row[2] == st.st_size
        and row[1] == st.st_ino
        and row[0] == st.st_dev
    )


def _newest_ns(st: os.stat_result, now_ns: int) -> int:
    """When a file last changed; a time in the future was set by hand, which the change time tells as well."""
    return st.st_ctime_ns if st.st_mtime_ns > now_ns else max(st.st_mtime_ns, st.st_ctime_ns)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe without a writer would keep us waiting for ever."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _check_is_file(path: str, st: os.stat_result) -> None:
    if not stat.S_ISREG(st.st_mode):
        raise DataError(
            f"{path}: must be a regular file, got a pipe or a device; write its data into a file, or remove it"
        )


def _outlive(st: os.stat_result) -> None:
    """Let a large file grow older than `RACY_NS` before it is read: 20 ms are cheaper than a second reading."""
    now_ns = time.time_ns()
    young_ns = RACY_NS - (now_ns - _newest_ns(st, now_ns))
    if st.st_size >= AHEAD_BYTES and 0 < young_ns <= RACY_NS:
        time.sleep(young_ns / 1e9)


def _with_check(sha: str, xxh: bytes) -> str:
    return f"{sha}{zlib.crc32(xxh + sha.encode()):08x}"


def _checked(row: FileRow) -> str:
    """The SHA-256 of a row, "" when a bit of it has flipped in the table."""
    sha = (row[6] or "")[:SHA_CHARS]
    return sha if row[6] == _with_check(sha, row[5]) else ""


def _buffer() -> memoryview:
    """This thread's buffer."""
    found: memoryview | None = getattr(_buffers, "view", None)
    if found is None:
        found = _buffers.view = memoryview(bytearray(CHUNK_BYTES))
    return found


def walk(folder: str, skip: str = "") -> list[str]:
    """Relative paths of every file below a folder, sorted, slashes forward; without bytecode and without `skip`, a first-level folder."""
    found: list[str] = []
    stack = [""]
    while stack:
        inside = stack.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, inside)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            path = inside + entry.name
            if entry.is_dir():
                if path != skip and entry.name != BYTECODE:
                    stack.append(path + "/")
            else:
                found.append(path)
    found.sort()
    return found


def is_glob(path: str) -> bool:
    """Whether a path is a pattern."""
    return not _GLOB_MARKS.isdisjoint(path)


def find(base: str, pattern: str, skip: str = "") -> list[tuple[str, str]]:
    """Files that one path of a pipeline names, sorted.

    Args:
        base: folder that the path is relative to, absolute.
        pattern: a file, a folder (everything in it but `skip`) or a glob.
        skip: a first-level folder of a named folder that does not count.
    Returns:
        Pairs of (name of the file as seen from what the path names: its base name, or its path below the folder or below
        the part of the glob without marks; absolute path). Empty when nothing is there.
    """
    if not is_glob(pattern):
        path = os.path.normpath(os.path.join(base, pattern))
        if os.path.isdir(path):
            inside = walk(path, skip)
            return [(seen, f"{path}/{name}") for seen, name in zip(seen_from(path, inside), inside, strict=True)]
        return [(os.path.basename(path), path)] if os.path.exists(path) else []
    parts = pattern.split("/")
    literal = next(i for i, part in enumerate(parts) if is_glob(part))
    root = os.path.normpath(os.path.join(base, "/".join(parts[:literal]) or ("/" if pattern.startswith("/") else "")))
    found: list[tuple[str, str]] = []
    for hit in sorted(glob.glob("/".join(parts[literal:]), root_dir=root, recursive=True)):
        path = f"{root}/{hit}"
        names = [f"{hit}/{name}" for name in walk(path, skip)] if os.path.isdir(path) else [hit]
        found += [(name, f"{root}/{name}") for name in names]
    return found
