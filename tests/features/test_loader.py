from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format

from tests.features.making import config
from tests.peer_cases import peer_case
from tzrec_build.errors import ConfigError, DataError
from tzrec_build.features.create import create_features
from tzrec_build.features.loader import BatchLoader, LoaderOptions
from tzrec_build.protos.tzrec import pipeline_pb2

FEATURES = """
feature_configs { id_feature { feature_name: "u" expression: "user:u" embedding_dim: 4 num_buckets: 100 } }
feature_configs { id_feature { feature_name: "i" expression: "item:i" embedding_dim: 4 num_buckets: 100 } }
feature_configs { raw_feature { feature_name: "p" expression: "item:p" } }
"""
DATA = 'dataset_type: ParquetDataset fg_mode: FG_DAG label_fields: "y" batch_size: 4'


def table(count: int = 10) -> pa.Table:
    numbers = np.arange(count)
    return pa.table(
        {"u": numbers, "i": numbers % 5, "p": numbers / 2, "y": numbers % 2, "name": [f"r{n}" for n in numbers]}
    )


@pytest.fixture
def parquet(tmp_path: Path) -> str:
    path = tmp_path / "t.parquet"
    pq.write_table(table(), path, row_group_size=3)
    return str(path)


def loader(path: str, data: str = DATA, **options: object) -> BatchLoader:
    cfg = config(f"data_config {{ {data} }}\n{FEATURES}")
    return BatchLoader(cfg, create_features(cfg), path, LoaderOptions(**options))


def column(batches: list, feature: str, group: str = "__BASE__") -> list[list[int]]:
    return [batch.sparse[group][feature].values().tolist() for batch in batches]


def test_batches_and_remainder(parquet: str) -> None:
    made = loader(parquet)
    assert made.num_rows == 10
    assert column(list(made), "u") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch.labels["y"].tolist() for batch in made] == [[0, 1, 0, 1], [0, 1, 0, 1], [0, 1]]
    dropping = DATA + " drop_remainder: true"
    assert column(list(loader(parquet, dropping)), "u") == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert column(list(loader(parquet, dropping, mode="eval")), "u")[2] == [8, 9]


def test_predict_has_every_row_no_labels_and_the_reserves(parquet: str) -> None:
    data = DATA + " drop_remainder: true eval_batch_size: 6 shuffle: true"
    batches = list(loader(parquet, data, mode="predict", reserved_columns=("name", "y")))
    assert [batch.size for batch in batches] == [6, 4]
    assert batches[0].labels == {}
    assert batches[1].reserves.to_pydict() == {"name": ["r6", "r7", "r8", "r9"], "y": [0, 1, 0, 1]}


def test_reserved_words(parquet: str) -> None:
    everything = next(iter(loader(parquet, mode="predict", reserved_columns=("ALL_COLUMNS",))))
    assert everything.reserves.schema.names == ["u", "i", "p", "y", "name"]
    read = next(iter(loader(parquet, mode="predict", reserved_columns=("ALL_EFFECTIVE_COLUMNS", "name"))))
    assert read.reserves.schema.names == ["u", "i", "p", "name"]


def test_shuffling_depends_on_seed_and_epoch_only(parquet: str) -> None:
    data = DATA.replace("batch_size: 4", "batch_size: 1") + " shuffle: true shuffle_buffer_size: 4"

    def order(seed: int, epoch: int) -> list[int]:
        made = loader(parquet, data, seed=seed)
        made.set_epoch(epoch)
        return [row for batch in column(list(made), "u") for row in batch]

    assert order(7, 0) == order(7, 0)
    assert sorted(order(7, 0)) == list(range(10))
    assert order(7, 0) != list(range(10))
    assert len({tuple(order(7, 0)), tuple(order(7, 1)), tuple(order(8, 0))}) == 3
    evaluated = loader(parquet, data, mode="eval")
    assert [row for batch in column(list(evaluated), "u") for row in batch] == list(range(10))


