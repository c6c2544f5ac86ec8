"""The front door with a pretended pip: what is made, what is made again, and what is left alone."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tzrec_build import bootstrap
from tzrec_build.environment import ensure
from tzrec_build.environment import runner as runner_module
from tzrec_build.environment.runner import Runner, SetupError, locked
from tzrec_build.environment.shim_wheel import write_shim_wheel

PYPROJECT = """
[build-system]
requires = ["setuptools"]
[project]
name = "tzrec-build"
version = "1"
dependencies = ["torch==2.0", "grpcio-tools==1.0"]
[project.optional-dependencies]
cpu = ["fbgemm-gpu-cpu==1.8.0"]
cuda = ["fbgemm-gpu==1.8.0"]
test = ["pytest==9.0"]
[tool.tzrec-build]
extras = ["test"]
constraints = ["numpy==2.4.6"]
"""
SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
ALL = ["venv", "packages", "project", "protos"]


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


class PretendedRunner(Runner):
    """Does in a temporary checkout what the real programs would leave there, and keeps a list of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root / ".venv" / "setup.log"), -1, io.StringIO())
        self.root = root
        self.made: list[str] = []
        self.kill_at = self.fail_at = ""
        self.answers = {"nvidia-smi": False}
        self.site = root / ".venv" / SITE

    @property
    def told(self) -> str:
        return self._stream.getvalue()

    def run(self, command: list[str], remedy: str) -> None:
        step = next(
            (
                name
                for word, name in (("venv", "venv"), ("-r", "packages"), ("-e", "project"), ("check", "check"))
                if word in command
            ),
            "protos",
        )
        if step != "check":
            self.made.append(step)
        if step == self.fail_at:
            raise SetupError(f"pip said no; {remedy}")
        getattr(self, f"_{step}")(command)
        if step == self.kill_at:
            raise Killed

    def succeeds(self, command: list[str]) -> bool:
        if command[0] in self.answers:
            return self.answers[command[0]]
        return os.path.exists(command[0]) and not (self.root / ".venv" / "broken").exists()

    def _venv(self, _command: list[str]) -> None:
        self.site.mkdir(parents=True)
        (self.root / ".venv" / "bin").mkdir()
        (self.root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (self.root / ".venv" / "pyvenv.cfg").write_text("home = x\n")

    def _packages(self, command: list[str]) -> None:
        assert "fbgemm_gpu-1.8.0+cpushim" in command[-1] or "cpushim" not in " ".join(command)
        (self.site / "torch").mkdir(exist_ok=True)
        (self.site / "torch" / "version.py").write_text("__version__ = '2.0'\ncuda: Optional[str] = None\n")

    def _project(self, _command: list[str]) -> None:
        (self.site / "tzrec_build-1.dist-info").mkdir()  # fails when a cut-off install was not cleared away
        (self.site / "__editable__.tzrec_build-1.pth").write_text(str(self.root))

    def _check(self, _command: list[str]) -> None:
        assert (self.site / "tzrec_build-1.dist-info").exists()

    def _protos(self, _command: list[str]) -> None:
        out = self.root / "tzrec_build" / "protos"
        out.mkdir(exist_ok=True)
        for source in (self.root / "protos").glob("*.proto"):
            (out / f"{source.stem}_pb2.py").write_text(source.read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = Path(os.path.realpath(tmp_path)) / "checkout"
    for path in (*ensure.SOURCES, ensure.COMPILER):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"# {path}\n")
    (root / "protos").mkdir()
    (root / "protos" / "a.proto").write_text("message A {}\n")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "dodo.py").write_text("")
    return root


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path != "/proc/driver/nvidia" and exists(path))


def ensured(root: Path, env: dict[str, str] | None = None) -> PretendedRunner:
    """Run the set-up; afterwards the quick check must be content and a second run must do nothing."""
    runner = PretendedRunner(root)
    ensure.ensure_environment(str(root), env or {}, runner)
    assert bootstrap.is_current(str(root), env or {})
    again = PretendedRunner(root)
    ensure.ensure_environment(str(root), env or {}, again)
    assert (again.made, again.told) == ([], "")
    return runner


def stamp_of(root: Path) -> dict[str, object]:
    return json.loads((root / ".venv" / "setup.json").read_text())


