"""Our build engine next to stock doit, SCons, ninja, make, StepUp, DVC and Snakemake, on workspaces made of user steps.

Each tool builds the same jobs (copy a small file; first bytes of a large one) in a folder of its own: 1,000 independent jobs, a
chain of 100, ten inputs of 200 MB; DVC and Snakemake 100 independent jobs. Measured, each a whole process: full build, no-op,
no-op after a touch of every input and the one after that, one changed input, restore of all outputs where there is a cache, peak
memory. No-ops are measured in rounds in which every tool has its turn, in changing order: a shared machine slows all alike.
One JSON line a figure: {"figure", "tool", "seconds" (median), "min", "max", "runs", "peak_mib"}; then ratios next to their targets.
Peers are looked for on PATH and in --peers_dir; one that is absent is reported as absent. `doit` runs in a copy of this
environment without our plugins, so that it has as many packages to look through.
Usage: python benchmarks/engine.py [--tasks 1000] [--runs 15] [--quick] [--peers_dir DIR [--install_peers]] [--only NAME,..]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine_peers import PEERS, Job, Peer, chain, independent, install, large, write_dodo

ROOT = Path(__file__).resolve().parent.parent
LIGHT = ("ours", "doit md5", "doit timestamp", "scons", "ninja", "make", "stepup")
HEAVY = ("ours", "dvc", "snakemake")
LARGE = ("ours", "doit md5", "doit timestamp", "scons", "ninja", "make")
TARGETS: Sequence[tuple[str, str, str, str, float]] = (  # figure, tool, over figure, over tool, at most
    ("no-op, independent", "ours", "no-op, independent", "doit md5", 1.0),
    ("no-op, 100 tasks", "ours", "no-op, 100 tasks", "dvc", 0.1),
    ("no-op, 100 tasks", "ours", "no-op, 100 tasks", "snakemake", 0.1),
    ("after touch, large", "ours", "after touch, large", "doit md5", 0.15),
    ("no-op after touch, large", "ours", "no-op, large", "ours", 1.1),
    ("no-op a task, 10 x", "ours", "no-op a task, independent", "ours", 1.2),
    ("hashing", "ours", "hashing", "bare loop", 1.25),  # ours at >= 0.8 of its speed
)
LIMITS_S: Mapping[str, float] = {"no-op, 50 x 15": 0.5, "list, 50 x 15": 0.3}
HASH_OURS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.state import State
import xxhash
digests = Digests(State(sys.argv[2]))
start = time.perf_counter()
digests.look_ahead(sys.argv[3:])
print(time.perf_counter() - start)
"""
HASH_BARE = """
import sys, threading, time
import xxhash
todo = sys.argv[3:]
def work():
    view = memoryview(bytearray(1 << 20))
    while todo:
        try:
            path = todo.pop()
        except IndexError:
            return
        digest = xxhash.xxh3_128()
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(view):
                digest.update(view[:count])
start = time.perf_counter()
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall seconds and peak memory."""

    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Place:
    """A tool in the folder where it builds."""

    peer: Peer
    folder: Path
    argv: list[str]

    def run(self, *args: str, **env: str) -> Run:
        """Run the tool once; raises ChildProcessError when it fails."""
        environment = {**os.environ, **self.peer.environment, **env}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with tempfile.TemporaryFile() as out:
            start = time.perf_counter()
            child = subprocess.Popen([*self.argv, *args], cwd=self.folder, env=environment, stdout=out, stderr=out)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                out.seek(0)
                raise ChildProcessError(
                    f"{self.peer.name} in {self.folder}: ended with {child.returncode}\n{out.read().decode()}"
                )
        return Run(seconds, usage.ru_maxrss / 1024)


