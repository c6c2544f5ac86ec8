"""Tables as a whole against copies of the raw log whose later part is garbled or gone, and against slow arithmetic.

test_leaks.py asks the functions of tables.py; here only the raw files go in and only finished tables are looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workspace_scripts.raw_files import GENRES, ITEMS, MOVIELENS, USERS, load_script, real_raw, write_lines

tables = load_script(MOVIELENS / "tables.py")
ratings = load_script(MOVIELENS / "ratings.py")
KEY = ("user_id", "item_id", "timestamp")
LABELS = ("like", "love")
FIRST_SECOND = 880_000_000


@dataclass(frozen=True)
class Rating:
    """One line of the log; the order of the lines is not the order of time."""

    user: int
    item: int
    rating: int
    time: int

    def line(self) -> str:
        return f"{self.user}\t{self.item}\t{self.rating}\t{self.time}"


@st.composite
def logs(draw: st.DrawFn) -> list[Rating]:
    """Few seconds, so many ties; every pair once; users and items that turn up late or never."""
    pairs = st.tuples(st.integers(1, USERS), st.integers(1, ITEMS)).filter(lambda pair: pair != (USERS, ITEMS))
    chosen = draw(st.lists(pairs, min_size=6, max_size=40, unique=True))
    seconds = st.integers(FIRST_SECOND, FIRST_SECOND + 8)
    log = [Rating(*pair, draw(st.integers(1, 5)), draw(seconds)) for pair in chosen]
    return [*log, Rating(USERS, ITEMS, 4, FIRST_SECOND + 10)]  # a last second of its own: no part is ever empty


def build(log: Sequence[Rating], eval_from: float = 0.5) -> dict[str, pa.Table]:
    with tempfile.TemporaryDirectory() as folder:
        raw = ratings.read_raw(write_lines(Path(folder), [row.line() for row in log]))
    if raw.log.time[int(len(raw.log) * eval_from)] == raw.log.time[0]:
        eval_from = 1 - 1e-9  # all but the last second are one second
    return tables.build_tables(raw, tables.Spec(Path(), Path(), 7, eval_from, 1.0))


def all_rows(built: dict[str, pa.Table]) -> pa.Table:
    """Both parts, in order of user, item and time, without the place in the log: that one may shift within a second."""
    joined = pa.concat_tables([built["rank_train"], built["rank_eval"]])
    return joined.sort_by([(name, "ascending") for name in KEY]).drop_columns(["row"])


def features_until(built: dict[str, pa.Table], time: int) -> pa.Table:
    rows = all_rows(built).drop_columns(list(LABELS))
    return rows.filter(pc.less_equal(rows["timestamp"], time))


def differing(one: pa.Table, other: pa.Table) -> list[str]:
    assert one.column_names == other.column_names
    return [name for name in one.column_names if not one[name].combine_chunks().equals(other[name].combine_chunks())]


@given(log=logs(), data=st.data())
@settings(max_examples=30)
def test_rows_stay_the_same_when_ratings_from_their_second_on_change(log, data):
    time = data.draw(st.sampled_from(sorted({row.time for row in log})))
    other = data.draw(st.integers(1, 4))
    garbled = [Rating(r.user, r.item, (r.rating + other - 1) % 5 + 1, r.time) if r.time >= time else r for r in log]
    assert differing(features_until(build(log), time), features_until(build(garbled), time)) == []


@given(log=logs(), data=st.data())
@settings(max_examples=30)
def test_a_row_stays_the_same_when_all_others_from_its_second_on_are_gone(log, data):
    kept = data.draw(st.sampled_from([row for row in log if row.time > min(r.time for r in log)]))
    alone = [row for row in log if row.time < kept.time or row is kept]
    rows = features_until(build(log), kept.time)
    same = [pc.equal(rows[name], value) for name, value in zip(KEY, (kept.user, kept.item, kept.time), strict=True)]
    expected = rows.filter(pc.and_(pc.and_(same[0], same[1]), same[2]))
    found = features_until(build(alone, 1 - 1e-9), kept.time)
    found = found.filter(pc.equal(found["timestamp"], kept.time))
    assert differing(expected, found) == []


@given(log=logs())
@settings(max_examples=30)
def test_the_other_tables_hold_the_same_rows(log):
    built = build(log)
    for part in ("train", "eval"):
        rank = built[f"rank_{part}"]
        assert built[f"match_{part}"].equals(rank.filter(pc.equal(rank["like"], 1)))
    users = built["hitrate_users"]
    shared = [name for name in users.column_names if name in built["rank_eval"].column_names]
    rows = built["rank_eval"].filter(pc.is_in(built["rank_eval"]["row"], users["request_id"].combine_chunks()))
    assert {"user_count", "liked_items", "recent__residual", "age"} <= set(shared)
    assert differing(users.select(shared), rows.select(shared)) == []


@given(log=logs())
@settings(max_examples=30)
def test_labels_parts_and_requests_follow_the_log(log):
    built = build(log)
    expected = {(row.user, row.item, row.time): row.rating for row in log}
    for row in all_rows(built).to_pylist():
        rating = expected.pop(tuple(row[name] for name in KEY))
        assert (row["like"], row["love"]) == (int(rating >= 4), int(rating == 5))
    assert expected == {}
    begin = pc.min(built["rank_eval"]["timestamp"]).as_py()
    assert pc.max(built["rank_train"]["timestamp"]).as_py() < begin
    moments = {(row.user, row.time) for row in log if row.rating >= 4 and row.time >= begin}
    for row in built["hitrate_users"].to_pylist():
        user, time = row["user_id"], row["timestamp"]
        moments.remove((user, time))
        liked_now = [r.item for r in log if r.user == user and r.time == time and r.rating >= 4]
        assert sorted(row["gt_items"]) == sorted(liked_now)
        assert sorted(row["seen_items"]) == sorted(r.item for r in log if r.user == user and r.time < time)
        assert not set(row["gt_items"]) & set(row["seen_items"])
    assert moments == set()


def smooth(values: Sequence[float], prior: float) -> float:
    return (sum(values) + 5 * prior) / (len(values) + 5)


def slow_features(log: Sequence[Rating], row: Rating) -> dict[str, float]:
    """The numbers of one row by their definition, each over a list of earlier ratings."""
    earlier = [r for r in log if r.time < row.time]
    of_user, of_item = [r for r in earlier if r.user == row.user], [r for r in earlier if r.item == row.item]
    user_bias = smooth([above(log, r, "item") for r in of_user], 0)
    shared = [above(log, r, "item") for r in of_user for _ in genres(r.item) & genres(row.item)]
    return {
        "user_count": len(of_user),
        "item_count": len(of_item),
        "user_mean": mean_before(log, row, "user"),
        "item_mean": mean_before(log, row, "item"),
        "user_bias": user_bias,
        "item_bias": smooth([above(log, r, "user") for r in of_item], 0),
        "genre_bias": smooth(shared, user_bias),
    }


def mean_before(log: Sequence[Rating], row: Rating, side: str) -> float:
    earlier = [r for r in log if r.time < row.time]
    same = [r.rating for r in earlier if getattr(r, side) == getattr(row, side)]
    return smooth(same, smooth([r.rating for r in earlier], 3.0))


def above(log: Sequence[Rating], row: Rating, side: str) -> float:
    return row.rating - mean_before(log, row, side)


def genres(item: int) -> set[str]:
    return set(GENRES[: 1 + (item - 1) % 4])


@given(log=logs())
@settings(max_examples=15)
def test_numbers_equal_slow_arithmetic(log):
    for row in all_rows(build(log)).to_pylist():
        rating = next(r for r in log if (r.user, r.item) == (row["user_id"], row["item_id"]))
        expected = slow_features(log, rating)
        # residuals are summed in whole thousandths
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1.1e-3)


@given(log=logs())
@settings(max_examples=15)
def test_histories_hold_earlier_items_only_oldest_first(log):
    time_of = {(row.user, row.item): row.time for row in log}
    rating_of = {(row.user, row.item): row.rating for row in log}
    for row in all_rows(build(log)).to_pylist():
        user = row["user_id"]
        past = [r for r in log if r.user == user and r.time < row["timestamp"]]
        for name, kept in (("liked_items", {4, 5}), ("disliked_items", {1, 2}), ("recent__item_id", {1, 2, 3, 4, 5})):
            assert sorted(row[name]) == sorted(r.item for r in past if r.rating in kept)
            times = [time_of[user, item] for item in row[name]]
            assert times == sorted(times)
        assert row["last_items"] == row["recent__item_id"][-5:]
        assert row["recent__rating"] == [rating_of[user, item] for item in row["recent__item_id"]]


def test_items_and_negatives_are_complete():
    built = build([Rating(1, 1, 5, FIRST_SECOND), Rating(1, 2, 5, FIRST_SECOND + 1)])
    assert built["items"]["item_id"].to_pylist() == list(range(1, ITEMS + 1))
    lines = tables.sampler_lines(built["items"]).to_pylist()
    assert [line.split("\t")[0] for line in lines] == [str(item) for item in range(1, ITEMS + 1)]
    assert {line.split("\t")[1] for line in lines} == {"1.0"}


def test_an_evaluation_part_without_a_like_makes_no_request():
    built = build([Rating(1, 1, 5, FIRST_SECOND), Rating(1, 2, 3, FIRST_SECOND + 1)])
    assert built["hitrate_users"].num_rows == built["match_eval"].num_rows == 0
    assert built["rank_eval"].num_rows == 1


def garble_real(folder: Path, work: Path, time: float) -> Path:
    """A copy of the real files with all ratings from `time` on shuffled among themselves."""
    work.mkdir()
    for kind in ("user", "item"):
        (work / f"ml-100k.{kind}").symlink_to((folder / f"ml-100k.{kind}").absolute())
    header, *lines = (folder / "ml-100k.inter").read_text().splitlines()
    cells = np.array([line.split("\t") for line in lines])
    later = np.flatnonzero(cells[:, 3].astype(float) >= time)
    cells[later, 2] = cells[np.random.default_rng(0).permutation(later), 2]
    (work / "ml-100k.inter").write_text("\n".join([header, *("\t".join(row) for row in cells)]) + "\n")
    return work


def real_tables(folder: Path, out: Path) -> dict[str, Any]:
    assert tables.main(["--input_dir", str(folder), "--output_dir", str(out)]) == 0
    return {name: pq.read_table(out / f"{name}.parquet") for name in ("rank_train", "rank_eval", "hitrate_users")}


@pytest.mark.slow
def test_real_tables_do_not_leak(tmp_path):
    folder = real_raw()
    honest = real_tables(folder, tmp_path / "honest")
    time = honest["rank_eval"]["timestamp"][5000].as_py()
    garbled = real_tables(garble_real(folder, tmp_path / "raw", time), tmp_path / "garbled")
    assert features_until(honest, time).num_rows > 84_000
    assert differing(features_until(honest, time), features_until(garbled, time)) == []
    assert differing(all_rows(honest), all_rows(garbled)) != []  # the copy was another one
