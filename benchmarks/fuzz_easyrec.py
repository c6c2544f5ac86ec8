"""Mutated EasyRec configs through the conversion: what comes of them; run, never quoted.

    python benchmarks/fuzz_easyrec.py FOLDER [--count 20000] [--seed 1]

FOLDER holds ``*.config`` files of EasyRec. Half of the mutations change the text (characters, lines), half the parsed message
(fields set, cleared and filled with odd values). One JSON line for each outcome, then one with the totals. Ends with 1 when a
conversion raised anything but a `BuildError`, left a field unaccounted, or took longer than a second.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tzrec_build.config.easyrec.convert import convert, parse_easyrec
from tzrec_build.config.easyrec.receipt import report
from tzrec_build.config.schema_source import our_schema
from tzrec_build.errors import BuildError

SLOW_S = 1.0
VALUES: dict[int, list[object]] = {  # C++ type of a field -> odd values
    1: [0, 1, -1, 2**31 - 1],
    2: [0, 1, -1, 2**40],
    3: [0, 1, 7, 2**32 - 1],
    4: [0, 1, 2**63],
    5: [0.0, -1.0, float("nan"), float("inf"), 1e300],
    6: [0.0, 0.5, -1.0, float("nan"), float("inf")],
    7: [True, False],
    9: ["", "user", "all", "x[1-3]", "x[1-999999]", "a:b", "\x1d", "é", "tf.nn.relu"],
}


def messages(message: Any) -> list[Any]:
    """List a message and all below it that have fields."""
    found = [message] if message.DESCRIPTOR.fields else []
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                found += messages(inner)
    return found


def mutate_message(message: Any, dice: random.Random) -> None:
    """Change one field somewhere; a value that the field refuses changes nothing."""
    place = dice.choice(messages(message))
    field = dice.choice([field for field, _ in place.ListFields()] or list(place.DESCRIPTOR.fields))
    if dice.random() < 0.4:
        field = dice.choice(list(place.DESCRIPTOR.fields))
    if dice.random() < 0.3:
        place.ClearField(field.name)
    elif field.message_type is not None:
        if field.is_repeated and not field.message_type.GetOptions().map_entry:
            getattr(place, field.name).add()
        elif not field.is_repeated:
            getattr(place, field.name).SetInParent()
    else:
        values = [value.number for value in field.enum_type.values] if field.enum_type else VALUES[field.cpp_type]
        if field.is_repeated:
            getattr(place, field.name).append(dice.choice(values))
        else:
            setattr(place, field.name, dice.choice(values))


def mutate_text(text: str, dice: random.Random) -> str:
    """Remove, repeat or spoil a line or a character."""
    lines = text.split("\n")
    at = dice.randrange(len(lines))
    kind = dice.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, dice.choice(lines))
    elif kind == 2:
        lines[at] = lines[at].replace(dice.choice("0123456789"), dice.choice(["-1", "99999999999", "1e9", "x"]))
    elif lines[at]:
        char = dice.randrange(len(lines[at]))
        lines[at] = lines[at][:char] + dice.choice("{}[]\"':,0\x00é") + lines[at][char + 1 :]
    return "\n".join(lines)


def outcome(text: str, dice: random.Random, schema: Any) -> str:
    """Mutate and convert one config; say what came of it."""
    by_text = dice.random() < 0.5
    if by_text:
        text = mutate_text(text, dice)
    try:
        source = parse_easyrec(text, "old.config", schema)
    except BuildError:
        return "not parsed"
    for _ in range(0 if by_text else dice.randint(1, 4)):
        mutate_message(source, dice)
    converted = convert(source)
    report(converted.receipt, converted.leaves, {})
    if not converted.receipt.refusals:
        return "converted"
    return f"refused: {converted.receipt.refusals[0].cause.split(' ')[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    texts = [path.read_text() for path in sorted(args.folder.rglob("*.config"))]
    dice, schema, found = random.Random(args.seed), our_schema(), Counter[str]()
    slowest = 0.0
    for _ in range(args.count):
        start = time.process_time()
        try:
            found[outcome(dice.choice(texts), dice, schema)] += 1
        except BuildError:
            found["user error"] += 1
        except Exception:  # noqa: BLE001 - counted, and shown
            found["TRACEBACK"] += 1
            traceback.print_exc()
        slowest = max(slowest, time.process_time() - start)
    for name, count in found.most_common():
        print(json.dumps({"outcome": name, "configs": count}))
    parsed = args.count - found["not parsed"]
    totals = {"configs": args.count, "parsed": parsed, "tracebacks": found["TRACEBACK"], "slowest_s": round(slowest, 3)}
    print(json.dumps(totals))
    return 1 if found["TRACEBACK"] or slowest > SLOW_S else 0


if __name__ == "__main__":
    sys.exit(main())
