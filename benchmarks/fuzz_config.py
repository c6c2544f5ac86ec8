"""Fuzz the config floor: damaged configs, edits and feature-info tables; prints the histogram of outcomes as JSON lines.

Usage: fuzz_config.py [COUNT [FIRST_SEED]], 24000 cases from seed 0 unless given. Exits with 1 when a case ends in another exception
than a user's error, takes more than a second of processor time, or less than 40 % of the cases of a kind are taken.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.config.outcomes import KINDS

SHARES = {"config": 0.5, "edit": 0.3, "table": 0.2}


def fuzz(kind: str, seeds: range) -> tuple[Counter[str], float, int]:
    """Run cases of one kind; returns outcomes, the longest time of one, and how many failed."""
    outcomes: Counter[str] = Counter()
    longest = 0.0
    failed = 0
    for seed in seeds:
        start = time.process_time()
        try:
            outcomes[KINDS[kind](seed)] += 1
        except Exception:  # noqa: BLE001 - this is what the fuzzer looks for
            failed += 1
            outcomes["FAILED"] += 1
            print(f"{kind} seed {seed}", file=sys.stderr)
            traceback.print_exc(limit=-3)
        longest = max(longest, time.process_time() - start)
    return outcomes, longest, failed


def main(count: int, first: int) -> int:
    bad = 0
    for kind, share in SHARES.items():
        cases = round(count * share)
        outcomes, longest, failed = fuzz(kind, range(first, first + cases))
        taken = 1 - (outcomes["refused"] + failed) / max(cases, 1)
        row = {"kind": kind, "cases": cases, "taken": round(taken, 3), "longest_s": round(longest, 3), "failed": failed}
        print(json.dumps({**row, "outcomes": dict(sorted(outcomes.items()))}), flush=True)
        bad += bool(failed) or longest > 1 or taken < 0.4
    return 1 if bad else 0


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*[*numbers, *(24000, 0)[len(numbers) :]]))