def test_first_call_makes_everything_and_says_how_long(root: Path) -> None:
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert runner.made == ALL
    lines = runner.told.splitlines()
    assert lines[0] == "set-up: making .venv, there is none yet (takes minutes; log in .venv/setup.log)"
    assert [line.split()[0] for line in lines[1:5]] == ALL
    assert "  packages  4 pinned packages for cpu" in lines[2]
    assert lines[5].startswith("set-up: done in ")


def test_pip_gets_every_pin(root: Path) -> None:
    ensured(root)
    venv = root / ".venv"
    assert (venv / "requirements.txt").read_text().split() == [
        "torch==2.0", "grpcio-tools==1.0", "fbgemm-gpu-cpu==1.8.0", "pytest==9.0",
    ]  # fmt: skip
    assert (venv / "constraints.txt").read_text() == "numpy==2.4.6\n"


@pytest.mark.parametrize("step", ALL)
def test_kill_in_any_step_is_repaired(root: Path, step: str) -> None:
    runner = PretendedRunner(root)
    runner.kill_at = step
    with pytest.raises(Killed):
        ensure.ensure_environment(str(root), {}, runner)
    assert not bootstrap.is_current(str(root), {})
    # packages that pip was working on cannot be trusted; later steps can be done over
    expected = {"venv": ALL, "packages": ALL, "project": ["project", "protos"], "protos": ["protos"]}
    assert ensured(root).made == expected[step]


def test_kill_before_the_last_record_is_repaired(root: Path) -> None:
    ensured(root)
    stamp = stamp_of(root) | {"complete": False}
    (root / ".venv" / "setup.json").write_text(json.dumps(stamp))
    assert not bootstrap.is_current(str(root), {})
    assert ensured(root).made == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 0}', '{"format": 1, "complete": true}'])
def test_damaged_record_means_all_over(root: Path, text: str) -> None:
    ensured(root)
    (root / ".venv" / "setup.json").write_text(text)
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert runner.made == ALL
    assert "it was left half-done" in runner.told


def test_changed_proto_compiles_protos_only(root: Path) -> None:
    ensured(root)
    (root / "protos" / "a.proto").write_text("message B {}\n")
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert runner.made == ["protos"]
    assert runner.told.startswith("set-up: bringing .venv up to date (protos)\n")


def test_new_and_removed_protos_are_noticed(root: Path) -> None:
    ensured(root)
    (root / "protos" / "b.proto").write_text("message B {}\n")
    assert ensured(root).made == ["protos"]
    (root / "protos" / "b.proto").unlink()
    assert ensured(root).made == ["protos"]


@pytest.mark.parametrize("text", [None, "edited"])
def test_generated_code_that_is_gone_or_edited_is_made_again(root: Path, text: str | None) -> None:
    ensured(root)
    made = root / "tzrec_build" / "protos" / "a_pb2.py"
    made.unlink()
    if text is not None:
        made.write_text(text)
    assert ensured(root).made == ["protos"]
    assert made.read_text() == "message A {}\n"


def test_generated_code_that_was_made_again_alike_is_looked_at_once(root: Path) -> None:
    """The task `protos` of the first build puts a folder of its own, with the same bytes, in the place of the set-up's."""
    ensured(root)
    made, again = root / "tzrec_build" / "protos", root / "again"
    shutil.copytree(made, again, copy_function=shutil.copyfile)
    for path in again.rglob("*.py"):
        os.utime(path, (1, 1))
    (again / "records").mkdir()
    (again / "records" / "log").write_text("compiled protos: 1 files changed\n")
    shutil.rmtree(made)
    again.rename(made)
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert (runner.made, runner.told) == ([], "")


@pytest.mark.parametrize("generated", [[], ["tzrec_build/protos/a_pb2.py"], {}, {"tzrec_build/protos/a_pb2.py": "x"}])
def test_record_that_does_not_know_the_generated_bytes_compiles_once(root: Path, generated: object) -> None:
    ensured(root)
    stamp = stamp_of(root) | {"generated": generated, "complete": False}
    (root / ".venv" / "setup.json").write_text(json.dumps(stamp))
    assert ensured(root).made == ["protos"]


def test_generated_code_without_a_source_is_compiled_away(root: Path) -> None:
    ensured(root)
    (root / "tzrec_build" / "protos" / "old_pb2.py").write_text("")
    (root / "protos" / "a.proto").touch()
    assert ensured(root).made == ["protos"]