def test_ranks_share_the_rows(parquet: str) -> None:
    parts = [loader(parquet, rank=rank, world_size=3) for rank in range(3)]
    assert [part.num_rows for part in parts] == [4, 3, 3]
    assert [column(list(part), "u") for part in parts] == [[[0, 1, 2, 3]], [[4, 5, 6]], [[7, 8, 9]]]


def test_csv_gives_the_same_batches(tmp_path: Path, parquet: str) -> None:
    pa_csv.write_csv(table(), tmp_path / "t.csv")
    data = DATA.replace("ParquetDataset", "CsvDataset") + " with_header: true"
    for ours, theirs in zip(loader(str(tmp_path / "t.csv"), data), loader(parquet), strict=True):
        assert ours.sparse["__BASE__"].values().tolist() == theirs.sparse["__BASE__"].values().tolist()
        assert ours.dense["__BASE__"].values().tolist() == theirs.dense["__BASE__"].values().tolist()
        assert ours.labels["y"].tolist() == theirs.labels["y"].tolist()


def test_bad_rows_are_named_by_file_and_row(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 90)):
        numbers = np.arange(first, first + 15)
        part = pa.table({"u": numbers, "i": numbers % 5, "p": numbers / 2, "y": numbers % 2})
        pq.write_table(part, tmp_path / f"{name}.parquet")
    made = iter(loader(str(tmp_path)))
    assert [next(made).size for _ in range(6)] == [4] * 6
    with pytest.raises(
        DataError, match=r"b.parquet: row 10, column 'u': ids must be in \[0, 100\), the rows of its table, got 100"
    ):
        next(made)


