"""Writes workspaces from texts, for the tests of their loading."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping

import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.graph.grammar import PipelineSpec, Workspace
from tzrec_build.graph.workspace import load_workspace

Texts = Mapping[str, str]  # folder -> pipeline.toml; "" -> workspace.toml
NO_ENV: Mapping[str, str] = {}


def write_workspace(root: str | os.PathLike[str], texts: Texts) -> str:
    for name, text in texts.items():
        folder = os.path.join(root, "workspace", name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "pipeline.toml" if name else "workspace.toml"), "w", encoding="utf-8") as out:
            out.write(textwrap.dedent(text).lstrip("\n"))
    return str(root)


def load(root: str | os.PathLike[str], texts: Texts, env: Mapping[str, str] = NO_ENV) -> Workspace:
    return load_workspace(write_workspace(root, texts), env)


def load_one(root: str | os.PathLike[str], text: str, env: Mapping[str, str] = NO_ENV) -> PipelineSpec:
    (pipeline,) = load(root, {"x": text}, env).pipelines
    return pipeline


def refusal(
    root: str | os.PathLike[str], texts: Texts, kind: type[ConfigError] = ConfigError, env: Mapping[str, str] = NO_ENV
) -> list[str]:
    """Load what must be refused; give the lines of the message."""
    with pytest.raises(ConfigError) as caught:
        load(root, texts, env)
    assert type(caught.value) is kind
    return str(caught.value).split("\n")
