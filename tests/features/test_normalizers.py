from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.features.bucketizers import BoundaryBucketizer
from tzrec_build.features.normalizers import parse_normalizer

FLOATS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(FLOATS, min_size=1), FLOATS, st.floats(0.5, 1e3, width=32))
def test_zscore_formula(values: list[float], mean: float, deviation: float) -> None:
    normalize = parse_normalizer(f"method=zscore,mean={mean!r},standard_deviation={deviation!r}", "x")
    expected = np.array([(value - mean) / deviation for value in values], np.float32)
    np.testing.assert_array_equal(normalize(np.array(values, np.float32)), expected)


@given(st.lists(FLOATS), st.lists(FLOATS, min_size=1, unique=True))
def test_bucket_is_the_count_of_boundaries_not_above(values: list[float], boundaries: list[float]) -> None:
    bucketizer = BoundaryBucketizer(tuple(sorted(boundaries)))
    expected = [sum(boundary <= value for boundary in boundaries) for value in values]
    assert bucketizer.ids_of_floats(np.array(values, np.float32)).tolist() == expected
