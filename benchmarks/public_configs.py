"""Take every config below a folder through load, lint, round trips and edits: `public_configs.py DIR`.

Made for a checkout of TorchEasyRec, whose configs are not in this repository. Prints a row for each config and one JSON line of
totals; exits with 1 when one does not load, has an error of lint, does not come back from a round trip or cannot be edited.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import LEVELS, findings
from tzrec_build.config.load import canonical_text, file_text, parse_config, parse_pipeline_config
from tzrec_build.config.names import element_name
from tzrec_build.config.subject import Subject
from tzrec_build.errors import BuildError
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig


def round_trips(config: EasyRecConfig) -> bool:
    text = canonical_text(config)
    again = parse_config(text, "x.config")
    from_json = parse_config(file_text(config, "x.json"), "x.json")
    return (
        again == config
        and canonical_text(again) == text
        and from_json == config
        and not diff_configs(config, from_json)
    )


def edits_of(config: EasyRecConfig) -> dict[str, object]:
    """An edit of each feature and group by its name, and of a few fixed fields."""
    edits: dict[str, object] = {
        "data_config.batch_size": 12345,
        "model_dir": "elsewhere",
        "data_config.fg_mode": "FG_BUCKETIZE",
    }
    for feature in config.feature_configs:
        name, kind = element_name(feature), feature.WhichOneof("feature")
        if name is not None:
            field = "sequence_length" if kind == "sequence_feature" else "embedding_dim"
            edits[f"feature_configs[{name.selector}].{kind}.{field}"] = 1024
    for group in config.model_config.feature_groups:
        edits[f"model_config.feature_groups[group_name={group.group_name}].embedding_name_suffix"] = "edited"
    return edits


def edits_hold(config: EasyRecConfig) -> bool:
    """Say whether each edit is seen as the one change of its path, all others left alone."""
    return all(
        {change.path for change in diff_configs(config, edit_config(config, {key: value}))} == {key}
        for key, value in edits_of(config).items()
    )


def check(path: Path, totals: Counter[str]) -> list[str]:
    """Take one config through everything; returns the cells of its row."""
    totals["configs"] += 1
    text = path.read_text(encoding="utf-8")
    try:
        config = parse_pipeline_config(text, str(path))
    except BuildError as err:
        return [f"not loaded: {err}"]
    totals["loaded"] += 1
    levels = Counter(LEVELS[problem.rule] for problem in findings(Subject(config, text)))
    totals["lint_clean"] += not levels["error"]
    totals.update({f"lint_{level}s": count for level, count in levels.items()})
    held, edited = round_trips(config), edits_hold(config)
    totals["round_trip"] += held
    totals["edited"] += edited
    totals["edits"] += len(edits_of(config))
    words = [f"{count} {level}" for level, count in sorted(levels.items())]
    return [
        "loaded",
        ", ".join(words) or "clean",
        "round trip" if held else "NO ROUND TRIP",
        "edited" if edited else "NOT EDITED",
    ]


def main(folder: str) -> int:
    totals: Counter[str] = Counter(
        dict.fromkeys(("configs", "loaded", "lint_clean", "lint_errors", "round_trip", "edited", "edits"), 0)
    )
    start = time.perf_counter()
    for path in sorted(Path(folder).rglob("*.config")):
        print(f"{path.relative_to(folder)}: {'; '.join(check(path, totals))}")
    print(json.dumps({**totals, "seconds": round(time.perf_counter() - start, 2)}))
    same = ("loaded", "lint_clean", "round_trip", "edited")
    return 0 if totals["configs"] and all(totals[key] == totals["configs"] for key in same) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
