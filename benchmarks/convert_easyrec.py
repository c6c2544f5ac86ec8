"""How many EasyRec configs of a folder convert, and why the others do not: run, never quoted.

    python benchmarks/convert_easyrec.py FOLDER [--root FOLDER]

FOLDER holds ``*.config`` files, looked for below it; relative paths in them (fg.json) count from --root (default: here).
One JSON line for each cause of a refusal, by number of configs, with an example; then one with the totals: configs, converted,
refused, files that are no EasyRec config, tracebacks, fields by result, seconds. Each result is written, read again by the
loader and linted. Ends with 1 when a conversion raised anything but a refusal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

from tzrec_build.config.easyrec.convert import Converted, convert, parse_easyrec
from tzrec_build.config.easyrec.fg_json import find_fg_json
from tzrec_build.config.easyrec.receipt import report
from tzrec_build.config.lint import lint
from tzrec_build.config.load import canonical_text, parse_pipeline_config, read_config_text
from tzrec_build.config.schema_source import our_schema
from tzrec_build.errors import BuildError


def check(converted: Converted, path: Path) -> None:
    """Read the result as a user would, and lint it."""
    again = parse_pipeline_config(canonical_text(converted.config), str(path))
    if again != converted.config or lint(again):
        raise RuntimeError(f"{path}: the result does not load as it was written")
    if not again.model_config.WhichOneof("model"):
        raise RuntimeError(f"{path}: the result has no model")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--root", type=Path, default=Path.cwd())
    args = parser.parse_args()
    paths = sorted(args.folder.resolve().rglob("*.config"))
    os.chdir(args.root)
    schema, totals, fields = our_schema(), Counter[str](), Counter[str]()
    causes: dict[str, list[str]] = defaultdict(list)
    start = time.perf_counter()
    for path in paths:
        try:
            source = parse_easyrec(read_config_text(path), str(path), schema)
            converted = convert(source, find_fg_json("", source, str(path)))
            counts = report(converted.receipt, converted.leaves, {})["counts"]
            refusals = sorted({one.cause for one in converted.receipt.refusals})
            totals["refused" if refusals else "converted"] += 1
            if refusals:
                causes[" + ".join(refusals)].append(path.name)
            else:
                check(converted, path)
                fields.update(counts)
        except BuildError as err:
            totals["no EasyRec config"] += 1
            causes[f"not parsed: {str(err).splitlines()[0]}"].append(path.name)
        except Exception:  # noqa: BLE001 - counted, and shown
            totals["tracebacks"] += 1
            traceback.print_exc()
    for cause, names in sorted(causes.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        print(json.dumps({"cause": cause, "configs": len(names), "example": names[0]}))
    seconds = round(time.perf_counter() - start, 2)
    print(json.dumps({"configs": len(paths), "tracebacks": 0, **totals, "fields": dict(fields), "seconds": seconds}))
    return 1 if totals["tracebacks"] else 0


if __name__ == "__main__":
    sys.exit(main())
