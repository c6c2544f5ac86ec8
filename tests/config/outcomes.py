"""What becomes of one damaged input: a word for it, or an exception that no user may see."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.config.mutations import TEXTS, config_text, edits, table_text
from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.feature_update import update_features
from tzrec_build.config.lint import LEVELS, findings
from tzrec_build.config.load import canonical_text, file_text, parse_config
from tzrec_build.config.positions import positions
from tzrec_build.config.projection import PURPOSES, project
from tzrec_build.config.subject import Subject
from tzrec_build.errors import BuildError
from tzrec_build.tools.feature_info_table import load_infos

GOOD_CONFIGS = [parse_config(text, "x.config") for text in TEXTS]


def of_config(seed: int) -> str:
    """Load, lint, write, compare and project one damaged config."""
    text = config_text(seed)
    try:
        config = parse_config(text, "x.config")
    except BuildError as err:
        return _refused(str(err), "x.config")
    index = positions(text)
    problems = findings(Subject(config, text))
    for problem in problems:
        line, column = index.place(problem.field_path)
        assert line >= 1
        assert column >= 1
    back = parse_config(canonical_text(config), "x.config")
    assert canonical_text(back) == canonical_text(config)  # NaN is not equal to itself
    original = GOOD_CONFIGS[seed % len(GOOD_CONFIGS)]
    there = diff_configs(original, config)
    assert len(there) >= len(diff_configs(back, config))
    project(config, PURPOSES[seed % len(PURPOSES)])
    if "nan" not in text and "inf" not in text:
        assert parse_config(file_text(config, "x.json"), "x.json") == config
    levels = {LEVELS[problem.rule] for problem in problems}
    return "parsed, errors" if "error" in levels else "parsed, other findings" if levels else "parsed, clean"


def of_edits(seed: int) -> str:
    """Edit a good config, or a damaged one that parses."""
    config = GOOD_CONFIGS[seed % len(GOOD_CONFIGS)]
    before = canonical_text(config)
    try:
        edited = edit_config(config, edits(seed))
    except BuildError as err:
        assert canonical_text(config) == before
        return _refused(str(err), "edit ")
    parse_config(canonical_text(edited), "x.config")
    return "edited, changed" if diff_configs(config, edited) else "edited, the same"


def of_table(seed: int) -> str:
    """Apply a table of feature infos to a good config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(table_text(seed))
        config = GOOD_CONFIGS[seed % 4]  # those whose features the tables name
        try:
            infos, _ = load_infos(str(path))
            new, report = update_features(config, infos)
        except BuildError as err:
            return _refused(str(err), str(path), "after the update: ")
    canonical_text(new)
    return "applied, changed" if report.updated or report.dropped else "applied, nothing matched"


def _refused(message: str, *starts: str) -> str:
    """Check that every line of an error begins with its place, but for the lines that show the text."""
    for line in message.split("\n"):
        assert line.startswith(("  ", *starts)), message
    return "refused"


KINDS = {"config": of_config, "edit": of_edits, "table": of_table}
