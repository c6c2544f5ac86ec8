"""Workspaces of the same jobs for each build tool that `engine.py` compares, and where those tools are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("scons", "dvc", "snakemake", "stepup")  # for --install_peers; never dependencies of the project
PARALLEL = "2"


@dataclass(frozen=True, slots=True)
class Job:
    """One task: `program` copies `source` to `target`, both relative; of a large source its first bytes."""

    name: str
    source: str
    target: str
    needs: str = ""  # the job that makes the source
    large: bool = False

    def argv(self, source: str, target: str) -> list[str]:
        """The command, no shell involved."""
        return (
            ["dd", f"if={source}", f"of={target}", "bs=64", "count=1", "status=none"]
            if self.large
            else ["cp", source, target]
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool: writes its build files for some jobs into a folder, and the command that builds there."""

    name: str
    write: Callable[[Path, Sequence[Job]], None]
    argv: Callable[[Path], list[str] | None]  # folder of peers -> command, or None when it is not there
    environment: Mapping[str, str]


def independent(count: int) -> list[Job]:
    """Jobs that have nothing to do with each other."""
    return [Job(f"t{i:05d}", f"in/{i}", f"out/{i}") for i in range(count)]


def chain(count: int) -> list[Job]:
    """Jobs of which each reads what the one before has made."""
    first = Job("t00000", "in/0", "out/0")
    return [first, *(Job(f"t{i:05d}", f"out/{i - 1}", f"out/{i}", f"t{i - 1:05d}") for i in range(1, count))]


def large(count: int) -> list[Job]:
    """Independent jobs on large inputs."""
    return [Job(f"t{i:05d}", f"in/{i}", f"out/{i}", large=True) for i in range(count)]


def write_ours(folder: Path, jobs: Sequence[Job]) -> None:
    """A pipeline of user steps."""
    place = folder / "workspace" / "bench"
    place.mkdir(parents=True)
    (place / "in").symlink_to(folder / "in")
    texts = []
    for job in jobs:
        source = f"bench:{job.needs}/o" if job.needs else job.source
        command = ", ".join(f'"{word}"' for word in job.argv("{inputs.i}", "{outputs.o}"))
        texts.append(
            f'[step.{job.name}]\ncommand = [{command}]\ninputs = {{ i = "{source}" }}\noutputs = {{ o = "o" }}\n'
        )
    (place / "pipeline.toml").write_text("\n".join(texts))
    write_dodo(folder)


def write_dodo(folder: Path) -> None:
    """The dodo.py of a workspace of ours."""
    (folder / "dodo.py").write_text(
        "from collections.abc import Iterator\nfrom typing import Any\n\nfrom tzrec_build.graph.tasks import Graph\n\n"
        f"graph = Graph({str(folder)!r})\nDOIT_CONFIG = graph.config()\n\n\n"
        "def task_build() -> Iterator[dict[str, Any]]:\n    yield from graph.tasks()\n"
    )


def write_doit(checker: str) -> Callable[[Path, Sequence[Job]], None]:
    """A dodo.py of stock doit, as a person would write it."""

    def write(folder: Path, jobs: Sequence[Job]) -> None:
        rows = [(job.name, job.argv(job.source, job.target), job.source, job.target) for job in jobs]
        (folder / "dodo.py").write_text(
            f"DOIT_CONFIG = {{'check_file_uptodate': {checker!r}, 'num_process': {PARALLEL}, 'par_type': 'thread', 'verbosity': 0}}\n"
            f"ROWS = {rows!r}\n\n\ndef task_b():\n    for name, argv, source, target in ROWS:\n"
            "        yield {'name': name, 'actions': [argv], 'file_dep': [source], 'targets': [target]}\n"
        )

    return write


def write_scons(folder: Path, jobs: Sequence[Job]) -> None:
    """An SConstruct; SCons decides by content."""
    lines = ["env = Environment()", "Decider('content')"]
    lines += [
        f"env.Command({job.target!r}, {job.source!r}, {' '.join(job.argv('$SOURCE', '$TARGET'))!r})" for job in jobs
    ]
    (folder / "SConstruct").write_text("\n".join(lines) + "\n")


