"""A short form of benchmarks/kills.py: a build that is killed anywhere goes on, to the same bits, without work done twice."""

from __future__ import annotations

import pytest

from tests.e2e.killing import BUILD_POINTS, GC_POINTS, RESTORE_POINTS, Killer, Tally
from tzrec_build.faults import FAULT_POINTS

RANDOM = 13


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    return Killer(tmp_path_factory.mktemp("kills"))


def test_every_fault_point_is_killed_at():
    assert {*BUILD_POINTS, *RESTORE_POINTS, *GC_POINTS} == set(FAULT_POINTS)


@pytest.mark.slow
@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_build_killed_at_a_point_goes_on(killer, point):
    tally = Tally()
    killer.at_point(point, tally)
    assert tally.wrong == []
    assert tally.not_hit == 0


@pytest.mark.slow
def test_a_build_killed_at_random_goes_on(killer):
    tally = Tally()
    for _ in range(RANDOM):
        killer.at_random(tally)
    assert tally.wrong == []
    assert tally.kills == RANDOM
