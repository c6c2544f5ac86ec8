"""Fetching: from a folder and from a wheel, wrong sums, damaged and failed downloads, nothing half-written."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from tests.workspace_scripts.raw_files import MOVIELENS, load_script

fetch = load_script(MOVIELENS / "fetch.py")
FILES = {name: name.encode() * 10 for name in fetch.DIGESTS}


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(fetch, "DIGESTS", {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()})
    monkeypatch.delenv("MOVIELENS_DIR", raising=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def write_wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("recbole/__init__.py", "raise RuntimeError")
        for name, data in files.items():
            wheel.writestr(f"recbole/dataset_example/ml-100k/{name}", data)
    return path


def serve(monkeypatch, wheel: Path) -> None:
    """Let the download be a copy of a local wheel."""
    copy = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"
    monkeypatch.setattr(fetch, "download_command", lambda folder: [sys.executable, "-c", copy, str(wheel), folder])


def run(out: Path, *flags: str) -> int:
    return fetch.main(["--output_dir", str(out), *flags])


def written(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}


def test_files_come_from_a_folder(tmp_path, source):
    assert run(tmp_path / "out", "--from_dir", str(source)) == 0
    assert written(tmp_path / "out") == FILES


def test_the_folder_may_come_from_the_environment(tmp_path, source, monkeypatch):
    monkeypatch.setenv("MOVIELENS_DIR", str(source))
    assert run(tmp_path / "out") == 0
    assert written(tmp_path / "out") == FILES


def test_files_come_from_the_wheel_and_nothing_else_does(tmp_path, monkeypatch):
    serve(monkeypatch, write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", FILES | {"../../../evil": b"x"}))
    assert run(tmp_path / "out") == 0
    assert written(tmp_path / "out") == FILES
    assert not (tmp_path / "evil").exists()


def test_every_wrong_sum_is_named_and_nothing_is_written(tmp_path, source, capsys):
    (source / "ml-100k.user").write_bytes(b"other")
    assert run(tmp_path / "out", "--from_dir", str(source)) == 1
    said = capsys.readouterr().err
    right, wrong = (hashlib.sha256(data).hexdigest() for data in (FILES["ml-100k.user"], b"other"))
    assert f"{source}: ml-100k.user: SHA-256 must be {right}, got {wrong}; " in said
    assert "ml-100k.inter" not in said
    assert written(tmp_path / "out") == {}


def test_missing_file_of_a_folder_is_named(tmp_path, source, capsys):
    (source / "ml-100k.item").unlink()
    assert run(tmp_path / "out", "--from_dir", str(source)) == 1
    assert capsys.readouterr().err.endswith("ml-100k.item not found\n")


def test_failed_download_says_what_pip_said(tmp_path, monkeypatch, capsys):
    said = "import sys; sys.exit('ERROR: no such host')"
    monkeypatch.setattr(fetch, "download_command", lambda folder: [sys.executable, "-c", said, folder])
    assert run(tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        "fetch: recbole==1.2.1: download failed, pip exit code 1: ERROR: no such host; try again, or name a folder that"
        " holds the three files with --from_dir or MOVIELENS_DIR\n"
    )
    assert written(tmp_path / "out") == {}


def test_cut_wheel_is_refused(tmp_path, monkeypatch, capsys):
    wheel = write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", FILES)
    wheel.write_bytes(wheel.read_bytes()[:-40])
    serve(monkeypatch, wheel)
    assert run(tmp_path / "out") == 1
    assert "recbole-1.2.1-py3-none-any.whl: not a whole wheel: " in capsys.readouterr().err
    assert written(tmp_path / "out") == {}


def test_damaged_member_is_refused(tmp_path, monkeypatch, capsys):
    wheel = write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", FILES)
    data = bytearray(wheel.read_bytes())
    at = data.find(b"ml-100k.user") + len("ml-100k.user")
    data[at + 2] ^= 0xFF
    wheel.write_bytes(bytes(data))
    serve(monkeypatch, wheel)
    assert run(tmp_path / "out") == 1
    assert "recbole-1.2.1-py3-none-any.whl" in capsys.readouterr().err
    assert written(tmp_path / "out") == {}


def test_wheel_without_the_files_is_refused(tmp_path, monkeypatch, capsys):
    serve(monkeypatch, write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", {}))
    assert run(tmp_path / "out") == 1
    assert "must hold recbole/dataset_example/ml-100k/ml-100k.inter once, got 0 times" in capsys.readouterr().err


def test_failed_write_leaves_nothing(tmp_path, monkeypatch, capsys, source):
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch.os, "fsync", full)
    assert run(tmp_path / "out", "--from_dir", str(source)) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert written(tmp_path / "out") == {}


def test_the_download_takes_one_wheel_and_names_no_host():
    command = fetch.download_command("/x")
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "recbole==1.2.1"} <= set(command)
    assert not any("://" in word or "index" in word for word in command)
