"""The front of the command line: it knows every tool and imports none before it must."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tzrec_build import cli

TOOLS_FOLDER = Path(cli.__file__).parent / "tools"
HEAVY = {"torch", "torchrec", "faiss", "pyarrow", "matplotlib", "numpy", "google.protobuf"}
LIGHT = [
    "convert_easyrec",
    "faiss_index",
    "hitrate",
    "benchmark",
    "prune",
    "feature_importance",
    "fg_json",
    "report",
    "pick_checkpoint",
]


def imported_by(*arguments: str) -> set[str]:
    code = (
        f"import sys; from tzrec_build import cli; cli.main({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(done.stderr.split())


def test_every_tool_with_a_main_is_listed_and_every_listed_tool_exists() -> None:
    runnable = {path.stem for path in TOOLS_FOLDER.glob("*.py") if "\ndef main(" in path.read_text()}
    assert set(cli.TOOLS) == runnable - {"graph_picture"}  # draws for `doit graph`, which is what a person calls


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_every_tool(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.TOOLS)


def test_help_imports_no_tool() -> None:
    assert not {name for name in imported_by("--help") if name.startswith("tzrec_build.tools")}


def test_no_tool_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: tzrec-build TOOL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hit_rate", "tzrec-build: no tool 'hit_rate'; did you mean 'hitrate'?"),
        ("zzz", "tzrec-build: no tool 'zzz'; tzrec-build --help lists the tools"),
    ],
)
def test_an_unknown_tool_gets_the_nearest_name(name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name]) == 2
    assert capsys.readouterr().err.strip() == text


def test_a_dash_is_as_good_as_an_underscore(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["faiss-index", "--help"])
    assert left.value.code == 0
    assert "usage: tzrec-build faiss_index" in capsys.readouterr().out


@pytest.mark.parametrize("name", LIGHT)
def test_help_of_a_tool_imports_nothing_heavy(name: str) -> None:
    code = (
        "import sys, contextlib\nfrom tzrec_build import cli\n"
        f"with contextlib.suppress(SystemExit): cli.main([{name!r}, '--help'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: ")
    assert f" {name} " in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_the_console_script_points_here() -> None:
    assert importlib.util.find_spec("tzrec_build.cli") is not None
    assert callable(cli.main)
