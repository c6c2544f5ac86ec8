"""Installed packages: their versions, and which of them gives a module, without importlib.metadata (100 times slower)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping

from tzrec_build.graph.state import State

_TWINS = {
    "fbgemm-gpu-cpu": "fbgemm-gpu",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
}  # CPU and CUDA builds are one name
_SUFFIX = ".dist-info"


class Distributions:
    """The packages of one site-packages folder."""

    def __init__(self, state: State, site_packages: str) -> None:
        self._state, self._folder = state, site_packages
        self._versions: dict[str, str] | None = None
        self._providers: dict[str, list[str]] | None = None

    def versions(self) -> Mapping[str, str]:
        """Package -> version with its local tag, from the names of the dist-info folders."""
        if self._versions is None:
            # whole or not at all: other threads read it
            self._versions = {name: version for name, version, _ in map(_parts, self._listing())}
        return self._versions

    def providers(self, modules: Iterable[str]) -> tuple[str, ...]:
        """Packages that give top-level modules, sorted; a module that no package gives is passed over."""
        if self._providers is None:
            listing = self._listing()
            key = f"modules {hashlib.sha256(repr(listing).encode()).hexdigest()}"
            known = self._state.facts(key)
            if known is None:
                known = self._read(listing)
                self._state.set_facts(key, known)
            self._providers = known
        return tuple(sorted({name for module in modules for name in self._providers.get(module, ())}))

    def _listing(self) -> list[str]:
        return sorted(entry for entry in os.listdir(self._folder) if entry.endswith(_SUFFIX))

    def _read(self, listing: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, _, folder in map(_parts, listing):
            for module in self._modules(folder):
                found.setdefault(module, []).append(name)
        return found

    def _modules(self, folder: str) -> set[str]:
        """Top-level modules of a package, from the list of its files."""
        try:
            with open(f"{self._folder}/{folder}/RECORD", encoding="utf-8") as file:
                paths = [line.partition(",")[0].strip('"') for line in file]
        except OSError:
            return set()
        tops = {path.split("/")[0] for path in paths if path.endswith((".py", ".so"))}
        return {top.split(".")[0] for top in tops if not top.endswith(_SUFFIX) and not top.startswith("..")}


def _parts(folder: str) -> tuple[str, str, str]:
    """Split the name of a dist-info folder.

    >>> _parts("faiss_cpu-1.15.1+x.dist-info")
    ('faiss', '1.15.1+x', 'faiss_cpu-1.15.1+x.dist-info')
    """
    name, _, version = folder.removesuffix(_SUFFIX).partition("-")
    name = name.replace("_", "-").lower()
    return _TWINS.get(name, name), version, folder
