"""Variables of TorchEasyRec that nothing here obeys."""

from __future__ import annotations

import pytest

from tzrec_build.config.variables import REFUSED, check_variables
from tzrec_build.errors import NotSupportedError


@pytest.mark.parametrize("name", REFUSED)
def test_a_variable_that_would_be_ignored_is_refused_by_name(name):
    with pytest.raises(NotSupportedError, match=f"environment variable {name}; unset it"):
        check_variables({name: "true"})


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_variable_that_is_off_is_fine(value):
    check_variables(dict.fromkeys(REFUSED, value))
