"""The front door, `python3 dodo.py [args]`: see that .venv is whole, then become doit or pytest inside it.

Standard library only, and light: an unchanged environment costs one small JSON file and some hundred stats. Everything that
makes or repairs lives in environment/, which is imported only when something has changed.

``.venv/setup.json``, written last, says what the environment was made from::

    {"format": 1, "root": .., "python": [version, prefix], "device": "cpu", "evidence": [..], "steps": {step: digest},
     "entries": [names in site-packages], "stats": {path: [mtime_ns, size]}, "generated": {path: digest}, "complete": true}
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

FORMAT = 1
OLDEST_PYTHON = (3, 11)
DODO_FILE_FLAGS = ("-f", "--file", "-d", "--dir", "-k", "--seek-file")


def main(argv: Sequence[str]) -> NoReturn:
    """Make or repair the environment when needed, then become ``doit ARGS``, or pytest for ``test ARGS``.

    Does not return: the process is replaced, or exits with 1 after a message when the set-up fails.
    """
    if sys.version_info < OLDEST_PYTHON:  # typing may not know, but a system's python3 may be older
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"dodo.py: needs python 3.11 or newer, this is {found}; run it with a newer one, e.g. python3.11 dodo.py"
        )
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    if not is_current(root, os.environ):
        from tzrec_build.environment.ensure import ensure_environment
        from tzrec_build.environment.runner import SetupError

        try:
            ensure_environment(root, os.environ)
        except SetupError as err:
            sys.exit(f"dodo.py: {err}")
        except OSError as err:
            sys.exit(f"dodo.py: set-up: {err}; correct that, then call it again")
        except KeyboardInterrupt:
            sys.exit("\ndodo.py: set-up interrupted; the next call repairs it")
    command = command_line(root, argv, os.getcwd())
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, command_env(root, os.environ))  # noqa: S606 - a shell is what must not be there


def is_current(root: str, env: Mapping[str, str]) -> bool:
    """Say whether the environment was made, to the end, from exactly what is there now; looks at stats only."""
    stamp = load_stamp(root)
    if not stamp.get("complete") or (stamp["root"], stamp["python"]) != (root, this_python()):
        return False
    return bool(stamp["evidence"] == device_evidence(env)) and all(
        stat_of(os.path.join(root, path)) == known for path, known in stamp["stats"].items()
    )


def load_stamp(root: str) -> dict[str, Any]:
    """Read ``.venv/setup.json``; empty when it is absent, damaged or of another format."""
    try:
        with open(os.path.join(root, ".venv", "setup.json"), encoding="utf-8") as stream:
            stamp = json.load(stream)
    except (OSError, ValueError):
        return {}
    fields = {"root", "python", "device", "evidence", "steps", "entries", "stats", "generated"}
    if not isinstance(stamp, dict) or stamp.get("format") != FORMAT or not fields <= stamp.keys():
        return {}
    return stamp


def this_python() -> list[str]:
    """Name the interpreter that an environment is made from, the same from inside and outside of it."""
    return [sys.version.split()[0], os.path.realpath(sys.base_prefix)]


def device_evidence(env: Mapping[str, str]) -> list[object]:
    """Collect the cheap signs of a device; only when they change is the device asked itself."""
    folders = env.get("PATH", "").split(os.pathsep)
    tool = any(os.access(os.path.join(folder, "nvidia-smi"), os.X_OK) for folder in folders if folder)
    return [env.get("TZREC_DEVICE", ""), os.path.exists("/proc/driver/nvidia"), tool]


def stat_of(path: str) -> list[int] | None:
    """Take what changes when a file or a folder's list of names does: time of modification and size; None if absent."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def venv_python(root: str) -> str:
    """Name the interpreter of the environment."""
    return os.path.join(root, ".venv", "bin", "python")


def command_line(root: str, argv: Sequence[str], cwd: str) -> list[str]:
    """Say what to become: pytest for ``test ..``, doit for everything else; the dodo file is named only from elsewhere."""
    python, elsewhere = venv_python(root), os.path.realpath(cwd) != root
    if argv[:1] == ["test"]:
        return [python, "-m", "pytest", *_test_args(root, argv[1:], cwd, elsewhere=elsewhere)]
    if not elsewhere or any(arg.split("=")[0] in DODO_FILE_FLAGS for arg in argv):
        return [python, "-m", "doit", *argv]
    return [python, "-m", "doit", "-f", os.path.join(root, "dodo.py"), *argv]


def command_env(root: str, env: Mapping[str, str]) -> dict[str, str]:
    """Give the environment variables that ``source .venv/bin/activate`` would give."""
    venv = os.path.join(root, ".venv")
    path = os.path.join(venv, "bin") + os.pathsep + env.get("PATH", os.defpath)
    return {name: value for name, value in env.items() if name != "PYTHONHOME"} | {"VIRTUAL_ENV": venv, "PATH": path}


def _test_args(root: str, args: Sequence[str], cwd: str, *, elsewhere: bool) -> list[str]:
    """Complete pytest's arguments when it starts outside the checkout: settings, and all tests unless some are named."""
    if not elsewhere:
        return list(args)
    named = any(os.path.exists(os.path.join(cwd, arg.split("::")[0])) for arg in args if not arg.startswith("-"))
    settings = ["-c", os.path.join(root, "pyproject.toml"), "--rootdir", root]
    return [*settings, *args] if named else [*settings, *args, os.path.join(root, "tests")]
