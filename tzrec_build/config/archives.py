"""Files out of a wheel, zip or tar, local or downloaded: read into memory, never unpacked onto the disk.

A member with an absolute path, with `..`, or that is a link or device makes the whole archive refused; so do sizes beyond
the limits, counted on what is really read and not on what a header says.
"""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from tzrec_build.errors import ConfigError
from tzrec_build.logs import logger

MIB = 1 << 20
ARCHIVE_LIMIT = 256 * MIB  # the archive itself; EasyRec's wheel has 1 MiB
TOTAL_LIMIT = 1024 * MIB  # everything in it, unpacked: a bomb is found on the way
MEMBER_LIMIT = 8 * MIB  # one file that is wanted
WANTED_LIMIT = 64 * MIB  # all files that are wanted
COUNT_LIMIT = 50_000
TIMEOUT_S = 30.0
URL_PREFIXES = ("http://", "https://")
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)


def read_members(source: str, suffixes: Sequence[str], sha256: str = "") -> dict[str, bytes]:
    """Read the files of an archive whose names end with one of the suffixes, by name.

    Args:
        source: path or http(s) URL of a zip (a wheel is one) or tar, compressed or not.
        suffixes: ends of the names wanted.
        sha256: expected digest of the archive; "" for any.

    Raises:
        ConfigError: it cannot be had, differs from `sha256`, is no archive, or breaks a rule above.
    """
    data = _download(source) if source.startswith(URL_PREFIXES) else _local(source)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256.lower().removeprefix("sha256:"):
        raise ConfigError(
            f"{source}: sha256 must be {sha256}, got {found}; it is another archive than the one you checked"
        )
    members: dict[str, bytes] = {}
    wanted_bytes = 0
    try:
        for name, stream in _members(source, data):
            if name.endswith(tuple(suffixes)):
                content = _limited(stream, MEMBER_LIMIT, f"{source}: {name}")
                wanted_bytes += len(content)
                if wanted_bytes > WANTED_LIMIT:
                    raise ConfigError(
                        f"{source}: its schema files must have {WANTED_LIMIT} bytes at most; name an EasyRec package"
                    )
                members[name] = content
    except _BROKEN as err:
        raise ConfigError(f"{source}: cannot be read as an archive, {err}; it is damaged or encrypted") from err
    return dict(sorted(members.items()))


def _local(source: str) -> bytes:
    path = Path(source)
    try:
        with path.open("rb") as file:
            return _limited(file, ARCHIVE_LIMIT, source)
    except (OSError, ValueError) as err:
        raise ConfigError(f"{source}: cannot read this archive, {err}; give a path or an http(s) URL") from err


def _download(url: str) -> bytes:
    """Read a URL into memory, with a line of progress for every 8 MiB."""
    import http.client  # 30 ms that only a URL is worth
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "tzrec-build"})  # noqa: S310 - http(s) only
    chunks, done = [], 0
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only, see read_members
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(MIB):
                chunks.append(chunk)
                done += len(chunk)
                if done > ARCHIVE_LIMIT:
                    raise ConfigError(
                        f"{url}: an archive must have {ARCHIVE_LIMIT} bytes at most; download it and look inside"
                    )
                if done % (8 * MIB) < len(chunk):
                    logger.info("%s: %d of %s MiB", url, done // MIB, total // MIB or "?")
    except (OSError, ValueError, http.client.HTTPException) as err:
        raise ConfigError(f"{url}: cannot download, {err}; download it by hand and give its path") from err
    if total and done != total:
        raise ConfigError(f"{url}: must have {total} bytes, got {done}; try again")
    return b"".join(chunks)


def _limited(stream: IO[bytes], limit: int, where: str) -> bytes:
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"{where}: must have {limit} bytes at most, got more; name an EasyRec package")
    return data


def _members(source: str, data: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield all regular files, each with an open stream that is good until the next one."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        yield from _zip_members(source, data)
        return
    try:
        archive = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115 - closed by the with below
    except tarfile.TarError as err:
        raise ConfigError(
            f"{source}: must be a wheel, zip or tar, got something else; give an EasyRec package"
        ) from err
    with archive:
        yield from _tar_members(source, archive)


def _zip_members(source: str, data: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        _check_size(source, len(entries), sum(entry.file_size for entry in entries))
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            _check_member(source, entry.filename, regular=kind in {0, stat.S_IFREG, stat.S_IFDIR})
            if not entry.is_dir():
                with archive.open(entry) as stream:
                    yield entry.filename, stream


def _tar_members(source: str, archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    count = size = 0
    for entry in archive:
        count, size = count + 1, size + entry.size
        _check_size(source, count, size)
        _check_member(source, entry.name, regular=entry.isreg() or entry.isdir())
        stream = archive.extractfile(entry) if entry.isreg() else None
        if stream is not None:
            yield entry.name.removeprefix("./"), stream


def _check_size(source: str, count: int, size: int) -> None:
    if count > COUNT_LIMIT or size > TOTAL_LIMIT:
        raise ConfigError(
            f"{source}: must hold {COUNT_LIMIT} files and {TOTAL_LIMIT} bytes at most, got {count} and {size}; name an EasyRec package"
        )


def _check_member(source: str, name: str, *, regular: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1] or "\0" in name:
        raise ConfigError(
            f"{source}: members must have relative paths without .., got {name!r}; do not trust this archive"
        )
    if not regular:
        raise ConfigError(
            f"{source}: members must be files or folders, got the link or device {name!r}; do not trust this archive"
        )
