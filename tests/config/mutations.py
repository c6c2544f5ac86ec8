"""Damaged configs, edits and tables, from a seed: mild damage that mostly parses, and rough damage that mostly does not."""

from __future__ import annotations

import json
import random
import re

from tests.config.texts import CONFIGS, GOOD, MATCH, SEQUENCES, TASKS

TEXTS = [GOOD, SEQUENCES, MATCH, TASKS, *(path.read_text() for path in CONFIGS)]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
STRING = re.compile(r'"[^"\n]*"')
WORD = re.compile(r"\b[a-z_]{3,}\b(?=\s*[:{])")
NAMES = [
    "a",
    "b",
    "r",
    "s__b",
    "user",
    "item",
    "clk",
    "ctr",
    "x",
    "",
    "é",
    "a b",
    "feature:a",
    "user:a",
    "]",
    "DROP",
    "\\n",
    "%s",
]
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "4",
    "16",
    "0.5",
    "1e9",
    "4294967296",
    "99999999999999999999",
    "1e400",
    "nan",
    "-inf",
    "0x10",
]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    '"',
    "'",
    "\\",
    "#",
    ",",
    "<",
    ">",
    "\0",
    "\t",
    "é",
    "id_feature",
    "{}",
    "\n",
    ";",
    "..",
    "[-1]",
    "-",
    "0x1",
    "1e999",
    '"\\777"',
]
EDITS = {  # good edits of most of the texts
    "model_dir": "m2",
    "train_config.num_epochs": 3,
    "data_config.batch_size": "64",
    "data_config.label_fields": ["x", "y"],
    "data_config.label_fields[0]": "z",
    "feature_configs[0]": '{ raw_feature { feature_name: "z" } }',
    "feature_configs[-1]": {"id_feature": {"feature_name": "y", "num_buckets": 3}},
    "feature_configs[0:1].id_feature.embedding_dim": 8,
    "feature_configs[id_feature.feature_name=a].id_feature.num_buckets": 9,
    "feature_configs[id_feature].id_feature.pooling": "mean",
    "feature_configs[id_feature.embedding_dim>=4].id_feature.vocab_list": "['a', 'b']",
    "feature_configs[:].raw_feature.boundaries": [1, 2],
    "model_config.losses": "[{ l2_loss {} }, { jrc_loss { session_name: 'a' } }]",
    "model_config.losses[0]": "l2_loss {}",
    "model_config.feature_groups[0].feature_names": "b",
    "model_config.feature_groups[group_name=user].group_type": "WIDE",
    "model_config.feature_groups[-1].sequence_groups": [],
    "model_config.dssm": '{ output_dim: 4 user_tower { input: "user" } }',
    "train_config.dense_optimizer.adam_optimizer.lr": 0.5,
    "data_config.fg_mode": 1,
    "model_dir;data_config.batch_size": "e;9",
    "feature_configs[0].id_feature.vocab_dict": {"a": 2},
    "data_config": "{ batch_size: 3 }",
    "eval_config.num_steps": 2,
}
VALUES = [
    *(1, 0, -1, 2**40, 0.5, float("nan"), True, None, "x", "", "8", "[1, 2]", "['a', 'b']", "{}", "{ x }", "[{}, {}]", "FG_DAG"),
    *([], [1, 2], ["a"], {}, {"a": 1}, {"a": [1]}, [[1]], "e;9", "DEEP", "true", 'feature_name: "z" num_buckets: 3', "[" * 2000),
]  # fmt: skip
INFO_VALUES = [8, "8", 0, -1, 2.5, True, None, "x", [1, 2], ["1", 2.5], [2, 1], [], {}, 2**63, 1e308, [1e39], "9" * 50]


def config_text(seed: int) -> str:
    """A config with one to four kinds of damage."""
    rng = random.Random(seed)
    text = rng.choice(TEXTS)
    mild = rng.random() < 0.7
    for _ in range(rng.randint(1, 4)):
        text = rng.choice(MILD if mild else ROUGH)(text, rng)
    return text


