"""The names that configs must not give to modules are those that torch keeps."""

from __future__ import annotations

import pytest
from torch import nn

from tzrec_build.config.lint_names import TORCH_NAMES


def test_the_names_are_the_public_attributes_of_a_module_dict():
    found = nn.ModuleDict()
    assert {name for name in {*dir(found), *vars(found)} if not name.startswith("_")} == TORCH_NAMES


@pytest.mark.parametrize("name", sorted(TORCH_NAMES))
def test_torch_refuses_each(name):
    with pytest.raises(KeyError, match="already exists"):
        nn.ModuleDict({name: nn.Identity()})
