"""Which files a command opened for reading: strace sees those of every process and library, an audit hook those of Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CALLS = "open,openat,openat2,execve,execveat"
_OPENED = re.compile(r'^(?:open|openat|openat2)\(.*?"(?:[^"\\]|\\.)*"(?:\.\.\.)?, (?P<how>.*)\) = \d+<(?P<path>.*)>$')
_RAN = re.compile(r'^execve(?:at)?\((?:[^"]*, )?"(?P<path>(?:[^"\\]|\\.)*)"(?:\.\.\.)?, .*\) = 0$')
_FOLDER = re.compile(r"\(AT_FDCWD<(?P<path>(?:[^>\\]|\\.)*)>")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_LETTERS: Mapping[bytes, bytes] = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"v": b"\v",
    b"f": b"\f",
    b"a": b"\a",
    b"b": b"\b",
}
# Python starts with the first sitecustomize on its path: this one notes every file that is opened in another mode than for
# writing only, and then runs the one that it hides.
HOOK = """
import os, sys
_folder = os.path.dirname(os.path.abspath(__file__))
_log = os.open(os.path.join(_folder, f"{os.getpid()}.opened"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
def _note(event, args):
    if event != "open" or not isinstance(args[0], (str, bytes)) or args[2] & 3 == os.O_WRONLY:
        return
    path = os.path.join(os.fsencode(os.getcwd()), os.fsencode(args[0]))
    os.write(_log, os.path.realpath(path) + b"\\0")
sys.addaudithook(_note)
sys.path.remove(_folder)
del sys.modules["sitecustomize"]
try:
    import sitecustomize
except ImportError as err:
    if err.name != "sitecustomize":
        raise
"""


@dataclass(frozen=True, slots=True)
class Traced:
    """A command that notes in a folder what it opens.

    Attributes:
        argv: the command to run.
        env: its environment.
        folder: where the notes go, absolute.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: str

    def opened(self) -> set[str]:
        """Absolute paths, links followed, of the files that were opened for reading or run; source files for bytecode."""
        found = set()
        for name in os.listdir(self.folder):
            if not name.startswith("strace.") and not name.endswith(".opened"):
                continue
            with open(os.path.join(self.folder, name), "rb") as file:
                data = file.read()
            found |= set(_strace_paths(data)) if name.startswith("strace.") else _hook_paths(data)
        return {_source(path) for path in found if os.path.isfile(path)}


def strace_works() -> bool:
    """Whether strace is installed and may trace here."""
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-qq", "-o", os.devnull, "-e", "trace=execve", "true"]
    return subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def trace(argv: tuple[str, ...], env: Mapping[str, str], folder: str, *, strace: bool) -> Traced:
    """Make a command that notes in `folder` (absolute, empty) what it opens."""
    if strace:
        options = (
            "-f",
            "-ff",
            "-qq",
            "-y",
            "-s",
            "4096",
            "-e",
            "signal=none",
            "-o",
            f"{folder}/strace",
            "-e",
            f"trace={CALLS}",
        )
        return Traced(("strace", *options, "--", *argv), env, folder)
    with open(os.path.join(folder, "sitecustomize.py"), "w", encoding="utf-8") as file:
        file.write(HOOK)
    paths = [folder, *filter(None, [env.get("PYTHONPATH", "")])]
    return Traced(argv, {**env, "PYTHONPATH": os.pathsep.join(paths)}, folder)


def _strace_paths(data: bytes) -> Iterator[str]:
    """Paths of one process. A program is named as the caller wrote it, so that the folder must be known: that of the next open."""
    waiting: list[str] = []
    for line in data.decode("latin-1").splitlines():
        at = _FOLDER.search(line)
        if at and waiting:
            yield from (os.path.realpath(os.path.join(_plain(at["path"]), path)) for path in waiting)
            waiting = []
        ran, opened = _RAN.match(line), _OPENED.match(line)
        if ran:
            waiting.append(_plain(ran["path"]))
        elif opened and "O_WRONLY" not in opened["how"] and "O_PATH" not in opened["how"]:
            yield _plain(opened["path"].removesuffix("(deleted)"))


def _plain(text: str) -> str:
    r"""Undo the escapes of strace.

    >>> _plain(r"/a/\303\251\n")
    '/a/é\n'
    """

    def one(match: re.Match[bytes]) -> bytes:
        mark = match[1]
        return bytes([int(mark, 8)]) if mark.isdigit() else _LETTERS.get(mark, mark)

    return os.fsdecode(_ESCAPE.sub(one, text.encode("latin-1")))


def _hook_paths(data: bytes) -> set[str]:
    return {os.fsdecode(path) for path in data.split(b"\0") if path}


def _source(path: str) -> str:
    """The file that a person edits: Python opens the bytecode of an unchanged module, and its source only for a look."""
    if not path.endswith(".pyc"):
        return path
    try:
        source = importlib.util.source_from_cache(path)
    except (ValueError, NotImplementedError):
        return path
    return source if os.path.isfile(source) else path
