from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.store import upkeep
from tzrec_build.store.action_cache import ActionCache
from tzrec_build.store.upkeep import Policy

DAY_S = 86400.0
NOW_S = 1_000_000_000.0


@pytest.fixture
def cache(tmp_path: Path) -> ActionCache:
    return ActionCache(tmp_path / "cache" / "v1")


def key(number: int) -> str:
    return f"sha256:{number:064x}"


def keep(cache: ActionCache, tmp_path: Path, number: int, files: dict[str, bytes], **facts: object) -> None:
    """Publish one entry, last used `number` days after `NOW_S` - 100 days."""
    folder = tmp_path / f"made{number}"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert cache.publish(key(number), folder, list(files), {"task": f"step:p:{number}", **facts}) is not None
    used_s = NOW_S + (number - 100) * DAY_S
    os.utime(cache.entry_path("actions", key(number)), (used_s, used_s))


def restorable(cache: ActionCache, tmp_path: Path, numbers: range) -> set[int]:
    """Which entries come back whole."""
    found = set()
    for number in numbers:
        manifest = cache.lookup(key(number))
        if manifest is not None:
            cache.restore(manifest, tmp_path / "restored" / str(number))
            found.add(number)
    return found


def objects(cache: ActionCache) -> int:
    return len(list(cache.objects.objects()))


def test_stats_count_shared_objects_once(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"x" * 10, "b": b"y" * 5})
    keep(cache, tmp_path, 2, {"a": b"x" * 10})
    found = cache.stats()
    assert (found.entries, found.objects, found.size, found.unused, found.damaged) == (2, 2, 15, 0, 0)
    assert found.tasks == {"step:p:1": (1, 15), "step:p:2": (1, 10)}
    assert (found.oldest_s, found.newest_s) == (NOW_S - 99 * DAY_S, NOW_S - 98 * DAY_S)


def test_stats_of_no_cache_are_zeros(cache: ActionCache) -> None:
    assert (cache.stats().entries, cache.stats().size, cache.stats().tasks) == (0, 0, {})
    assert not cache.root.exists()


def test_verify_puts_damaged_objects_aside_and_names_who_needs_them(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"good"})
    keep(cache, tmp_path, 2, {"a": b"fine", "z": b"last"})
    bad = cache.objects.path_of(cache.lookup(key(2)).outputs[1].sha256)
    bad.chmod(0o644)
    bad.write_bytes(b"lost")
    found = cache.verify()
    assert (found.objects, found.size, found.entries) == (3, 12, 2)
    assert found.damaged == (str(bad),)
    assert found.broken == (("step:p:2", key(2), "z"),)
    assert [path.read_bytes() for path in (cache.root / "quarantine").rglob("*") if path.is_file()] == [b"lost"]
    assert restorable(cache, tmp_path, range(1, 3)) == {1}
    assert cache.verify().damaged == ()