class Figures:
    """What was measured, printed at once."""

    def __init__(self) -> None:
        self.medians: dict[tuple[str, str], float] = {}

    def add(self, figure: str, tool: str, runs: Sequence[Run]) -> None:
        """Note the median of some runs."""
        seconds = [run.seconds for run in runs]
        self.medians[figure, tool] = statistics.median(seconds)
        shown = {"seconds": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
        line = {
            "figure": figure,
            "tool": tool,
            **{name: round(value, 4) for name, value in shown.items()},
            "runs": len(runs),
        }
        print(json.dumps({**line, "peak_mib": round(max(run.peak_mib for run in runs), 1)}), flush=True)


class Bench:
    """One call: folders, options, figures."""

    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self.options, self.work, self.figures = options, work, Figures()
        self.peers = Path(options.peers_dir) if options.peers_dir else work / "peers"
        self.peers.mkdir(parents=True, exist_ok=True)
        self.runs: int = options.runs

    def places(self, names: Sequence[str], label: str, jobs: Sequence[Job], size: int = 0) -> list[Place]:
        """Folders of the tools that are there, with their build files and inputs, none built yet."""
        found = []
        for name in names:
            peer, folder = PEERS[name], self.work / f"{label} {name}".replace(" ", "_")
            argv = peer.argv(self.peers)
            if argv is None:
                print(json.dumps({"figure": label, "tool": name, "absent": True}), flush=True)
                continue
            for part in ("in", "out"):
                (folder / part).mkdir(parents=True)
            for number, job in enumerate(jobs):
                if not job.needs:
                    write_input(folder / job.source, number, size)
            peer.write(folder, jobs)
            found.append(Place(peer, folder, argv))
        return found

    def rounds(self, figure: str, places: Sequence[Place]) -> None:
        """No-ops of every tool in turn."""
        runs: dict[str, list[Run]] = {place.peer.name: [] for place in places}
        for number in range(self.runs):
            for place in places[:: -1 if number % 2 else 1]:
                runs[place.peer.name].append(place.run())
        for name, found in runs.items():
            self.figures.add(figure, name, found)

    def first(self, figure: str, place: Place) -> bool:
        """The full build, and a no-op that fills what it will; a peer that fails here is reported, and left out."""
        try:
            self.figures.add(figure, place.peer.name, [place.run()])
            place.run()
        except ChildProcessError as err:
            if place.peer.name == "ours":
                raise
            print(json.dumps({"figure": figure, "tool": place.peer.name, "failed": str(err)}), flush=True)
            return False
        return True

    def compare(self, label: str, names: Sequence[str], jobs: Sequence[Job], size: int = 0) -> None:
        """All figures of one set of jobs."""
        places = [place for place in self.places(names, label, jobs, size) if self.first(f"full, {label}", place)]
        self.rounds(f"no-op, {label}", places)
        for place in places:
            touch(place.folder / "in")
            self.figures.add(f"after touch, {label}", place.peer.name, [place.run()])
        self.rounds(f"no-op after touch, {label}", places)
        for place in places:
            write_input(place.folder / "in" / "0", 1_000_000, size)
            self.figures.add(f"one change, {label}", place.peer.name, [place.run()])
        for place in places:
            shutil.rmtree(place.folder)

    def restore(self, jobs: Sequence[Job]) -> None:
        """All outputs lost, with a cache that has them."""
        for place in self.places(("ours", "dvc"), "restore", jobs):
            env = {"TZREC_CACHE": "on", "TZREC_CACHE_DIR": str(place.folder / "cache")}
            place.run(**env)
            shutil.rmtree(place.folder / "workspace" / "bench" / "build", ignore_errors=True)
            shutil.rmtree(place.folder / "out")
            (place.folder / "out").mkdir()
            self.figures.add("restore all, 100 tasks", place.peer.name, [place.run(**env)])

    def scale(self, count: int) -> None:
        """Cost of a task when there are ten times as many, and of the first start, which compiles the workspace."""
        for label, number in (("independent", count), ("10 x", 10 * count)):
            (place,) = self.places(("ours",), f"scale {label}", independent(number))
            place.run()
            place.run()
            runs = [place.run() for _ in range(self.runs)]
            self.figures.add(
                f"no-op a task, {label}", "ours", [Run(run.seconds / number, run.peak_mib) for run in runs]
            )
            (place.folder / "workspace" / ".state" / "workspace.compiled").unlink()
            self.figures.add(f"no-op, cold, {number} tasks", "ours", [place.run()])
            shutil.rmtree(place.folder)

    def pipelines(self, count: int, steps: int) -> None:
        """Many small pipelines: no-op and list."""
        folder = self.work / "pipelines"
        for number in range(count):
            place = folder / "workspace" / f"p{number:03d}"
            place.mkdir(parents=True)
            (place / "in").write_text(str(number))
            step = '[step.s{i}]\ncommand = ["cp", "{{inputs.i}}", "{{outputs.o}}"]\ninputs = {{ i = "in" }}\noutputs = {{ o = "o" }}\n'
            (place / "pipeline.toml").write_text("".join(step.format(i=i) for i in range(steps)))
        write_dodo(folder)
        ours = Place(PEERS["ours"], folder, PEERS["ours"].argv(self.peers) or [])
        ours.run()
        ours.run()
        self.figures.add(f"no-op, {count} x {steps}", "ours", [ours.run() for _ in range(self.runs)])
        self.figures.add(f"list, {count} x {steps}", "ours", [ours.run("list") for _ in range(self.runs)])

    def hashing(self, count: int, size: int) -> None:
        """Our reading ahead next to a bare loop with one buffer a thread, over the same files."""
        folder = self.work / "hashing"
        folder.mkdir()
        files = [str(folder / str(number)) for number in range(count)]
        for number, path in enumerate(files):
            write_input(Path(path), number, size)
        runs: dict[str, list[Run]] = {"ours": [], "bare loop": []}
        for number in range(self.runs):
            for tool, code in (("ours", HASH_OURS), ("bare loop", HASH_BARE)):
                argv = [sys.executable, "-c", code, str(ROOT), str(folder / f"state{number}"), *files]
                done = subprocess.run(argv, capture_output=True, text=True, check=True)
                runs[tool].append(Run(float(done.stdout), 0.0))
        for tool, found in runs.items():
            self.figures.add("hashing", tool, found)
        shutil.rmtree(folder)


def write_input(path: Path, number: int, size: int) -> None:
    """An input that differs from every other one; `size` bytes when given."""
    head = f"{number}\n".encode()
    with path.open("wb") as file:
        file.write(head)
        block = (head * (1 + (1 << 20) // len(head)))[: 1 << 20]
        for start in range(len(head), size, len(block)):
            file.write(block[: size - start])


def touch(folder: Path) -> None:
    """New times, same content."""
    for path in folder.iterdir():
        os.utime(path)


def print_ratios(figures: Figures) -> None:
    """The targets, and what was reached."""
    print(f"\n{'ratio':<72} {'got':>8} {'at most':>8}")
    medians = figures.medians
    for figure, tool, over, other, limit in TARGETS:
        if (figure, tool) in medians and (over, other) in medians:
            ratio = medians[figure, tool] / medians[over, other]
            print(f"{figure + ', ' + tool + ' / ' + over + ', ' + other:<72} {ratio:8.3f} {limit:8.2f}")
    for figure, limit in LIMITS_S.items():
        if (figure, "ours") in medians:
            print(f"{figure + ', seconds':<72} {medians[figure, 'ours']:8.3f} {limit:8.2f}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1000, help="independent tasks")
    parser.add_argument("--runs", type=int, default=15, help="rounds of the no-ops")
    parser.add_argument("--quick", action="store_true", help="small sizes, 3 rounds: to see that it works")
    parser.add_argument("--peers_dir", default="", help="folder with, or for, the environments of the peers")
    parser.add_argument("--install_peers", action="store_true", help="install the peers that pip has into --peers_dir")
    parser.add_argument(
        "--only", default="", help="parts, by name: independent,chain,large,heavy,restore,scale,pipelines,hashing"
    )
    options = parser.parse_args(argv)
    tasks, few, size = options.tasks, 100, 200_000_000
    if options.quick:
        tasks, few, size, options.runs = min(tasks, 50), 10, 2_000_000, 3
    with tempfile.TemporaryDirectory(prefix="engine_") as work:
        bench = Bench(options, Path(work))
        if options.install_peers:
            install(bench.peers)
        parts = {
            "independent": lambda: bench.compare("independent", LIGHT, independent(tasks)),
            "chain": lambda: bench.compare("chain", LIGHT, chain(few)),
            "large": lambda: bench.compare("large", LARGE, large(10), size),
            "heavy": lambda: bench.compare(f"{few} tasks", HEAVY, independent(few)),
            "restore": lambda: bench.restore(independent(few)),
            "scale": lambda: bench.scale(tasks),
            "pipelines": lambda: bench.pipelines(5 if options.quick else 50, 15),
            "hashing": lambda: bench.hashing(10, size),
        }
        try:
            for name in options.only.split(",") if options.only else parts:
                parts[name]()
        except ChildProcessError as err:
            raise SystemExit(str(err)) from err
        print_ratios(bench.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
