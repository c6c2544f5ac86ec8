"""MurmurHash64A of every element of an Arrow text column at once: the hash behind `hash_bucket_size`.

The algorithm (public domain, Austin Appleby) with the seed that makes its buckets equal to TorchEasyRec's default.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tzrec_build.features.ragged import is_text
from tzrec_build.features.values import Int64Array

UInt64Array = npt.NDArray[np.uint64]

_MULTIPLIER = np.uint64(0xC6A4A7935BD1E995)
_SEED = np.uint64(0xC70F6907)
_SHIFT = np.uint64(47)
# _LOW_BYTES[t] keeps the t lowest bytes of a little-endian word
_LOW_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(8)], np.uint64)
_OFFSET_TYPES = {"string": np.int32, "large_string": np.int64}


def hash_buckets(values: pa.Array, bucket_count: int) -> Int64Array:
    """Bucket of each element: hash of its text modulo the number of buckets.

    Args:
        values: text or integers (hashed as decimal text), without nulls.
        bucket_count: 1 to 2**63 - 1.
    Returns:
        int64 [n], each in [0, bucket_count).

    >>> hash_buckets(pa.array(["abc", "1"]), 100).tolist()
    [33, 95]
    >>> hash_buckets(pa.array([1, 0]), 100).tolist()
    [95, 26]
    """
    if not is_text(values.type):
        values = values.cast(pa.string())
    return (murmur64(values) % np.uint64(bucket_count)).astype(np.int64)


def murmur64(values: pa.Array) -> UInt64Array:
    """MurmurHash64A of the UTF-8 bytes of each element, uint64 [n]; `values` is text without nulls.

    Works over the Arrow buffers: round i mixes the i-th 8-byte block of all texts long enough to have one.
    """
    if len(values) == 0:
        return np.zeros(0, np.uint64)
    starts, lengths, words = _text_buffers(values)
    digest = _SEED ^ (lengths.astype(np.uint64) * _MULTIPLIER)
    block_counts = lengths >> 3
    active = np.flatnonzero(block_counts)
    block = 0
    while len(active):
        digest[active] = _mix(digest[active], words[starts[active] + 8 * block])
        block += 1
        active = active[block_counts[active] > block]
    tails = lengths & 7
    rest = np.flatnonzero(tails)
    everything = len(rest) == len(tails)
    rest_of: npt.NDArray[np.intp] | slice = slice(None) if everything else rest
    tail_words = words[starts[rest_of] + (block_counts[rest_of] << 3)] & _LOW_BYTES[tails[rest_of]]
    digest[rest_of] = (digest[rest_of] ^ tail_words) * _MULTIPLIER
    digest ^= digest >> _SHIFT
    digest *= _MULTIPLIER
    digest ^= digest >> _SHIFT
    return digest


def _mix(digest: UInt64Array, words: UInt64Array) -> UInt64Array:
    words = words * _MULTIPLIER
    words ^= words >> _SHIFT
    words *= _MULTIPLIER
    return (digest ^ words) * _MULTIPLIER


def _text_buffers(values: pa.Array) -> tuple[Int64Array, Int64Array, UInt64Array]:
    """Byte offset and length of each text, and the little-endian 8-byte word that starts at each byte."""
    _, offset_buffer, data_buffer = values.buffers()
    offset_type = _OFFSET_TYPES[str(values.type)]
    offsets = np.frombuffer(offset_buffer, offset_type)[values.offset : values.offset + len(values) + 1].astype(
        np.int64
    )
    first, last = int(offsets[0]), int(offsets[-1])
    # eight spare bytes: the word of the last byte may be read past the end, its high bytes are masked away
    data = np.zeros(last - first + 8, np.uint8)
    if last > first:
        data[: last - first] = np.frombuffer(data_buffer, np.uint8, count=last - first, offset=first)
    words = np.ndarray(shape=(last - first + 1,), dtype="<u8", buffer=data, strides=(1,))
    return offsets[:-1] - first, np.diff(offsets), words
