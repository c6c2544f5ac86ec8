"""The facts of each pipeline's config, kept in the state under the digests of all that they follow from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.grammar import ConfigSpec, PipelineSpec
from tzrec_build.graph.scope import FG_JSON, Facts


class ConfigFacts:
    """Gives the facts of a pipeline's config; an EasyRec config is converted in memory for them.

    The table of [config] feature_info is not asked: it only takes away from the files and features that the config names.

    Args:
        judge: digests and state of this process.
        root: the checkout.

    Attributes:
        files: every file that was looked at -> xxh3-128, b"" where there is none.
    """

    def __init__(self, judge: Judge, root: str) -> None:
        self._judge, self._root = judge, root
        self.files: dict[str, bytes] = {}

    def of(self, pipeline: PipelineSpec, edits: Mapping[str, object]) -> Facts:
        """Give the facts after these edits.

        Raises:
            BuildError: a file is missing or wrong, or an EasyRec config has parts without a counterpart.
        """
        config = pipeline.config
        if config is None:
            raise RuntimeError("bug: facts are asked of a pipeline without [config]")
        if config.easyrec:
            return self._converted(pipeline, config, edits)
        path = _join(pipeline, config.path)
        key = f"facts {self._digest(pipeline, 'path', config.path)} {sorted(edits.items())}"

        def make() -> dict[str, Any]:
            from tzrec_build.config.facts import config_facts

            return config_facts(path, edits)

        return self._kept(key, "tzrec_build.config.facts", make)

    def _converted(self, pipeline: PipelineSpec, config: ConfigSpec, edits: Mapping[str, object]) -> Facts:
        given = {key: str(getattr(config, key)) for key in ("easyrec", "fg_json", "schema")}
        digests = {key: self._digest(pipeline, key, text) for key, text in given.items() if text}
        given["fg_json"] = given["fg_json"] or self._named_fg_json(pipeline, given, digests)
        digests["fg_json"] = self._digest(pipeline, "fg_json", given["fg_json"]) if given["fg_json"] else ""
        key = f"easyrec {sorted(digests.items())} {sorted(edits.items())}"

        def make() -> dict[str, Any]:
            from tzrec_build.config.easyrec.facts import EasyRecFiles, easyrec_facts

            files = EasyRecFiles(pipeline.folder, given["easyrec"], given["fg_json"], given["schema"])
            return easyrec_facts(files, edits)

        return {**self._kept(key, "tzrec_build.config.easyrec.facts", make), FG_JSON: given["fg_json"]}

    def _named_fg_json(self, pipeline: PipelineSpec, given: Mapping[str, str], digests: Mapping[str, str]) -> str:
        """Find the fg.json that an EasyRec config names, seen from the pipeline's folder; "" when it names none."""

        def make() -> dict[str, Any]:
            from tzrec_build.config.easyrec.facts import EasyRecFiles, fg_json_facts

            return fg_json_facts(EasyRecFiles(pipeline.folder, given["easyrec"], schema=given["schema"]))

        key = f"fg_json {given['easyrec']} {sorted(digests.items())}"
        places = self._kept(key, "tzrec_build.config.easyrec.facts", make)["places"]
        for place in places:
            path = _join(pipeline, place)
            self.files[path] = self._judge.digests.xxh(path) or b""  # it may appear later
            if self.files[path]:
                return str(place)
        if places:
            raise BuildError(
                f"{pipeline.source}: {given['easyrec']}: fg_json_path must name a file, got {places[0]!r}; "
                "put it there, or name it in [config] fg_json"
            )
        return ""

    def _digest(self, pipeline: PipelineSpec, key: str, text: str) -> str:
        path = _join(pipeline, text)
        xxh = self._judge.digests.xxh(path)
        if xxh is None:
            shown = os.path.relpath(path, self._root)
            raise BuildError(
                f"{pipeline.source}: [config] {key}: no such file {shown}; put it there or correct the path"
            )
        self.files[path] = xxh
        return xxh.hex()

    def _kept(self, key: str, module: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` gives, remembered under its key and the code of its module."""
        judge = self._judge
        key = f"{key} {sorted(judge.closure.digests(module).items())}"
        found = judge.state.facts(key)
        if found is None:
            found = make()
            judge.state.set_facts(key, found)
        return found


def _join(pipeline: PipelineSpec, text: str) -> str:
    return os.path.normpath(os.path.join(pipeline.folder, text))