def _replace(pattern: re.Pattern[str], values: list[str], text: str, rng: random.Random) -> str:
    found = list(pattern.finditer(text))
    if not found:
        return text
    match = rng.choice(found)
    return f"{text[: match.start()]}{rng.choice(values)}{text[match.end() :]}"


def _number(text: str, rng: random.Random) -> str:
    return _replace(NUMBER, NUMBERS[:7] if rng.random() < 0.8 else NUMBERS, text, rng)


def _string(text: str, rng: random.Random) -> str:
    return _replace(STRING, [f'"{name}"' for name in NAMES], text, rng)


def _same_string(text: str, rng: random.Random) -> str:
    return _replace(STRING, STRING.findall(text) or ['""'], text, rng)


def _lines(text: str, rng: random.Random) -> str:
    """Move, repeat or remove a line that holds whole fields."""
    lines = text.split("\n")
    whole = [i for i, line in enumerate(lines) if line.strip() and line.count("{") == line.count("}")]
    if not whole:
        return text
    at = rng.choice(whole)
    line = lines[at]
    how = rng.randrange(3)
    if how != 1:
        del lines[at]
    if how != 2:
        lines.insert(rng.choice([at, at + 1, rng.choice(whole)]), line)
    return "\n".join(lines)


def _word(text: str, rng: random.Random) -> str:
    return _replace(WORD, WORD.findall(text) or ["x"], text, rng)


def _piece(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return f"{text[:at]}{rng.choice(PIECES)}{text[at + rng.choice([0, 0, 1, 5]) :]}"


def _cut(text: str, rng: random.Random) -> str:
    low, high = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:low] + text[high:] if rng.random() < 0.5 else text[:high]


def _deep(text: str, rng: random.Random) -> str:
    return rng.choice(["a {", "[", "{", "model_config {", "<"]) * rng.choice([3, 300, 3000]) + text


MILD = [_number, _number, _string, _same_string, _same_string, _lines]
ROUGH = [_word, _piece, _piece, _cut, _lines, _deep, _number]


def edits(seed: int) -> dict[str, object]:
    """One or two edits, some with damaged paths or with a value of another."""
    rng = random.Random(seed)
    found: dict[str, object] = {}
    for _ in range(rng.choice([1, 1, 2])):
        key, value = rng.choice(list(EDITS.items()))
        how = rng.random()
        if how < 0.15:
            key = _piece(key, rng)
        elif how < 0.18:
            key = f"{key}.{rng.choice(list(EDITS))}"
        found[key] = rng.choice(VALUES) if rng.random() < 0.25 else value
    return found


def table_text(seed: int) -> str:
    """A table of feature infos in CSV, some with damaged cells or lines."""
    rng = random.Random(seed)
    rows = ["feature,feature_info,message"]
    for _ in range(rng.randint(0, 4)):
        keys = rng.choice(
            [["embedding_dim"], ["embedding_dim", "other"], ["hash_bucket_size", "embedding_dim"], ["boundary"]]
        )
        good = {
            "embedding_dim": rng.choice([4, "8", 16]),
            "boundary": [1, 2.5],
            "hash_bucket_size": rng.choice([7, "9"]),
        }
        info = {key: rng.choice(INFO_VALUES) if rng.random() < 0.08 else good.get(key, 3) for key in keys}
        cell = json.dumps(info).replace('"', '""')
        cell = _piece(cell, rng) if rng.random() < 0.05 else cell
        rows.append(
            f'{rng.choice(["a", "a", "b", "r", "s__b", "q", "zz"])},"{cell}",{rng.choice(["", "", "", "", "", "DROP IT"])}'
        )
    text = "\n".join(rows)
    return _piece(text, rng) if rng.random() < 0.1 else text
