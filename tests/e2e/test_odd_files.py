"""Files as nobody expects them: pipes, links, folders in the place of files, names in no encoding; and two builds at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

LIST = """
[step.list]
command = ["sh", "-c", "ls -R d > $0", "{outputs.o}"]
inputs = { d = "d" }
outputs = { o = "o.txt" }
"""


def test_a_pipe_among_the_inputs_is_an_error_and_not_waited_for(project):
    project.write("p/pipeline.toml", LIST)
    project.write("p/d/x", "1")
    os.mkfifo(project.path("p/d/pipe"))
    done = project.doit()
    assert (done.code, done.counts["failed"]) == (1, 1)
    assert (
        "/p/d/pipe: must be a regular file, got a pipe or a device; write its data into a file, or remove it"
        in done.out
    )


def test_a_file_that_becomes_a_folder_and_back_is_seen(project):
    project.write("p/pipeline.toml", LIST)
    project.write("p/d", "same")
    assert project.doit().ran == {"step:p:list"}
    project.path("p/d").unlink()
    project.write("p/d/d", "same")
    assert project.doit().ran == {"step:p:list"}
    assert project.doit().counts["up to date"] == 1
    project.path("p/d/d").unlink()
    project.path("p/d").rmdir()
    project.write("p/d", "same")
    assert project.doit().restored == {"step:p:list"}


def test_an_input_with_a_name_in_no_encoding_is_built_locked_and_traced(project):
    project.write("p/pipeline.toml", LIST)
    project.write("p/d/x", "1")
    odd = os.fsencode(project.path("p/d")) + b"/\xff"
    with open(odd, "w") as file:
        file.write("1")
    assert project.doit().ran == {"step:p:list"}
    assert project.doit("lock").code == 0
    locked = json.loads(project.path("inputs.lock").read_text())["files"]
    assert set(locked) == {"workspace/p/d/x", "workspace/p/d/\udcff"}
    with open(odd, "w") as file:
        file.write("2")
    done = project.doit("run", "--json-events", str(project.root / "events"))
    assert (done.code, done.ran) == (0, {"step:p:list"})
    assert project.doit().counts["up to date"] == 1


WAITING = """
[step.long]
command = ["sh", "-c", "touch started; read line < gate; touch $0", "{outputs.o}"]
outputs = { o = "o" }

[step.short]
command = ["sh", "-c", "echo x >> ran; touch $0", "{outputs.o}"]
outputs = { o = "o" }
"""


def test_what_another_build_made_in_the_meantime_is_not_made_again(project):
    project.cache = "off"
    project.write("p/pipeline.toml", WAITING)
    os.mkfifo(project.path("p/gate"))
    call = [sys.executable, "-m", "doit", "-n"]
    how = {
        "cwd": project.root,
        "env": project.env(),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }
    one = subprocess.Popen([*call, "1", "step:p:long"], **how)
    while not project.path("p/started").exists():
        assert one.poll() is None
    two = subprocess.Popen([*call, "1", "step:p:long", "step:p:short"], **how)
    assert two.stdout is not None
    for line in two.stdout:  # it waits for the first build, and has planned to make both
        if "waiting" in line:
            break
    assert project.doit("step:p:short").ran == {"step:p:short"}
    with open(project.path("p/gate"), "w") as gate:
        gate.write("go\n")
    rest = two.communicate()[0]
    one.communicate()
    assert one.returncode == 0
    assert "built = 0, restored = 0, up to date = 2, failed = 0" in rest
    assert project.path("p/ran").read_text() == "x\n"


def test_a_command_that_names_a_file_which_nothing_declares_is_not_run(project):
    pipeline = '[step.run]\ncommand = ["sh", "run.sh", "{outputs.o}"]\noutputs = { o = "o" }\n'
    project.write("p/pipeline.toml", pipeline)
    project.write("p/run.sh", "echo one > $1\n")
    done = project.doit()
    assert done.code == 1
    assert (
        "step:p:run: command names the file 'run.sh', which no input declares: an edit of it would rerun nothing; "
        "add NAME = 'run.sh' to inputs"
    ) in done.out
    project.write("p/pipeline.toml", pipeline + 'inputs = { script = "run.sh" }\n')
    assert project.doit().ran == {"step:p:run"}
    project.write("p/run.sh", "echo two > $1\n")
    assert project.doit().ran == {"step:p:run"}
    assert project.path("p/build/run/o").read_text() == "two\n"


def test_a_damaged_object_in_the_cache_is_told_and_built_again(project):
    project.write("p/pipeline.toml", LIST)
    project.write("p/d/x", "1")
    project.doit()
    (found,) = Path(project.cache).rglob("objects/*/*")
    found.chmod(0o644)
    found.write_text("D" * found.stat().st_size)
    shutil.rmtree(project.path("p/build"))
    done = project.doit()
    assert done.ran == {"step:p:list"}
    assert "step:p:list: cache entry is damaged, it is built again (" in done.out
    assert project.path("p/build/list/o.txt").read_text() == "d:\nx\n"


def test_what_is_built_is_what_is_restored_folders_without_files_too(project):
    command = '["sh", "-c", "mkdir -p $0/a/empty $0/b && touch $0/a/x", "{out}"]'
    project.write("p/pipeline.toml", f'[step.make]\ncommand = {command}\noutputs = {{ x = "a/x" }}\n')
    listings = []
    for _ in range(2):
        done = project.doit()
        assert done.code == 0, done.out
        made = project.path("p/build/make")
        listings.append({str(path.relative_to(made)) for path in made.rglob("*")} - {"records", "records/log"})
        shutil.rmtree(project.path("p/build"))
    assert listings == [{"a", "a/x"}, {"a", "a/x"}]
