"""Which table a failed allocation is blamed on."""

from __future__ import annotations

import pytest
import torch

from tests.features.making import config
from tests.tiny_pipeline import config_text
from tzrec_build.errors import ConfigError
from tzrec_build.features.create import create_features
from tzrec_build.training.memory import table_bytes, tables_in_memory

WIDER = config_text().replace("num_buckets: 12 embedding_dim: 4", "num_buckets: 12 embedding_dim: 16")


def _parts(text):
    cfg = config(text)
    return cfg, create_features(cfg)


def test_bytes_are_rows_times_columns_times_the_size_of_a_number():
    text = WIDER.replace("num_buckets: 40", 'data_type: "FP16" num_buckets: 40')
    assert table_bytes(*_parts(text)) == {"user": 30 * 4 * 4, "tags": 12 * 16 * 4, "item": 40 * 4 * 2}


def test_a_shared_table_counts_once_and_an_unused_one_does_not():
    shared = config_text().replace("num_buckets: 30", 'embedding_name: "e" num_buckets: 40')
    shared = shared.replace('"item" num_buckets: 40', '"item" embedding_name: "e" num_buckets: 40')
    assert table_bytes(*_parts(shared)) == {"user": 640, "tags": 192}
    assert table_bytes(*_parts(config_text().replace('"user", "tags"', '"user"'))) == {"user": 480, "item": 640}


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
    ],
)
def test_a_failed_allocation_names_the_largest_table(error):
    message = "embedding tables: need 1,888 bytes, which could not be had; the largest is 'tags_emb' of feature 'tags' with 768"
    with pytest.raises(ConfigError, match=message), tables_in_memory(*_parts(WIDER)):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="another"), tables_in_memory(*_parts(WIDER)):
        raise RuntimeError("another")
