"""Python of the user's own, through plain doit: what a script imports, a model outside of the package, wrong pipelines beside right ones."""

from __future__ import annotations

import pytest

from tests.tiny_pipeline import config_text, write_rows

STEPS = """
[step.clean]
command = ["python", "clean.py", "{outputs.text}"]
outputs = { text = "clean.txt" }
[step.module]
command = ["python", "-m", "words.tool", "{outputs.text}"]
outputs = { text = "m.txt" }
"""
FILES = {
    "clean.py": "import sys\nimport helpers\nopen(sys.argv[1], 'w').write(helpers.text())\n",
    "helpers.py": "from words import parts\n\ndef text():\n    return parts.WORD\n",
    "words/__init__.py": "",
    "words/parts.py": "WORD = 'a'\n",
    "words/tool.py": "import sys\nfrom . import parts\nopen(sys.argv[1], 'w').write(parts.WORD)\n",
    "unused.py": "X = 1\n",
}
CLEAN, MODULE = "step:p:clean", "step:p:module"
EDITS = {  # file, new text -> what runs
    "a module that both import": ("words/parts.py", "WORD = 'b'\n", {CLEAN, MODULE}),
    "a module that one imports": ("helpers.py", "from words.parts import WORD\n\ndef text():\n    return WORD\n", {CLEAN}),
    "the script": ("clean.py", FILES["clean.py"] + "print(1)\n", {CLEAN}),
    "the module": ("words/tool.py", FILES["words/tool.py"] + "print(1)\n", {MODULE}),
    "the init of a package": ("words/__init__.py", "VERSION = 2\n", {CLEAN, MODULE}),
    "a module that appears and hides another": ("sys2.py", "X = 1\n", set()),
    "a comment in a module": ("words/parts.py", "# why\nWORD = 'a'\n", set()),
    "a comment in the script": ("clean.py", '"""Cleans."""\n' + FILES["clean.py"], set()),
    "a module that nothing imports": ("unused.py", "X = 2\n", set()),
}  # fmt: skip


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    from tests.e2e.project import Project

    project = Project(tmp_path_factory.mktemp("users") / "project", "off")
    project.write("p/pipeline.toml", STEPS)
    for name, text in FILES.items():
        project.write(f"p/{name}", text)
    assert project.doit().ran == {CLEAN, MODULE}
    return project


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_a_users_module_reruns_exactly_the_steps_that_run_it(steps, edit):
    file, text, wanted = EDITS[edit]
    steps.write(f"p/{file}", text)
    done = steps.doit()
    assert done.ran == wanted, done.out
    assert done.counts["restored"] == 0
    if file in FILES:
        steps.write(f"p/{file}", FILES[file])
        assert steps.doit().ran == wanted


def test_the_reason_names_the_module(steps):
    steps.write("p/words/parts.py", "WORD = 'c'\n")
    done = steps.doit("info", CLEAN)
    steps.write("p/words/parts.py", FILES["words/parts.py"])
    assert "words/parts.py" in done.out


MINE = """
from layers import SHIFT
from tzrec_build.models.deepfm import DeepFM


class Mine(DeepFM):
    def predict(self, batch):
        return {name: value + SHIFT for name, value in super().predict(batch).items()}
"""


def test_a_model_outside_of_the_package_is_trained_evaluated_and_watched(project):
    project.write("x/x.config", config_text())
    project.write("x/models/mine.py", MINE)
    project.write("x/models/layers.py", "SHIFT = 0.0\n")
    text = (
        '[config]\npath = "x.config"\nmodel = "models/mine.py:Mine"\n[data]\ntrain = "t.parquet"\neval = "e.parquet"\n'
    )
    project.write("x/pipeline.toml", text)
    for seed, name in enumerate(("t", "e")):
        write_rows(project.path(f"x/{name}.parquet"), seed=seed)
    done = project.doit("evaluate:x")
    assert done.ran == {"config:x", "final_config:x", "train:x", "pick:x", "evaluate:x"}, done.out
    project.write("x/models/layers.py", "SHIFT = 0.0  # none\n")
    assert project.doit("evaluate:x").counts["up to date"] == 5
    project.write("x/models/layers.py", "SHIFT = 1.0\n")
    again = project.doit("evaluate:x")
    assert {"train:x", "evaluate:x"} <= again.ran, again.out
    assert not {"config:x", "final_config:x"} & again.ran


def test_a_wrong_pipeline_fails_and_the_others_are_built(project):
    project.write("bad/pipeline.toml", '[config]\npath = "nowhere.config"\n')
    project.write("good/pipeline.toml", STEPS.partition("[step.module]")[0].replace("clean.py", "../make.py"))
    project.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('x')\n")
    project.write("reads/pipeline.toml", '[step.s]\ncommand = ["cp", "{inputs.i}", "{out}"]\n'
                  'inputs = { i = "bad:train/version" }\noutputs = { o = "o" }\n')  # fmt: skip
    done = project.doit("-c")
    assert done.code != 0
    assert done.ran == {"step:good:clean"}
    assert "workspace/bad/pipeline.toml: [config] path: no such file workspace/bad/nowhere.config" in done.out
    assert "workspace/reads/pipeline.toml:3: reads train:bad, and pipeline 'bad' is wrong itself" in done.out


def test_a_file_with_a_mistake_fails_and_the_others_are_built_until_it_is_mended(project):
    project.write("bad/pipeline.toml", "[stepp.s]\n")
    project.write("good/pipeline.toml", STEPS.partition("[step.module]")[0].replace("clean.py", "../make.py"))
    project.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('x')\n")
    done = project.doit("-c")
    assert done.ran == {"step:good:clean"}
    assert done.counts["failed"] == 1
    assert "workspace/bad/pipeline.toml:1: unknown table [stepp]; did you mean 'step'?" in done.out
    assert project.doit("step:good:clean").code == 0
    project.write("bad/pipeline.toml", '[step.s]\ncommand = ["touch", "{outputs.o}"]\noutputs = { o = "o" }\n')
    assert project.doit().ran == {"step:bad:s"}
