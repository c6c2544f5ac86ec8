"""A short run of the fuzzer; `benchmarks/fuzz_config.py` is the long one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.outcomes import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_input_is_refused_in_words_or_taken(kind):
    outcomes = Counter(KINDS[kind](seed) for seed in range(150))
    assert 0 < outcomes["refused"] < 0.6 * outcomes.total(), outcomes


@settings(max_examples=60, deadline=None)
@given(st.integers(10**6, 10**9), st.sampled_from(sorted(KINDS)))
def test_no_seed_ends_in_another_exception(seed, kind):
    KINDS[kind](seed)
