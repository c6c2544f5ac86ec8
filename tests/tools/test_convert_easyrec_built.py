"""Models built from converted configs, their layers counted again against the EasyRec text by a reader of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from torch import nn

from tests.tools.easyrec_texts import MODELS, config_text, convert_text
from tzrec_build.config.load import canonical_text, load_pipeline_config
from tzrec_build.models.registry import MODELS as BUILDABLE
from tzrec_build.testing.data_makers import write_data
from tzrec_build.tools.train import main
from tzrec_build.training.checkpoint_dir import list_checkpoints
from tzrec_build.training.pipeline import build_model, load_pipeline

TEXTS = {
    **MODELS,
    "ple": MODELS["ple"].replace("hidden_units: [7]", "hidden_units: [9, 4]"),
}  # experts end equally wide
NOT_BUILT = {"rocket_launching", "dat", "mind"}  # models that convert, and that no training can make yet


@dataclass(frozen=True)
class Layers:
    """What a person knows of a model of EasyRec.

    Attributes:
        copies: how often the layers of a block are there, 1 where it is not named.
        heads: widths of linear layers that no block names: outputs of tasks, gates, crosses.
        plain_end: blocks whose last layer is linear, without activation and normalisation.
    """

    copies: dict[str, int] = field(default_factory=dict)
    heads: tuple[int, ...] = (1,)
    plain_end: tuple[str, ...] = ()


ROWS = {
    "deepfm": Layers(),
    "wide_and_deep": Layers(),
    "multi_tower": Layers(),
    "multi_tower_din": Layers(plain_end=("din_towers",)),
    "dcn": Layers(heads=(1, *[1] * 5)),  # five crosses
    "dlrm": Layers(),
    "mmoe": Layers({"expert_dnn": 3}, (1, 1, 3, 3)),  # a gate over three experts for each of two tasks
    "ple": Layers({"task_expert_net": 2 * 3, "share_expert_net": 2}, (1, 1, 3 + 2, 3 + 2)),
    "dbmtl": Layers({"expert_dnn": 2}, (1, 1, 2, 2)),
    "simple_multi_task": Layers(heads=(1, 1)),
    "dssm": Layers(heads=(), plain_end=("user_tower", "item_tower")),
}
ACTIVATIONS = {"tf.nn.relu": "ReLU", "tf.nn.sigmoid": "Sigmoid"}


def read(text: str) -> dict:
    """EasyRec text as name -> list of values, each a text or such a table again."""
    words = iter(re.findall(r'"[^"]*"|[\w.+-]+|[{}\[\]]', text))

    def block() -> dict:
        found: dict = {}
        for name in words:
            if name == "}":
                break
            value = next(words)
            if value == "[":
                found.setdefault(name, []).extend(iter(lambda: next(words).strip('"'), "]"))
            else:
                found.setdefault(name, []).append(block() if value == "{" else value.strip('"'))
        return found

    return block()


def dnns(tree: dict, above: str = "") -> Iterator[tuple[str, str, dict]]:
    """Every block with hidden_units: the name of the block above it, its own, its values."""
    for name, values in tree.items():
        for value in values:
            if not isinstance(value, dict):
                continue
            if "hidden_units" in value and not (name == "relation_dnn" and "relation_tower_names" not in tree):
                yield above, name, value  # a relation_dnn is made for towers with relations only
            yield from dnns(value, name)


def wanted(name: str) -> tuple[Counter, Counter, int]:
    """Widths of linear layers, activations, and the number of normalised layers."""
    row = ROWS[name]
    widths, activations, normed = Counter(row.heads), Counter(), 0
    for above, block, values in dnns(read(TEXTS[name])):
        copies = row.copies.get(block, 1)
        units = [int(unit) for unit in values["hidden_units"]] * copies
        widths.update(units)
        active = len(units) - (above in row.plain_end)
        activations[ACTIVATIONS[values.get("activation", ["tf.nn.relu"])[0]]] += active
        normed += active * (values.get("use_bn", ["true"])[0] == "true")
    return widths, activations, normed


@pytest.fixture(scope="module", params=sorted(ROWS))
def converted(request, tmp_path_factory):
    """A model's name and the file of its converted config."""
    path = tmp_path_factory.mktemp(request.param) / "new.config"
    path.write_text(canonical_text(convert_text(config_text(TEXTS[request.param])).config))
    return request.param, path


def test_layers_activations_and_weights_are_those_of_the_easyrec_text(converted):
    name, path = converted
    model = build_model(load_pipeline(str(path)))
    layers = list(model.modules())
    widths, activations, normed = wanted(name)
    assert Counter(layer.out_features for layer in layers if isinstance(layer, nn.Linear)) == widths
    found = Counter(type(layer).__name__ for layer in layers)
    assert {kind: found[kind] for kind in ACTIVATIONS.values()} == {k: activations[k] for k in ACTIVATIONS.values()}
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in layers) == normed
    tasks = read(TEXTS[name]).get(name, [{}])[0].get("task_towers", [])
    weights = [float(task["weight"][0]) for task in tasks]
    assert [head.weights.task_weight for head in getattr(model, "heads", ()) if weights] == weights


def test_a_step_is_trained(converted):
    _, path = converted
    folder = path.parent
    write_data(load_pipeline_config(path), folder / "data", rows=32, eval_rows=32)
    flags = ["--pipeline_config_path", str(path), "--train_input_path", str(folder / "data/train.parquet")]
    flags += ["--eval_input_path", str(folder / "data/eval.parquet"), "--model_dir", str(folder / "model")]
    assert main(flags) == 0
    assert [checkpoint.step for checkpoint in list_checkpoints(folder / "model")] == [0]


def test_every_model_is_built_here_or_known_not_to_be():
    assert {*ROWS, *NOT_BUILT} == set(MODELS)
    assert not NOT_BUILT & set(BUILDABLE)
