"""The one edge that every tool's `main(argv)` goes through: flags in, exit code out, no traceback for user errors."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from tzrec_build.config.variables import check_variables
from tzrec_build.errors import BuildError
from tzrec_build.logs import setup_logging

BUG_EXIT_CODE = 70


def run_tool(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str],
) -> int:
    """Parse the flags, run the tool (it may return an exit code that is no error), turn a `BuildError` into one line on stderr and its exit code.

    Every tool gets ``--debug`` (traceback of user errors, debug log) from here. Unknown flags are errors (argparse exits with 2).

    Returns:
        What `run` returns, 0 for None, the error's own exit code, or 70 with a traceback for a bug of ours.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error and the debug log")
    args = parser.parse_args(argv)
    setup_logging(debug=args.debug)
    try:
        check_variables(os.environ)
        code = run(args)
    except BuildError as err:
        if args.debug:
            traceback.print_exc()
        print(f"{parser.prog}: {err}", file=sys.stderr)
        return err.exit_code
    except OSError as err:
        if args.debug:
            traceback.print_exc()
        where = f"{err.filename}: " if err.filename else ""
        print(f"{parser.prog}: {where}{err.strerror or err}; check disk space and permissions", file=sys.stderr)
        return BuildError.exit_code
    except Exception:  # noqa: BLE001 - the last edge: a bug of ours is shown whole and has its own exit code
        traceback.print_exc()
        print(f"{parser.prog}: this is a bug in tzrec-build, please report the lines above", file=sys.stderr)
        return BUG_EXIT_CODE
    return code or 0
