"""Golden cases made by TorchEasyRec: where they are, and how a test reads them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def peer_case(name: str) -> Path:
    """Folder of one golden case, with `pipeline.config`, tables, checkpoints and predictions; skips when absent."""
    folder = SHARED / "peer_cases" / "cases" / name
    if not folder.is_dir():
        pytest.skip(f"golden case {name} is not here ({folder.parent})")
    return folder


def peer_folder(name: str) -> Path:
    """Another folder of golden files (`vd`, `faiss`); skips when absent."""
    folder = SHARED / "peer_cases" / name
    if not folder.is_dir():
        pytest.skip(f"golden files {name} are not here ({folder.parent})")
    return folder


def state_names(name: str) -> dict[str, Any]:
    """What TorchEasyRec names a model's parameters: `config`, `state` {name: [shape, dtype]}, `checkpoint_keys`."""
    path = SHARED / "reference" / "state-names.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return dict(_all_state_names(path)[name])


@cache
def _all_state_names(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))
