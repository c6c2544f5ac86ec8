"""Makes and repairs .venv: interpreter, pinned packages, the project itself, compiled protos. Standard library only.

Four steps, each with a digest of all it is made from, recorded when the step has ended. A step whose digest differs runs again.
Where pip was cut off in the middle of the packages nothing there can be trusted, so the environment is made from nothing.
The lock file and the log in .venv survive that; the lock is inherited by pip, so it outlives a killed parent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tzrec_build import bootstrap
from tzrec_build.bootstrap import stat_of, venv_python
from tzrec_build.environment.runner import Runner, SetupError, locked
from tzrec_build.environment.shim_wheel import write_shim_wheel

DEVICES = ("cpu", "cuda")
KEPT = {"setup.lock", "setup.log"}
DECIDING = ("tzrec_build/environment/ensure.py", "tzrec_build/environment/shim_wheel.py")  # an edit runs pip again
SOURCES = ("tzrec_build/bootstrap.py", "tzrec_build/environment/runner.py", *DECIDING)
OWN_ENTRIES = ("tzrec_build", "__editable__.tzrec_build")  # what `pip install -e` leaves, before "-VERSION"
COMPILER = "tzrec_build/tools/compile_protos.py"


@dataclass(frozen=True, slots=True)
class Site:
    """What the environment is to be.

    Args:
        root: the checkout, without links.
        device: ``cpu`` or ``cuda``.
        requirements: pinned packages to install.
        constraints: pins of everything that these bring along.
        digests: step -> digest of all it is made from.
    """

    root: str
    device: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    digests: Mapping[str, str]

    @property
    def venv(self) -> str:
        """The folder of the environment."""
        return os.path.join(self.root, ".venv")

    @property
    def packages_dir(self) -> str:
        """Where pip puts packages."""
        return os.path.join(self.venv, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")


def ensure_environment(root: str, env: Mapping[str, str], runner: Runner | None = None) -> None:
    """Bring .venv to what pyproject.toml, this machine and protos/ ask for; do as little as that takes.

    Raises:
        SetupError: a step failed; what had ended before is kept, and the next call goes on from there.
    """
    venv = os.path.join(root, ".venv")
    _claim(venv)
    with locked(os.path.join(venv, "setup.lock")) as lock:
        if bootstrap.is_current(root, env):  # another call made it while this one waited
            return
        runner = runner or Runner(os.path.join(venv, "setup.log"), lock)
        evidence = bootstrap.device_evidence(env)
        inputs = _stats(root, _inputs(root))  # before they are read: an edit from now on makes the next call look again
        site = load_site(root, find_device(evidence, runner))
        old = bootstrap.load_stamp(root)
        reason = distrust(site, old, runner)
        stamp = _new_stamp(site, evidence, {} if reason else old)
        lost = _lost_steps(site, stamp)
        todo = [step for step in STEPS if step in lost or stamp["steps"].get(step) != site.digests[step]]
        if todo:
            _run_steps(site, todo, stamp, reason, runner)
        packages_dir = os.path.relpath(site.packages_dir, root)
        made = _stats(root, [".venv/bin/python", ".venv/pyvenv.cfg", packages_dir, *_generated(root)])
        whole = {"stats": inputs | made, "generated": _contents(root), "complete": True}
        _write_stamp(site, stamp | {"entries": _entries(site)} | whole)


def find_device(evidence: Sequence[object], runner: Runner) -> str:
    """Decide for whom to install: ``TZREC_DEVICE`` when set, else ``cuda`` when an NVIDIA driver answers.

    Raises:
        SetupError: TZREC_DEVICE names no device.
    """
    wish, driver, tool = evidence
    if wish:
        if wish not in DEVICES:
            raise SetupError(f"TZREC_DEVICE: must be 'cpu' or 'cuda', got {wish!r}")
        return str(wish)
    return "cuda" if driver or (tool and runner.succeeds(["nvidia-smi"])) else "cpu"


def load_site(root: str, device: str) -> Site:
    """Read what is wanted from pyproject.toml and protos/.

    Raises:
        SetupError: pyproject.toml is no TOML.
    """
    with open(os.path.join(root, "pyproject.toml"), "rb") as stream:
        try:
            settings = tomllib.load(stream)
        except tomllib.TOMLDecodeError as err:
            raise SetupError(f"{root}/pyproject.toml: must be TOML, got {err}; correct it") from err
    project, ours = settings["project"], settings["tool"]["tzrec-build"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(pin for extra in [device, *ours["extras"]] for pin in extras[extra])]
    constraints = ours["constraints"]
    code = [_read(root, path) for path in DECIDING]
    compilers = [pin for pin in [*requirements, *constraints] if pin.startswith(("grpcio", "protobuf"))]
    packages = _digest(device, bootstrap.this_python(), sorted(requirements), sorted(constraints), *code)
    digests = {
        "venv": _digest(bootstrap.this_python(), root),
        "packages": packages,
        "project": _digest(project, settings["build-system"], settings["tool"].get("setuptools", {}), *code),
        "protos": _digest(compilers, _read(root, COMPILER), *((path, _read(root, path)) for path in _protos(root))),
    }
    return Site(root, device, tuple(requirements), tuple(constraints), digests)


def distrust(site: Site, old: Mapping[str, Any], runner: Runner) -> str:
    """Say why the environment that is there cannot be built upon; empty when it can.

    Args:
        site: what is wanted.
        old: the stamp, empty when there is none.
        runner: asks the environment's interpreter whether it works.
    """
    if not old:
        fresh = set(os.listdir(site.venv)) <= KEPT
        return "there is none yet" if fresh else "it was left half-done"
    python = bootstrap.this_python()
    for what, was, now in (
        ("the checkout", old["root"], site.root),
        ("python", " in ".join(old["python"]), " in ".join(python)),
        ("the device", old["device"], site.device),
    ):
        if was != now:
            return f"{what} was {was}, now it is {now}"
    if not {"venv", "packages"} <= old["steps"].keys():
        return "it was left half-done"
    if not runner.succeeds([venv_python(site.root), "-I", "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"]):
        return "its python does not work"
    lost = sorted(set(old["entries"]) - set(_entries(site)))
    return f"it has lost {lost[0]}" if lost else ""


def _run_steps(site: Site, todo: Sequence[str], stamp: dict[str, Any], reason: str, runner: Runner) -> None:
    """Run steps in order, recording each when it has ended."""
    if reason:
        runner.say(f"set-up: making .venv, {reason} (takes minutes; log in .venv/setup.log)")
        _wipe(site.venv)
    else:
        runner.say(f"set-up: bringing .venv up to date ({', '.join(todo)})")
    for step in todo:
        before = stamp["steps"].pop(step, None)
        _write_stamp(site, stamp)
        title, work = STEPS[step]
        try:
            with runner.timed(step, title.format(count=len(site.requirements), device=site.device)):
                work(site, runner)
        except SetupError:
            if before is not None:  # pip that fails takes its work back, so the older packages are still whole
                stamp["steps"][step] = before
                _write_stamp(site, stamp)
            raise
        stamp["steps"][step] = site.digests[step]
        stamp["entries"] = _entries(site)
        _write_stamp(site, stamp)
    runner.say(f"set-up: done in {runner.elapsed_s():.0f} s")


def _make_venv(site: Site, runner: Runner) -> None:
    base = getattr(sys, "_base_executable", "") or sys.executable  # the environment's own python is about to go
    remedy = "install your system's python venv package if it says that ensurepip is missing"
    runner.run([base, "-m", "venv", site.venv], remedy)


def _install_packages(site: Site, runner: Runner) -> None:
    """Install all pins in one resolution; on a CPU machine TorchRec's CUDA-only requirement is met by an empty package."""
    wheels = [write_shim_wheel(site.venv, site.requirements)] if site.device == "cpu" else []
    paths = []
    for name, pins in (("requirements", site.requirements), ("constraints", site.constraints)):
        paths.append(os.path.join(site.venv, f"{name}.txt"))
        with open(paths[-1], "w", encoding="utf-8") as stream:
            stream.write("".join(f"{pin}\n" for pin in pins))
    remedy = "see what pip asks for above; check the network and `pip config list`"
    runner.run(_pip(site, "install", "--progress-bar", "off", "-r", paths[0], "-c", paths[1], *wheels), remedy)
    if site.device == "cuda" and not _built_for_cuda(site):
        raise SetupError(
            "packages: an NVIDIA device needs a CUDA build of torch, pip found a CPU build; "
            "give pip an index with CUDA builds, or set TZREC_DEVICE=cpu"
        )


