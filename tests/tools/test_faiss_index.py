"""The index tool against TorchEasyRec's own outputs, and against rows that an index must not hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.peer_cases import peer_folder
from tzrec_build.errors import ConfigError, DataError
from tzrec_build.tools import faiss_index
from tzrec_build.tools.embedding_table import read_embeddings
from tzrec_build.tools.index_build import build_index, load_index
from tzrec_build.tools.index_spec import IndexSpec, use_gpu


def write_table(path: Path, ids: object, vectors: object) -> Path:
    pq.write_table(pa.table({"item_id": ids, "emb": vectors}), path)
    return path


def run(table: Path, out: Path, *flags: str) -> int:
    fields = ["--id_field", "item_id", "--embedding_field", "emb"]
    return faiss_index.main(["--embedding_input_path", str(table), "--index_output_dir", str(out), *fields, *flags])


def random_vectors(rows: int, dim: int = 4) -> list[list[float]]:
    return np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("IVFFlatIP", "items.parquet"),
        ("IVFFlatL2", "items.parquet"),
        ("HNSWFlatIP", "items.parquet"),
        ("HNSWFlatL2", "items.parquet"),
        ("IVFFlatIP_str", "items_str.parquet"),
    ],
)
def test_ids_and_search_results_equal_those_of_torch_easyrec(name: str, table: str, tmp_path: Path) -> None:
    case = peer_folder("faiss")
    kind = name.removesuffix("_str")
    flags = ["--index_type", kind, "--ivf_nlist", "10", "--hnsw_M", "8", "--hnsw_efConstruction", "40"]
    paths = ["--embedding_input_path", str(case / table), "--index_output_dir", str(tmp_path)]
    assert faiss_index.main([*paths, "--id_field", "item_id", "--embedding_field", "embedding", *flags]) == 0
    assert (tmp_path / "id_mapping").read_bytes() == (case / name / "id_mapping").read_bytes()
    expected = json.loads((case / "search_results.json").read_text())[name]
    index, ids = load_index(tmp_path)
    queries = np.load(case / "queries.npy")
    for setting, result in expected.items():
        if not setting.startswith(("nprobe_", "efSearch_")):
            continue
        effort = int(setting.split("_")[1])
        if kind.startswith("IVF"):
            index.nprobe = effort
        else:
            index.hnsw.efSearch = effort
        distances, rows = index.search(queries, 10)
        np.testing.assert_allclose(distances, result["distances"], rtol=1e-6)
        assert rows.tolist() == result["row"]
        assert [ids.take(pa.array(row)).to_pylist() for row in rows] == [[str(i) for i in row] for row in result["ids"]]


def test_two_builds_of_hnsw_with_two_threads_give_equal_bytes(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", list(range(400)), random_vectors(400))
    for name in ("a", "b"):
        assert run(table, tmp_path / name, "--index_type", "HNSWFlatIP", "--threads", "2") == 0
    for file in ("faiss_index", "id_mapping", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_fewer_rows_than_lists_lowers_nlist_and_the_manifest_says_so(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", list(range(100)), random_vectors(100))
    assert run(table, tmp_path / "out", "--ivf_nlist", "1000") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["nlist"], manifest["nlist_requested"], manifest["rows"], manifest["dim"]) == (2, 1000, 100, 4)
    index, _ = load_index(tmp_path / "out")
    assert (index.nlist, index.ntotal) == (2, 100)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 2), pa.large_list(pa.float32()), pa.list_(pa.float32())])
def test_files_of_a_folder_are_joined_in_name_order_in_one_float32_matrix(kind: pa.DataType, tmp_path: Path) -> None:
    write_table(tmp_path / "b.parquet", [3], pa.array([[5.0, 6.0]], kind))
    write_table(tmp_path / "a.parquet", [1, 2], pa.array([[1.0, 2.0], [3.0, 4.0]], kind))
    table = read_embeddings(str(tmp_path), "item_id", "emb")
    assert table.ids.to_pylist() == [1, 2, 3]
    assert table.vectors.dtype == np.float32
    assert table.vectors.flags.c_contiguous
    assert table.vectors.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_csv_with_comma_text_reads_like_parquet(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('item_id,emb\nx,"1, 2"\ny,"0.5,-4"\n')
    table = read_embeddings(str(tmp_path / "t.csv"), "item_id", "emb")
    assert table.ids.to_pylist() == ["x", "y"]
    assert table.vectors.tolist() == [[1, 2], [0.5, -4]]


@pytest.mark.parametrize(
    ("ids", "vectors", "text"),
    [
        ([1, 2, 1], [[1.0]] * 3, "ids must be unique, got 1 2 times and 1 repeated ids in all; keep one row for each id"),
        ([1, None], [[1.0]] * 2, "row 1: an id must not be null (1 are); drop those rows"),
        ([1.5, 2.0], [[1.0]] * 2, "ids must be integers or strings, got double"),
        (["a\nb", "c"], [[1.0]] * 2, "an id must not hold a line break, got 'a\\nb'; id_mapping has one id per line"),
        ([1, 2], [[1.0, 2.0], [1.0]], "row 1: every vector must have 2 values like the first, got 1"),
        ([1, 2], [[], []], "row 0: a vector must not be empty, got 0"),
        ([1, 2], [[1.0], [float("nan")]], "row 1: every value must be a finite number, got NaN or infinity (1 rows)"),
        ([1, 2], [[1.0], None], "row 1: a vector must not be null (1 are); drop or fill them"),
        ([1, 2], [[1.0], [None]], "a vector must not hold null (1 values are); write numbers"),
        ([1, 2], [[[1.0]], [[2.0]]], "not supported yet: several vectors in one row"),
        ([1, 2], ["1,2", "1,x"], "every value must be a number"),
        ([1, 2], [3.0, 4.0], "must hold lists of numbers or comma text, got double"),
    ],
)  # fmt: skip
def test_a_row_that_an_index_cannot_hold_is_named(ids: object, vectors: object, text: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", ids, vectors)
    with pytest.raises(DataError) as caught:
        read_embeddings(str(table), "item_id", "emb")
    assert text in str(caught.value)
    assert str(table) in str(caught.value)


def test_vectors_of_another_length_in_a_later_file_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", [1], [[1.0, 2.0]])
    write_table(tmp_path / "b.parquet", [2], [[1.0]])
    with pytest.raises(DataError, match=r"b.parquet: column 'emb', row 0: every vector must have 2 values .* got 1"):
        read_embeddings(str(tmp_path), "item_id", "emb")


def test_an_empty_table_is_refused_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "t.parquet", pa.array([], pa.int64()), pa.array([], pa.list_(pa.float32())))
    assert run(table, tmp_path / "out") == 1
    assert "t.parquet: the table has no rows" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("item_id,emb\n")
    assert run(tmp_path / "t.csv", tmp_path / "out") == 1
    assert "no rows" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "t.parquet", [1], [[1.0]])
    assert run(table, tmp_path / "out", "--id_field", "item_ids") == 1
    assert "t.parquet: column 'item_ids' is missing; did you mean 'item_id'?" in capsys.readouterr().err


def test_a_damaged_parquet_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    assert run(tmp_path / "t.parquet", tmp_path / "out") == 1
    assert "t.parquet: not a readable Parquet file" in capsys.readouterr().err


def test_an_index_and_ids_of_different_builds_are_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [1, 2], [[1.0], [2.0]])
    run(table, tmp_path / "out", "--index_type", "FlatL2")
    (tmp_path / "out" / "id_mapping").write_text("1\n2\n3\n")
    with pytest.raises(DataError, match="2 vectors but 3 ids; the two files are of different builds"):
        load_index(tmp_path / "out")
    (tmp_path / "out" / "faiss_index").write_bytes(b"IxFI")
    with pytest.raises(DataError, match="not a FAISS index, or cut short; build it again"):
        load_index(tmp_path / "out")
    with pytest.raises(DataError, match="no file 'faiss_index'; build the index with the tool faiss_index"):
        load_index(tmp_path)


def test_the_device_is_checked_against_what_faiss_sees() -> None:
    assert use_gpu(IndexSpec(), gpus=1)
    assert not use_gpu(IndexSpec(), gpus=0)
    assert not use_gpu(IndexSpec("HNSWFlatIP"), gpus=1)
    assert not use_gpu(IndexSpec(device="cpu"), gpus=1)
    with pytest.raises(ConfigError, match="this FAISS sees no GPU, got 'cuda'; install faiss-gpu or use --device cpu"):
        use_gpu(IndexSpec(device="cuda"), gpus=0)
    with pytest.raises(ConfigError, match="HNSWFlatL2 has no GPU form, got 'cuda'; use --device cpu"):
        use_gpu(IndexSpec("HNSWFlatL2", device="cuda"), gpus=1)


@pytest.mark.parametrize(
    ("flag", "value", "least"),
    [("ivf_nlist", 0, 1), ("hnsw_m", 1, 2), ("hnsw_ef_construction", 0, 1), ("threads", 0, 1)],
)
def test_a_number_out_of_range_is_refused(flag: str, value: int, least: int) -> None:
    with pytest.raises(ConfigError, match=f"must be at least {least}, got {value}"):
        IndexSpec(**{flag: value})


def test_the_exact_index_finds_what_numpy_finds() -> None:
    vectors = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    found = build_index(vectors, IndexSpec("FlatIP")).index.search(vectors[:5], 4)[1]
    assert found.tolist() == np.argsort(-(vectors[:5] @ vectors.T), axis=1)[:, :4].tolist()
