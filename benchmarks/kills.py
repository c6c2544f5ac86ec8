"""Kills builds at every named fault point and at random moments, resumes each, and compares with a build that nobody disturbed.

The build: 42 cheap steps in chains and one real training, two at a time; each kill has a project and a cache of its own. After the
resume the outputs must be bit-identical, no step may have run twice but those that ran at the kill, and no process may be left.
Prints one JSON line per point; ends with 1 when anything was wrong.

    python benchmarks/kills.py --per_point 20 --random 100 --trained 20
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.killing import Killer, Tally
from tzrec_build.faults import FAULT_POINTS


def report(name: str, count: int, kill: Callable[[Tally], None]) -> bool:
    """Kill `count` times and print what came of it; whether all was right."""
    tally, begun_s = Tally(), time.monotonic()
    for _ in range(count):
        kill(tally)
    line = {
        "kills_at": name,
        "kills": tally.kills,
        "ended_before_the_kill": tally.not_hit,
        "steps_run_twice": dict(sorted(tally.reruns.items())),
        "restored": tally.restored,
        "wrong": tally.wrong,
        "took_s": round(time.monotonic() - begun_s, 1),
    }
    print(json.dumps(line), flush=True)
    return not tally.wrong


def main() -> int:
    """Run all series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per_point", type=int, default=20, help="kills at each named point")
    parser.add_argument("--random", type=int, default=100, help="kills at random moments")
    parser.add_argument("--trained", type=int, default=20, help="of these, with a real training in the build")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="one point, or random")
    args = parser.parse_args()
    right = True
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        cheap = Killer(Path(folder, "cheap"), args.seed)
        for point in FAULT_POINTS:
            if args.only in {"", point}:
                right &= report(point, args.per_point, lambda tally, point=point: cheap.at_point(point, tally))
        if args.only in {"", "random"}:
            right &= report("random", args.random - args.trained, cheap.at_random)
            trained = Killer(Path(folder, "trained"), args.seed, training=True)
            right &= report("random, with a training", args.trained, trained.at_random)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
