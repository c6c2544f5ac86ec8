"""The engine on cheap user steps, through plain doit: what reruns, what is restored, what stays, what an error says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# raw -> upper -> double -> end ; side hangs off raw alone
CHAIN = """
[step.upper]
command = ["python", "{inputs.script}", "{inputs.raw}", "{outputs.text}", "{params.suffix}"]
inputs = { script = "upper.py", raw = "raw.txt" }
outputs = { text = "upper.txt" }
params = { suffix = "!" }

[step.double]
command = ["sh", "-c", "cat $0 $0 > $1", "{inputs.text}", "{outputs.text}"]
inputs = { text = "chain:upper/upper.txt" }
outputs = { text = "double.txt" }

[step.side]
command = ["cp", "{inputs.raw}", "{outputs.text}"]
inputs = { raw = "raw.txt" }
outputs = { text = "side.txt" }
"""
UPPER = """
import sys
raw, out, suffix = sys.argv[1:]
text = open(raw).read().strip().upper()
open(out, "w").write(text + suffix + "\\n")
"""
ALL = {"step:chain:upper", "step:chain:double", "step:chain:side"}


@pytest.fixture
def chain(project):
    project.write("chain/pipeline.toml", CHAIN)
    project.write("chain/upper.py", UPPER)
    project.write("chain/raw.txt", "hello\n")
    return project


def read(project, path: str) -> str:
    return project.path(f"chain/build/{path}").read_text()


def test_first_build_makes_everything_and_the_second_nothing(chain):
    first = chain.doit()
    assert first.code == 0, first.out
    assert first.ran == ALL
    assert read(chain, "double/double.txt") == "HELLO!\nHELLO!\n"
    second = chain.doit()
    assert second.counts == {"built": 0, "restored": 0, "up to date": 3, "failed": 0}


EDITS = {
    "input content": (lambda p: p.write("chain/raw.txt", "bye\n"), ALL),
    "script": (lambda p: p.write("chain/upper.py", UPPER.replace("upper()", "title()")), ALL - {"step:chain:side"}),
    "script with equal result": (
        lambda p: p.write("chain/upper.py", UPPER + "# a comment\n"),
        {"step:chain:upper"},
    ),
    "parameter": (
        lambda p: p.write("chain/pipeline.toml", CHAIN.replace('suffix = "!"', 'suffix = "?"')),
        ALL - {"step:chain:side"},
    ),
    "command": (
        lambda p: p.write("chain/pipeline.toml", CHAIN.replace("cat $0 $0", "cat $0 $0 $0")),
        {"step:chain:double"},
    ),
    "comment in pipeline.toml": (lambda p: p.write("chain/pipeline.toml", "# note\n" + CHAIN), set()),
    "touch": (lambda p: os.utime(p.path("chain/raw.txt")), set()),
    "same bytes written again": (lambda p: p.write("chain/raw.txt", "hello\n"), set()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_exactly_what_it_made_stale(chain, edit):
    change, expected = EDITS[edit]
    chain.doit()
    change(chain)
    again = chain.doit()
    assert again.code == 0, again.out
    assert again.ran == expected
    assert again.restored == set()


def test_same_size_edit_with_its_time_stamp_put_back_is_seen(chain):
    raw = chain.path("chain/raw.txt")
    chain.doit()
    stat = raw.stat()
    raw.write_text("jello\n")
    os.utime(raw, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert chain.doit().ran == ALL


def _junk(project) -> None:
    project.path("chain/build/upper/upper.txt").write_text("junk\n")


def _cut(project) -> None:
    os.truncate(project.path("chain/build/upper/upper.txt"), 2)


def _add(project) -> None:
    project.path("chain/build/upper/more.txt").write_text("more\n")


def _delete(project) -> None:
    shutil.rmtree(project.path("chain/build/upper"))


@pytest.mark.parametrize("damage", [_junk, _cut, _add, _delete])
def test_a_damaged_output_is_restored_and_nothing_else_moves(chain, damage):
    chain.doit()
    damage(chain)
    again = chain.doit()
    assert again.restored == {"step:chain:upper"}
    assert again.ran == set()
    assert os.listdir(chain.path("chain/build/upper")) == ["upper.txt"] or sorted(
        os.listdir(chain.path("chain/build/upper"))
    ) == ["records", "upper.txt"]
    assert read(chain, "upper/upper.txt") == "HELLO!\n"


@pytest.mark.parametrize("damage", [_junk, _delete])
def test_without_a_cache_a_damaged_output_is_built_again(chain, damage):
    chain.cache = "off"
    chain.doit()
    damage(chain)
    again = chain.doit()
    assert again.ran == {"step:chain:upper"}
    assert again.counts["restored"] == 0


def test_going_back_to_an_earlier_input_restores(chain):
    chain.doit()
    chain.write("chain/raw.txt", "bye\n")
    chain.doit()
    chain.write("chain/raw.txt", "hello\n")
    again = chain.doit()
    assert again.ran == set()
    assert again.restored == ALL
    assert read(chain, "double/double.txt") == "HELLO!\nHELLO!\n"


def test_another_checkout_with_the_same_cache_runs_nothing(chain, tmp_path):
    chain.doit()
    other = type(chain)(tmp_path / "else" / "where", chain.cache)
    for name in ("pipeline.toml", "upper.py", "raw.txt"):
        other.write(f"chain/{name}", chain.path(f"chain/{name}").read_text())
    done = other.doit()
    assert done.ran == set()
    assert done.restored == ALL


def test_always_execute_runs_whatever_record_and_cache_say(chain):
    chain.doit()
    assert chain.doit("-a").ran == ALL


def test_forget_restores_instead_of_building(chain):
    chain.doit()
    assert chain.doit("forget", "--all").code == 0
    assert chain.doit().restored == ALL


def test_clean_removes_the_artifacts(chain):
    chain.doit()
    assert chain.doit("clean").code == 0
    assert not chain.path("chain/build/upper").exists()
    assert chain.path("chain/raw.txt").exists()


def test_ignore_leaves_a_task_alone_until_forgotten(chain):
    chain.doit()
    chain.doit("ignore", "step:chain:side")
    chain.write("chain/raw.txt", "bye\n")
    assert "step:chain:side" not in chain.doit().ran
    chain.doit("forget", "step:chain:side")
    assert "step:chain:side" in chain.doit().ran


def test_one_task_and_what_it_needs(chain):
    assert chain.doit("step:chain:double").ran == {"step:chain:upper", "step:chain:double"}


def test_list_shows_groups_and_status(chain):
    chain.doit("step:chain:upper")
    listed = chain.doit("list", "--all", "--status").out
    assert "U step:chain:upper" in listed
    assert "R step:chain:double" in listed
    assert "R step " in listed


def test_info_shows_the_command_and_the_reason(chain):
    chain.doit()
    chain.path("chain/raw.txt").write_text("bye\n")
    shown = chain.doit("info", "step:chain:upper")
    assert shown.code == 1
    assert "    - input raw.txt: line 1 changed" in shown.out
    assert "build/upper/upper.txt" in shown.out


def test_works_from_a_sub_folder_and_with_f(chain):
    assert chain.doit("-f", "../dodo.py", cwd=chain.path("")).ran == ALL
    assert chain.doit("-k", cwd=chain.path("chain")).counts["up to date"] == 3


def test_a_failed_task_keeps_the_good_state_of_others_and_its_own_artifact(chain):
    chain.doit()
    chain.write("chain/upper.py", "import sys\nprint('out of ideas')\nsys.exit(5)\n")
    failed = chain.doit("--continue")
    assert failed.code != 0
    assert "step:chain:upper: failed with exit code 5" in failed.out
    assert "out of ideas" in failed.out
    assert "- step:chain:double  not built: a task that it needs failed" in failed.out
    assert read(chain, "upper/upper.txt") == "HELLO!\n"
    chain.write("chain/upper.py", UPPER)
    assert chain.doit().counts == {"built": 0, "restored": 0, "up to date": 3, "failed": 0}


def test_an_input_that_changes_while_it_is_read_fails_the_task_and_names_it(chain):
    chain.write("chain/upper.py", UPPER + "open(raw, 'a').write('late\\n')\n")
    failed = chain.doit("step:chain:upper")
    assert failed.code == 1
    assert "changed while it ran: inputs raw" in failed.out
    assert not chain.path("chain/build/upper").exists()


def test_a_missing_input_names_the_path_and_the_file_that_asks_for_it(chain):
    chain.path("chain/raw.txt").unlink()
    failed = chain.doit("step:chain:side")
    assert failed.code == 1
    assert "step:chain:side: input raw: nothing at raw.txt (named in workspace/chain/pipeline.toml)" in failed.out
    assert "Traceback" not in failed.out


def test_an_output_that_was_not_made_fails(chain):
    chain.write("chain/pipeline.toml", CHAIN.replace('"cp", "{inputs.raw}", "{outputs.text}"', '"true"'))
    failed = chain.doit("step:chain:side")
    assert failed.code == 1
    assert "made no 'side.txt'" in failed.out


def test_a_wrong_key_is_one_message_with_line_and_nearest_key(chain):
    chain.write("chain/pipeline.toml", CHAIN.replace("params =", "param ="))
    failed = chain.doit()
    assert failed.code != 0
    assert "workspace/chain/pipeline.toml:6" in failed.out
    assert "'param'" in failed.out
    assert "did you mean 'params'" in failed.out
    assert "Traceback" not in failed.out


def test_declared_variables_are_passed_and_count_and_others_are_not_seen(project):
    project.write(
        "env/pipeline.toml",
        """
