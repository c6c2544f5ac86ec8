"""Which Python of the user's own a command starts."""

from __future__ import annotations

import pytest

from tzrec_build.graph.scripts import started_code
from tzrec_build.graph.spec import Input

INPUTS = [
    Input("script", ("../lib/clean.py",)),
    Input("bare", ("clean",)),
    Input("made", ("../p/build/s/x.py",), made=frozenset({"../p/build/s/x.py"})),
    Input("many", ("a.py", "b.py")),
    Input("glob", ("*.py",)),
]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("python clean.py --x", ("clean.py",)),
        ("python clean", ("./clean",)),
        ("/usr/bin/python3.12 -X dev -W error -u clean.py", ("clean.py",)),
        ("python -m a.b x.py", ("a.b",)),
        ("python {inputs.script} {out}", ("../lib/clean.py",)),
        ("python {inputs.bare}", ("./clean",)),
        ("python {inputs.made}", ()),
        ("python {inputs.many}", ()),
        ("python {inputs.glob}", ()),
        ("python {params.x}", ()),
        ("python -m {params.x}", ()),
        ("python -c pass", ()),
        ("python -cpass", ()),
        ("python", ()),
        ("python -m", ()),
        ("pythonic clean.py", ()),
        ("sh clean.py", ()),
    ],
)
def test_script_or_module(command, code):
    assert started_code(command.split(), INPUTS) == code
