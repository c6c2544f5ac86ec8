"""A small made-up log in the form of the MovieLens-100K files, and the modules of workspace/movielens."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MOVIELENS = ROOT / "workspace" / "movielens"
GENRES = ("Action", "Comedy", "Drama", "Film-Noir")
USERS, ITEMS = 12, 30


def load_script(path: Path) -> ModuleType:
    """Load a script by its path, with its folder on sys.path as when it is run."""
    name = f"script_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent))
    return sys.modules[name]


def write_raw(folder: Path, rows: int = 400, seed: int = 0) -> Path:
    """Write ml-100k.{inter,user,item}; few distinct time stamps, so that many rows share one."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(USERS * ITEMS)[:rows]
    times = rng.integers(0, rows // 6, len(pairs)) * 10 + 880_000_000
    ratings = rng.integers(1, 6, len(pairs))
    inter = [
        f"{pair // ITEMS + 1}\t{pair % ITEMS + 1}\t{rating}\t{time}"
        for pair, rating, time in zip(pairs, ratings, times, strict=True)
    ]
    return write_lines(folder, inter)


def write_lines(folder: Path, inter: Iterable[str]) -> Path:
    """Write the lines of a log, `user<tab>item<tab>rating<tab>time` each, beside the tables of users and items."""
    user = [f"{i + 1}\t{20 + i}\t{'MF'[i % 2]}\tdoctor\tV{i}000" for i in range(USERS)]
    item = [
        f"{i + 1}\tFilm {i}\t{'unkonwn' if i == 3 else 1960 + i}\t{' '.join(GENRES[: 1 + i % 4])}" for i in range(ITEMS)
    ]
    headers = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
        "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for kind, lines in (("inter", inter), ("user", user), ("item", item)):
        (folder / f"ml-100k.{kind}").write_text("\n".join([headers[kind], *lines]) + "\n", encoding="utf-8")
    return folder


def real_raw() -> Path:
    """The folder of the real files; skips the test where there is none."""
    folders = [os.environ.get("MOVIELENS_DIR", ""), str(MOVIELENS / "build" / "fetch")]
    found = [Path(folder) for folder in folders if folder and (Path(folder) / "ml-100k.inter").is_file()]
    if not found:
        pytest.skip("no MovieLens files: set MOVIELENS_DIR or build step:movielens:fetch")
    return found[0]
