"""No feature of a row uses anything later than the row, or of the same second, or the row's own rating."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.workspace_scripts.raw_files import MOVIELENS, load_script, real_raw, write_raw

tables = load_script(MOVIELENS / "tables.py")
ratings = load_script(MOVIELENS / "ratings.py")
NOT_FEATURES = ("row", "like", "love", "request_id", "gt_items")


def only_the_past(log: Any, time: int) -> tuple[Any, np.ndarray]:
    """The log without the rows after `time`; those at `time` stay, but their ratings become 4."""
    begin, end = np.searchsorted(log.time, [time, time + 1])
    rating = np.concatenate([log.rating[:begin], np.full(end - begin, 4)])
    return ratings.Log(log.user[:end], log.item[:end], rating, log.time[:end]), np.arange(begin, end)


def garbled_future(log: Any, time: int, seed: int) -> tuple[Any, np.ndarray]:
    """The log with other users, items, ratings and times after `time`, and other ratings at it."""
    rng = np.random.default_rng(seed)
    past, rows = only_the_past(log, time)
    later = len(log) - len(past)
    future = ratings.Log(
        rng.permutation(log.user)[:later],
        rng.permutation(log.item)[:later],
        rng.integers(1, 6, later),
        np.sort(rng.integers(time + 1, time + 10**6, later)),
    )
    joined = [
        np.concatenate([getattr(past, name), getattr(future, name)]) for name in ("user", "item", "rating", "time")
    ]
    return ratings.Log(*joined), rows


def feature_tables(raw: Any, rows: np.ndarray) -> dict[str, list[Any]]:
    """Every feature of both kinds of tables, of all requests and rows among `rows`, as Python values."""
    liked = replace(raw, log=replace(raw.log, rating=_with_likes(raw.log.rating, rows)))
    features = tables.running_features(raw)
    found = {}
    for kind, table in (
        ("rating", tables.rating_table(raw, features, rows)),
        ("request", tables.request_table(liked, features, rows)),
    ):
        found |= {f"{kind}.{name}": table[name].to_pylist() for name in table.column_names if name not in NOT_FEATURES}
    return found


def _with_likes(rating: np.ndarray, rows: np.ndarray) -> np.ndarray:
    changed = rating.copy()
    changed[rows] = 5  # so that each of the rows belongs to a request, whatever was done to its rating
    return changed


def assert_no_leak(raw: Any, time: int) -> None:
    begin, end = np.searchsorted(raw.log.time, [time, time + 1])
    expected = feature_tables(raw, np.arange(begin, end))
    for log, rows in (only_the_past(raw.log, time), garbled_future(raw.log, time, seed=int(time))):
        got = feature_tables(replace(raw, log=log), rows)
        assert [name for name in expected if got[name] != expected[name]] == []


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ratings.read_raw(write_raw(tmp_path_factory.mktemp("raw")))


def test_features_do_not_change_when_the_future_does(raw):
    for time in np.unique(raw.log.time):
        assert_no_leak(raw, time)


def leaks(raw: Any) -> bool:
    """Whether the check above complains at one of the last moments."""
    try:
        for time in np.unique(raw.log.time)[-10:]:
            assert_no_leak(raw, time)
    except AssertionError:
        return True
    return False


def test_the_check_finds_a_feature_that_sees_the_own_rating_and_the_same_second(raw, monkeypatch):
    honest = tables.running_sums

    def up_to_now(key, time, values):
        counts, sums = honest(key, np.arange(len(time)), values)
        return counts + 1, sums + values

    assert not leaks(raw)
    monkeypatch.setattr(tables, "running_sums", up_to_now)
    assert leaks(raw)


def test_the_check_finds_a_feature_that_sees_later_rows(raw, monkeypatch):
    honest = tables.running_sums
    monkeypatch.setattr(tables, "running_sums", lambda key, time, values: honest(key, -time, values))
    assert leaks(raw)


def test_real_ratings_do_not_leak():
    raw = ratings.read_raw(real_raw())
    for time in np.random.default_rng(0).choice(raw.log.time, 3):
        assert_no_leak(raw, time)


def test_no_moment_is_in_both_parts(raw):
    train, evaluate = tables.split(raw.log, 0.5, 0.9)
    assert raw.log.time[train].max() < raw.log.time[evaluate].min()
    assert raw.log.time[evaluate].max() < raw.log.time[evaluate[-1] + 1]


def test_tuning_tables_hold_nothing_of_the_evaluation_part(raw):
    spec = tables.Spec(Path(), Path(), 7, 0.72, 0.8)
    real_train, real_eval = tables.split(raw.log, 0.8, 1.0)
    for name, table in tables.build_tables(raw, spec).items():
        if name != "items":
            latest = pa.compute.max(table["timestamp"]).as_py()
            assert latest < raw.log.time[real_eval[0]], name
    assert len(real_train) == real_eval[0]
