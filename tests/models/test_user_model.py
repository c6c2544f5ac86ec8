"""A model class of the user's own."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.model_makers import pipeline, sparse
from tzrec_build.errors import ConfigError
from tzrec_build.models.multi_tower import MultiTower
from tzrec_build.models.registry import create_model
from tzrec_build.models.user_model import load_user_model

CONFIG = """
feature_groups { group_name: "all" group_type: DEEP feature_names: "u" }
multi_tower { towers { input: "all" mlp { hidden_units: 2 } } final { hidden_units: 2 } }
losses { binary_cross_entropy {} } metrics { auc {} }
"""
MINE = """
from layers import SCALE
from tzrec_build.models.multi_tower import MultiTower


class Mine(MultiTower):
    scale = SCALE


class Other:
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "layers.py").write_text("SCALE = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("layers", "tzrec_user_mine"):
        sys.modules.pop(name, None)


def test_it_takes_the_place_of_the_configs_model_and_imports_what_lies_beside_it(folder):
    model = create_model(pipeline(CONFIG), [sparse("u")], "mine.py:Mine")
    assert type(model).__name__ == "Mine"
    assert model.scale == 3
    own = create_model(pipeline(CONFIG), [sparse("u")])
    assert type(own) is MultiTower
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in own.state_dict().items()
    }
    assert isinstance(model, torch.nn.Module)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope.py:Mine", "--model_class: must be FILE.py:CLASS with a file that exists, got 'nope.py:Mine'; correct it"),
        ("mine.py", "--model_class: must be FILE.py:CLASS with a file that exists, got 'mine.py'; correct it"),
        ("mine.py:Mien", "mine.py: has no class 'Mien'; did you mean 'Mine'?"),
        (
            "mine.py:Other",
            "mine.py: Other must be a class on RankModel, MultiTaskModel, MatchModel or one of the models made of them",
        ),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(folder, text, message):
    with pytest.raises(ConfigError) as caught:
        load_user_model(text)
    assert str(caught.value) == message


def test_a_file_that_cannot_be_imported_names_the_line(folder):
    (folder / "layers.py").write_text("x = 1\nSCALE = x / 0\n")
    with pytest.raises(ConfigError, match=r"layers\.py:2: ZeroDivisionError: .*mine\.py is imported as a model"):
        load_user_model("mine.py:Mine")
