"""A protobuf schema as data: from our own EasyRec protos, or from an EasyRec wheel, zip or tar that somebody names.

Generated modules are parsed, never imported: the serialized descriptors in them are literal bytes. They go into a pool of
their own, so that two schemas with the same names can live in one process.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tzrec_build.errors import ConfigError

OUR_MODULES = Path(__file__).parents[1] / "protos" / "easyrec"
ROOT_MESSAGE = "protos.EasyRecConfig"
_DESCRIPTOR_CALLS = frozenset({"AddSerializedFile", "FileDescriptor"})
_GOOGLE = "google/protobuf/"


@dataclass(frozen=True, slots=True)
class Schema:
    """An EasyRec schema in its own pool; `name` says where it came from."""

    name: str
    pool: Any

    def new(self, message: str = ROOT_MESSAGE) -> Any:
        """Make an empty message by its full name; raise ConfigError when the schema lacks it."""
        try:
            descriptor = self.pool.FindMessageTypeByName(message)
        except KeyError as err:
            raise ConfigError(
                f"{self.name}: must define {message}, got no such message; name an EasyRec package"
            ) from err
        return message_factory.GetMessageClass(descriptor)()


def our_schema() -> Schema:
    """Read the EasyRec schema that comes with this package; raise ConfigError when protos/ was never compiled."""
    modules = {path.name: path.read_bytes() for path in sorted(OUR_MODULES.glob("*_pb2.py"))}
    if not modules:
        raise ConfigError(f"{OUR_MODULES}: must hold compiled protos, got none; run tzrec-build compile_protos")
    return _schema(str(OUR_MODULES), modules)


def load_schema(source: str, sha256: str = "") -> Schema:
    """Read the schema from a wheel, zip or tar.

    Args:
        source: a path, or an http(s) URL.
        sha256: expected digest of the archive, 64 hex digits; "" for any.

    Raises:
        ConfigError: the archive cannot be had, is unsafe or too large, has other bytes than `sha256` says, or holds no
            EasyRec schema.
    """
    from tzrec_build.config.archives import read_members  # 15 ms that only an archive is worth

    members = read_members(source, (".proto", "_pb2.py"), sha256)
    modules = {name: data for name, data in members.items() if name.endswith("_pb2.py")}
    if modules:
        return _schema(source, modules)
    if members:
        return _schema_of_protos(source, members)
    raise ConfigError(
        f"{source}: must hold *_pb2.py or .proto files, got none; name an EasyRec wheel or source archive"
    )


def _schema(name: str, modules: Mapping[str, bytes]) -> Schema:
    files: dict[str, Any] = {}
    for module, source in modules.items():
        for data in serialized_descriptors(source, f"{name}: {module}"):
            file = _parsed_file(data, f"{name}: {module}")
            files[file.name] = file
    return _pooled(name, files)


def serialized_descriptors(source: bytes, where: str) -> Iterator[bytes]:
    """Yield the serialized files in a generated module: literals given to ``AddSerializedFile`` or ``FileDescriptor``.

    Raises:
        ConfigError: the source is no Python.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise ConfigError(
            f"{where}: must be Python made by protoc, got {type(err).__name__}; the archive is damaged"
        ) from err
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _called(node.func) not in _DESCRIPTOR_CALLS:
            continue
        named = [keyword.value for keyword in node.keywords if keyword.arg == "serialized_pb"]
        for value in named or node.args[:1]:
            data = _literal_bytes(value)
            if data:
                yield data


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _literal_bytes(node: ast.expr) -> bytes:
    """Give the bytes of ``b'..'``, or of ``_b('..')`` as protoc wrote for Python 2 and 3; b"" for anything else."""
    if isinstance(node, ast.Call) and _called(node.func) == "_b" and len(node.args) == 1:
        node = node.args[0]
    if not isinstance(node, ast.Constant):
        return b""
    if isinstance(node.value, str):
        return node.value.encode("latin1", "replace")
    return node.value if isinstance(node.value, bytes) else b""


def _parsed_file(data: bytes, where: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto()
    try:
        file.ParseFromString(data)
    except Exception as err:  # DecodeError of either implementation, and UnicodeDecodeError
        raise ConfigError(f"{where}: must hold a serialized descriptor, got {err}; the archive is damaged") from err
    return file


def _pooled(name: str, files: Mapping[str, Any]) -> Schema:
    """Put the file with the root message, and what it imports, into a new pool."""
    roots = [
        file for file in files.values() if any(f"{file.package}.{m.name}" == ROOT_MESSAGE for m in file.message_type)
    ]
    if len(roots) != 1:
        raise ConfigError(
            f"{name}: must define {ROOT_MESSAGE} once, got it {len(roots)} times; name an EasyRec package"
        )
    pool = descriptor_pool.DescriptorPool()
    for file in _imports_first(roots[0].name, files, name):
        try:
            pool.Add(file)
            pool.FindFileByName(file.name)
        except Exception as err:  # TypeError, ValueError or KeyError, by implementation
            raise ConfigError(f"{name}: {file.name} is not a valid descriptor, {err}; the archive is damaged") from err
    return Schema(name, pool)


def _imports_first(root: str, files: Mapping[str, Any], name: str) -> list[Any]:
    """Order a file and what it imports, imports first; iterative, so that a chain of any length is safe."""
    ordered: dict[str, Any] = {}
    waiting, entered = [root], set()
    while waiting:
        path = waiting[-1]
        file = _google_file(path) if path.startswith(_GOOGLE) else files.get(path)
        if file is None:
            raise ConfigError(f"{name}: {path} is imported, but not in the archive; name a whole EasyRec package")
        missing = [other for other in file.dependency if other not in ordered]
        if missing and path not in entered:
            entered.add(path)
            waiting.extend(missing)
            continue
        if missing:
            raise ConfigError(f"{name}: {path} imports itself through {missing[0]}; the archive is damaged")
        ordered[path] = file
        waiting.pop()
    return list(ordered.values())


def _google_file(path: str) -> Any:
    """Give one of protobuf's own files, which no archive carries."""
    from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    for module in (any_pb2, descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        if path == module.DESCRIPTOR.name:
            file = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            return file
    return None


def _schema_of_protos(name: str, members: Mapping[str, bytes]) -> Schema:
    """Compile .proto files in a temporary folder; their imports name paths below one folder of the archive."""
    import subprocess
    import tempfile

    roots = [path for path in members if path.endswith("easy_rec/python/protos/pipeline.proto")]
    if len(roots) != 1:
        raise ConfigError(
            f"{name}: must hold easy_rec/python/protos/pipeline.proto once, got it {len(roots)} times; name an EasyRec package"
        )
    top = roots[0].removesuffix("easy_rec/python/protos/pipeline.proto")
    with tempfile.TemporaryDirectory(prefix="tzrec-schema-") as folder:
        for path, data in members.items():
            if path.startswith(top):
                target = Path(folder) / path.removeprefix(top)  # members were checked: relative, without `..`
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        out = Path(folder) / "descriptors.bin"
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports", f"--descriptor_set_out={out}",
             "easy_rec/python/protos/pipeline.proto"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ConfigError(f"{name}: protoc refuses a source:\n{done.stderr.strip()}")
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return _pooled(name, {file.name: file for file in found.file})
