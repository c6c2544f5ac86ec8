"""Upkeep of a cache: count it, check it, make it smaller. Safe while builds use it, and after a kill at any moment.

`gc` removes entries first and objects second, so that a kill in between leaves objects that nothing names (the next gc takes
them) and never an entry whose files are gone. It holds the file ``users`` alone, which publish and restore share.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.faults import fault_point
from tzrec_build.store.action_cache import ActionCache, for_each
from tzrec_build.store.manifest import Manifest, key_digits, parse_manifest
from tzrec_build.store.transfer import Blob, hash_file

WAIT_S = 60.0  # for running restores and publishes to end
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    """One action in the cache.

    Attributes:
        path: its file.
        used_s: when it was written or restored last, seconds since 1970.
        manifest: what it holds; None when the file is damaged.
    """

    path: Path
    used_s: float
    manifest: Manifest | None

    @property
    def task(self) -> str:
        """The task that it was made for, "(unknown)" where nothing says so."""
        return str(self.manifest.provenance.get("task", "(unknown)")) if self.manifest else "(damaged)"

    @property
    def size(self) -> int:
        """Bytes of its outputs, those it shares with other entries included."""
        return sum(_sizes(self.manifest).values()) if self.manifest else 0


@dataclass(frozen=True, slots=True)
class Stats:
    """What a cache holds.

    Attributes:
        root: its folder.
        entries, damaged: actions, and files among them that cannot be read.
        objects, size: files, and their bytes.
        unused, unused_size: objects that no entry names, and their bytes.
        unreproducible: keys that gave two results.
        quarantined: damaged files that `verify` put aside.
        tasks: task -> (entries, bytes), the largest first.
        oldest_s, newest_s: last use of the entries, seconds since 1970; 0 when there are none.
    """

    root: str
    entries: int
    damaged: int
    objects: int
    size: int
    unused: int
    unused_size: int
    unreproducible: int
    quarantined: int
    tasks: dict[str, tuple[int, int]]
    oldest_s: float
    newest_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """What `verify` found.

    Attributes:
        objects, size: what was hashed.
        entries: entries that were read.
        damaged: objects and entries that were put aside, sorted.
        broken: (task, key, output) of each entry that cannot be restored any more.
    """

    objects: int
    size: int
    entries: int
    damaged: tuple[str, ...]
    broken: tuple[tuple[str, str, str], ...]


def _nothing(_manifest: Manifest) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Policy:
    """What gc may remove; without a limit only what nothing can use.

    Attributes:
        now_s: the time, seconds since 1970.
        max_size: bytes of objects that may stay, -1 for any number.
        max_age_s: seconds since the last use after which an entry goes, -1 for never.
        precious: whether an entry must not go while it is the last of its kind.
        dry_run: say what would go, and remove nothing.
    """

    now_s: float
    max_size: int = -1
    max_age_s: float = -1.0
    precious: Callable[[Manifest], bool] = _nothing
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """What gc removed, or would remove.

    Attributes:
        entries: what went.
        kept: entries that a limit asked for and that stayed, as the last copy of something precious.
        objects, size: files that went, and their bytes.
        left, left_size: files that stay, and their bytes.
    """

    entries: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    objects: int
    size: int
    left: int
    left_size: int


def entries(cache: ActionCache) -> list[Entry]:
    """Read all entries, the least recently used first."""
    found = [entry for path in _files(cache.root / "actions") if (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: (entry.used_s, str(entry.path)))


def _entry(path: Path) -> Entry | None:
    try:
        used_s, data = path.stat().st_mtime, path.read_bytes()
    except FileNotFoundError:  # gc in another process
        return None
    try:
        manifest = parse_manifest(data)
        named = key_digits(manifest.key) == path.parent.name + path.stem
    except (CorruptError, ValueError):
        return Entry(path, used_s, None)
    return Entry(path, used_s, manifest if named else None)


def stats(cache: ActionCache) -> Stats:
    """Count what is there; no object is read."""
    listed, objects = entries(cache), dict(cache.objects.objects())
    named = {sha256 for entry in listed if entry.manifest for sha256 in _sizes(entry.manifest)}
    unused = [sha256 for sha256 in objects if sha256 not in named]
    tasks: dict[str, tuple[int, int]] = {}
    for entry in listed:
        count, size = tasks.get(entry.task, (0, 0))
        tasks[entry.task] = count + 1, size + entry.size
    return Stats(
        root=str(cache.root),
        entries=len(listed),
        damaged=sum(entry.manifest is None for entry in listed),
        objects=len(objects),
        size=sum(objects.values()),
        unused=len(unused),
        unused_size=sum(objects[sha256] for sha256 in unused),
        unreproducible=len(list(_files(cache.root / "unreproducible"))),
        quarantined=len(list(_files(cache.root / "quarantine"))),
        tasks=dict(sorted(tasks.items(), key=lambda item: (-item[1][1], item[0]))),
        oldest_s=listed[0].used_s if listed else 0.0,
        newest_s=listed[-1].used_s if listed else 0.0,
    )


def verify(cache: ActionCache) -> Found:
    """Hash every object and read every entry; what is damaged is moved to ``quarantine/``, where no lookup finds it."""
    with cache.in_use():
        objects = list(cache.objects.objects())
        bad = [sha256 for sha256 in for_each(lambda item: _damaged(cache, *item), objects) if sha256]
        aside = [_quarantine(cache, cache.objects.path_of(sha256), sha256) for sha256 in bad]
        listed = entries(cache)
        for entry in listed:
            if entry.manifest is None:
                name = f"{entry.path.parent.name}{entry.path.name}"
                aside.append(_quarantine(cache, entry.path, name))
    broken = tuple(
        (entry.task, entry.manifest.key, missing[0])
        for entry in listed
        if entry.manifest and (missing := cache.missing(entry.manifest))
    )
    return Found(len(objects), sum(size for _, size in objects), len(listed), tuple(sorted(aside)), broken)


def _damaged(cache: ActionCache, sha256: str, size: int) -> str:
    """The name of an object that is not what it says, else ""."""
    try:
        return "" if hash_file(cache.objects.path_of(sha256)) == Blob(sha256, size) else sha256
    except FileNotFoundError:  # gc in another process
        return ""
    except OSError:  # what cannot be read is as good as damaged
        return sha256


def _quarantine(cache: ActionCache, path: Path, name: str) -> str:
    target = cache.root / "quarantine" / name[:2] / name[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return str(path)


def gc(cache: ActionCache, policy: Policy) -> Removed:
    """Remove the least recently used entries until the limits are kept, and every object that no entry names.

    Raises:
        BuildError: builds use the cache for longer than `WAIT_S`.
    """
    if policy.dry_run or not cache.root.is_dir():
        return _remove(cache, policy)
    with _alone(cache.root):
        return _remove(cache, policy)


def _remove(cache: ActionCache, policy: Policy) -> Removed:
    listed, objects = entries(cache), dict(cache.objects.objects())
    gone, kept = _choose(listed, policy)
    lost = {entry.path for entry in gone}
    needed = {sha for entry in listed if entry.path not in lost and entry.manifest for sha in _sizes(entry.manifest)}
    unused = [sha256 for sha256 in objects if sha256 not in needed]
    if not policy.dry_run:
        fault_point("gc.before")
        _unlink(entry.path for entry in gone)
        _unlink(cache.root / "unreproducible" / path.parent.name / path.name for path in lost)
        fault_point("gc.between")
        _unlink(cache.objects.path_of(sha256) for sha256 in unused)
        _unlink(_files(cache.root / "quarantine"))
        cache.objects.remove_stale_temps(policy.now_s)
        fault_point("gc.after")
    size = sum(objects[sha256] for sha256 in unused)
    return Removed(
        tuple(gone), tuple(kept), len(unused), size, len(objects) - len(unused), sum(objects.values()) - size
    )


def _choose(listed: list[Entry], policy: Policy) -> tuple[list[Entry], list[Entry]]:
    """Which entries go, and which would go but are the last copy of something precious."""
    gone = [entry for entry in listed if entry.manifest is None]
    kept: list[Entry] = []
    users: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    copies: Counter[object] = Counter()
    whole = [(entry, entry.manifest) for entry in listed if entry.manifest is not None]
    for _, manifest in whole:
        sizes |= _sizes(manifest)
        users.update(_sizes(manifest).keys())
        copies[manifest.outputs] += 1
    left = sum(sizes.values())
    for entry, manifest in whole:
        old = policy.max_age_s >= 0 and policy.now_s - entry.used_s > policy.max_age_s
        if not old and not 0 <= policy.max_size < left:
            continue
        if copies[manifest.outputs] == 1 and policy.precious(manifest):
            kept.append(entry)
            continue
        gone.append(entry)
        copies[manifest.outputs] -= 1
        for sha256, size in _sizes(manifest).items():
            users[sha256] -= 1
            left -= 0 if users[sha256] else size
    return gone, kept


def _sizes(manifest: Manifest) -> dict[str, int]:
    return {output.sha256: output.size for output in manifest.outputs}


def _files(folder: Path) -> Iterator[Path]:
    """Files two levels below a folder, sorted; none when it is not there."""
    for inner in sorted(folder.iterdir()) if folder.is_dir() else ():
        if inner.is_dir():
            yield from sorted(inner.iterdir())


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the cache while nobody reads or writes objects."""
    deadline_s = time.monotonic() + WAIT_S
    with (root / "users").open("ab") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as err:
                if time.monotonic() > deadline_s:
                    raise BuildError(
                        f"{root}: must not be in use while it is made smaller, got builds that restored or published for "
                        f"{WAIT_S:.0f} s; try again when they have ended"
                    ) from err
                time.sleep(POLL_S)
        yield