[step.show]
command = ["sh", "-c", "echo ${SEEN-none} ${HIDDEN-none} > $0", "{outputs.text}"]
outputs = { text = "show.txt" }
env = ["SEEN"]
""",
    )
    project.doit(SEEN="one", HIDDEN="x")
    assert project.path("env/build/show/show.txt").read_text() == "one none\n"
    assert project.doit(SEEN="one", HIDDEN="y").ran == set()
    assert project.doit(SEEN="two").ran == {"step:env:show"}


def test_a_damaged_state_file_costs_a_restore_not_a_rebuild(chain):
    chain.doit()
    state = chain.path(".state/state.db")
    for path in state.parent.glob("state.db*"):
        path.unlink()
    state.write_bytes(b"not a database" * 1000)
    again = chain.doit()
    assert again.code == 0, again.out
    assert again.restored == ALL
    assert "damaged" in again.out


def test_records_of_a_killed_build_stay(chain):
    """kill -9 in the middle of the second task: the first one is not made again."""
    chain.write(
        "chain/pipeline.toml",
        CHAIN.replace("cat $0 $0 > $1", "touch ../started; sleep 60; cat $0 $0 > $1"),
    )
    build = subprocess.Popen(
        [sys.executable, "-m", "doit", "-n", "1", "step:chain:double"],
        cwd=chain.root,
        env=chain.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = chain.path("started")
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    build.send_signal(signal.SIGKILL)
    build.wait()
    chain.write("chain/pipeline.toml", CHAIN)
    again = chain.doit("step:chain:double")
    assert again.ran == {"step:chain:double"}
    assert read(chain, "double/double.txt") == "HELLO!\nHELLO!\n"


def ended(group: int) -> bool:
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_build_and_its_children(project, signum):
    project.write(
        "slow/pipeline.toml",
        """
