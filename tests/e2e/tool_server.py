"""Runs `tzrec-build` commands for a test, each in a fork of one process that has torch loaded: 4 s once, not each time.

A line of stdin is ``{"cwd": .., "argv": [..]}``, a line of stdout ``{"code": .., "out": ..}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from typing import Any

HEAVY = (
    "tzrec_build.training.session",
    "tzrec_build.training.prediction",
    "tzrec_build.training.serving",
    "tzrec_build.tools.embedding_table",
)


def _run(argv: list[str]) -> int:
    from tzrec_build import cli

    try:
        return cli.main(argv)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1


def _run_forked(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.chdir(request["cwd"])
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = _run(request["argv"])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "out": output.read().decode()}


def main() -> None:
    """Serve until stdin ends."""
    for module in HEAVY:
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nobody else writes into the answers
    for line in sys.stdin:
        answers.write(json.dumps(_run_forked(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