def test_verify_puts_a_damaged_entry_aside(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    path = cache.entry_path("actions", key(1))
    path.write_text("{")
    assert cache.stats().damaged == 1
    found = cache.verify()
    assert found.damaged == (str(path),)
    assert found.broken == ()
    assert cache.lookup(key(1)) is None


def test_an_entry_under_another_key_is_damaged(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    path = cache.entry_path("actions", key(1))
    path.rename(path.with_name(f"{'9' * 62}.json"))
    assert cache.stats().damaged == 1


def test_gc_without_a_limit_takes_only_what_nothing_names(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    keep(cache, tmp_path, 2, {"a": b"22"})
    cache.entry_path("actions", key(2)).unlink()
    assert (cache.stats().unused, cache.stats().unused_size) == (1, 2)
    removed = cache.gc(Policy(NOW_S))
    assert (removed.entries, removed.objects, removed.size, removed.left, removed.left_size) == ((), 1, 2, 1, 1)
    assert restorable(cache, tmp_path, range(1, 3)) == {1}


def test_gc_by_age_goes_by_the_last_use(cache: ActionCache, tmp_path: Path) -> None:
    for number in (10, 50, 90):
        keep(cache, tmp_path, number, {"a": str(number).encode()})
    os.utime(cache.entry_path("actions", key(10)), (NOW_S, NOW_S))  # as a restore does
    removed = cache.gc(Policy(NOW_S, max_age_s=30 * DAY_S))
    assert [entry.task for entry in removed.entries] == ["step:p:50"]
    assert restorable(cache, tmp_path, range(100)) == {10, 90}


def test_a_restore_counts_as_use(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    path = cache.entry_path("actions", key(1))
    before = path.stat().st_mtime
    cache.restore(cache.lookup(key(1)), tmp_path / "restored")
    assert path.stat().st_mtime > before


def test_gc_by_size_takes_the_least_recently_used_first(cache: ActionCache, tmp_path: Path) -> None:
    for number in range(1, 5):
        keep(cache, tmp_path, number, {"a": bytes([number]) * 100})
    removed = cache.gc(Policy(NOW_S, max_size=250))
    assert [entry.task for entry in removed.entries] == ["step:p:1", "step:p:2"]
    assert (removed.left, removed.left_size) == (2, 200)
    assert restorable(cache, tmp_path, range(5)) == {3, 4}


def test_gc_keeps_an_object_that_a_younger_entry_shares(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"s" * 100})
    keep(cache, tmp_path, 2, {"b": b"s" * 100})
    keep(cache, tmp_path, 3, {"c": b"t" * 100})
    removed = cache.gc(Policy(NOW_S, max_size=150))
    assert [entry.task for entry in removed.entries] == ["step:p:1", "step:p:2"]
    assert restorable(cache, tmp_path, range(5)) == {3}
    assert objects(cache) == 1


def test_dry_run_names_the_same_and_removes_nothing(cache: ActionCache, tmp_path: Path) -> None:
    for number in range(1, 5):
        keep(cache, tmp_path, number, {"a": bytes([number]) * 100})
    would = cache.gc(Policy(NOW_S, max_size=250, dry_run=True))
    assert restorable(cache, tmp_path, range(5)) == {1, 2, 3, 4}
    for number in range(1, 5):  # restored just now: give the order back
        used_s = NOW_S + number
        os.utime(cache.entry_path("actions", key(number)), (used_s, used_s))
    did = cache.gc(Policy(NOW_S, max_size=250))
    assert [entry.task for entry in would.entries] == [entry.task for entry in did.entries]
    assert (would.objects, would.size) == (did.objects, did.size)


def test_gc_never_takes_the_last_copy_of_something_precious(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"model": b"weights"}, tool="train")
    keep(cache, tmp_path, 2, {"model": b"weights"}, tool="train")
    keep(cache, tmp_path, 3, {"page": b"text"})
    policy = Policy(NOW_S, max_size=0, precious=lambda manifest: manifest.provenance.get("tool") == "train")
    removed = cache.gc(policy)
    assert [entry.task for entry in removed.entries] == ["step:p:1", "step:p:3"]
    assert [entry.task for entry in removed.kept] == ["step:p:2"]
    assert restorable(cache, tmp_path, range(5)) == {2}


def test_gc_takes_damaged_entries_and_the_quarantine(cache: ActionCache, tmp_path: Path) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    keep(cache, tmp_path, 2, {"a": b"2"})
    path = cache.objects.path_of(cache.lookup(key(2)).outputs[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"x")
    cache.verify()
    cache.entry_path("actions", key(1)).write_text("{")
    removed = cache.gc(Policy(NOW_S))
    assert [entry.task for entry in removed.entries] == ["(damaged)"]
    assert [path for path in (cache.root / "quarantine").rglob("*") if path.is_file()] == []


def test_gc_of_no_cache_makes_none(cache: ActionCache) -> None:
    assert cache.gc(Policy(NOW_S, max_size=0)).objects == 0
    assert not cache.root.exists()


def test_gc_gives_up_while_builds_use_the_cache(
    cache: ActionCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, tmp_path, 1, {"a": b"1"})
    monkeypatch.setattr(upkeep, "WAIT_S", 0.0)
    with cache.in_use(), pytest.raises(BuildError) as caught:
        cache.gc(Policy(NOW_S, max_size=0))
    assert str(caught.value) == (
        f"{cache.root}: must not be in use while it is made smaller, got builds that restored or published for 0 s; "
        "try again when they have ended"
    )
    assert restorable(cache, tmp_path, range(3)) == {1}


@pytest.mark.parametrize("point", ["gc.before", "gc.between", "gc.after"])
def test_a_killed_gc_leaves_no_entry_without_its_files(cache: ActionCache, tmp_path: Path, point: str) -> None:
    for number in range(1, 5):
        keep(cache, tmp_path, number, {"a": bytes([number]) * 100, "shared": b"s"})
    script = (
        "from pathlib import Path\nfrom tzrec_build.store.action_cache import ActionCache\n"
        "from tzrec_build.store.upkeep import Policy\n"
        f"ActionCache(Path({str(cache.root)!r})).gc(Policy({NOW_S}, max_size=201))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "TZREC_FAULT": point}, check=False)
    assert done.returncode == -9
    assert restorable(cache, tmp_path, range(5)) == ({1, 2, 3, 4} if point == "gc.before" else {3, 4})
    assert cache.verify().broken == ()
    cache.gc(Policy(NOW_S))
    assert cache.stats().unused == 0
    assert restorable(cache, tmp_path / "again", range(5)) == ({1, 2, 3, 4} if point == "gc.before" else {3, 4})


WORKER = """
import random, sys
from pathlib import Path
from tzrec_build.errors import CorruptError
from tzrec_build.store.action_cache import ActionCache
root, made, mine = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
cache, dice, restored = ActionCache(root), random.Random(mine), 0
sys.stdin.readline()
for turn in range(40):
    number = dice.randrange(6)
    key, folder = f"sha256:{number:064x}", made / f"{mine}-{turn}"
    data = {"own": bytes([number]) * 3000, "shared": b"s" * 5000}
    manifest = cache.lookup(key)
    try:
        if manifest is None:
            raise CorruptError("absent")
        cache.restore(manifest, folder)
        restored += 1
    except CorruptError:
        folder.mkdir(exist_ok=True)
        for name, content in data.items():
            (folder / name).write_bytes(content)
        assert cache.publish(key, folder, list(data), {"task": "step:p:t"}) is not None
    for name, content in data.items():
        assert (folder / name).read_bytes() == content
print(restored)
"""


def test_eight_processes_share_keys_while_gc_runs(cache: ActionCache, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(cache.root), str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(mine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for mine in range(8)
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    while any(worker.poll() is None for worker in workers):
        cache.gc(Policy(NOW_S, max_size=9000))
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 8
    assert sum(int(worker.stdout.read()) for worker in workers) > 0
    for worker in workers:
        worker.stdin.close()
        worker.stdout.close()
    found = cache.verify()
    assert (found.damaged, found.broken) == ((), ())
