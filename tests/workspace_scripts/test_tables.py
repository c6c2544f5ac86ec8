"""Tables of the demo: numbers by hand and by brute force, form, determinism, messages."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.workspace_scripts.raw_files import MOVIELENS, load_script, write_lines, write_raw
from tzrec_build.data.sampler import load_item_table

tables = load_script(MOVIELENS / "tables.py")
ratings = load_script(MOVIELENS / "ratings.py")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return ratings.read_raw(write_raw(tmp_path_factory.mktemp("raw")))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    write_raw(folder / "raw")
    assert tables.main(["--input_dir", str(folder / "raw"), "--output_dir", str(folder / "out")]) == 0
    return folder / "out"


def test_running_sums_count_strictly_earlier_rows_of_the_same_key():
    key, time = np.array([1, 2, 1, 1, 1]), np.array([10, 10, 10, 20, 30])
    counts, sums = ratings.running_sums(key, time, np.array([[1], [2], [4], [8], [16]]))
    assert counts.tolist() == [0, 0, 0, 2, 3]
    assert sums[:, 0].tolist() == [0, 0, 0, 5, 13]


def test_running_means_by_hand():
    # one user, one film after another; the prior of each row is the smoothed mean of all earlier rows
    log = ratings.Log(np.zeros(3, int), np.array([0, 1, 0]), np.array([5, 2, 3]), np.array([1, 2, 3]))
    items = tables.pa.table({"item_id": [1, 2], "year": [1990, 1995], "genres": [["A"], ["B"]]})
    raw = ratings.Raw(log, tables.pa.table({"user_id": [1]}), items, np.eye(2, dtype=np.int64))
    found = tables.running_features(raw)
    prior = [3.0, (5 + 15) / 6, (7 + 15) / 7]
    assert found["user_mean"] == pytest.approx([3.0, (5 + 5 * prior[1]) / 6, (7 + 5 * prior[2]) / 7])
    assert found["item_mean"] == pytest.approx([3.0, prior[1], (5 + 5 * prior[2]) / 6])
    assert found["user_bias"] == pytest.approx([0, 2 / 6, (2 + (2 - round(prior[1], 3))) / 7], abs=1e-6)
    assert found["genre_bias"][2] == pytest.approx((2 + 5 * found["user_bias"][2]) / 6, abs=1e-6)
    assert found["user_count"].tolist() == [0, 1, 2]
    assert found["item_count"].tolist() == [0, 0, 1]


def test_histories_equal_brute_force(raw):
    log = raw.log
    rows = np.arange(len(log))
    found = tables.rating_table(raw, tables.running_features(raw), rows)
    for row in range(0, len(log), 7):
        past = [i for i in rows if log.user[i] == log.user[row] and log.time[i] < log.time[row]]
        liked = [int(log.item[i]) + 1 for i in past if log.rating[i] >= 4][-tables.HISTORY_LENGTH :]
        assert found["liked_items"][row].as_py() == liked
        assert found["recent__item_id"][row].as_py() == [int(log.item[i]) + 1 for i in past][-tables.RECENT_LENGTH :]
        assert found["recent__rating"][row].as_py() == [int(log.rating[i]) for i in past][-tables.RECENT_LENGTH :]


def test_requests_hold_what_is_liked_at_their_moment_and_what_was_seen_before(raw):
    log = raw.log
    _, evaluate = tables.split(raw.log, 0.8, 1.0)
    found = tables.request_table(raw, tables.running_features(raw), evaluate)
    moments = Counter((int(log.user[i]), int(log.time[i])) for i in evaluate if log.rating[i] >= 4)
    assert found.num_rows == len(moments)
    assert sum(len(items) for items in found["gt_items"].to_pylist()) == sum(moments.values())
    for row in found.slice(0, 20).to_pylist():
        user = row["user_id"] - 1
        seen = [int(log.item[i]) + 1 for i in range(len(log)) if log.user[i] == user and log.time[i] < row["timestamp"]]
        assert row["seen_items"] == seen
        assert not set(row["gt_items"]) & set(seen)


def test_labels_and_parts(built, raw):
    train, evaluate = pq.read_table(built / "rank_train.parquet"), pq.read_table(built / "rank_eval.parquet")
    assert train.num_rows + evaluate.num_rows == len(raw.log)
    assert train["row"].to_pylist() != sorted(train["row"].to_pylist())
    assert max(train["timestamp"].to_pylist()) < min(evaluate["timestamp"].to_pylist())
    rating = raw.log.rating[train["row"].to_numpy()]
    assert train["like"].to_pylist() == (rating >= 4).astype(int).tolist()
    assert train["love"].to_pylist() == (rating == 5).astype(int).tolist()
    assert "rating" not in train.column_names
    assert set(pq.read_table(built / "match_train.parquet")["like"].to_pylist()) == {1}


def test_sampler_table_is_readable_by_the_sampler(built):
    found = load_item_table(str(built / "negatives.txt"))
    assert found.ids.tolist() == list(range(1, 31))
    assert found.attrs[4].as_py() == "5:1964:Action"
    assert found.attrs[3].as_py() == "4:0:Action\x1dComedy\x1dDrama\x1dFilm-Noir"


def test_same_seed_same_bytes_other_seed_other_order(tmp_path, built):
    write_raw(tmp_path / "raw")
    for seed in ("7", "8"):
        assert (
            tables.main(["--input_dir", str(tmp_path / "raw"), "--output_dir", str(tmp_path / seed), "--seed", seed])
            == 0
        )
    for path in built.iterdir():
        assert (tmp_path / "7" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "8/rank_train.parquet").read_bytes() != (built / "rank_train.parquet").read_bytes()


def test_missing_file_is_named(tmp_path, capsys):
    assert tables.main(["--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"tables: {tmp_path}/ml-100k.inter: file not found; run fetch.py first\n"
    assert not (tmp_path / "out").exists()


def test_missing_column_is_named(tmp_path):
    folder = write_raw(tmp_path)
    path = folder / "ml-100k.user"
    path.write_text(path.read_text().replace("age:token", "years:token"))
    with pytest.raises(ratings.TableError, match=r"ml-100k.user: column 'age' not found, got \['user_id', 'years'"):
        ratings.read_raw(folder)


def test_unreadable_value_is_named(tmp_path):
    folder = write_raw(tmp_path)
    path = folder / "ml-100k.inter"
    path.write_text(path.read_text() + "x\t1\t5\t3\n")
    with pytest.raises(ratings.TableError, match=r"ml-100k\.inter: not a table of .*'user_id'"):
        ratings.read_raw(folder)


def test_unknown_user_is_named(tmp_path):
    folder = write_raw(tmp_path)
    path = folder / "ml-100k.inter"
    path.write_text(path.read_text() + "99\t1\t5\t990000000\n")
    with pytest.raises(ratings.TableError, match=r"ml-100k\.inter: user_id 99 is not in its table"):
        ratings.read_raw(folder)


def test_shares_out_of_order_are_refused(tmp_path, capsys):
    flags = ["--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    assert tables.main([*flags, "--eval_from", "0.9", "--eval_to", "0.8"]) == 1
    assert "--eval_from, --eval_to: must be 0 < from < to <= 1, got 0.9, 0.8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\t1\t\t880000000", "rating must be a whole number from 1 to 5, got nan"),
        ("1\t1\t4.5\t880000000", "rating must be a whole number from 1 to 5, got 4.5"),
        ("1\t1\t6\t880000000", "rating must be a whole number from 1 to 5, got 6.0"),
        ("1\t1\t5\t", "timestamp must be a whole number from 0 to 8589934592, got nan"),
        ("1\t1\t5\t-1", "timestamp must be a whole number from 0 to 8589934592, got -1.0"),
    ],
)
def test_impossible_values_are_refused(tmp_path, capsys, row, message):
    path = write_raw(tmp_path) / "ml-100k.inter"
    path.write_text(f"{path.read_text()}{row}\n")
    assert tables.main(["--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == f"tables: ml-100k.inter: {message}\n"
    assert not (tmp_path / "out").exists()


def test_an_empty_log_is_refused(tmp_path):
    with pytest.raises(ratings.TableError, match=r"ml-100k\.inter: timestamp must be .*, got no rows"):
        ratings.read_raw(write_lines(tmp_path, []))


def test_an_item_given_twice_is_refused(tmp_path):
    path = write_raw(tmp_path) / "ml-100k.item"
    path.write_text(f"{path.read_text()}30\tAgain\t1990\tDrama\n")
    with pytest.raises(
        ratings.TableError, match=r"ml-100k\.item: item_id must be given once for each row, got it twice"
    ):
        ratings.read_raw(tmp_path)


def test_a_log_of_one_second_cannot_be_split(tmp_path, capsys):
    write_lines(tmp_path, [f"1\t{item}\t4\t880000000" for item in range(1, 11)])
    assert tables.main(["--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "tables: --eval_from 0.8 --eval_to 1.0: both parts must hold ratings, no moment is in both, got 0 and 10 of 10\n"
    )
    assert not (tmp_path / "out").exists()
