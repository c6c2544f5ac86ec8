from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.errors import CorruptError
from tzrec_build.store import cas, transfer
from tzrec_build.store.cas import ObjectStore
from tzrec_build.store.transfer import BUFFER_BYTES, LARGE_BYTES, Blob


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


def make_file(folder: Path, data: bytes, name: str = "source") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@given(data=st.binary(max_size=4096))
def test_what_is_put_comes_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("cas")
    store = ObjectStore(folder / "store")
    blob = store.put(make_file(folder, data))
    assert blob == Blob(hashlib.sha256(data).hexdigest(), len(data))
    store.get(blob, folder / "target", 0o644)
    assert (folder / "target").read_bytes() == data


@pytest.mark.parametrize(
    "size", [BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, LARGE_BYTES - 1, LARGE_BYTES, 2 * LARGE_BYTES + 1]
)
def test_sizes_around_the_buffer_are_whole(store: ObjectStore, tmp_path: Path, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    blob = store.put(make_file(tmp_path, data))
    assert blob.sha256 == hashlib.sha256(data).hexdigest()
    store.get(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").read_bytes() == data


def test_object_is_named_by_its_digest_and_read_only(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    # FIPS 180-2, appendix B.1
    assert blob.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path = store.root / "objects" / "ba" / blob.sha256[2:]
    assert path.read_bytes() == b"abc"
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((store.root / "tmp").iterdir()) == []


def test_restored_file_shares_no_inode_with_the_object(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    target = tmp_path / "target"
    store.get(blob, target, 0o644)
    target.write_bytes(b"scribbled")
    store.get(blob, tmp_path / "second", 0o644)
    assert (tmp_path / "second").read_bytes() == b"abc"
    assert store.path_of(blob.sha256).stat().st_nlink == 1


def test_later_edit_of_the_source_does_not_reach_the_object(store: ObjectStore, tmp_path: Path) -> None:
    source = make_file(tmp_path, b"abc")
    blob = store.put(source)
    source.write_bytes(b"xyz")
    store.get(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("bad", "found"),
    [(b"abd", "of 3 bytes"), (b"ab", "of 2 bytes"), (b"abcc", "of 4 bytes"), (b"", "of 0 bytes")],
    ids=["flipped", "truncated", "longer", "empty"],
)
def test_damaged_object_is_refused_and_removed(store: ObjectStore, tmp_path: Path, bad: bytes, found: str) -> None:
    source = make_file(tmp_path, b"abc")
    blob = store.put(source)
    path = store.path_of(blob.sha256)
    damage(path, bad)
    path.chmod(0o444)  # a mode bit proves nothing
    with pytest.raises(CorruptError) as caught:
        store.get(blob, tmp_path / "target", 0o644)
    assert str(caught.value).startswith(f"{path}: object is damaged, expected {blob.sha256} of 3 bytes, got ")
    assert str(caught.value).endswith(found)
    assert not (tmp_path / "target").exists()
    assert not path.exists()
    store.put(source)  # heals
    store.get(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").read_bytes() == b"abc"


def test_missing_object_is_refused_by_name(store: ObjectStore, tmp_path: Path) -> None:
    blob = Blob("0" * 64, 3)
    with pytest.raises(CorruptError) as caught:
        store.get(blob, tmp_path / "target", 0o644)
    assert str(caught.value) == f"{store.path_of('0' * 64)}: object must be readable, got No such file or directory"


def test_object_that_is_a_link_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    path = store.path_of(blob.sha256)
    path.unlink()
    path.symlink_to(make_file(tmp_path, b"abc", "elsewhere"))
    with pytest.raises(CorruptError, match="object must be readable, got Too many levels of symbolic links"):
        store.get(blob, tmp_path / "target", 0o644)


def test_existing_target_is_never_overwritten(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    target = make_file(tmp_path, b"precious", "target")
    with pytest.raises(FileExistsError):
        store.get(blob, target, 0o644)
    assert target.read_bytes() == b"precious"


def test_object_of_wrong_length_is_replaced_by_the_next_put(store: ObjectStore, tmp_path: Path) -> None:
    source = make_file(tmp_path, b"abc")
    blob = store.put(source)
    damage(store.path_of(blob.sha256), b"a")
    assert not store.has(blob)
    store.put(source)
    assert store.path_of(blob.sha256).read_bytes() == b"abc"


def test_full_disk_leaves_neither_object_nor_temp(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_file(tmp_path, b"abc")

    def refuse(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_clone", lambda _reader, _writer: False)
    monkeypatch.setattr(transfer.os, "write", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        store.put(source)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_short_writes_are_continued(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_file(tmp_path, bytes(range(200)))
    write = os.write
    monkeypatch.setattr(transfer, "_clone", lambda _reader, _writer: False)
    monkeypatch.setattr(transfer.os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    blob = store.put(source)
    assert store.path_of(blob.sha256).read_bytes() == bytes(range(200))


def test_clone_is_named_by_what_it_holds(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_file(tmp_path, b"abc")

    def clone(reader: int, writer: int) -> bool:  # what FICLONE does, by other means
        os.pwrite(writer, os.pread(reader, 100, 0), 0)
        return True

    monkeypatch.setattr(transfer, "_clone", clone)
    blob = store.put(source)
    assert blob == Blob(hashlib.sha256(b"abc").hexdigest(), 3)
    damage(store.path_of(blob.sha256), b"abd")
    with pytest.raises(CorruptError, match="object is damaged"):
        store.get(blob, tmp_path / "target", 0o644)


def test_old_temps_are_removed_and_young_ones_kept(store: ObjectStore, tmp_path: Path) -> None:
    store.put(make_file(tmp_path, b"abc"))
    old, young = store.root / "tmp" / "old", store.root / "tmp" / "young"
    old.write_bytes(b"")
    young.write_bytes(b"")
    os.utime(old, (1000.0, 1000.0))
    os.utime(young, (1000.0 + cas.STALE_TEMP_S, 1000.0 + cas.STALE_TEMP_S))
    assert store.remove_stale_temps(1000.0 + cas.STALE_TEMP_S + 1) == 1
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["young"]


def test_store_without_a_folder_has_no_temps(store: ObjectStore) -> None:
    assert store.remove_stale_temps(0.0) == 0


PUTTER = """
import sys
from pathlib import Path
from tzrec_build.store.cas import ObjectStore
store = ObjectStore(Path(sys.argv[1]))
sys.stdin.readline()
for _ in range(20):
    for source in sorted(Path(sys.argv[2]).iterdir()):
        store.put(source)
"""


def test_two_processes_put_the_same_files_at_once(store: ObjectStore, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for number in range(8):
        make_file(sources, bytes([number]) * (1000 + number), str(number))
    command = [sys.executable, "-c", PUTTER, str(store.root), str(sources)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.stdin.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert list((store.root / "tmp").iterdir()) == []
    for source in sources.iterdir():
        blob = Blob(hashlib.sha256(source.read_bytes()).hexdigest(), source.stat().st_size)
        assert store.has(blob)
        store.get(blob, tmp_path / "got", 0o644)
        assert (tmp_path / "got").read_bytes() == source.read_bytes()
        (tmp_path / "got").unlink()


def test_a_large_copy_is_hashed_on_a_thread_of_its_own(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(LARGE_BYTES + 12345)
    source = make_file(tmp_path, data)
    monkeypatch.setattr(transfer, "_clone", lambda _reader, _writer: False)
    write = os.write
    monkeypatch.setattr(transfer.os, "write", lambda fd, piece: write(fd, piece[:70_001]))
    blob = store.put(source)
    assert blob == Blob(hashlib.sha256(data).hexdigest(), len(data))
    store.get(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").read_bytes() == data


@pytest.mark.parametrize("size", [10, LARGE_BYTES], ids=["small", "large"])
def test_a_full_disk_names_the_file_that_could_not_be_written(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    blob = store.put(make_file(tmp_path, bytes(size)))

    def refuse(_fd: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_clone", lambda _reader, _writer: False)
    monkeypatch.setattr(transfer.os, "write", refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        store.get(blob, tmp_path / "target", 0o644)
    assert caught.value.filename == str(tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_an_object_that_the_disk_cannot_read_is_a_miss(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))

    def refuse(_fd: int, _buffers: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(transfer.os, "readv", refuse)
    with pytest.raises(CorruptError, match="object must be readable, got Input/output error"):
        store.get(blob, tmp_path / "target", 0o644)
    assert not (tmp_path / "target").exists()


@pytest.fixture
def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas.os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("not_root")
def test_a_link_is_one_file_with_the_object(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    store.link(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").samefile(store.path_of(blob.sha256))
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o444


@pytest.mark.usefixtures("not_root")
def test_an_executable_output_is_copied_not_linked(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    store.link(blob, tmp_path / "target", 0o755)
    assert not (tmp_path / "target").samefile(store.path_of(blob.sha256))
    assert os.access(tmp_path / "target", os.X_OK)


def test_root_gets_copies_because_it_writes_through_a_read_only_mode(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    monkeypatch.setattr(cas.os, "geteuid", lambda: 0)
    store.link(blob, tmp_path / "target", 0o644)
    assert store.path_of(blob.sha256).stat().st_nlink == 1


@pytest.mark.usefixtures("not_root")
def test_where_links_are_impossible_a_copy_is_made(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(transfer.os, "link", refuse)
    store.link(blob, tmp_path / "target", 0o644)
    assert (tmp_path / "target").read_bytes() == b"abc"


@pytest.mark.usefixtures("not_root")
def test_a_damaged_object_is_refused_through_a_link_too(store: ObjectStore, tmp_path: Path) -> None:
    blob = store.put(make_file(tmp_path, b"abc"))
    damage(store.path_of(blob.sha256), b"abd")
    with pytest.raises(CorruptError, match="object is damaged"):
        store.link(blob, tmp_path / "target", 0o644)
    assert not (tmp_path / "target").exists()
    assert not store.path_of(blob.sha256).exists()
    with pytest.raises(CorruptError, match="object must be readable, got No such file or directory"):
        store.link(blob, tmp_path / "target", 0o644)
