"""``doit run``, the command behind bare ``doit``."""

from __future__ import annotations

import functools
import gc
from typing import Any

from doit.cmd_run import Run as DoitRun
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, ConfigError
from tzrec_build.graph.commands.gate import Gate, guarded, parse_limit
from tzrec_build.graph.commands.options import ClearErrors
from tzrec_build.graph.reporter import wishes
from tzrec_build.graph.state import open_state
from tzrec_build.graph.tasks import force

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def _settle() -> None:
    """Bring what a killed build was about to publish to an end, before anything is judged."""
    state = open_state()
    if state.was_cut_off():
        from tzrec_build.graph.digests import Digests
        from tzrec_build.graph.intents import settle_all

        settle_all(state, Digests(state))


def _leave() -> None:
    """Leave nothing to the end of the process: there Python looks for garbage among all objects, a tenth of a no-op."""
    open_state().close()
    gc.freeze()


class Run(ClearErrors, DoitRun):  # type: ignore[misc]
    """doit's `run`, which also tells the actions of ``-a`` (skip the record and the cache), and takes Ctrl-C without a traceback."""

    cmd_options = (
        *DoitRun.cmd_options,
        {
            "name": "json_events",
            "short": "",
            "long": "json-events",
            "type": str,
            "default": "",
            "help": "write what the build does to this file, one JSON object per line; - is stderr",
        },
        {
            "name": "max_cost",
            "short": "",
            "long": "max_cost",
            "type": str,
            "default": "",
            "help": "do not start when the plan takes longer than this by recorded times, such as 90s, 30m, 2h; 0 for no limit",
        },
    )
    _params: Any = None

    def execute(self, params: Any, args: list[str]) -> Any:
        """Open what the options name before anything is built."""
        self._params = params
        if params["json_events"]:
            from tzrec_build.graph.events import open_events

            try:
                wishes.events = open_events(params["json_events"])
            except ConfigError as err:
                raise InvalidCommand(str(err)) from err
        return super().execute(params, args)

    @functools.wraps(DoitRun._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs["par_type"] != "thread":  # in a process of its own a task could report nothing
            raise InvalidCommand(
                f"--parallel-type: must be 'thread', got {kwargs['par_type']!r}; each command is a process of its own anyway"
            )
        if kwargs["always"]:
            force()
            wishes.forced = True
        _settle()
        wishes.workers = kwargs["num_process"] or 1
        reporter = kwargs["reporter"]
        try:
            gate = Gate(parse_limit(self._params["max_cost"]), forced=kwargs["always"], single=kwargs["single"])
            kwargs["reporter"] = guarded(self.reporters[reporter] if isinstance(reporter, str) else reporter, gate)
            code: int = super()._execute(*args, **kwargs)
        except ConfigError as err:
            raise InvalidCommand(str(err)) from err
        except BuildError as err:  # the disk, at a moment that belongs to no task
            self.outstream.write(f"! {err}\n")
            return err.exit_code
        except KeyboardInterrupt:
            self.outstream.write("interrupted; what had ended before is kept, the next build goes on from there\n")
            return INTERRUPTED
        _leave()
        return code