[step.sleep]
command = ["sh", "-c", "echo $$ > ../pid; sleep 300 & sleep 300; touch $0", "{outputs.text}"]
outputs = { text = "never" }
""",
    )
    build = subprocess.Popen(
        [sys.executable, "-m", "doit"],
        cwd=project.root,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid_file = project.path("pid")
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    build.send_signal(signum)
    assert build.wait(20) != 0
    group = int(pid_file.read_text())
    assert ended(group)
    assert not project.path("slow/build/sleep").exists()


def test_doit_imports_nothing_heavy(chain):
    code = """
import sys, json
sys.argv = ["doit"]
from doit.doit_cmd import DoitMain
code = DoitMain().run([])
heavy = sorted({"torch", "torchrec", "faiss", "pandas", "matplotlib", "pyarrow"} & set(sys.modules))
print(json.dumps([code, heavy]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=chain.root, env=chain.env(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.strip().splitlines()[-1]) == [0, []]


def test_records_of_a_step_are_kept_and_do_not_count(chain):
    chain.doit()
    log = chain.path("chain/build/upper/records/log")
    assert log.is_file()
    log.write_text("scribble\n")
    assert chain.doit().counts["up to date"] == 3
    assert Path(log).read_text() == "scribble\n"


JOIN = """
[step.join]
command = ["python", "{{inputs.script}}", "{{outputs.text}}", "{{threads}}", "{{params.v}}", "{{inputs.parts}}"]
inputs = {{ script = "join.py", parts = {parts} }}
outputs = {{ text = "{text}" }}
params = {{ v = {v} }}
threads = {threads}
env = ["MAYBE"]
"""
JOIN_SCRIPT = """
import os, sys
out, threads, v, *parts = sys.argv[1:]
text = "".join(open(p).read().strip() for p in parts if os.path.isfile(p)) + threads + v + os.environ.get("MAYBE", "unset")
open(out, "w").write(text)
"""
PLAIN = {"parts": '["a.txt", "b.txt"]', "text": "joined.txt", "v": "1", "threads": "1"}


@pytest.fixture
def join(project):
    project.write("join/pipeline.toml", JOIN.format(**PLAIN))
    project.write("join/join.py", JOIN_SCRIPT)
    for name in ("a", "b"):
        project.write(f"join/{name}.txt", name)
    assert project.doit().ran == {"step:join:join"}
    return project


def rewritten(**changes: str):
    return lambda p: p.write("join/pipeline.toml", JOIN.format(**{**PLAIN, **changes}))


HOLES = {  # edits that once went unnoticed
    "name of an output": rewritten(text="other.txt"),
    "threads": rewritten(threads="2"),
    "order of paths": rewritten(parts='["b.txt", "a.txt"]'),
    "type of a parameter": rewritten(v="true"),
    "one path fewer": rewritten(parts='["a.txt"]'),
    "executable bit": lambda p: p.path("join/a.txt").chmod(0o755),
}


@pytest.mark.parametrize("edit", HOLES)
def test_every_key_of_a_step_counts(join, edit):
    HOLES[edit](join)
    assert join.doit().ran == {"step:join:join"}


def test_a_variable_that_is_empty_is_not_one_that_is_unset(join):
    assert join.doit(MAYBE="").ran == {"step:join:join"}


def test_where_an_input_lies_does_not_count_but_its_name_below_what_names_it_does(project):
    text = '[step.see]\ncommand = ["sh", "-c", "ls $0 > $1", "{inputs.raw}", "{outputs.t}"]\noutputs = { t = "t" }\n'
    project.write("see/raw/ds=1/f", "x")
    project.write("see/pipeline.toml", text + 'inputs = { raw = "raw" }\n')
    project.doit()
    project.path("see/raw").rename(project.path("see/moved"))
    project.write("see/pipeline.toml", text + 'inputs = { raw = "moved" }\n')
    assert project.doit().ran == set()
    project.path("see/moved/ds=1").rename(project.path("see/moved/ds=2"))
    assert project.doit().ran == {"step:see:see"}


def test_each_path_of_a_list_must_be_there(join):
    rewritten(parts='["a.txt", "nope.txt"]')(join)
    failed = join.doit()
    assert failed.code == 1
    assert "step:join:join: input parts: nothing at nope.txt (named in workspace/join/pipeline.toml)" in failed.out


def test_an_error_of_the_system_is_one_failed_task_and_the_rest_goes_on(join):
    join.write("other/pipeline.toml", '[step.s]\ncommand = ["touch", "{outputs.t}"]\noutputs = { t = "t" }\n')
    join.path("other/build").write_text("in the way")
    join.write("join/a.txt", "new")
    done = join.doit("--continue")
    assert done.code != 0
    assert done.ran == {"step:join:join"}
    assert "! step:other:s: " in done.out
    assert "Traceback" not in done.out


def test_a_damaged_record_is_no_record(join):
    import sqlite3

    with sqlite3.connect(join.path(".state/state.db")) as state:
        state.execute("update bodies set body = 'no json'")
        state.execute("update records set stamp = x'00'")
    assert join.doit().restored == {"step:join:join"}


def test_a_damaged_stamp_costs_nothing(join):
    import sqlite3

    with sqlite3.connect(join.path(".state/state.db")) as state:
        state.execute("update records set stamp = x'00'")
    assert join.doit().counts["up to date"] == 1


def test_a_state_of_another_version_is_put_aside(join):
    import sqlite3

    with sqlite3.connect(join.path(".state/state.db")) as state:
        state.execute("pragma user_version = 99")
    done = join.doit()
    assert (done.code, done.restored) == (0, {"step:join:join"})
    assert "state.db: written by another version of tzrec-build (format 99); moved to" in done.out
    assert join.path(".state/state.db.format99").is_file()


def test_two_hundred_steps_side_by_side(project):
    step = '[step.s{i}]\ncommand = ["sh", "-c", "echo {i} > $0", "{{outputs.t}}"]\noutputs = {{ t = "t" }}\n'
    project.write("many/pipeline.toml", "".join(step.format(i=i) for i in range(200)))
    assert project.doit("-n", "4").counts["built"] == 200
    assert project.doit().counts["up to date"] == 200


def test_a_verb_alone_builds_all_of_its_tasks(chain):
    assert chain.doit("step").ran == ALL
    assert chain.doit("forget", "step").code == 0
    assert chain.doit("step").restored == ALL


EACH = """
default = {default}
[each]
day = "20260130..20260201"

[step.make]
command = ["sh", "-c", "echo {{day}} > $0", "{{outputs.text}}"]
outputs = {{ text = "day.txt" }}
"""


def test_every_value_of_each_is_a_task_with_a_folder_of_its_own(project):
    project.write("daily/pipeline.toml", EACH.format(default="true"))
    days = ("20260130", "20260131", "20260201")
    assert project.doit().ran == {f"step:daily:day@{day}:make" for day in days}
    for day in days:
        assert project.path(f"daily/build/day={day}/make/day.txt").read_text() == f"{day}\n"
    assert project.doit("step:daily:day@20260131:make").counts["up to date"] == 1


def test_a_pipeline_that_is_not_default_is_built_when_it_is_named(project):
    project.write("daily/pipeline.toml", EACH.format(default="false"))
    assert project.doit().counts["built"] == 0
    assert project.doit("step:daily:day@20260130:make").counts["built"] == 1


@pytest.mark.parametrize("content", [b"", b"x\ny\nz", b"junk"])
def test_a_damaged_compiled_workspace_is_made_anew(chain, content):
    chain.doit()
    compiled = chain.path(".state/workspace.compiled")
    assert compiled.stat().st_size > 100
    compiled.write_bytes(content)
    assert chain.doit().counts["up to date"] == 3
    assert compiled.stat().st_size > 100