def test_touched_files_cost_a_look_and_nothing_more(root: Path) -> None:
    ensured(root)
    for path in ("pyproject.toml", "protos/a.proto", "tzrec_build/bootstrap.py"):
        os.utime(root / path, (1, 1))
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert (runner.made, runner.told) == ([], "")


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        ("torch==2.0", "torch==2.1", ["packages", "project"]),  # a dependency is in the project's own metadata too
        ("numpy==2.4.6", "numpy==2.4.7", ["packages"]),
        ("grpcio-tools==1.0", "grpcio-tools==1.1", ["packages", "project", "protos"]),
        ('version = "1"', 'version = "2"', ["project"]),
        ('requires = ["setuptools"]', 'requires = ["setuptools>=1"]', ["project"]),
        ("[tool.tzrec-build]", "[tool.ruff]\nline-length = 1\n[tool.tzrec-build]", []),
    ],
)
def test_changed_settings_redo_what_depends_on_them(root: Path, old: str, new: str, steps: list[str]) -> None:
    ensured(root)
    text = (root / "pyproject.toml").read_text()
    assert old in text
    (root / "pyproject.toml").write_text(text.replace(old, new))
    assert ensured(root).made == steps


def test_failing_pip_leaves_what_was_whole(root: Path) -> None:
    ensured(root)
    (root / "pyproject.toml").write_text(PYPROJECT.replace("numpy==2.4.6", "numpy==9"))
    runner = PretendedRunner(root)
    runner.fail_at = "packages"
    with pytest.raises(SetupError) as caught:
        ensure.ensure_environment(str(root), {}, runner)
    assert str(caught.value) == "pip said no; see what pip asks for above; check the network and `pip config list`"
    assert runner.told.splitlines()[-1].endswith("  failed")
    assert not bootstrap.is_current(str(root), {})
    (root / "pyproject.toml").write_text(PYPROJECT)
    assert ensured(root).made == []


def test_moved_checkout_is_made_again(root: Path) -> None:
    ensured(root)
    moved = root.parent / "moved"
    root.rename(moved)
    runner = ensured(moved)
    assert runner.made == ALL
    assert f"the checkout was {root}, now it is {moved}" in runner.told


def test_other_python_means_all_over(root: Path) -> None:
    ensured(root)
    stamp = stamp_of(root) | {"python": ["3.11.0", "/old"]}
    (root / ".venv" / "setup.json").write_text(json.dumps(stamp))
    runner = ensured(root)
    assert runner.made == ALL
    assert "python was 3.11.0 in /old, now it is " in runner.told


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda venv: (venv / "bin" / "python").unlink(), "its python does not work"),
        (lambda venv: shutil.rmtree(venv / "bin"), "its python does not work"),
        (lambda venv: (venv / "pyvenv.cfg").unlink() or (venv / "broken").touch(), "its python does not work"),
        (lambda venv: shutil.rmtree(venv / SITE / "torch"), "it has lost torch"),
        (lambda venv: shutil.rmtree(venv / "lib"), "it has lost torch"),
    ],
    ids=["python", "bin", "pyvenv.cfg", "package", "lib"],
)
def test_harmed_environment_is_made_again(root: Path, harm: object, reason: str) -> None:
    ensured(root)
    harm(root / ".venv")
    assert not bootstrap.is_current(str(root), {})
    runner = ensured(root)
    assert runner.made == ALL
    assert reason in runner.told


@pytest.mark.parametrize("name", ["tzrec_build-1.dist-info", "__editable__.tzrec_build-1.pth"])
def test_project_that_was_uninstalled_is_installed_again(root: Path, name: str) -> None:
    ensured(root)
    ensure._remove(str(root / ".venv" / SITE / name))
    assert ensured(root).made == ["project"]


def test_kill_after_an_upgrade_keeps_the_new_packages(root: Path) -> None:
    ensured(root)
    (root / "pyproject.toml").write_text(PYPROJECT.replace("torch==2.0", "torch==2.1"))
    runner = PretendedRunner(root)
    make, runner.kill_at = runner._packages, "project"

    def upgrade(command: list[str]) -> None:
        make(command)
        (runner.site / "torch").rename(runner.site / "torch_renamed")

    runner._packages = upgrade
    with pytest.raises(Killed):
        ensure.ensure_environment(str(root), {}, runner)
    assert ensured(root).made == ["project"]


def test_extra_packages_of_the_user_stay(root: Path) -> None:
    ensured(root)
    (root / ".venv" / SITE / "jupyter").mkdir()
    assert ensured(root).made == []
    assert (root / ".venv" / SITE / "jupyter").exists()


