"""An empty package `fbgemm-gpu` for machines without a GPU.

TorchRec asks for `fbgemm-gpu`, the CUDA build: half a gigabyte that does not load with a CPU torch and lies in the same folder as
`fbgemm-gpu-cpu`, which does the work. A local package of that name and version, which depends on the CPU build, satisfies the
requirement, so that pip installs nothing wrong and `pip check` is clean.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Iterable

CPU_BUILD = "fbgemm-gpu-cpu"
LOCAL_TAG = "cpushim"


def write_shim_wheel(folder: str, requirements: Iterable[str]) -> str:
    """Write the wheel into a folder; equal pins give equal bytes.

    Args:
        folder: where to put it.
        requirements: pins, among them ``fbgemm-gpu-cpu==VERSION``, whose version the shim takes.

    Returns:
        The path of the wheel.

    Raises:
        ValueError: no such pin, which is a bug in pyproject.toml.

    """
    versions = [pin.removeprefix(f"{CPU_BUILD}==") for pin in requirements if pin.startswith(f"{CPU_BUILD}==")]
    if len(versions) != 1:
        raise ValueError(f"bug: pyproject.toml must pin {CPU_BUILD} once in the extra cpu, got {len(versions)} pins")
    version = f"{versions[0]}+{LOCAL_TAG}"
    info = f"fbgemm_gpu-{version}.dist-info"
    files = {
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: fbgemm-gpu\nVersion: {version}\n"
            f"Summary: empty; the code is in {CPU_BUILD}\nRequires-Dist: {CPU_BUILD}=={versions[0]}\n"
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tzrec-build\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record_digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    path = os.path.join(folder, f"fbgemm_gpu-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return path


def _record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
