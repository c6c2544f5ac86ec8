"""Fetching: from a folder and from a wheel, wrong sums, damaged and failed downloads, nothing half-written."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from tests.workspace_scripts.raw_files import MOVIELENS, load_script, real_raw

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


def test_a_wheel_with_escaping_names_only_is_refused_and_writes_nothing_outside(tmp_path, monkeypatch, capsys):
    path = tmp_path / "recbole-1.2.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in FILES.items():
            wheel.writestr(f"../recbole/dataset_example/ml-100k/{name}", data)
            wheel.writestr(f"recbole/dataset_example/ml-100k/../../../../{name}", data)
            wheel.writestr(f"/recbole/dataset_example/ml-100k/{name}", data)
    serve(monkeypatch, path)
    assert run(tmp_path / "out" / "deep") == 1
    assert "ml-100k.inter once, got 0 times" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == [path.name]


def test_a_file_listed_twice_is_refused(tmp_path, monkeypatch, capsys):
    path = write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", FILES)
    with zipfile.ZipFile(path, "a") as wheel, pytest.warns(UserWarning, match="Duplicate name"):
        wheel.writestr("recbole/dataset_example/ml-100k/ml-100k.user", b"other")
    serve(monkeypatch, path)
    assert run(tmp_path / "out") == 1
    assert "ml-100k.user once, got 2 times" in capsys.readouterr().err
    assert written(tmp_path / "out") == {}


def test_a_member_that_is_too_large_is_not_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "SIZE_LIMIT_BYTES", 100)
    files = FILES | {"ml-100k.user": b"x" * 1000}
    serve(monkeypatch, write_wheel(tmp_path / "recbole-1.2.1-py3-none-any.whl", FILES | files))
    assert run(tmp_path / "out") == 1
    assert "ml-100k/ml-100k.inter must have at most 100 bytes, got 130" in capsys.readouterr().err


def test_an_interrupted_download_leaves_what_was_there(tmp_path, monkeypatch, capsys, source):
    def interrupted(*_args: object, **_flags: object) -> None:
        raise KeyboardInterrupt

    assert run(tmp_path / "out", "--from_dir", str(source)) == 0
    monkeypatch.setattr(fetch.subprocess, "run", interrupted)
    assert run(tmp_path / "out") == 130
    assert capsys.readouterr().err == "fetch: interrupted, nothing was written\n"
    assert written(tmp_path / "out") == FILES


@pytest.mark.parametrize("folder", ["out", "new"])
def test_wrong_files_leave_what_was_there(tmp_path, source, folder):
    assert run(tmp_path / "out", "--from_dir", str(source)) == 0
    (source / "ml-100k.item").write_bytes(b"other")
    assert run(tmp_path / folder, "--from_dir", str(source)) == 1
    assert written(tmp_path / "out") == FILES
    assert not (tmp_path / "new").exists()


def test_a_download_without_a_wheel_is_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "download_command", lambda folder: [sys.executable, "-c", "", folder])
    assert run(tmp_path / "out") == 1
    assert "download failed, pip exit code 0: nothing was said; try again, or name a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_pip_says_need_not_be_text(tmp_path, monkeypatch, capsys):
    said = r"import sys; sys.stderr.buffer.write(b'\xff broken'); sys.exit(2)"
    monkeypatch.setattr(fetch, "download_command", lambda folder: [sys.executable, "-c", said, folder])
    assert run(tmp_path / "out") == 1
    assert "pip exit code 2: \ufffd broken; try again" in capsys.readouterr().err


def test_a_missing_interpreter_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "download_command", lambda folder: [str(tmp_path / "no-python"), folder])
    assert run(tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.startswith("fetch: ")
    assert "no-python" in said
    assert said.count("\n") == 1


def test_a_folder_in_the_place_of_a_file_is_refused_before_any_file_is_replaced(tmp_path, source, capsys):
    (tmp_path / "out" / "ml-100k.item").mkdir(parents=True)
    assert run(tmp_path / "out", "--from_dir", str(source)) == 1
    assert "ml-100k.item: must be a file or absent, got a folder; nothing was written" in capsys.readouterr().err
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["ml-100k.item"]


@pytest.fixture(scope="module")
def real_folder() -> Path:
    return real_raw()


def test_the_real_files_have_the_expected_sums(tmp_path, monkeypatch, real_folder):
    monkeypatch.undo()
    assert run(tmp_path / "out", "--from_dir", str(real_folder)) == 0
    assert {name: hashlib.sha256(data).hexdigest() for name, data in written(tmp_path / "out").items()} == fetch.DIGESTS
