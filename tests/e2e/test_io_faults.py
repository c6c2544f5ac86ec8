"""A disk that fails: whatever call fails, the error is clear, the artifacts stay whole, and the next build ends as if nothing had been.

`io_faults.c` makes one call of the build fail, below the workspace and the cache. By default a few calls of each kind are tried;
``TZREC_ALL_IO_FAULTS=1`` tries each in turn, with each error.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.project import Done, Project

PIPELINE = """
[step.first]
command = ["sh", "-c", "cat $0 $0 > $1; echo more > $2", "{inputs.raw}", "{outputs.text}", "{outputs.more}"]
inputs = { raw = "raw.txt" }
outputs = { text = "first.txt", more = "sub/more.txt" }

[step.second]
command = ["sh", "-c", "cat $0 $0 > $1", "{inputs.text}", "{outputs.text}"]
inputs = { text = "here:first/first.txt" }
outputs = { text = "second.txt" }
"""
OLD, NEW = "old\n", "brand new\n"
CALLS = ("open", "write", "fsync", "rename")
TRIED = 3  # calls of each kind, unless all are asked for
ALL = bool(os.environ.get("TZREC_ALL_IO_FAULTS"))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small file system")


def outputs(raw: str) -> dict[str, str]:
    """What the artifacts hold when they were made from `raw`."""
    return {"first/first.txt": raw * 2, "first/sub/more.txt": "more\n", "second/second.txt": raw * 4}


@dataclass(frozen=True, slots=True)
class Bench:
    """A project that was built from `OLD` and has `NEW` to build, copied afresh for each fault."""

    project: Project
    saved: Path
    shim: Path

    def reset(self) -> None:
        for folder in (self.project.root, Path(self.project.cache)):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.saved / folder.name, folder)

    def fault(self, call: str, at: int, number: int, *, lasts: bool = False) -> tuple[Done, int]:
        """Build while the call `at` fails; return how it ended and how many calls of this kind were made."""
        log = self.saved / "log"
        done = self.project.doit(
            LD_PRELOAD=str(self.shim),
            IO_FAULT_CALL=call,
            IO_FAULT_AT=str(at),
            IO_FAULT_LASTS=str(int(lasts)),
            IO_FAULT_ERRNO=str(number),
            IO_FAULT_UNDER=f"{self.project.path('')}:{self.project.cache}".replace("/:", ":"),
            IO_FAULT_LOG=str(log),
        )
        return done, int(log.read_text().split()[0])

    def found(self) -> dict[str, str]:
        build = self.project.path("here/build")
        return {
            str(path.relative_to(build)): path.read_text()
            for path in build.rglob("*")
            if path.is_file() and path.relative_to(build).parts[0] != ".work" and "records" not in path.parts
        }

    def check(self, done: Done, what: str) -> None:
        """What must hold after any fault, and after the build that follows it."""
        said = f"{what}: exit {done.code}\n{done.out}"
        assert "Traceback" not in done.out, said
        assert done.code == 0 or re.search(r"^(!|ERROR:|error:|.*: error|\S*/)", done.out, re.MULTILINE), said
        found, old, new = self.found(), outputs(OLD), outputs(NEW)
        for artifact in ("first/", "second/"):
            now = {path: text for path, text in found.items() if path.startswith(artifact)}
            whole = [{path: text for path, text in texts.items() if path.startswith(artifact)} for texts in (old, new)]
            assert now in whole, f"{said}\n{now}"
        assert done.code or found == new, f"{said}\n{found}"
        again = self.project.doit()
        assert again.code == 0, f"{said}\nthen {again.code}\n{again.out}"
        assert "Traceback" not in again.out, again.out
        assert self.found() == new, f"{said}\nthen\n{again.out}"
        assert self.project.doit("cache", "verify").code == 0, said


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make io_faults.so with")
    folder = tmp_path_factory.mktemp("faults")
    shim = folder / "io_faults.so"
    source = Path(__file__).with_name("io_faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    project = Project(folder / "project", str(folder / "cache"))
    project.write("here/pipeline.toml", PIPELINE)
    project.write("here/raw.txt", OLD)
    assert project.doit().code == 0
    project.write("here/raw.txt", NEW)
    for name in ("project", "cache"):
        shutil.copytree(folder / name, folder / "saved" / name)
    return Bench(project, folder / "saved", shim)


def tried(count: int) -> list[int]:
    """Which calls of `count` are made to fail."""
    if ALL:
        return list(range(1, count + 1))
    return sorted({1 + (count - 1) * step // (TRIED - 1) for step in range(TRIED)})


ERRORS = {"open": errno.EIO, "write": errno.ENOSPC, "fsync": errno.EIO, "rename": errno.EIO}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_while_a_task_is_built_costs_no_artifact(bench, call):
    bench.reset()
    _, count = bench.fault(call, 0, 0)
    assert count >= 2
    for at in tried(count):
        for number in (errno.EIO, errno.ENOSPC) if ALL else (ERRORS[call],):
            bench.reset()
            done, _ = bench.fault(call, at, number)
            bench.check(done, f"{call} {at} of {count} failed with {errno.errorcode[number]}")


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_while_a_task_is_restored_costs_no_artifact(bench, call):
    def prepare() -> None:
        bench.reset()
        bench.project.doit()
        bench.project.write("here/raw.txt", OLD)
        bench.project.doit()
        bench.project.write("here/raw.txt", NEW)

    prepare()
    done, count = bench.fault(call, 0, 0)
    assert done.counts["restored"] == 2, done.out
    for at in tried(count):
        prepare()
        done, _ = bench.fault(call, at, errno.EIO)
        bench.check(done, f"{call} {at} of {count} failed while restoring")


@pytest.mark.slow
@pytest.mark.parametrize("call", ["open", "write"])
def test_a_disk_that_stays_full_from_some_moment_on_costs_no_artifact(bench, call):
    bench.reset()
    _, count = bench.fault(call, 0, 0)
    for at in tried(count):
        bench.reset()
        done, _ = bench.fault(call, at, errno.ENOSPC, lasts=True)
        bench.check(done, f"{call} {at} and all after it failed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@needs_root
@pytest.mark.parametrize("left", [0, 200_000], ids=["full", "full soon"])
@pytest.mark.parametrize("full", ["workspace", "cache"])
def test_a_full_disk_is_named_and_the_previous_artifact_stays(tmp_path, small_disk, full, left):
    place = {"workspace": tmp_path / "project", "cache": tmp_path / "cache"}
    place[full] = small_disk / full
    project = Project(place["workspace"], str(place["cache"]))
    project.write("here/pipeline.toml", PIPELINE)
    project.write("here/raw.txt", OLD)
    assert project.doit().code == 0
    ballast = small_disk / "ballast"
    project.write("here/raw.txt", NEW * 20_000)
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={ballast}", "bs=4096"], capture_output=True, check=False
    )  # until it is full
    done = project.doit()
    assert "Traceback" not in done.out, done.out
    assert "No space left on device" in done.out or "check disk space" in done.out, done.out
    assert (done.code != 0) == (full == "workspace"), done.out
    if full == "workspace":
        assert project.path("here/build/first/first.txt").read_text() == OLD * 2
    ballast.unlink()
    if full == "cache":
        assert "are not kept" in done.out
    assert project.doit().code == 0
    assert project.path("here/build/second/second.txt").read_text() == NEW * 80_000


@pytest.fixture
def obeying(tmp_path: Path) -> Project:
    """A project that was built from OLD, with a new input."""
    project = Project(tmp_path / "project", str(tmp_path / "cache"))
    project.write("here/pipeline.toml", PIPELINE)
    project.write("here/raw.txt", OLD)
    assert doit_that_obeys(project).code == 0
    project.write("here/raw.txt", NEW)
    return project


def doit_that_obeys(project: Project) -> Done:
    """Build as somebody whom permission bits stop; root gives up its right to write everywhere."""
    unprivileged = ["setpriv", "--bounding-set=-dac_override", "--"] if os.geteuid() == 0 else []
    if unprivileged and subprocess.run([*unprivileged, "true"], check=False).returncode != 0:
        pytest.skip("runs as root, and setpriv cannot make it obey permission bits")
    done = subprocess.run(
        [*unprivileged, sys.executable, "-m", "doit"],
        cwd=project.root,
        env=project.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout + done.stderr)


LOCKED = {  # folder that may not be written to -> whether the build can go on
    "workspace/here/build": False,
    "workspace/here/build/.work": False,
    "workspace/.state": False,
    "../cache/v1": True,
    "../cache/v1/objects": True,
    "../cache/v1/actions": True,
    "../cache/v1/tmp": True,
}


@pytest.mark.parametrize("folder", LOCKED)
def test_a_folder_without_permission_is_named_and_the_previous_artifact_stays(obeying, folder):
    locked = (obeying.root / folder).resolve()
    paths = {path: path.stat().st_mode for path in [locked, *locked.rglob("*")]}
    for path, mode in paths.items():
        path.chmod(mode & 0o555)
    done = doit_that_obeys(obeying)
    for path, mode in paths.items():
        if path.exists():
            path.chmod(mode)
    assert "Traceback" not in done.out, done.out
    assert (done.code == 0) == LOCKED[folder], done.out
    assert str(locked) in done.out, done.out
    assert re.search("ermission denied|readonly|unable to open|permissions", done.out), done.out
    if not LOCKED[folder]:
        assert obeying.path("here/build/first/first.txt").read_text() == OLD * 2
    assert doit_that_obeys(obeying).code == 0
    assert obeying.path("here/build/second/second.txt").read_text() == NEW * 4
