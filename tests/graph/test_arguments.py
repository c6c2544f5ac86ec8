"""Commands with placeholders, expanded by hand."""

from __future__ import annotations

import pytest

from tzrec_build.errors import ConfigError
from tzrec_build.graph.arguments import expand_command


def test_a_command_becomes_a_list_of_arguments():
    values = {"inputs.a": ["x y", "z"], "outputs.o": ["out"], "threads": ["2"], "params.p": ["{inputs.a}"]}
    command = ("c", "{inputs.a}", "--in={inputs.a}", "-o{outputs.o}", "{threads}", "{params.p}", "{{threads}}", "{ a }")
    expected = ["c", "x y", "z", "--in=x y,z", "-oout", "2", "{inputs.a}", "{threads}", "{ a }"]
    assert expand_command(command, values, "there") == expected


def test_a_command_with_an_unknown_placeholder():
    with pytest.raises(ConfigError) as caught:
        expand_command(["{input.a}"], {"inputs.a": []}, "FILE:3")
    assert str(caught.value) == "FILE:3: unknown placeholder {input.a}; did you mean 'inputs.a'?"
