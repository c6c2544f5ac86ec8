"""A damaged state file costs a restore or a rehash: nothing that is intact and cached is built again."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

CHAIN = """
[step.one]
command = ["sh", "-c", "tr a-z A-Z < $0 > $1", "{inputs.raw}", "{outputs.o}"]
inputs = { raw = "raw.txt" }
outputs = { o = "o" }
[step.two]
command = ["sh", "-c", "cat $0 $0 > $1", "{inputs.one}", "{outputs.o}"]
inputs = { one = "p:one/o" }
outputs = { o = "o" }
"""


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "project", str(tmp_path / "cache"))
    project.write("p/pipeline.toml", CHAIN)
    project.write("p/raw.txt", "a\n")
    assert project.doit().counts["built"] == 2
    return project


def cut(file, size):
    with open(file, "r+b") as opened:
        opened.truncate(size)


DAMAGES = {
    "junk": lambda state: (state / "state.db").write_bytes(b"junk" * 5000),
    "empty": lambda state: (state / "state.db").write_bytes(b""),
    "cut": lambda state: cut(state / "state.db", 5000),
    "gone": lambda state: (state / "state.db").unlink(),
    "junk in the log": lambda state: (state / "state.db-wal").write_bytes(b"junk" * 5000),
    "half a page lost": lambda state: (state / "state.db").write_bytes(
        (data := (state / "state.db").read_bytes())[:6000] + b"\0" * 2000 + data[8000:]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_built_again(project, damage):
    DAMAGES[damage](project.path(".state"))
    done = project.doit()
    assert (done.code, done.counts["built"], done.counts["failed"]) == (0, 0, 0), done.out
    assert project.path("p/build/two/o").read_text() == "A\nA\n"
    assert project.doit().counts["up to date"] == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_edited_output_is_not_called_up_to_date(project, damage):
    project.path("p/build/two/o").write_text("edited")
    DAMAGES[damage](project.path(".state"))
    assert project.doit().code == 0
    assert project.path("p/build/two/o").read_text() == "A\nA\n"


def test_a_wrong_pipeline_fails_alone(project):
    project.write("wrong/pipeline.toml", '[config]\npath = "no.config"\n')
    done = project.doit("-c")
    assert done.code == 1
    assert (done.counts["up to date"], done.counts["failed"]) == (2, 1)
    assert "workspace/wrong/pipeline.toml: [config] path: no such file workspace/wrong/no.config" in done.out
    assert project.doit("step:p:two").code == 0
    assert "pipeline:wrong" in project.doit("list", "--all").out
    project.write("wrong/pipeline.toml", '[step.s]\ncommand = ["touch", "{out}/o"]\noutputs = { o = "o" }\n')
    assert project.doit().ran == {"step:wrong:s"}
