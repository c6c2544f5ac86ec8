"""The walls of the house: who may import whom, read from the source, imports inside functions included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tzrec_build"
FLOORS = ("protos", "config", "data", "features", "modules", "models", "training", "tools")  # lowest first
ROOT_FILES = {"errors", "faults", "files", "logs"}  # the ground: usable by all
# floor or root file -> other floors it may import, beside the ground and itself
ALLOWED = {floor: set(FLOORS[:height]) for height, floor in enumerate(FLOORS)} | {
    "errors": set(),
    "faults": set(),
    "files": set(),
    "logs": set(),
    "bootstrap": {"environment"},
    "environment": {"bootstrap"},
    "store": set(),
    "graph": {"store", "config", "protos"},
    "testing": set(FLOORS[:-1]),
    "cli": {"tools"},
}
HEAVY = ("torch", "torchrec", "faiss", "matplotlib", "pandas", "pyarrow")
# floor -> libraries it may import beside the standard library; floors not named may use any but doit
LIBRARIES = {
    "errors": set(),
    "faults": set(),
    "files": set(),
    "logs": set(),
    "cli": set(),
    "bootstrap": set(),
    "environment": set(),
    "store": set(),
    "config": {"google"},
    "graph": {"doit", "xxhash"},
}
LIGHT_TOOLS = ("entry", "pick_checkpoint", "prune", "project_config", "compile_protos", "convert_easyrec")
LONG_LINES = 400


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "protos" not in path.parents)


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


class Imports(ast.NodeVisitor):
    """Collects dotted names of all imported modules, except under ``if TYPE_CHECKING``."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, node.lineno) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"line {node.lineno}: relative import"
        self.found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]


def imports_of(text: str) -> list[tuple[str, int]]:
    visitor = Imports()
    visitor.visit(ast.parse(text))
    return visitor.found


def violations(path: Path, text: str) -> Iterator[str]:
    floor = floor_of(path)
    for name, line in imports_of(text):
        top, *rest = name.split(".")
        where = f"{path.relative_to(ROOT)}:{line}: {floor} must not import"
        if top == "tzrec_build":
            target = rest[0] if rest else floor  # the package itself is empty
            if target != floor and target not in ROOT_FILES | ALLOWED.get(floor, set()):
                yield f"{where} {target}"
        elif top not in sys.stdlib_module_names:
            if floor in LIBRARIES and top not in LIBRARIES[floor]:
                yield f"{where} {top}"
            elif floor != "graph" and top == "doit":
                yield f"{where} doit"


def test_every_file_stands_on_a_known_floor() -> None:
    assert {floor_of(path) for path in sources()} - {"__init__"} <= ALLOWED.keys()


def test_imports_go_down() -> None:
    found = [text for path in sources() if floor_of(path) != "__init__" for text in violations(path, path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("graph/x.py", "def f():\n    import torch", "tzrec_build/graph/x.py:2: graph must not import torch"),
        ("graph/x.py", "from tzrec_build.tools import train", "tzrec_build/graph/x.py:1: graph must not import tools"),
        ("graph/x.py", "from tzrec_build import tools", "tzrec_build/graph/x.py:1: graph must not import tools"),
        ("tools/x.py", "import tzrec_build.graph.rules", "tzrec_build/tools/x.py:1: tools must not import graph"),
        ("tools/x.py", "import doit.action", "tzrec_build/tools/x.py:1: tools must not import doit"),
        ("store/x.py", "import pyarrow as pa", "tzrec_build/store/x.py:1: store must not import pyarrow"),
        ("config/x.py", "import numpy", "tzrec_build/config/x.py:1: config must not import numpy"),
        ("config/x.py", "from tzrec_build.data import b", "tzrec_build/config/x.py:1: config must not import data"),
        (
            "modules/x.py",
            "from tzrec_build.models.b import C",
            "tzrec_build/modules/x.py:1: modules must not import models",
        ),
        ("bootstrap.py", "import numpy", "tzrec_build/bootstrap.py:1: bootstrap must not import numpy"),
    ],
)
def test_the_test_sees_a_breach(file: str, text: str, message: str) -> None:
    assert list(violations(PACKAGE / file, text)) == [message]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("graph/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("graph/x.py", "from doit.action import BaseAction\nfrom tzrec_build.store.cas import ObjectStore"),
        (
            "tools/x.py",
            "import torch\nfrom tzrec_build.training.loop import train\nfrom tzrec_build.errors import DataError",
        ),
        ("features/x.py", "from tzrec_build.config.load import load_pipeline_config\nimport numpy as np"),
    ],
)
def test_the_test_lets_through_what_is_right(file: str, text: str) -> None:
    assert list(violations(PACKAGE / file, text)) == []


def test_package_files_are_empty() -> None:
    assert [str(path) for path in PACKAGE.rglob("__init__.py") if path.read_text()] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_long_without_a_reason(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LONG_LINES or "long because" in "\n".join(lines[:10]), "say 'long because ..' in its docstring"


def test_package_asserts_nothing() -> None:
    """`python -O` drops asserts; a bug of ours raises RuntimeError("bug: ...")."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def loaded_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_dodo_loads_nothing_heavy() -> None:
    assert loaded_after("import dodo") & {*HEAVY} == set()
    # the first import may have had to read a config (protobuf); what it found is remembered
    assert loaded_after("import dodo") & {*HEAVY, "numpy", "google"} == set()


@pytest.mark.parametrize("tool", LIGHT_TOOLS)
def test_light_tools_load_nothing_heavy(tool: str) -> None:
    if not (PACKAGE / "tools" / f"{tool}.py").exists():
        pytest.skip("not built yet")
    assert loaded_after(f"import tzrec_build.tools.{tool}") & {*HEAVY, "numpy", "doit"} == set()


def test_front_door_loads_the_standard_library_only() -> None:
    loaded = loaded_after("import tzrec_build.environment.ensure")
    before = loaded_after("pass")  # what .pth files of the environment bring
    assert {name for name in loaded - before if name not in sys.stdlib_module_names} == {"tzrec_build"}


def test_quick_path_of_the_front_door_loads_no_slow_module() -> None:
    slow = {"subprocess", "hashlib", "tomllib", "dataclasses", "pathlib", "shutil", "inspect"}
    assert (loaded_after("import tzrec_build.bootstrap") - loaded_after("pass")) & slow == set()
