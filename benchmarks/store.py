"""Publish, restore and hashing of the action cache, next to cp or ln with a SHA-256 on two threads, and to DVC where it is installed.

Imitates artifacts: one large checkpoint, a few parts of an index, many small files. One JSON line a figure: median seconds of ours
and of the baseline, and the median, least and largest ratio of pairs that ran one after the other (a shared machine slows both).
  publish          into an empty cache, next to `cp --reflink=never` and SHA-256
  restore copy     next to the same
  restore reflink  next to `cp --reflink=always` and SHA-256; left out where the file system shares no extents
  restore hard     next to `cp --link` and SHA-256; as root this runs as nobody, because root gets no hard links
  verify           SHA-256 of every object, next to hashlib.file_digest of the same files on two threads
  dvc              `dvc checkout` next to restore copy; left out without a dvc on PATH
Every baseline reads what it has made, as ours does; both sides are warm in the page cache.
Usage: python benchmarks/store.py [--folder DIR] [--runs 15] [--quick]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tzrec_build.store import upkeep
from tzrec_build.store.action_cache import ActionCache

SHAPES = {"1 x 400 MB": (1, 400_000_000), "10 x 40 MB": (10, 40_000_000), "1000 x 100 kB": (1000, 100_000)}
QUICK = {"1 x 40 MB": (1, 40_000_000), "100 x 100 kB": (100, 100_000)}
QUICK_RUNS = 3
KEY = "sha256:" + "0" * 64
NOBODY = 65534


def sha256_on_two_threads(folder: Path) -> None:
    """Take the SHA-256 of every file of a folder."""

    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(digest, [path for path in folder.rglob("*") if path.is_file()]))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pairs(runs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> dict[str, float]:
    """Run both in turn, and compare each run with the one beside it; the first pair warms up."""
    found = [(ours(), theirs()) if run % 2 else (theirs(), ours())[::-1] for run in range(runs + 1)][1:]
    ratios = [one / other for one, other in found]
    return {
        "ours_s": round(statistics.median(one for one, _ in found), 4),
        "baseline_s": round(statistics.median(other for _, other in found), 4),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "pairs": runs,
    }


class Bench:
    """One artifact, and what is done with it."""

    def __init__(self, base: Path, files: int, size: int) -> None:
        self.base, self.source = base, base / "source"
        self.source.mkdir(parents=True)
        for number in range(files):
            (self.source / f"f{number}").write_bytes(os.urandom(size))
        self.names = sorted(path.name for path in self.source.iterdir())

    def cache(self, link: str = "copy") -> ActionCache:
        return ActionCache(self.base / "cache" / "v1", link)

    def clear(self, name: str) -> Path:
        """An absent folder; what was written before is on the disk, so that nobody pays for another's writes."""
        shutil.rmtree(self.base / name, ignore_errors=True)
        os.sync()
        return self.base / name

    def publish(self) -> float:
        self.clear("cache")
        return seconds(lambda: self.cache().publish(KEY, self.source, self.names, {}))

    def restore(self, link: str) -> float:
        cache, folder = self.cache(link), self.clear("out")
        manifest = cache.lookup(KEY)
        if manifest is None:
            raise RuntimeError("bug: the cache has lost the entry")
        return seconds(lambda: cache.restore(manifest, folder, immutable=True))

    def copy(self, flag: str) -> float:
        folder = self.clear("copied")

        def work() -> None:
            subprocess.run(["cp", "-r", flag, self.source, folder], check=True)
            sha256_on_two_threads(folder)

        return seconds(work)

    def verify(self) -> float:
        return seconds(lambda: upkeep.verify(self.cache()))

    def shares_extents(self) -> bool:
        (self.base / "probe").write_bytes(b"x" * 100_000)
        command = ["cp", "--reflink=always", str(self.base / "probe"), str(self.base / "probe2")]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def dvc_checkout(base: Path, source: Path) -> Callable[[], float]:
    """Make a DVC project that holds a copy of `source`, and return what times its checkout."""
    shutil.copytree(source, base / "dvc" / "data")

    def dvc(*args: str) -> None:
        subprocess.run(["dvc", *args], cwd=base / "dvc", check=True, capture_output=True)

    dvc("init", "--no-scm", "-q")
    dvc("config", "cache.type", "copy")
    dvc("add", "-q", "data")

    def checkout() -> float:
        shutil.rmtree(base / "dvc" / "data")
        return seconds(lambda: dvc("checkout", "-q"))

    return checkout


def measure(base: Path, shape: str, files: int, size: int, runs: int) -> None:
    def show(figure: str, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
        print(json.dumps({"figure": figure, "shape": shape, **pairs(runs, ours, theirs)}), flush=True)

    bench = Bench(base, files, size)
    show("publish", bench.publish, lambda: bench.copy("--reflink=never"))
    show("restore copy", lambda: bench.restore("copy"), lambda: bench.copy("--reflink=never"))
    if bench.shares_extents():
        show("restore reflink", lambda: bench.restore("auto"), lambda: bench.copy("--reflink=always"))
    show("restore hard", lambda: bench.restore("hard"), lambda: bench.copy("--link"))
    show("verify", bench.verify, lambda: seconds(lambda: sha256_on_two_threads(base / "cache" / "v1" / "objects")))
    if shutil.which("dvc"):
        show("dvc", lambda: bench.restore("copy"), dvc_checkout(base, bench.source))


def main() -> None:
    """Measure every shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where to work; its file system is what is measured"
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help=f"small files, {QUICK_RUNS} runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        for shape, (files, size) in (QUICK if args.quick else SHAPES).items():
            base = Path(folder) / shape.replace(" ", "_")
            measure(base, shape, files, size, QUICK_RUNS if args.quick else args.runs)
            shutil.rmtree(base)
        if os.getuid() == 0:
            os.seteuid(0)


if __name__ == "__main__":
    main()
