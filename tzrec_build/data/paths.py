"""Input paths as users write them (comma lists, globs, folders) to sorted lists of files."""

from __future__ import annotations

import glob
from pathlib import Path

from tzrec_build.errors import DataError

SUFFIXES = {".parquet": "parquet", ".csv": "csv"}
_REMOTE = ("odps://", "kafka://", "http://", "https://", "s3://", "oss://")


def find_files(input_path: str) -> tuple[str, ...]:
    """List the files behind an input path.

    Args:
        input_path: comma separated files, shell globs and folders (their ``*.parquet`` or ``*.csv``).
    Returns:
        Files; the parts in the given order, the files of a glob or folder sorted by name.
    Raises:
        DataError: a part matches nothing, a folder holds no table, or the path is remote.
    """
    parts = [part.strip() for part in input_path.split(",") if part.strip()]
    if not parts:
        raise DataError("input path is empty; name a .parquet or .csv file, a glob or a folder")
    return tuple(file for part in parts for file in _expand(part))


def table_kind(files: tuple[str, ...]) -> str:
    """Format of the files by their suffix, ``parquet`` or ``csv``.

    Raises:
        DataError: another suffix, or two formats in one list.
    """
    kinds: dict[str, str] = {}
    for file in files:
        kind = SUFFIXES.get(Path(file).suffix.lower())
        if kind is None:
            raise DataError(f"{file}: a table must end in {' or '.join(SUFFIXES)}; rename or convert it")
        kinds.setdefault(kind, file)
    if len(kinds) > 1:
        raise DataError(f"one input must not mix formats, got {' and '.join(kinds.values())}; convert one of them")
    return next(iter(kinds))


def _expand(part: str) -> list[str]:
    if part.startswith(_REMOTE):
        raise DataError(f"{part}: only local files can be read; download the table first")
    if Path(part).is_file():
        return [part]
    if Path(part).is_dir():
        found = sorted(str(path) for path in Path(part).iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise DataError(f"{part}: the folder holds no .parquet or .csv file")
        return found
    found = sorted(path for path in glob.glob(part) if Path(path).is_file())
    if not found:
        raise DataError(f"{part}: no such file{_neighbours(part)}")
    return found


def _neighbours(part: str) -> str:
    folder = Path(part).parent
    if any(mark in part for mark in "*?["):
        return " matches the pattern; check the folder and the pattern"
    if not folder.is_dir():
        return f"; the folder {str(folder)!r} does not exist either"
    tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return f"; tables in that folder: {', '.join(tables[:5])}" if tables else "; that folder holds no table"