def test_environment_made_by_something_else_is_moved_aside(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".venv").mkdir()
    (root / ".venv" / "pyvenv.cfg").write_text("precious")
    assert ensured(root).made == ALL
    assert (root / ".venv.replaced-1" / "pyvenv.cfg").read_text() == "precious"
    assert capsys.readouterr().err == "set-up: .venv was not made by dodo.py, it is now .venv.replaced-1\n"


def test_place_that_is_taken_by_a_file_is_an_error(root: Path) -> None:
    (root / ".venv").write_text("")
    with pytest.raises(SetupError) as caught:
        ensure.ensure_environment(str(root), {}, PretendedRunner(root))
    assert (
        str(caught.value)
        == f"{root}/.venv: must be a folder that can be written, got File exists; remove what is there"
    )


def test_edit_during_the_set_up_is_seen_by_the_next_call(root: Path) -> None:
    runner = PretendedRunner(root)
    make = runner._protos

    def edit(command: list[str]) -> None:
        make(command)
        (root / "protos" / "a.proto").write_text("message Later {}\n")

    runner._protos = edit
    ensure.ensure_environment(str(root), {}, runner)
    assert not bootstrap.is_current(str(root), {})
    assert ensured(root).made == ["protos"]
    assert (root / "tzrec_build" / "protos" / "a_pb2.py").read_text() == "message Later {}\n"


@pytest.mark.parametrize(
    ("evidence", "answer", "device"),
    [
        (["", False, False], True, "cpu"),
        (["", True, False], False, "cuda"),
        (["", False, True], True, "cuda"),
        (["", False, True], False, "cpu"),
        (["cpu", True, True], True, "cpu"),
        (["cuda", False, False], False, "cuda"),
    ],
)
def test_device_is_what_answers_unless_one_is_named(
    root: Path, evidence: list[object], answer: object, device: str
) -> None:
    runner = PretendedRunner(root)
    runner.answers["nvidia-smi"] = answer
    assert ensure.find_device(evidence, runner) == device


def test_damaged_pyproject_is_an_error(root: Path) -> None:
    (root / "pyproject.toml").write_text("[project\n")
    with pytest.raises(SetupError, match=r"/pyproject\.toml: must be TOML, got .*line 1.*; correct it"):
        ensure.ensure_environment(str(root), {}, PretendedRunner(root))


def test_unknown_device_is_an_error(root: Path) -> None:
    with pytest.raises(SetupError) as caught:
        ensure.ensure_environment(str(root), {"TZREC_DEVICE": "tpu"}, PretendedRunner(root))
    assert str(caught.value) == "TZREC_DEVICE: must be 'cpu' or 'cuda', got 'tpu'"


def test_cpu_torch_for_a_cuda_device_is_an_error(root: Path) -> None:
    runner = PretendedRunner(root)
    with pytest.raises(
        SetupError, match="packages: an NVIDIA device needs a CUDA build of torch, pip found a CPU build"
    ):
        ensure.ensure_environment(str(root), {"TZREC_DEVICE": "cuda"}, runner)
    assert (root / ".venv" / "requirements.txt").read_text().split()[2] == "fbgemm-gpu==1.8.0"


def test_cuda_torch_for_a_cuda_device_is_accepted_and_a_change_of_device_starts_over(root: Path) -> None:
    runner = PretendedRunner(root)
    make = runner._packages

    def with_cuda(command: list[str]) -> None:
        make(command)
        (runner.site / "torch" / "version.py").write_text("cuda: Optional[str] = '12.9'\n")

    runner._packages = with_cuda
    ensure.ensure_environment(str(root), {"TZREC_DEVICE": "cuda"}, runner)
    assert bootstrap.is_current(str(root), {"TZREC_DEVICE": "cuda"})
    other = ensured(root, {"TZREC_DEVICE": "cpu"})
    assert other.made == ALL
    assert "the device was cuda, now it is cpu" in other.told


def test_tool_that_appears_on_the_path_is_asked_once(root: Path, tmp_path: Path) -> None:
    ensured(root)
    (tmp_path / "nvidia-smi").write_text("")
    (tmp_path / "nvidia-smi").chmod(0o755)
    env = {"PATH": str(tmp_path)}
    assert not bootstrap.is_current(str(root), env)
    assert ensured(root, env).made == []  # it does not answer, so the device is the same


