"""``doit graph`` through the real doit: states, suffixes, what cannot be drawn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

SVG = "{http://www.w3.org/2000/svg}"
CHAIN = """
[step.first]
command = ["cp", "{inputs.raw}", "{outputs.a}"]
inputs = { raw = "raw.txt" }
outputs = { a = "a.txt" }
[step.second]
command = ["sh", "-c", "test -e ../../broken && exit 1; cp build/first/a.txt $0", "{outputs.b}"]
inputs = { a = "p:first/a.txt" }
outputs = { b = "b.txt" }
"""
DAILY = """
[each]
ds = "20260101..20260104"
[step.copy]
command = ["cp", "{inputs.raw}", "{outputs.a}"]
inputs = { raw = "raw.txt" }
outputs = { a = "a.txt" }
"""


@pytest.fixture
def chain(project):
    project.write("p/pipeline.toml", CHAIN.replace("../../broken", str(project.root / "broken")))
    project.write("p/raw.txt", "1\n")
    return project


def tooltips(project, *args: str) -> dict[str, str]:
    done = project.doit("graph", "-o", "g.svg", *args)
    assert done.code == 0, done.out
    titles = [title.text for title in ET.parse(project.root / "g.svg").getroot().iter(f"{SVG}title")]
    return {name: rest for name, _, rest in (title.partition(": ") for title in titles[1:])}


def test_the_states_of_a_build_are_shown_one_after_the_other(chain):
    assert tooltips(chain)["step:p:first"].startswith("to be built; never built here")
    assert chain.doit().code == 0
    assert tooltips(chain) == {"step:p:first": "up to date", "step:p:second": "up to date"}
    chain.path("p/build/first/a.txt").unlink()
    assert tooltips(chain)["step:p:first"].startswith("to be restored from the cache; ")
    assert chain.doit().code == 0
    (chain.root / "broken").touch()
    chain.write("p/raw.txt", "2\n")
    assert chain.doit().code != 0
    shown = tooltips(chain)
    assert shown["step:p:first"] == "up to date"
    assert shown["step:p:second"].startswith("failed; step:p:second: ")


def test_plain_has_no_states_and_looks_at_nothing(chain):
    assert tooltips(chain, "--plain") == {"step:p:first": "", "step:p:second": ""}


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-")])
def test_pixels_and_pages_are_drawn(chain, suffix, magic):
    done = chain.doit("graph", "-o", f"g.{suffix}")
    assert done.out == f"g.{suffix}: 2 tasks\n"
    assert (chain.root / f"g.{suffix}").read_bytes().startswith(magic)


def test_instances_are_one_row_unless_expanded(project):
    project.write("d/pipeline.toml", DAILY)
    project.write("d/raw.txt", "1\n")
    assert project.doit("graph", "-o", "g.mmd").out == "g.mmd: 4 tasks in 1 boxes (--expand draws each)\n"
    assert "copy \u00d74" in (project.root / "g.mmd").read_text()
    assert project.doit("graph", "-o", "g.dot", "--expand").out == "g.dot: 4 tasks\n"
    assert (
        len(re.findall(r'^    "step:d:ds@2026010\d:copy" \[', (project.root / "g.dot").read_text(), re.MULTILINE)) == 4
    )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("g.gif", "--output: must end in one of .svg, .dot, .mmd, .png, .pdf, got 'g.gif'"),
        ("no/such/g.svg", "no/such/g.svg: cannot be written (no such folder); name another file"),
        ("/proc/g.svg", "/proc/g.svg: cannot be written ("),
        ("no/such/g.png", "no/such/g.png: cannot be written (no such folder); name another file"),
    ],
)
def test_a_picture_that_cannot_be_written_is_a_clear_error(chain, output, message):
    done = chain.doit("graph", "-o", output)
    assert done.code != 0
    assert message in done.out
    assert "Traceback" not in done.out


def test_a_task_that_another_build_makes_now_is_shown_as_running(project):
    pipe = project.root / "go_on"
    os.mkfifo(pipe)
    command = f'["sh", "-c", "cat {pipe} > $0", "{{outputs.a}}"]'
    project.write("p/pipeline.toml", f'[step.slow]\ncommand = {command}\noutputs = {{ a = "a.txt" }}\n')
    doit = subprocess.Popen(
        [sys.executable, "-m", "doit"],
        cwd=project.root,
        env=project.env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    with pipe.open("w") as writing:  # opens only when the command reads
        shown = tooltips(project)
        writing.write("x")
    assert shown["step:p:slow"].startswith(f"being built now; process {doit.pid} on ")
    assert doit.wait() == 0
    assert tooltips(project) == {"step:p:slow": "up to date"}