def _built_for_cuda(site: Site) -> bool:
    """Read what torch says of itself in torch/version.py, without importing it."""
    with open(os.path.join(site.packages_dir, "torch", "version.py"), encoding="utf-8") as stream:
        lines = [line for line in stream if line.startswith("cuda")]
    return bool(lines) and "None" not in lines[0].split("=")[-1]


def _install_project(site: Site, runner: Runner) -> None:
    """Install the checkout editable, without network: setuptools is one of the pins."""
    for name in _listed(site.packages_dir):  # a cut-off install leaves files that pip cannot remove
        if name.startswith(OWN_ENTRIES):
            _remove(os.path.join(site.packages_dir, name))
    flags = ["--no-deps", "--no-build-isolation", "--no-index"]
    runner.run(_pip(site, "install", *flags, "-e", site.root), "see the message above; pyproject.toml may be wrong")
    runner.run(_pip(site, "check"), "the pins in pyproject.toml do not fit together")


def _compile_protos(site: Site, runner: Runner) -> None:
    runner.run(
        [venv_python(site.root), "-m", "tzrec_build.tools.compile_protos"],
        "correct the source in protos/ that it names",
    )


STEPS: Mapping[str, tuple[str, Callable[[Site, Runner], None]]] = {  # in this order
    "venv": ("interpreter", _make_venv),
    "packages": ("{count} pinned packages for {device}", _install_packages),
    "project": ("tzrec-build, editable", _install_project),
    "protos": ("compiled", _compile_protos),
}


