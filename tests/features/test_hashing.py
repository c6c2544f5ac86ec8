from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.features.hashing import hash_buckets, murmur64

# text -> bucket of 100, from TorchEasyRec's unit tests (features.md 3.1)
PUBLISHED = {
    "1": 95, "2": 70, "3": 13, "4": 56, "0": 26, "y": 30, "ug_id": 40, "abc": 33, "efg": 44, "hij": 66, "xyz": 13,
    "x": 35, "z": 54, "ug_ie": 57, "ua_ia": 37, "ua_ib": 90, "ub_ia": 5, "ub_ib": 97, "uc_ic": 60, "ud_ic": 56,
    "uh_if": 55,
}  # fmt: skip
MASK = (1 << 64) - 1
MULTIPLIER = 0xC6A4A7935BD1E995


def reference(data: bytes) -> int:
    """MurmurHash64A, written from its description one byte block at a time."""
    digest = 0xC70F6907 ^ (len(data) * MULTIPLIER & MASK)
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        block = int.from_bytes(data[start : start + 8], "little") * MULTIPLIER & MASK
        block = (block ^ block >> 47) * MULTIPLIER & MASK
        digest = (digest ^ block) * MULTIPLIER & MASK
    if data[whole:]:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    digest = (digest ^ digest >> 47) * MULTIPLIER & MASK
    return digest ^ digest >> 47


def test_published_buckets() -> None:
    assert dict(zip(PUBLISHED, hash_buckets(pa.array(list(PUBLISHED)), 100).tolist(), strict=True)) == PUBLISHED


def test_integers_hash_as_decimal_text() -> None:
    numbers = [0, 1, 2, -7, 2**63 - 1, -(2**63)]
    assert murmur64(pa.array([str(number) for number in numbers])).tolist() == [
        reference(str(number).encode()) for number in numbers
    ]
    texts = pa.array([str(number) for number in numbers])
    assert hash_buckets(pa.array(numbers), 1000).tolist() == hash_buckets(texts, 1000).tolist()


@given(st.lists(st.text(max_size=40), max_size=30), st.sampled_from([pa.string(), pa.large_string()]))
def test_equals_the_slow_reference(texts: list[str], kind: pa.DataType) -> None:
    assert murmur64(pa.array(texts, kind)).tolist() == [reference(text.encode()) for text in texts]


@given(st.lists(st.text(max_size=20), min_size=3, max_size=20), st.data())
def test_slices_hash_like_the_whole(texts: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(texts) - 1))
    count = data.draw(st.integers(0, len(texts) - start))
    expected = [reference(text.encode()) for text in texts[start : start + count]]
    assert murmur64(pa.array(texts).slice(start, count)).tolist() == expected


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 64])
def test_every_tail_length(length: int) -> None:
    text = "abcdefgh" * 8
    assert murmur64(pa.array([text[:length]])).tolist() == [reference(text[:length].encode())]


def test_largest_bucket_count_stays_positive() -> None:
    buckets = hash_buckets(pa.array([str(number) for number in range(1000)]), 2**63 - 1)
    assert buckets.min() >= 0
    assert buckets.tolist() == [reference(str(number).encode()) % (2**63 - 1) for number in range(1000)]
