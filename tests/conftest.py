"""What every test shares: no user's cache, repeatable examples, GPU tests only where there is a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    derandomize=True,  # the same examples in every run: a red test is red for everybody
    deadline=None,  # two shared cores; no test asserts wall-clock
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and the programs they start, out of the user's artifact cache."""
    old = {name: os.environ.get(name) for name in ("TZREC_CACHE", "TZREC_CACHE_DIR")}
    os.environ.pop("TZREC_CACHE", None)
    os.environ["TZREC_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield
    for name, value in old.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device; torch is imported only when one is marked."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout that holds these tests."""
    return Path(__file__).parent.parent
