"""``doit cache``: what the action cache holds, whether it is whole, how to make it smaller, and how to do without it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, suggestion
from tzrec_build.files import write_text
from tzrec_build.graph.amounts import size_text
from tzrec_build.graph.commands.options import ClearErrors
from tzrec_build.graph.state import open_state
from tzrec_build.graph.tasks import cache_switch

if TYPE_CHECKING:
    from tzrec_build.graph.spec import TaskSpec
    from tzrec_build.store.action_cache import ActionCache
    from tzrec_build.store.manifest import Manifest
    from tzrec_build.store.upkeep import Entry, Found, Removed, Stats

CORRUPT = 4
SHOWN_ROWS = 20
SIZES: Mapping[str, float] = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
AGES_S: Mapping[str, float] = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
OFF_TEXT = "Switches the action cache off for this checkout; `doit cache on` removes it.\n"


def _option(name: str, kind: type, default: object, text: str) -> dict[str, object]:
    return {"name": name, "short": "", "long": name, "type": kind, "default": default, "help": text}


class Cache(ClearErrors, DoitCmdBase):  # type: ignore[misc]
    """``doit cache``: upkeep of the action cache."""

    name = "cache"
    doc_purpose = "count, check and shrink the action cache, or switch it off"
    doc_usage = "stats | verify | gc | path | off | on"
    doc_description = (
        "stats: entries, bytes, tasks. verify: hash every object; 4 when one is damaged. gc: remove what nothing names, and by "
        "--max_size and --max_age the least recently used; never the last copy of a training. path: the folder. "
        "off, on: for this checkout; TZREC_CACHE goes before it."
    )
    cmd_options = (
        _option("json", bool, False, "print JSON (stats, verify, gc)"),
        _option("max_size", str, "", "gc: bytes that may stay, as 20GB"),
        _option("max_age", str, "", "gc: time since the last use after which an entry goes, as 30d, 12h"),
        _option("dry_run", bool, False, "gc: only say what would go"),
    )

    def parse_execute(self, in_args: list[str]) -> int:
        """Take options behind the verb too, where people write them; doit ends them at the first plain word."""
        plain_first = in_args[:1] and not in_args[0].startswith("-")
        code: int = super().parse_execute([*in_args[1:], in_args[0]] if plain_first else in_args)
        return code

    def _execute(self, json: bool, max_size: str, max_age: str, dry_run: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes them by name
        verb = pos_args[0] if pos_args else ""
        if len(pos_args) != 1 or verb not in _VERBS:
            shown = repr(" ".join(pos_args)) if pos_args else "nothing"
            raise InvalidCommand(f"doit cache: must be one of {', '.join(_VERBS)}, got {shown}{_near(verb)}")
        if verb != "gc" and (max_size or max_age or dry_run):
            raise InvalidCommand(f"doit cache {verb}: --max_size, --max_age and --dry_run belong to `doit cache gc`")
        self._json, self._dry_run = json, dry_run
        self._limits = _amount("--max_size", max_size, SIZES, "20GB"), _amount("--max_age", max_age, AGES_S, "30d")
        try:
            return _VERBS[verb](self)
        except BuildError as err:
            self.outstream.write(f"! {err}\n")
            return err.exit_code

    def _cache(self) -> ActionCache:
        """The cache's folder, whether it is in use or not."""
        from tzrec_build.store.action_cache import ActionCache
        from tzrec_build.store.settings import cache_root

        return ActionCache(cache_root(os.environ))

    def _print(self, value: dict[str, Any], lines: list[str]) -> None:
        import json

        self.outstream.write(json.dumps(value, indent=2) + "\n" if self._json else "\n".join(lines) + "\n")

    def path(self) -> int:
        """Print the folder."""
        self.outstream.write(f"{self._cache().root}\n")
        return 0

    def stats(self) -> int:
        """Print what there is."""
        from tzrec_build.store.settings import switched_off_by

        found = self._cache().stats()
        off = switched_off_by(os.environ, cache_switch())
        self._print({"off": off, **asdict(found)}, _stats_lines(found, off))
        return 0

    def verify(self) -> int:
        """Hash everything."""
        found = self._cache().verify()
        self._print(asdict(found), _found_lines(found))
        return CORRUPT if found.damaged or found.broken else 0

    def gc(self) -> int:
        """Remove what is too much."""
        from tzrec_build.store.upkeep import Policy

        size, age_s = self._limits
        precious = _last_copy(self.task_list)
        policy = Policy(time.time(), int(size), age_s, precious=precious, dry_run=self._dry_run)
        removed = self._cache().gc(policy)
        value = {**asdict(removed), "entries": _rows(removed.entries), "kept": _rows(removed.kept)}
        self._print({"dry_run": self._dry_run, **value}, _removed_lines(removed, dry_run=self._dry_run))
        return 0

    def off(self) -> int:
        """Switch it off for this checkout."""
        write_text(cache_switch(), OFF_TEXT)
        self.outstream.write(f"off for this checkout: {os.path.relpath(cache_switch())}; `doit cache on` undoes it\n")
        return self._warn_of_variable("off")

    def on(self) -> int:
        """Switch it on again."""
        if os.path.lexists(cache_switch()):
            os.unlink(cache_switch())
        self.outstream.write(f"on for this checkout: {self._cache().root}\n")
        return self._warn_of_variable("on")

    def _warn_of_variable(self, wanted: str) -> int:
        said = os.environ.get("TZREC_CACHE", "")
        if said and said != wanted:
            self.outstream.write(f"but TZREC_CACHE={said} is set, and goes before it; unset it\n")
        return 0