def test_null_label(tmp_path: Path) -> None:
    bad = table().set_column(3, "y", pa.array([0] * 9 + [None]))
    pq.write_table(bad, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: row 9, column 'y': a label must not be null; drop the row"):
        list(loader(str(tmp_path / "t.parquet")))


def test_wrong_type_names_the_file(tmp_path: Path) -> None:
    bad = table().set_column(0, "u", pa.array([b"x"] * 10))
    pq.write_table(bad, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: column 'u': must hold numbers, text or lists of them, got binary"):
        list(loader(str(tmp_path / "t.parquet")))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (DATA.replace('"y"', '"z"'), DataError, "t.parquet: column 'z' is missing; known: i, name, p, u, y"),
        (DATA.replace("batch_size: 4", "batch_size: 0"), ConfigError, "batch_size: must be at least 1, got 0"),
    ],
)
def test_refusals(parquet: str, data: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loader(parquet, data)


def test_the_files_decide_not_the_dataset_type(parquet: str) -> None:
    for dataset in ("OdpsDataset", "CsvDataset"):
        assert column(list(loader(parquet, DATA.replace("ParquetDataset", dataset))), "u")[2] == [8, 9]


def test_missing_column_under_all_columns(tmp_path: Path) -> None:
    pq.write_table(table().drop_columns(["p"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'p' is missing"):
        loader(str(tmp_path / "t.parquet"), mode="predict", reserved_columns=("ALL_COLUMNS",))


def test_negative_sampling(tmp_path: Path, parquet: str) -> None:
    lines = ["id:int64\tweight:float\tattrs:string"] + [f"{item}\t1\t{item}:{item}.5" for item in range(50, 60)]
    (tmp_path / "items.txt").write_text("\n".join([*lines, "0\t1\t0:0.5"]) + "\n")
    sampler = (
        f' negative_sampler {{ input_path: "{tmp_path}/items.txt" num_sample: 6 num_eval_sample: 3'
        ' attr_fields: "i" attr_fields: "p" item_id_field: "i" }'
    )
    made = loader(parquet, DATA + sampler, seed=3)
    first, *_ = batches = list(made)
    assert first.size == 4
    assert first.sparse["__BASE__"].keys() == ["u"]
    items = first.sparse["__NEG__"]["i"].values().tolist()
    assert items[:4] == [0, 1, 2, 3]
    assert len(items) == 10
    assert set(items[4:]) <= set(range(50, 60))  # item 0 is in the batch
    prices = first.dense["__NEG__"].values()[:, 0].tolist()
    assert prices[4:] == [item + 0.5 for item in items[4:]]
    assert len(batches[2].sparse["__NEG__"]["i"].values()) == 2 + 6
    again = [batch.sparse["__NEG__"]["i"].values().tolist() for batch in made]
    assert again == column(batches, "i", "__NEG__")
    made.set_epoch(1)
    assert column(list(made), "i", "__NEG__") != again
    left, right = iter(made), iter(made)  # two loops over one loader do not disturb each other
    assert [next(left).size, next(right).size] == [4, 4]
    assert column([*left], "i", "__NEG__") == column([*right], "i", "__NEG__")
    assert len(column(list(loader(parquet, DATA + sampler, mode="eval")), "i", "__NEG__")[0]) == 4 + 3
    evaluated = [
        column(list(loader(parquet, DATA + sampler, mode="eval", seed=seed)), "i", "__NEG__") for seed in (3, 4)
    ]
    assert evaluated[0] == evaluated[1]
    predicted = next(iter(loader(parquet, DATA + sampler, mode="predict")))
    assert len(predicted.sparse["__NEG__"]["i"].values()) == 4


CASES = [
    "deepfm",
    "dssm",
    "dbmtl",
    "multi_tower_din",
    "kind_null",
    "kind_weighted",
    "kind_mean_weighted",
    "dbmtl_seq_vd",
]
FILLED = {("kind_null", "stags"): [1]}


def expected_ids(case: str, name: str, value: object) -> tuple[list[int], list[float]]:
    """Ids and weights of one cell, by plain Python."""
    if value is None or value == "":
        return FILLED.get((case, name), []), []
    parts = value.split("\x03") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if parts and isinstance(parts[0], str) and ":" in parts[0]:
        return [int(part.split(":")[0]) for part in parts], [float(part.split(":")[1]) for part in parts]
    return [int(part) for part in parts], []


@pytest.mark.parametrize("case", CASES)
def test_golden_tables_parse_as_an_independent_reading_says(case: str) -> None:
    folder = peer_case(case)
    cfg = text_format.Parse((folder / "pipeline.config").read_text(), pipeline_pb2.EasyRecConfig())
    made = create_features(cfg)
    batches = list(BatchLoader(cfg, made, str(folder / "train.parquet")))
    assert [batch.size for batch in batches] == [32] * 8
    columns = pq.read_table(folder / "train.parquet").to_pydict()
    for feature in made:
        cells = columns[feature.name]
        for at, batch in enumerate(batches):
            part = cells[32 * at : 32 * at + 32]
            if feature.is_sparse:
                pairs = [expected_ids(case, feature.name, cell) for cell in part]
                got = batch.sparse["__BASE__"][feature.name]
                assert got.lengths().tolist() == [len(ids) for ids, _ in pairs]
                assert got.values().tolist() == [one for ids, _ in pairs for one in ids]
                if feature.is_weighted:
                    np.testing.assert_allclose(
                        got.weights(), [one for _, weights in pairs for one in weights], rtol=1e-6
                    )
            elif feature.is_sequence:
                got = batch.sequence_dense[feature.name]
                assert got.lengths().tolist() == [len(cell) for cell in part]
                np.testing.assert_allclose(got.values()[:, 0], [one for cell in part for one in cell], rtol=1e-6)
            else:
                wanted = np.array([cell if isinstance(cell, list) else [cell] for cell in part], np.float32)
                np.testing.assert_array_equal(batch.dense["__BASE__"][feature.name], wanted)
    for name in cfg.data_config.label_fields:
        assert [one for batch in batches for one in batch.labels[name].tolist()] == columns[name]
