"""Get the three MovieLens-100K files out of the wheel of recbole 1.2.1, where they lie as an example.

    python fetch.py --output_dir RAW [--from_dir FOLDER]

The wheel is downloaded with pip (its own settings say from where) into a temporary folder; nothing of it is
installed or run. With --from_dir, or with MOVIELENS_DIR set, a folder that already holds the files is used and
nothing is downloaded. Every file is checked against its SHA-256 sum; only then all three are put in place.

The ratings were collected by the GroupLens research group, whose terms ask for this citation and allow no
redistribution without permission, so the files are not part of this repository:
F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM Transactions on
Interactive Intelligent Systems (TiiS) 5, 4, Article 19. https://doi.org/10.1145/2827872
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

WHEEL = "recbole==1.2.1"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k"
DIGESTS = {  # file -> SHA-256
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
SIZE_LIMIT_BYTES = 16 << 20  # the largest has 2 MB; a wheel that says more is not read
REMEDY = "name a folder that holds the three files with --from_dir or MOVIELENS_DIR"


class FetchError(Exception):
    """The files cannot be had; shown as one line."""


def download_command(folder: str) -> list[str]:
    """The pip command that puts the wheel into `folder`, without its dependencies and without building anything."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
    return [*pip, "--no-deps", "--only-binary", ":all:", "--dest", folder, WHEEL]


def download_wheel(command: Sequence[str], folder: Path) -> Path:
    """Run the download and return the one wheel that it left in `folder`.

    Raises:
        FetchError: the command failed or left no wheel; the last line of what it said is in the message.
    """
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise FetchError(f"{WHEEL}: download failed, pip exit code {done.returncode}: {said}; try again, or {REMEDY}")
    return wheels[0]


def read_wheel(path: Path) -> dict[str, bytes]:
    """Read the three files out of the wheel, by their exact names; nothing is extracted to disk.

    Raises:
        FetchError: the wheel is damaged, or a file is missing, listed twice or too large.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            return {name: _read_member(wheel, f"{WHEEL_FOLDER}/{name}", path.name) for name in DIGESTS}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
    ) as err:  # RuntimeError: encrypted, or a method unknown to zipfile
        raise FetchError(f"{path.name}: not a whole wheel: {err}; try again, or {REMEDY}") from err


def _read_member(wheel: zipfile.ZipFile, member: str, where: str) -> bytes:
    found = [entry for entry in wheel.infolist() if entry.filename == member]
    if len(found) != 1:
        raise FetchError(f"{where}: must hold {member} once, got {len(found)} times; {REMEDY}")
    if found[0].file_size > SIZE_LIMIT_BYTES:
        raise FetchError(f"{where}: {member} must have at most {SIZE_LIMIT_BYTES} bytes, got {found[0].file_size}")
    return wheel.read(found[0])


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the three files from a folder that already holds them; raises FetchError naming a missing one."""
    missing = [name for name in DIGESTS if not (folder / name).is_file()]
    if missing:
        raise FetchError(f"{folder}: must hold {', '.join(DIGESTS)}, {', '.join(missing)} not found")
    return {name: (folder / name).read_bytes() for name in DIGESTS}


def check_digests(files: Mapping[str, bytes], where: str) -> None:
    """Raise FetchError naming every file whose SHA-256 is not the pinned one."""
    got = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    wrong = [
        f"{name}: SHA-256 must be {DIGESTS[name]}, got {got[name]}" for name in files if got[name] != DIGESTS[name]
    ]
    if wrong:
        raise FetchError(f"{where}: {'; '.join(wrong)}; the files are not the expected ones, nothing was written")


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write all files beside their targets first, then rename them: a reader sees whole files only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).is_dir():  # the only reason for one rename to fail after another has not
            raise FetchError(f"{folder / name}: must be a file or absent, got a folder; nothing was written")
    with tempfile.TemporaryDirectory(prefix=".fetch.", dir=folder) as work:
        for name, data in files.items():
            with (Path(work) / name).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        for name in files:
            (Path(work) / name).replace(folder / name)


def fetch(output_dir: Path, from_dir: str) -> None:
    """Put the checked files into `output_dir`, from a folder if one is named, else from the wheel."""
    if from_dir:
        files, where = read_folder(Path(from_dir)), from_dir
    else:
        with tempfile.TemporaryDirectory(prefix="movielens.") as work:
            wheel = download_wheel(download_command(work), Path(work))
            files, where = read_wheel(wheel), wheel.name
    check_digests(files, where)
    write_files(files, output_dir)


def main(argv: Sequence[str]) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Get the MovieLens-100K files, checked.")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--from_dir", default=os.environ.get("MOVIELENS_DIR", ""), help="a folder that holds the files")
    args = parser.parse_args(argv)
    try:
        fetch(args.output_dir, args.from_dir)
    except (FetchError, OSError) as err:
        sys.stderr.write(f"fetch: {err}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("fetch: interrupted, nothing was written\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