def test_shim_is_an_empty_package_that_asks_for_the_cpu_build(tmp_path: Path) -> None:
    path = write_shim_wheel(str(tmp_path), ["torch==1", "fbgemm-gpu-cpu==1.8.0"])
    assert os.path.basename(path) == "fbgemm_gpu-1.8.0+cpushim-py3-none-any.whl"
    first = Path(path).read_bytes()
    assert write_shim_wheel(str(tmp_path), ["fbgemm-gpu-cpu==1.8.0"]) == path
    assert Path(path).read_bytes() == first
    with zipfile.ZipFile(path) as wheel:
        info = "fbgemm_gpu-1.8.0+cpushim.dist-info"
        assert wheel.namelist() == [f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
        assert "\nRequires-Dist: fbgemm-gpu-cpu==1.8.0\n" in wheel.read(f"{info}/METADATA").decode()


def test_shim_needs_the_pin(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"bug: pyproject.toml must pin fbgemm-gpu-cpu once in the extra cpu, got 0 pins"
    ):
        write_shim_wheel(str(tmp_path), ["fbgemm-gpu==1.8.0"])


def test_own_pyproject_pins_everything(repo_root: Path) -> None:
    for device in ensure.DEVICES:
        site = ensure.load_site(str(repo_root), device)
        assert [pin for pin in (*site.requirements, *site.constraints) if pin.count("==") != 1] == []
        assert "torch==2.13.0" in site.requirements
    assert any(pin.startswith("setuptools==") for pin in site.constraints)  # the editable install builds with it


@pytest.mark.parametrize(
    ("argv", "where", "expected"),
    [
        ([], "", ["-m", "doit"]),
        (["list", "--all"], "", ["-m", "doit", "list", "--all"]),
        (["-n", "2"], "protos", ["-m", "doit", "-f", "{root}/dodo.py", "-n", "2"]),
        (["-f", "other.py"], "protos", ["-m", "doit", "-f", "other.py"]),
        (["--file=other.py"], "protos", ["-m", "doit", "--file=other.py"]),
        (["test"], "", ["-m", "pytest"]),
        (["test", "-q", "tests/x"], "", ["-m", "pytest", "-q", "tests/x"]),
        (
            ["test", "-q"],
            "protos",
            ["-m", "pytest", "-c", "{root}/pyproject.toml", "--rootdir", "{root}", "-q", "{root}/tests"],
        ),
        (
            ["test", "a.proto::x"],
            "protos",
            ["-m", "pytest", "-c", "{root}/pyproject.toml", "--rootdir", "{root}", "a.proto::x"],
        ),
    ],
)
def test_command_that_it_becomes(root: Path, argv: list[str], where: str, expected: list[str]) -> None:
    command = bootstrap.command_line(str(root), argv, str(root / where))
    assert command == [f"{root}/.venv/bin/python", *(part.format(root=root) for part in expected)]


def test_command_runs_as_if_the_environment_were_activated(root: Path) -> None:
    env = bootstrap.command_env(str(root), {"PATH": "/bin", "PYTHONHOME": "/x", "A": "1"})
    assert env == {"PATH": f"{root}/.venv/bin:/bin", "VIRTUAL_ENV": f"{root}/.venv", "A": "1"}


def test_failed_set_up_exits_with_1_and_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_root: str, _env: object) -> None:
        raise SetupError("packages: no")

    monkeypatch.setattr(bootstrap, "is_current", lambda _root, _env: False)
    monkeypatch.setattr(ensure, "ensure_environment", fail)
    with pytest.raises(SystemExit) as caught:
        bootstrap.main(["list"])
    assert caught.value.code == "dodo.py: packages: no"  # a text is printed to stderr and means exit code 1


def test_full_disk_exits_with_1_and_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_root: str, _env: object) -> None:
        raise OSError(28, "No space left on device", "/x/.venv")

    monkeypatch.setattr(bootstrap, "is_current", lambda _root, _env: False)
    monkeypatch.setattr(ensure, "ensure_environment", fail)
    with pytest.raises(SystemExit) as caught:
        bootstrap.main([])
    text = "dodo.py: set-up: [Errno 28] No space left on device: '/x/.venv'; correct that, then call it again"
    assert caught.value.code == text


def test_interrupted_set_up_says_what_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_root: str, _env: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "is_current", lambda _root, _env: False)
    monkeypatch.setattr(ensure, "ensure_environment", interrupt)
    with pytest.raises(SystemExit) as caught:
        bootstrap.main([])
    assert caught.value.code == "\ndodo.py: set-up interrupted; the next call repairs it"


