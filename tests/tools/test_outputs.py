"""Output files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tzrec_build.tools.outputs import replacing


def test_a_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "made" / "index"
    with replacing(target) as path:
        path.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["index"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "index"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="disk"), replacing(target) as path:  # noqa: PT012 - the block is the test
        path.write_bytes(b"half")
        raise RuntimeError("disk")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["index"]


def test_a_colleague_can_read_the_file(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        with replacing(tmp_path / "index") as path:
            path.write_bytes(b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "index").stat().st_mode & 0o777 == 0o644