_VERBS: Mapping[str, Callable[[Cache], int]] = {
    "stats": Cache.stats,
    "verify": Cache.verify,
    "gc": Cache.gc,
    "path": Cache.path,
    "off": Cache.off,
    "on": Cache.on,
}


def _near(verb: str) -> str:
    near = suggestion(verb, _VERBS)
    return near if "did you mean" in near else ""  # all of them are named before


def _amount(option: str, text: str, units: Mapping[str, float], example: str) -> float:
    """Read a number with a unit; -1 for none.

    >>> _amount("--max_size", "1.5 GB", SIZES, "20GB")
    1500000000.0
    >>> _amount("--max_age", "30", AGES_S, "30d")
    Traceback (most recent call last):
    doit.exceptions.InvalidCommand: --max_age: must be a number and one of m, h, d, w, as 30d, got '30'
    """
    if not text:
        return -1.0
    if text.strip() == "0":
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    scales = {unit.lower(): scale for unit, scale in units.items()}
    if not found or found[2].lower() not in scales:
        names = ", ".join(unit for unit in units if unit)
        raise InvalidCommand(f"{option}: must be a number and one of {names}, as {example}, got {text!r}")
    return float(found[1]) * scales[found[2].lower()]


def _day(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_s))


def _stats_lines(found: Stats, off: str) -> list[str]:
    lines = [f"{found.root}" + (f"  (switched off by {off})" if off else "")]
    lines.append(f"entries         {found.entries}")
    lines.append(f"objects         {found.objects}, {size_text(found.size)}")
    if found.entries:
        lines.append(f"last used       {_day(found.oldest_s)} to {_day(found.newest_s)}")
    lines.append(f"unreproducible  {found.unreproducible}")
    if found.unused:
        lines.append(f"unused          {found.unused}, {size_text(found.unused_size)}; `doit cache gc` removes them")
    if found.damaged:
        lines.append(f"damaged         {found.damaged} entries; `doit cache verify` puts them aside")
    if found.quarantined:
        lines.append(f"quarantine      {found.quarantined} files; `doit cache gc` removes them")
    rows = [(task, str(count), size_text(size)) for task, (count, size) in found.tasks.items()]
    if rows:
        lines += ["", *_table([("task", "entries", "bytes"), *rows[:SHOWN_ROWS]])]
    if len(rows) > SHOWN_ROWS:
        lines.append(f"... and {len(rows) - SHOWN_ROWS} more tasks; --json lists all")
    return lines


def _found_lines(found: Found) -> list[str]:
    lines = [f"{found.objects} objects, {size_text(found.size)}, {found.entries} entries read"]
    lines += [f"! {path}: damaged, moved to quarantine/" for path in found.damaged]
    lines += [
        f"! {task}: its entry {key[:16]} lacks {output!r} and is not restored any more; the next build makes it anew"
        for task, key, output in found.broken
    ]
    return lines if len(lines) > 1 else [*lines, "every byte is as it was put there"]


def _removed_lines(removed: Removed, *, dry_run: bool) -> list[str]:
    did, kept = ("would remove", "would keep") if dry_run else ("removed", "kept")
    lines = [
        f"{did} {entry.task}, {size_text(entry.size)}, last used {_day(entry.used_s)}" for entry in removed.entries
    ]
    lines += [
        f"{kept} {entry.task}, {size_text(entry.size)}: the last copy of a training, no artifact here holds it"
        for entry in removed.kept
    ]
    lines.append(
        f"{did} {len(removed.entries)} entries and {removed.objects} objects, {size_text(removed.size)}; "
        f"{removed.left} objects, {size_text(removed.left_size)} stay"
    )
    return lines


def _rows(entries: tuple[Entry, ...]) -> list[dict[str, Any]]:
    return [
        {"task": entry.task, "key": entry.manifest.key if entry.manifest else "", "size": entry.size}
        for entry in entries
    ]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _last_copy(tasks: list[Any]) -> Callable[[Manifest], bool]:
    """Say of an entry whether it is a training that no artifact of this checkout holds.

    Which other checkouts exist is not known, so that a training which only they hold stays too.
    """
    from tzrec_build.graph.rules import RULES

    trainings = {rule.verb for rule in RULES if rule.tool == "train"}
    folders = {task.name: _folder(task) for task in tasks if task.actions}

    def precious(manifest: Manifest) -> bool:
        task = str(manifest.provenance.get("task", ""))
        return task.partition(":")[0] in trainings and not (task in folders and _holds(folders[task], manifest))

    return precious


def _folder(task: Any) -> str:
    spec: TaskSpec = task.actions[0].spec
    return os.path.join(spec.folder, spec.out)


def _holds(folder: str, manifest: Manifest) -> bool:
    """Whether all outputs of an entry lie in a folder, byte by byte (by the digest table)."""
    from tzrec_build.graph.digests import Digests

    digests = Digests(open_state())
    try:
        return all(digests.sha256(f"{folder}/{output.path}") == output.sha256 for output in manifest.outputs)
    except (BuildError, OSError):
        return False