def test_old_python_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit) as caught:
        bootstrap.main([])
    assert caught.value.code == (
        "dodo.py: needs python 3.11 or newer, this is 3.9.2; run it with a newer one, e.g. python3.11 dodo.py"
    )


@pytest.fixture
def real_runner(tmp_path: Path) -> Runner:
    with open(tmp_path / "lock", "w+b") as lock:
        yield Runner(str(tmp_path / "log"), lock.fileno(), io.StringIO())


def test_failing_program_shows_its_last_lines_and_the_remedy(real_runner: Runner, tmp_path: Path) -> None:
    script = "import sys\nfor n in range(20): print('line', n)\nsys.exit(3)"
    with pytest.raises(SetupError) as caught:
        real_runner.run([sys.executable, "-c", script], "try harder")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("`python")
    assert " ..` exited with 3 after 0 s:" in str(caught.value)
    assert lines[-13:-1] == [f"  | line {number}" for number in range(8, 20)]
    assert lines[-1] == f"try harder; whole log: {tmp_path}/log"
    assert "line 0\n" in (tmp_path / "log").read_text()


def test_program_that_is_missing_is_an_error(real_runner: Runner) -> None:
    with pytest.raises(SetupError) as caught:
        real_runner.run(["/nowhere/python"], "install it")
    assert str(caught.value) == "/nowhere/python: must be a program, got No such file or directory; install it"
    assert not real_runner.succeeds(["/nowhere/python"])


def test_program_that_works_says_so(real_runner: Runner) -> None:
    assert real_runner.succeeds([sys.executable, "-c", "pass"])
    assert not real_runner.succeeds([sys.executable, "-c", "raise SystemExit(1)"])


def is_free(path: Path) -> bool:
    with open(path, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


HOLDER = """
import os, sys
from tzrec_build.environment import runner
with runner.locked(sys.argv[1]) as lock:
    child = "import sys; print('child', flush=True); sys.stdin.read()"
    runner.subprocess.Popen([sys.executable, "-c", child], pass_fds=[lock], stdin=0)
    os.kill(os.getpid(), 9)
"""


def test_lock_outlives_a_killed_parent_as_long_as_its_pip(tmp_path: Path, repo_root: Path) -> None:
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, cwd=repo_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "child\n"
        assert holder.wait() == -9
        assert not is_free(lock)
        holder.stdin.close()  # lets the child end
        assert holder.stdout.read() == ""
    with locked(str(lock)):
        assert not is_free(lock)
    assert is_free(lock)


ORPHANING = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; print('grandchild', flush=True); time.sleep(600)", sys.argv[1]])
"""


def test_programs_left_by_a_killed_set_up_are_ended(tmp_path: Path) -> None:
    """`python -m venv` starts ensurepip, which goes on writing into .venv after both its parents were killed."""
    venv = tmp_path / ".venv"
    venv.mkdir()
    command = [sys.executable, "-c", ORPHANING, str(venv)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as leader:
        assert leader.stdout.readline() == "grandchild\n"
        assert leader.wait() == 0
        (venv / "setup.lock").write_text(str(leader.pid))
        assert len(runner_module._members(leader.pid, str(venv))) == 1
        with locked(str(venv / "setup.lock")):
            assert runner_module._members(leader.pid, str(venv)) == []
        assert leader.stdout.read() == ""


def test_group_number_that_somebody_else_has_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "setup.lock").write_text(str(os.getpgid(0)))
    with locked(str(tmp_path / "setup.lock")):
        pass  # this very process is of that group, but does not run in that environment


def test_interrupt_ends_the_program_and_what_it_started(
    real_runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = subprocess.Popen.wait

    def interrupted(child: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(child)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    marker = str(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        real_runner.run([sys.executable, "-c", f"import time; time.sleep(600); {marker!r}"], "")
    monkeypatch.undo()
    group = int((tmp_path / "lock").read_text())
    assert runner_module._members(group, marker) == []


def test_second_call_waits_and_then_finds_the_work_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = PretendedRunner(root), PretendedRunner(root)
    real = locked

    def meanwhile(path: str) -> object:  # the first call ends between the second's look and its lock
        monkeypatch.setattr(ensure, "locked", real)
        ensure.ensure_environment(str(root), {}, first)
        return real(path)

    monkeypatch.setattr(ensure, "locked", meanwhile)
    ensure.ensure_environment(str(root), {}, second)
    assert (first.made, second.made) == (ALL, [])
