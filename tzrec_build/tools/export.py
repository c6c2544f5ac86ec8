"""Exports a checkpoint for serving: the prediction graph as TorchScript, with config, fg.json and assets beside it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tzrec_build.errors import ConfigError
from tzrec_build.files import write_bytes, write_json, write_text
from tzrec_build.tools.entry import run_tool
from tzrec_build.training.specs import ModelSpec, add_model_flags, heavy_imports, leave, model_spec

if TYPE_CHECKING:
    from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
    from tzrec_build.training.pipeline import LoadedModel

# TorchEasyRec's list of what the serving side must know: ids are int64, tables are not quantised
MODEL_ACC = {"SPARSE_INT64": "1", "QUANT_EMB": "0"}


@dataclass(frozen=True, slots=True)
class Spec:
    """What to export.

    Args:
        model: config and checkpoint; exported on the CPU, serving moves it.
        export_dir: folder to make; must be absent or empty.
    """

    model: ModelSpec
    export_dir: Path


def export(spec: Spec) -> list[Path]:
    """Export a model; the folder appears whole or not at all.

    Returns:
        Folders written: the export folder, or one for each tower of a match model.
    Raises:
        ConfigError: the folder is in use.
        NotSupportedError: the model cannot be scripted, or the result does not predict the same.
    """
    target = spec.export_dir
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"--export_dir: {target} is in use; name a new folder")
    with heavy_imports():
        from tzrec_build.models.match import TOWERS, MatchModel
        from tzrec_build.training.pipeline import load_model

    loaded = load_model(replace(spec.model, compute=replace(spec.model.compute, device="cpu")))
    towers = TOWERS if isinstance(loaded.wrapper.model, MatchModel) else ("",)
    work = target.with_name(f".{target.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    for tower in towers:
        _export_one(loaded, tower, work / tower)
    if target.exists():
        target.rmdir()
    os.replace(work, target)
    return [target / tower for tower in towers]


def _export_one(loaded: LoadedModel, tower: str, folder: Path) -> None:
    from tzrec_build.config.load import save_pipeline_config
    from tzrec_build.features.fg import copy_assets, fg_json
    from tzrec_build.training.prediction import output_function, tower_features
    from tzrec_build.training.serving import ServingModel, script

    pipeline, model = loaded.pipeline, loaded.wrapper.model
    features = tower_features(pipeline, tower)
    what = f"{pipeline.config.model_config.WhichOneof('model')}{f' {tower} tower' if tower else ''}"
    scripted = script(ServingModel(model, output_function(model, tower), features).eval(), what)
    write_bytes(folder / "scripted_model.pt", scripted.archive)
    write_text(folder / "gm.code", scripted.code)
    config = _with_assets(pipeline.config, copy_assets(features, folder))
    save_pipeline_config(config, folder / "pipeline.config")
    write_text(folder / "fg.json", json.dumps(fg_json(features), indent=4))
    write_json(folder / "model_acc.json", MODEL_ACC)


def _with_assets(config: EasyRecConfig, names: Mapping[tuple[str, str], str]) -> EasyRecConfig:
    """The config with vocabularies named as their copies, which lie in its own folder."""
    from tzrec_build.config.walk import walk_messages

    exported = type(config)()
    exported.CopyFrom(config)
    for _, message in list(walk_messages(exported)):
        name = names.get((getattr(message, "asset_dir", ""), getattr(message, "vocab_file", "")))
        if name is not None:
            message.asset_dir, message.vocab_file = ".", name
    return exported


def _run(args: argparse.Namespace) -> None:
    for folder in export(Spec(model_spec(args), Path(args.export_dir))):
        print(f"exported {folder}")


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser("tzrec-build export", description=__doc__)
    add_model_flags(parser)
    parser.add_argument("--export_dir", required=True, help="folder to make")
    parser.add_argument("--mode", choices=("script",), default="script", help="form of the graph")
    return run_tool(parser, _run, argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
