"""A schema out of an archive: read as data, checked, and never executed."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from tzrec_build.config import archives
from tzrec_build.config.schema_source import OUR_MODULES, load_schema, our_schema, serialized_descriptors
from tzrec_build.errors import ConfigError

PACKAGE = "easy_rec/python/protos/"


def serialized():
    """Our own descriptors, as an EasyRec package would carry them."""
    return [
        data for path in sorted(OUR_MODULES.glob("*_pb2.py")) for data in serialized_descriptors(path.read_bytes(), "x")
    ]


def modern(data):
    return f"import os\nos.abort()\nx = pool.Default().AddSerializedFile({data!r})\n"


def old(data):
    return f"raise SystemExit\n_b=lambda x:x\nx = _descriptor.FileDescriptor(name='a', serialized_pb=_b({data.decode('latin1')!r}))\n"


def package(style=modern):
    return {f"{PACKAGE}m{i}_pb2.py": style(data).encode() for i, data in enumerate(serialized())}


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


def write_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("style", [modern, old])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_descriptors_are_read_from_generated_modules_that_would_fail_when_run(style, write, tmp_path):
    schema = load_schema(write(tmp_path / "easy_rec.whl", package(style)))
    assert list(schema.new().DESCRIPTOR.fields_by_name) == list(our_schema().new().DESCRIPTOR.fields_by_name)
    assert schema.new().DESCRIPTOR.file.pool is not our_schema().new().DESCRIPTOR.file.pool


def test_a_source_archive_of_protos_is_compiled(tmp_path):
    protos = OUR_MODULES.parents[2] / "protos" / "easyrec"
    members = {
        f"EasyRec-1/{PACKAGE}{path.name}": path.read_bytes().replace(b"tzrec_build/protos/easyrec/", PACKAGE.encode())
        for path in protos.glob("*.proto")
    }
    schema = load_schema(write_tar(tmp_path / "e.tar", members, "w"))
    assert "fg_json_path" in schema.new().DESCRIPTOR.fields_by_name


def test_the_digest_is_compared(tmp_path):
    path = write_zip(tmp_path / "a.whl", package())
    digest = hashlib.sha256((tmp_path / "a.whl").read_bytes()).hexdigest()
    assert load_schema(path, digest).name == path
    assert load_schema(path, f"sha256:{digest.upper()}").name == path
    with pytest.raises(ConfigError, match="sha256 must be " + "0" * 64 + ", got " + digest):
        load_schema(path, "0" * 64)


@pytest.mark.parametrize("name", ["../evil_pb2.py", "/etc/evil_pb2.py", "a/../../evil_pb2.py", "..\\evil_pb2.py"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_paths_that_leave_the_archive_are_refused(name, write, tmp_path):
    with pytest.raises(ConfigError, match=r"members must have relative paths without \.\."):
        load_schema(write(tmp_path / "a", {**package(), name: b""}))


def test_links_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            info = tarfile.TarInfo("x_pb2.py")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(ConfigError, match=r"got the link or device 'x_pb2\.py'"):
            load_schema(str(tmp_path / "a.tar"))
    entry = zipfile.ZipInfo("x_pb2.py")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ConfigError, match=r"got the link or device 'x_pb2\.py'"):
        load_schema(str(tmp_path / "a.zip"))


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_bombs_are_refused_before_they_are_unpacked(write, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    path = write(tmp_path / "a", {"x_pb2.py": b"0" * 5000})
    with pytest.raises(ConfigError, match=r"x_pb2\.py: must have 1000 bytes at most"):
        load_schema(path)
    monkeypatch.setattr(archives, "TOTAL_LIMIT", 2000)
    with pytest.raises(ConfigError, match="must hold 50000 files and 2000 bytes at most, got 1 and 5000"):
        load_schema(path)
    monkeypatch.setattr(archives, "ARCHIVE_LIMIT", 10)
    with pytest.raises(ConfigError, match="must have 10 bytes at most"):
        load_schema(path)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"readme.txt": b""}, r"must hold \*_pb2.py or .proto files, got none"),
        ({"x_pb2.py": b"("}, "x_pb2.py: must be Python made by protoc, got SyntaxError"),
        ({"x_pb2.py": b"AddSerializedFile(b'\\xff\\xff')"}, "must hold a serialized descriptor"),
        ({"x_pb2.py": b"import os"}, "must define protos.EasyRecConfig once, got it 0 times"),
        ({"x.proto": b"syntax"}, "must hold easy_rec/python/protos/pipeline.proto once, got it 0 times"),
        ({f"a/{PACKAGE}pipeline.proto": b"nonsense"}, "protoc refuses a source"),
    ],
)
def test_an_archive_without_a_schema_is_refused(members, text, tmp_path):
    with pytest.raises(ConfigError, match=text):
        load_schema(write_zip(tmp_path / "a.zip", members))


def test_a_missing_import_is_named(tmp_path):
    members = {name: data for name, data in package().items() if b"DATTower" not in data}
    with pytest.raises(ConfigError, match=r"easyrec/dat.proto is imported, but not in the archive"):
        load_schema(write_zip(tmp_path / "a.zip", members))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(ConfigError, match="must be a wheel, zip or tar, got something else"):
        load_schema(str(tmp_path / "a"))
    with pytest.raises(ConfigError, match="cannot read this archive"):
        load_schema(str(tmp_path / "none"))
    whole = (tmp_path / "b.tar.gz").with_suffix(".gz")
    write_tar(whole, package())
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(ConfigError, match="cannot be read as an archive"):
        load_schema(str(whole))


@pytest.fixture
def server(tmp_path):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_an_archive_is_downloaded(server, tmp_path):
    write_zip(tmp_path / "a.whl", package())
    assert load_schema(f"{server}/a.whl").new() is not None
    with pytest.raises(ConfigError, match=r"none.whl: cannot download, HTTP Error 404"):
        load_schema(f"{server}/none.whl")
