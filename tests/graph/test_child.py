"""Child processes: log, environment, failures, time limit, no survivors."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph import child


def command(tmp_path, code: str, **changes) -> child.Command:
    env = child.environment((), 1, str(tmp_path))
    base = {"argv": (sys.executable, "-c", code), "cwd": str(tmp_path), "env": env, "log_path": str(tmp_path / "w/log")}
    return child.Command(**{**base, **changes})


def test_lines_reach_the_log_and_the_console(tmp_path):
    lines = []
    child.run(command(tmp_path, "import sys; print('one'); print('two', file=sys.stderr)"), lines.append)
    assert lines == ["one", "two"]
    assert (tmp_path / "w/log").read_text() == "one\ntwo\n"


def test_the_environment_is_a_fixed_list(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("WANTED", "2")
    env = child.environment(("WANTED",), 3, "/somewhere")
    assert "SECRET" not in env
    assert env["WANTED"] == "2"
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["PYTHONHASHSEED"] == "0"
    assert set(env) <= {*child.PASSED, "WANTED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                        "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONPATH", "OMP_WAIT_POLICY", "MPLBACKEND"}  # fmt: skip


def test_a_failure_shows_the_end_of_the_log(tmp_path):
    with pytest.raises(BuildError) as error:
        child.run(command(tmp_path, "for i in range(50): print('line', i)\nraise SystemExit(7)"), lambda _line: None)
    text = str(error.value)
    assert text.startswith("failed with exit code 7; the end of its log (")
    assert "    line 49" in text
    assert "line 29\n" not in text


def test_death_by_a_signal_is_named(tmp_path):
    with pytest.raises(BuildError, match="ended by signal SIGKILL"):
        child.run(command(tmp_path, "import os; os.kill(os.getpid(), 9)"), lambda _line: None)


def test_a_program_that_is_not_there_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(BuildError, match=r"no-such-program: cannot be started .*is it installed"):
        child.run(command(tmp_path, "", argv=("no-such-program",)), lambda _line: None)


def test_a_time_limit_ends_the_whole_group(tmp_path):
    code = "import os, subprocess, time\nsubprocess.Popen(['sleep', '100'])\nprint(os.getpid(), flush=True)\ntime.sleep(100)"
    lines = []
    with pytest.raises(BuildError, match="ran longer than 1 s"):
        child.run(command(tmp_path, code, timeout_s=1.0), lines.append)
    assert gone(int(lines[0]))


def test_a_background_process_that_holds_the_pipe_ends_with_the_command(tmp_path):
    lines = []
    start_s = time.monotonic()
    child.run(command(tmp_path, "", argv=("sh", "-c", "echo $$; sleep 600 &")), lines.append)
    assert time.monotonic() - start_s < 300  # it did not wait for the sleeper
    assert gone(int(lines[0]))


def test_a_process_in_a_session_of_its_own_ends_with_the_command(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    lines = []
    child.run(command(tmp_path, code), lines.append)
    assert gone(int(lines[0]))


def test_a_killed_build_leaves_nothing_running(tmp_path):
    """Not a grandchild in the group, not one in a session of its own."""
    inner = "import subprocess, time; a = subprocess.Popen(['sleep', '600'])\n"
    inner += "b = subprocess.Popen(['sleep', '600'], start_new_session=True); print(a.pid, b.pid, flush=True); time.sleep(600)"
    code = "from tzrec_build.graph import child; import sys\n"
    code += f"run = child.Command((sys.executable, '-c', {inner!r}), '.', child.environment((), 1, '.'), './log')\n"
    code += "child.run(run, lambda line: print(line, flush=True))"
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE) as build:
        pids = [int(pid) for pid in build.stdout.readline().split()]
        assert len(pids) == 2
        build.kill()
    assert all(gone(pid, os.kill) for pid in pids)


def test_who_asks_is_told_the_process_and_the_exit_code(tmp_path):
    started = []
    with pytest.raises(child.CommandError) as error:
        child.run(command(tmp_path, "raise SystemExit(9)"), lambda _line: None, started.append)
    assert error.value.code == 9
    assert len(started) == 1
    assert gone(started[0])


def test_a_second_attempt_continues_the_log_under_a_heading(tmp_path):
    child.run(command(tmp_path, "print('one')"), lambda _line: None)
    child.run(command(tmp_path, "print('two')", heading="attempt 2"), lambda _line: None)
    assert (tmp_path / "w/log").read_text() == "one\nattempt 2\ntwo\n"


def test_what_a_helper_prints_after_the_command_has_ended_is_kept(tmp_path):
    code = "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 0.1; echo late'])\nprint('early')"
    lines = []
    child.run(command(tmp_path, code), lines.append)
    assert lines == ["early", "late"]


def test_a_command_that_closes_its_output_is_waited_for(tmp_path):
    code = "import os, time\nos.close(1); os.close(2); time.sleep(0.1)\nopen('done', 'w').close(); os._exit(3)"
    with pytest.raises(BuildError, match="failed with exit code 3"):
        child.run(command(tmp_path, code), lambda _line: None)
    assert (tmp_path / "done").exists()


def test_lines_are_whole_whatever_pieces_they_come_in(tmp_path):
    code = "import sys\nsys.stdout.write('a' * 200_000 + '\\n' + '10%\\r20%\\r30%\\n\\nlast')"
    lines = []
    child.run(command(tmp_path, code), lines.append)
    assert lines == ["a" * 200_000, "30%", "last"]
    assert (tmp_path / "w/log").read_bytes() == b"a" * 200_000 + b"\n10%\r20%\r30%\n\nlast"


@pytest.mark.parametrize(
    "name", ["PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_TIMEOUT", "PIP_RETRIES", "ALL_PROXY", "all_proxy"]
)
def test_the_way_to_the_network_is_passed(name, monkeypatch):
    monkeypatch.setenv(name, "x")
    assert child.environment((), 1, "/somewhere")[name] == "x"


def gone(pid: int, signal_to=os.killpg) -> bool:
    for _ in range(500):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a process that ran a command takes orphans on, those of its children too
        try:
            signal_to(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False
