"""Golden cases that TorchEasyRec wrote; they lie beside the checkout on some machines only."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "shared" / "peer_cases"


def peer_case(name: str) -> Path:
    """Folder of a case (`deepfm`) or of a group of cases (`faiss`, `vd`); skips the test where they are absent."""
    for folder in (ROOT / "cases" / name, ROOT / name):
        if folder.is_dir():
            return folder
    pytest.skip(f"golden case {name!r} is not on this machine")
