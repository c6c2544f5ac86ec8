"""A temporary project driven by the real doit, with a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with an empty cache."""
    return Project(tmp_path / "project", str(tmp_path / "cache"))