def write_ninja(folder: Path, jobs: Sequence[Job]) -> None:
    """A build.ninja; ninja looks at times only."""
    lines = [
        "rule small",
        "  command = cp $in $out",
        "rule large",
        "  command = dd if=$in of=$out bs=64 count=1 status=none",
    ]
    lines += [f"build {job.target}: {'large' if job.large else 'small'} {job.source}" for job in jobs]
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def write_make(folder: Path, jobs: Sequence[Job]) -> None:
    """A Makefile; make looks at times only."""
    lines = [f"all: {' '.join(job.target for job in jobs)}"]
    lines += [f"{job.target}: {job.source}\n\t@{' '.join(job.argv('$<', '$@'))}" for job in jobs]
    (folder / "Makefile").write_text("\n".join(lines) + "\n")


def write_stepup(folder: Path, jobs: Sequence[Job]) -> None:
    """A plan.py of StepUp."""
    sources = sorted({job.source for job in jobs if not job.needs})
    rows = [(" ".join(job.argv(job.source, job.target)), job.source, job.target) for job in jobs]
    plan = folder / "plan.py"
    plan.write_text(
        "#!/usr/bin/env python3\nfrom stepup.core.api import run, static\n\n"
        f"static(*{sources!r})\nfor command, source, target in {rows!r}:\n"
        "    run(command, inp=[source], out=[target])\n"
    )
    plan.chmod(0o755)


def write_dvc(folder: Path, jobs: Sequence[Job]) -> None:
    """A dvc.yaml."""
    lines = ["stages:"]
    for job in jobs:
        command = " ".join(job.argv(job.source, job.target))
        lines += [f"  {job.name}:", f"    cmd: {command}", f"    deps: [{job.source}]", f"    outs: [{job.target}]"]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n"
    )


def write_snakemake(folder: Path, jobs: Sequence[Job]) -> None:
    """A Snakefile."""
    texts = [f"rule all:\n    input: {[job.target for job in jobs]!r}\n"]
    for job in jobs:
        command = " ".join(job.argv("{input}", "{output}"))
        texts.append(
            f"rule {job.name}:\n    input: {job.source!r}\n    output: {job.target!r}\n    shell: {command!r}\n"
        )
    (folder / "Snakefile").write_text("\n".join(texts))


def same_environment(peers: Path) -> Path:
    """This environment without tzrec-build: stock doit there finds as many packages, and none of our plugins."""
    place = peers / "same_environment"
    if not place.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        target = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        for entry in sorted(Path(sysconfig.get_path("purelib")).iterdir()):
            if "tzrec" not in entry.name:
                (target / entry.name).symlink_to(entry)
    return place


def program(name: str, *args: str) -> Callable[[Path], list[str] | None]:
    """A program on PATH or in the environment of the peers."""

    def find(peers: Path) -> list[str] | None:
        found = shutil.which(name, path=f"{peers / 'venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
        return [found, *args] if found else None

    return find


def _ours(peers: Path) -> list[str]:  # noqa: ARG001 - as for every peer
    return [sys.executable, "-m", "doit"]


def _stock(peers: Path) -> list[str]:
    return [str(same_environment(peers) / "bin" / "python"), "-m", "doit"]


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("ours", write_ours, _ours, {"PYTHONPATH": str(ROOT), "TZREC_CACHE": "off"}),
        Peer("doit md5", write_doit("md5"), _stock, {}),
        Peer("doit timestamp", write_doit("timestamp"), _stock, {}),
        Peer("scons", write_scons, program("scons", "-Q", "-s", f"-j{PARALLEL}"), {}),
        Peer("ninja", write_ninja, program("ninja", "--quiet", f"-j{PARALLEL}"), {}),
        Peer("make", write_make, program("make", "-s", f"-j{PARALLEL}"), {}),
        Peer("stepup", write_stepup, program("stepup", "build", "-j", PARALLEL, "--no-progress"), {}),
        Peer("dvc", write_dvc, program("dvc", "repro", "-q"), {"DVC_NO_ANALYTICS": "1"}),
        Peer("snakemake", write_snakemake, program("snakemake", "-q", "all", f"-c{PARALLEL}"), {}),
    )
}


def install(peers: Path) -> None:
    """Put the peers that pip has into an environment of their own."""
    if not (peers / "venv").exists():
        subprocess.run([sys.executable, "-m", "venv", str(peers / "venv")], check=True)
    subprocess.run([str(peers / "venv" / "bin" / "pip"), "install", "-q", *PACKAGES], check=True)
