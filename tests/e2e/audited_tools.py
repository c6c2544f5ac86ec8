"""Runs tools and tells which files of the checkout each of them opened, code and data, as Python's audit hook sees it.

A line of stdin is ``{"cwd": .., "module": .., "argv": [..]}``, a line of stdout ``{"code": .., "opened": [..]}``. Each tool runs in a
fork of one process that has the big libraries loaded, and nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import tempfile

HEAVY = ("torch", "torchrec", "torchmetrics", "pyarrow.parquet", "pyarrow.dataset", "faiss")


def _watch(root: str, log: int) -> None:
    prefix = root + "/"

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | os.PathLike):
            path = os.path.abspath(os.fspath(args[0]))
            if isinstance(path, str) and path.startswith(prefix):
                os.write(log, path.removeprefix(prefix).encode() + b"\n")

    sys.addaudithook(hook)


def _run(request: dict[str, object], root: str) -> dict[str, object]:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.chdir(str(request["cwd"]))
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = ["tool", *request["argv"]]  # type: ignore[misc]
            _watch(root, log.fileno())
            runpy.run_module(str(request["module"]), run_name="__main__")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        output.seek(0)
        opened = sorted(set(log.read().decode().splitlines()))
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "opened": opened, "out": output.read().decode()[-2000:]}


def main() -> None:
    """Serve until stdin ends."""
    root = sys.argv[1]
    for name in HEAVY:
        importlib.import_module(name)
    if any(name.startswith("tzrec_build") for name in sys.modules):
        raise RuntimeError("bug: nothing of ours may be imported before the hook is set")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line), root)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
