"""Hit rates worked out by hand on four items and four requests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.tools import faiss_index, hitrate, recall

# On a line: item 10 at 1, 20 at 2, 30 at 3, 40 at 4. With inner product a positive user ranks 40 30 20 10, a negative one 10 20 30 40.
ITEMS = {"item_id": [10, 20, 30, 40], "item_tower_emb": [[1.0], [2.0], [3.0], [4.0]]}
REQUESTS = {
    "request_id": ["a", "b", "c", "d"],
    "user_tower_emb": [[1.0], [1.0], [-1.0], [1.0]],
    "gt_items": [[40, 10], [20], [20, 99], []],
    "seen": [[], [40, 30], None, [10]],
}


def write(folder: Path, **changes: object) -> tuple[str, str]:
    pq.write_table(pa.table(ITEMS), folder / "items.parquet")
    pq.write_table(pa.table(REQUESTS | changes), folder / "requests.parquet")
    return str(folder / "items.parquet"), str(folder / "requests.parquet")


def run(folder: Path, *flags: str, **changes: object) -> dict[str, object]:
    items, requests = write(folder, **changes)
    out = str(folder / "out")
    code = hitrate.main(["--item_embedding_input", items, "--user_gt_input", requests, "--output_dir", out, *flags])
    assert code == 0
    return json.loads((folder / "out" / "hitrate.json").read_text())


def test_hits_over_all_ground_truth_items(tmp_path: Path) -> None:
    # top 2: a 40 30 -> hit 40 of {40, 10}; b 40 30 -> none of {20}; c 10 20 -> hit 20 of {20, 99}; d has no truth. 2 of 5.
    # top 1: a 40 -> hit; b no; c 10 -> no. 1 of 5.
    assert run(tmp_path, "--top_k", "1,2") == {
        "hitrate@1": 0.2,
        "hitrate@2": 0.4,
        "hits@1": 1,
        "hits@2": 2,
        "requests": 4,
        "requests_without_ground_truth": 1,
        "ground_truth_items": 5,
        "ground_truth_not_in_index": 1,
        "ground_truth_excluded": 0,
    }


def test_rates_stand_beside_those_of_a_baseline(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text('{"baselines": {"popularity": {"hitrate@2": 0.25}, "oracle": {"hitrate@2": 1.0}}}')
    compared = run(tmp_path, "--top_k", "1,2", "--baseline", str(baseline))["comparisons"]
    assert compared["hitrate@1"] == []
    assert [(each["against"], each["verdict"]) for each in compared["hitrate@2"]] == [
        ("popularity", "BETTER"),
        ("oracle", "WORSE"),
    ]
    assert compared["hitrate@2"][0]["difference"] == pytest.approx(0.15)


def test_seen_items_make_room_and_never_count(tmp_path: Path) -> None:
    # b: 40 and 30 are seen, so its top 2 are 20 10 -> hit.
    result = run(tmp_path, "--top_k", "2", "--exclude_items_field", "seen")
    assert (result["hitrate@2"], result["hits@2"]) == (0.6, 3)
    # a wants 40 but has seen it: it stays in the ground truth and cannot be hit.
    seen = [[40], [40, 30], None, [10]]
    result = run(tmp_path, "--top_k", "2", "--exclude_items_field", "seen", seen=seen)
    assert (result["hits@2"], result["ground_truth_excluded"]) == (2, 1)


def test_details_hold_what_was_recalled_for_each_request(tmp_path: Path) -> None:
    run(tmp_path, "--top_k", "2", "--exclude_items_field", "seen")
    assert pq.read_table(tmp_path / "out" / "part-0.parquet").to_pylist() == [
        {"id": "a", "topk_ids": [["40", "30"]], "topk_dists": [[4.0, 3.0]], "hitrate": 0.5, "hit_ids": ["40"]},
        {"id": "b", "topk_ids": [["20", "10"]], "topk_dists": [[2.0, 1.0]], "hitrate": 1.0, "hit_ids": ["20"]},
        {"id": "c", "topk_ids": [["10", "20"]], "topk_dists": [[-1.0, -2.0]], "hitrate": 0.5, "hit_ids": ["20"]},
        {"id": "d", "topk_ids": [["40", "30"]], "topk_dists": [[4.0, 3.0]], "hitrate": None, "hit_ids": []},
    ]


def test_text_lists_with_repeated_ids_count_each_item_once(tmp_path: Path) -> None:
    result = run(tmp_path, "--top_k", "2", gt_items=["40,10,40", " 20", "20, 99", ""])
    assert (result["hits@2"], result["ground_truth_items"]) == (2, 5)


def test_a_built_index_gives_the_same_rates_as_the_embeddings(tmp_path: Path) -> None:
    items, requests = write(tmp_path)
    index = str(tmp_path / "index")
    fields = ["--id_field", "item_id", "--embedding_field", "item_tower_emb"]
    for kind in ("FlatIP", "HNSWFlatIP", "IVFFlatIP"):
        kind_flags = ["--index_type", kind, "--ivf_nlist", "4"]
        paths = ["--embedding_input_path", items, "--index_output_dir", index]
        assert faiss_index.main([*paths, *fields, *kind_flags]) == 0
        out = tmp_path / kind
        paths = ["--index_dir", index, "--user_gt_input", requests, "--output_dir", str(out)]
        assert hitrate.main([*paths, "--top_k", "1,2"]) == 0
        assert json.loads((out / "hitrate.json").read_text())["hitrate@2"] == 0.4


def test_an_index_that_finds_fewer_than_k_never_hits_the_last_item(tmp_path: Path) -> None:
    # One list visited of four: FAISS fills up with label -1, which as a position would be item 40.
    items, requests = write(tmp_path, gt_items=[[40], [40], [40], [40]], user_tower_emb=[[-1.0]] * 4)
    flags = ["--index_type", "IVFFlatL2", "--ivf_nlist", "4", "--ivf_nprobe", "1", "--top_k", "4"]
    out = str(tmp_path / "out")
    paths = ["--item_embedding_input", items, "--user_gt_input", requests, "--output_dir", out]
    assert hitrate.main([*paths, *flags]) == 0
    assert json.loads((tmp_path / "out" / "hitrate.json").read_text())["hits@4"] == 0


def test_random_requests_agree_with_python_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recall, "RESULT_CELLS", 100)  # several slices
    rng = np.random.default_rng(3)
    items, users = rng.standard_normal((40, 3)), rng.standard_normal((25, 3))
    truth = [rng.integers(0, 50, rng.integers(0, 6)).tolist() for _ in users]
    seen = [rng.integers(0, 50, rng.integers(0, 9)).tolist() for _ in users]
    pq.write_table(pa.table({"item_id": list(range(40)), "item_tower_emb": items.tolist()}), tmp_path / "i.parquet")
    table = pa.table({"request_id": list(range(25)), "user_tower_emb": users.tolist(), "gt_items": truth, "seen": seen})
    pq.write_table(table, tmp_path / "r.parquet")
    paths = ["--item_embedding_input", str(tmp_path / "i.parquet"), "--user_gt_input", str(tmp_path / "r.parquet")]
    flags = ["--output_dir", str(tmp_path / "out"), "--top_k", "7", "--exclude_items_field", "seen"]
    assert hitrate.main([*paths, *flags]) == 0
    hits = 0
    for user, wants, saw in zip(users, truth, seen, strict=True):
        ranking = [item for item in np.argsort(-(items @ user)).tolist() if item not in saw][:7]
        hits += len(set(ranking) & set(wants))
    result = json.loads((tmp_path / "out" / "hitrate.json").read_text())
    assert result["hits@7"] == hits
    assert result["ground_truth_items"] == sum(len(set(wants)) for wants in truth)


@pytest.mark.parametrize(
    ("changes", "flags", "text"),
    [
        ({"gt_items": [[], [], [], []]}, [], "no request has ground truth, got 4 requests; check the join"),
        ({"gt_items": [1.0, 2.0, 3.0, 4.0]}, [], "must hold lists of integer or string ids, or comma text, got double"),
        ({"user_tower_emb": [[1.0, 2.0]] * 4}, [], "vectors must have 1 values as in the index, got 2"),
        ({}, ["--gt_items_field", "gt_item"], "column 'gt_item' is missing; did you mean 'gt_items'?"),
    ],
)  # fmt: skip
def test_bad_requests_are_named_and_nothing_is_written(
    changes: dict[str, object], flags: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "gt_items" in changes and changes["gt_items"] == [[], [], [], []]:
        changes = {"gt_items": pa.array(changes["gt_items"], pa.list_(pa.int64()))}
    items, requests = write(tmp_path, **changes)
    out = tmp_path / "out"
    paths = ["--item_embedding_input", items, "--user_gt_input", requests, "--output_dir", str(out)]
    assert hitrate.main([*paths, *flags]) == 1
    assert text in capsys.readouterr().err
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [("0,5", "--top_k: must be at least 1, got 0"), ("ten", "--top_k: must be numbers joined by commas, got 'ten'")],
)
def test_a_depth_that_is_no_positive_number_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hitrate.parse_top_k(text)
    assert str(caught.value) == message
