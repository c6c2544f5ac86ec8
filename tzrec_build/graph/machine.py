"""What a machine is beside its system and architecture: for keys with [cache] match = "exact-machine", and for provenance."""

from __future__ import annotations

import glob
import os
import platform

PROC = "/proc"
_MODEL_LINES = ("model name", "cpu model", "hardware", "cpu part")  # of x86, MIPS, old ARM and ARM kernels


def machine(proc: str = PROC) -> dict[str, str]:
    """Name the processor, the GPUs and their driver, as the kernel tells; no device library is loaded.

    Returns:
        "cpu" -> model; "gpu" -> the models of all GPUs, "none" without one; "driver" -> its version, "none" without one.
    """
    return {"cpu": _cpu(proc), "gpu": _gpus(proc), "driver": _first_line(f"{proc}/driver/nvidia/version")}


def _cpu(proc: str) -> str:
    try:
        with open(f"{proc}/cpuinfo", encoding="utf-8", errors="replace") as file:
            said = dict(reversed([_pair(line) for line in file if ":" in line]))
    except OSError:
        said = {}
    return next((said[name] for name in _MODEL_LINES if name in said), platform.processor() or "unknown")


def _gpus(proc: str) -> str:
    models = []
    for path in sorted(glob.glob(f"{proc}/driver/nvidia/gpus/*/information")):
        with open(path, encoding="utf-8", errors="replace") as file:
            models += [value for name, value in map(_pair, file) if name == "model"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = ", ".join(models) or "none"
    return f"{shown} (CUDA_VISIBLE_DEVICES={visible})" if models and visible is not None else shown


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip() or "none"
    except OSError:
        return "none"