def _pip(site: Site, *args: str) -> list[str]:
    quiet = ["--disable-pip-version-check", "--no-input"]
    return [venv_python(site.root), "-m", "pip", args[0], *quiet, *args[1:]]


def _claim(venv: str) -> None:
    """Make the folder with its lock; a folder that something else made is moved aside, never emptied.

    Raises:
        SetupError: the place is taken by something that is no folder, or cannot be written.
    """
    lock = os.path.join(venv, "setup.lock")
    try:
        if os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(lock):
            number = next(number for number in range(1, 1000) if not os.path.lexists(f"{venv}.replaced-{number}"))
            os.rename(venv, f"{venv}.replaced-{number}")
            print(f"set-up: .venv was not made by dodo.py, it is now .venv.replaced-{number}", file=sys.stderr)
        os.makedirs(venv, exist_ok=True)
        with open(lock, "ab"):
            pass
    except OSError as err:
        raise SetupError(
            f"{venv}: must be a folder that can be written, got {err.strerror}; remove what is there"
        ) from err


def _wipe(venv: str) -> None:
    """Remove everything in .venv but the lock and the log."""
    for name in sorted(set(os.listdir(venv)) - KEPT):
        _remove(os.path.join(venv, name))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _new_stamp(site: Site, evidence: Sequence[object], old: Mapping[str, Any]) -> dict[str, Any]:
    """Begin a stamp (form in bootstrap.py) with what still holds of the old one; nothing when that is empty."""
    identity = {"format": bootstrap.FORMAT, "root": site.root, "python": bootstrap.this_python(), "device": site.device}
    held = {
        "steps": dict(old.get("steps", {})),
        "entries": old.get("entries", []),
        "generated": old.get("generated", {}),
        "stats": {},
    }
    return identity | {"evidence": evidence, "complete": False} | held


def _write_stamp(site: Site, stamp: Mapping[str, Any]) -> None:
    path = os.path.join(site.venv, "setup.json")
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(stamp, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(f"{path}.new", path)


def _lost_steps(site: Site, stamp: Mapping[str, Any]) -> set[str]:
    """Name the steps whose work is gone or edited although nothing asks for a new one.

    Generated code is judged by its bytes: the build's own task `protos` puts equal files in their place.
    """
    contents = _contents(site.root)
    generated = bool(contents) and contents == stamp["generated"]
    project = {name.split("-")[0] for name in _listed(site.packages_dir) if name.startswith(OWN_ENTRIES)} == set(
        OWN_ENTRIES
    )
    return {step for step, whole in (("project", project), ("protos", generated)) if not whole}


def _entries(site: Site) -> list[str]:
    """List what the pinned packages have put into site-packages; the project itself comes and goes in a step of its own."""
    return sorted(name for name in _listed(site.packages_dir) if not name.startswith(OWN_ENTRIES))


def _listed(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _inputs(root: str) -> list[str]:
    """Name every path of the checkout whose change makes the quick check fail."""
    sources = _protos(root)
    folders = {os.path.dirname(path) for path in sources} | {"protos"}  # a new source changes its folder
    return ["pyproject.toml", *SOURCES, COMPILER, *sorted(folders), *sources]


def _stats(root: str, paths: Sequence[str]) -> dict[str, list[int] | None]:
    return {path: stat_of(os.path.join(root, path)) for path in paths}


def _protos(root: str) -> list[str]:
    return sorted(_files(root, "protos", (".proto",)))


def _generated(root: str) -> list[str]:
    return sorted(_files(root, "tzrec_build/protos", ("_pb2.py", "_pb2.pyi", "__init__.py")))


def _contents(root: str) -> dict[str, str]:
    return {path: _digest(_read(root, path)) for path in _generated(root)}


def _files(root: str, folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    for parent, _, names in os.walk(os.path.join(root, folder)):
        yield from (os.path.relpath(os.path.join(parent, name), root) for name in names if name.endswith(endings))


def _read(root: str, path: str) -> str:
    with open(os.path.join(root, path), encoding="utf-8") as stream:
        return stream.read()


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
