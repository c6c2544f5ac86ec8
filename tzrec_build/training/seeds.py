"""Everything random in a process from one seed, and a fixed number of threads."""

from __future__ import annotations

import logging
import random

import numpy as np
import torch
from torch.utils import deterministic


def seed_everything(seed: int, threads: int) -> None:
    """Make a run repeatable: seed Python, NumPy and torch, fix the thread count, ask torch for deterministic kernels.

    The same seed and threads give the same bits on the same machine; other threads may add in another order.
    torch's hint to its own developers about is_fx_tracing, which every TorchRec model triggers, is silenced too.
    """
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below us draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # finds bugs in kernels; costs 8 % of the loop


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that drawing more numbers for one never shifts another.

    >>> derived_seed(7, "init") == derived_seed(7, "init") != derived_seed(7, "train")
    True
    """
    words = np.frombuffer(purpose.encode(), np.uint8).tolist()
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint32)[0])
