"""What the kernel tells of a machine."""

from __future__ import annotations

import pytest

from tzrec_build.graph.machine import machine


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        ("processor\t: 0\nmodel\t\t: 1\nmodel name\t: A CPU @ 2 GHz\nprocessor : 1\nmodel name : B\n", "A CPU @ 2 GHz"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "0xd0c"),
    ],
)
def test_processor(tmp_path, cpuinfo, model):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert machine(str(tmp_path)) == {"cpu": model, "gpu": "none", "driver": "none"}


def test_devices_and_their_driver(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "cpuinfo").write_text("model name : A\n")
    for bus, model in (("0000:01", "X1"), ("0000:02", "X2")):
        folder = tmp_path / "driver/nvidia/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ: 5\n")
    (tmp_path / "driver/nvidia/version").write_text("NVRM version: 595.1\nGCC version: 12\n")
    assert machine(str(tmp_path)) == {"cpu": "A", "gpu": "X1, X2", "driver": "NVRM version: 595.1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machine(str(tmp_path))["gpu"] == "X1, X2 (CUDA_VISIBLE_DEVICES=1)"
