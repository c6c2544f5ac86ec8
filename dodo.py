"""The task graph for doit; run by python itself, it sets up .venv first: `python3 dodo.py [doit arguments | test]`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent)

if __name__ == "__main__":
    from tzrec_build.bootstrap import main

    sys.exit(main(sys.argv[1:]))

from tzrec_build.graph.tasks import Graph  # noqa: E402 - needs the environment that main() makes

graph = Graph(ROOT)
DOIT_CONFIG = graph.config()


def task_build() -> Iterator[dict[str, Any]]:
    """Every artifact of every pipeline in workspace/."""
    yield from graph.tasks()
