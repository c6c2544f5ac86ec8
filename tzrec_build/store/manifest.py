"""Manifests: what one action made, as sorted JSON that carries its own digest.

On disk, one object: ``{"format": 1, "key": .., "outputs": [{"path", "sha256", "size", "mode"}, ..], "provenance": {..},
"digest": sha256 of the same object without this field}``. `mode` is octal text, ``644`` or ``755``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tzrec_build.errors import CorruptError

FORMAT = 1
FILE_MODES = (0o644, 0o755)  # only the exec bit is content; the rest is the umask of the machine that restores
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Output:
    """One file that an action made.

    Args:
        path: relative to the output folder, with forward slashes.
        sha256: hexadecimal digest of the content.
        size: bytes.
        mode: 0o644, or 0o755 when the owner may execute it.
    """

    path: str
    sha256: str
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The outputs of one action, sorted by path, and where they come from.

    Args:
        key: the action key, ``sha256:`` and 64 hexadecimal digits.
        outputs: sorted by path, no path twice, no path below another.
        provenance: JSON-able facts that are not in the key (host, time, found device, ...).
    """

    key: str
    outputs: tuple[Output, ...]
    provenance: Mapping[str, object]

    def differences(self, other: Manifest) -> list[str]:
        """List the paths whose content or exec bit differs, or that only one of the two has; provenance does not count.

        >>> one = Manifest("k", (Output("a", "00", 1, 0o644), Output("b", "11", 1, 0o644)), {})
        >>> one.differences(Manifest("k", (Output("a", "00", 1, 0o644), Output("c", "11", 1, 0o644)), {}))
        ['b', 'c']
        """
        mine, theirs = ({output.path: output for output in manifest.outputs} for manifest in (self, other))
        return sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))


def key_digits(key: str) -> str:
    """Return the 64 digits of an action key, which name its file.

    Raises:
        ValueError: the key is of another form; keys are made by us, so this is a bug.
    """
    digits = key.removeprefix("sha256:")
    if not _SHA256.fullmatch(digits):
        raise ValueError(f"bug: action key must be 'sha256:' and 64 hexadecimal digits, got {key!r}")
    return digits


def check_paths(paths: Iterable[str]) -> None:
    """Check that paths stay inside the folder they are written to and cannot shadow each other.

    Raises:
        ValueError: a path is absolute, has an empty, ``.`` or ``..`` part, comes twice, or is the folder of another.
    """
    seen = set()
    for path in paths:
        parts = path.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in path or "\\" in path:
            raise ValueError(f"output path: must be relative and without '..', got {path!r}")
        if path in seen:
            raise ValueError(f"output path: must come once, got {path!r} twice")
        seen.add(path)
    for path in seen:
        parts = path.split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in seen:
                raise ValueError(f"output path: must not be below another output, got {path!r}")


def manifest_bytes(manifest: Manifest) -> bytes:
    """Write a manifest as JSON; equal manifests give equal bytes."""
    body = _body(manifest)
    body["digest"] = _digest(body)
    return (json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse_manifest(data: bytes, key: str = "") -> Manifest:
    """Read a manifest and check all of it: form, digest, key (any when "" is asked for), paths.

    Raises:
        CorruptError: a byte is not as it was written, or it belongs to another key.
    """
    try:
        body = json.loads(data)
        digest = body.pop("digest")
        manifest = Manifest(body["key"], tuple(_output(entry) for entry in body["outputs"]), body["provenance"])
        check_paths(output.path for output in manifest.outputs)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise CorruptError(f"manifest is damaged: {type(err).__name__}: {err}") from err
    if body.get("format") != FORMAT or digest != _digest(body):
        raise CorruptError("manifest is damaged: its digest does not fit")
    if key and manifest.key != key:
        raise CorruptError(f"manifest belongs to another key: expected {key}, got {manifest.key}")
    return manifest


def _body(manifest: Manifest) -> dict[str, object]:
    outputs = [
        {"path": output.path, "sha256": output.sha256, "size": output.size, "mode": f"{output.mode:o}"}
        for output in manifest.outputs
    ]
    return {"format": FORMAT, "key": manifest.key, "outputs": outputs, "provenance": dict(manifest.provenance)}


def _output(entry: Mapping[str, object]) -> Output:
    """Check one entry; any wrong type or value raises ValueError, KeyError or TypeError."""
    path, sha256, size, mode = entry["path"], entry["sha256"], entry["size"], entry["mode"]
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(size, int) and isinstance(mode, str)):
        raise TypeError(f"output {entry!r}")
    if not _SHA256.fullmatch(sha256) or size < 0 or int(mode, 8) not in FILE_MODES:
        raise ValueError(f"output {entry!r}")
    return Output(path, sha256, size, int(mode, 8))


def _digest(body: Mapping[str, object]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
