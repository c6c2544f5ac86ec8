"""Compile protos/ into tzrec_build/protos/ with grpc_tools: the only maker of that folder."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import BuildError, ConfigError
from tzrec_build.files import write_bytes
from tzrec_build.tools.entry import run_tool

PACKAGE_DIR = "tzrec_build/protos"
GENERATED_SUFFIXES = ("_pb2.py", "_pb2.pyi")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to compile: every ``*.proto`` below `source_dir`, one schema a sub-folder, into `output_dir`."""

    source_dir: Path
    output_dir: Path


def proto_files(source_dir: Path) -> list[Path]:
    """List the sources below a folder, sorted.

    Raises:
        ConfigError: the folder does not exist or holds no source.
    """
    found = sorted(source_dir.rglob("*.proto"))
    if not found:
        raise ConfigError(
            f"--source_dir: must hold .proto files, got {str(source_dir)!r}; give the folder protos/ of a checkout"
        )
    return found


def compile_protos(spec: Spec) -> list[str]:
    """Compile all sources and bring `output_dir` to exactly that result.

    protoc writes into a temporary folder first. Only then are files replaced, each atomically and only when its bytes
    differ, and files without a source removed. A failed compile leaves everything as it was; an interrupted replacement is
    completed by the next call.

    Returns:
        The relative paths that were written or removed, sorted; empty when everything was already there.

    Raises:
        ConfigError: protoc refuses a source (its own message is shown).
    """
    sources = proto_files(spec.source_dir)
    with tempfile.TemporaryDirectory(prefix="tzrec-protos-") as folder:
        _run_protoc(spec.source_dir, sources, Path(folder))
        made_dir = Path(folder) / PACKAGE_DIR
        wanted = {str(path.relative_to(made_dir)): path.read_bytes() for path in made_dir.rglob("*") if path.is_file()}
    wanted |= dict.fromkeys(_package_inits(wanted), b"")
    changed = [name for name in sorted(wanted) if _replace(spec.output_dir / name, wanted[name])]
    return sorted(changed + _remove_stale(spec.output_dir, wanted.keys()))


def _run_protoc(source_dir: Path, sources: Sequence[Path], folder: Path) -> None:
    """Write ``*_pb2.py`` and ``*_pb2.pyi`` below `folder`, under the names that the package has."""
    virtual = f"-I{PACKAGE_DIR}={source_dir}"  # imports in the sources start with the package path, so no path edits in the result
    names = [f"{PACKAGE_DIR}/{path.relative_to(source_dir).as_posix()}" for path in sources]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        virtual,
        f"--python_out={folder}",
        f"--pyi_out={folder}",
        *names,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "No module named" in done.stderr:
        raise BuildError("grpc_tools: must be installed to compile protos/, got no such module; run python3 dodo.py")
    raise ConfigError(f"{source_dir}: protoc refuses a source:\n{done.stderr.strip()}")


def _package_inits(names: Iterable[str]) -> set[str]:
    """Name the empty ``__init__.py`` of every folder that holds a generated module, the root included."""
    folders = {parent for name in names for parent in Path(name).parents}
    return {str(folder / "__init__.py") for folder in folders}


def _replace(path: Path, data: bytes) -> bool:
    """Write a file unless it already holds these bytes; say whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    write_bytes(path, data)
    return True


def _remove_stale(output_dir: Path, wanted: Iterable[str]) -> list[str]:
    """Remove generated modules that no source makes any more, then folders left empty."""
    keep = set(wanted)
    removed = []
    for path in sorted(output_dir.rglob("*.py*")):
        name = str(path.relative_to(output_dir))
        if path.suffix == ".pyc" or name in keep:
            continue
        if path.name == "__init__.py" or path.name.endswith(GENERATED_SUFFIXES):
            path.unlink()
            removed.append(name)
    for folder in sorted((path for path in output_dir.rglob("*") if path.is_dir()), reverse=True):
        if folder.name != "__pycache__" and not any(child.name != "__pycache__" for child in folder.iterdir()):
            _remove_empty(folder)
    return removed


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds at most byte code of modules that are gone."""
    for cached in folder.glob("__pycache__/*.pyc"):
        cached.unlink()
    for child in folder.iterdir():
        child.rmdir()
    folder.rmdir()


def main(argv: Sequence[str]) -> int:
    """Run the tool; flags --source_dir and --output_dir."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(prog="compile_protos", description="Compile protos/ into tzrec_build/protos/.")
    parser.add_argument(
        "--source_dir", type=Path, default=root / "protos", help="folder of the schemas (default: protos/)"
    )
    parser.add_argument("--output_dir", type=Path, default=root / PACKAGE_DIR, help="default: tzrec_build/protos/")
    return run_tool(parser, _run, argv)


def _run(args: argparse.Namespace) -> None:
    changed = compile_protos(Spec(args.source_dir, args.output_dir))
    print(f"compiled {args.source_dir}: {len(changed)} files changed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
