"""``doit audit``, through plain doit: what a command reads and nothing declares, opened by Python and by others."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

PIPELINE = """
[step.honest]
command = ["python", "{inputs.script}", "{inputs.raw}", "{outputs.text}"]
inputs = { script = "copy.py", raw = "raw.txt" }
outputs = { text = "honest.txt" }

[step.sly]
command = ["python", "{inputs.script}", "{outputs.text}"]
inputs = { script = "sly.py" }
outputs = { text = "sly.txt" }

[step.shell]
command = ["sh", "-c", "cd sub && cat ../secret.txt ../$0 > ../$1", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "../raw.txt" }
outputs = { text = "deep/shell.txt" }

[step.program]
command = ["sh", "-c", "./tool.sh > $0", "{outputs.text}"]
outputs = { text = "program.txt" }

[step.failing]
command = ["sh", "-c", "echo no luck; exit 3"]
outputs = { text = "never.txt" }
"""
COPY = "import sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read())\n"
SLY = """
import sys
helper = __import__("hel" + "per")  # a name put together: the closure of the script cannot follow it
open(sys.argv[1], "w").write(open("secret.txt").read() + helper.TEXT)
"""
strace = pytest.mark.skipif(
    shutil.which("strace") is None
    or subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0,
    reason="strace is missing or may not trace here",
)


@pytest.fixture
def here(project):
    project.write("here/pipeline.toml", PIPELINE)
    project.write("here/copy.py", COPY)
    project.write("here/sly.py", SLY)
    project.write("here/helper.py", "TEXT = 'x'\n")
    project.write("here/raw.txt", "raw\n")
    project.write("here/secret.txt", "secret\n")
    project.write("here/sub/note.txt", "")
    project.write("raw.txt", "raw\n")
    project.write("here/tool.sh", "#!/bin/sh\necho made\n").chmod(0o755)
    return project


TRACERS = [pytest.param([], marks=strace, id="strace"), pytest.param(["--python_only"], id="python")]


@pytest.mark.parametrize("tracer", TRACERS)
def test_a_step_that_declares_everything_passes(here, tracer):
    done = here.doit("audit", *tracer, "step:here:honest")
    assert done.code == 0, done.out
    assert done.out == "step:here:honest: each of the 2 files that it opened here is declared\n"


@pytest.mark.parametrize("tracer", TRACERS)
def test_files_that_python_opens_are_found_modules_from_bytecode_too(here, tracer):
    remedy = "name it in `inputs` of [step.sly]: NAME = "
    for _ in range(2):  # the second time, helper comes from its bytecode
        done = here.doit("audit", *tracer, "step:here:sly")
        assert done.code == 1
        assert done.out.splitlines() == [
            "step:here:sly: opened 2 files that nothing declares",
            f"  workspace/here/helper.py: {remedy}'helper.py'",
            f"  workspace/here/secret.txt: {remedy}'secret.txt'",
        ]


@strace
def test_files_that_other_programs_open_are_found_from_wherever_they_work(here):
    done = here.doit("audit", "--json", "step:here:shell")
    assert done.code == 1
    (found,) = json.loads(done.out)
    assert found["undeclared"] == [str(here.path("here/secret.txt"))]


@strace
def test_a_program_that_is_run_is_a_file_that_is_read(here):
    done = here.doit("audit", "step:here:program")
    assert "  workspace/here/tool.sh: name it in `inputs` of [step.program]: NAME = 'tool.sh'\n" in done.out
    assert done.code == 1


@pytest.mark.parametrize("tracer", TRACERS)
def test_artifact_record_and_cache_stay_as_they_are(here, tracer):
    here.doit("step:here:sly", "step:here:honest")
    before = here.doit("list", "--all", "--status").out
    here.write("here/secret.txt", "changed\n")
    here.doit("audit", *tracer, "step:here:sly", "step:here:honest")
    assert here.path("here/build/sly/sly.txt").read_text() == "secret\nx"
    assert here.doit("list", "--all", "--status").out == before
    assert not here.path("here/build/.work/.audit").exists()


def test_a_command_that_fails_is_an_error_and_the_next_is_audited(here):
    done = here.doit("audit", "step:here:failing", "step:here:honest")
    assert done.code == 1
    assert "! step:here:failing: failed with exit code 3; the end of its log (" in done.out
    assert "    no luck\n" in done.out
    assert "step:here:honest: each of the 2 files that it opened here is declared\n" in done.out
    assert "Traceback" not in done.out


def test_an_input_that_is_missing_is_an_error(here):
    here.path("here/raw.txt").unlink()
    done = here.doit("audit", "step:here:honest")
    assert done.code == 1
    assert "! step:here:honest: step:here:honest: input raw: nothing at raw.txt" not in done.out
    assert "! step:here:honest: input raw: nothing at raw.txt" in done.out


def test_names_are_needed_and_checked(here):
    done = here.doit("audit")
    assert (done.code, done.out) == (
        3,
        "ERROR: doit audit: needs a task or a pipeline; `doit list --all` shows them\n",
    )
    assert "did you mean 'step:here:sly'" in here.doit("audit", "step:here:slyy").out
