"""The task graph for doit; run by python itself, it sets up .venv first: `python3 dodo.py [doit arguments | test]`."""

import os
import sys

if __name__ == "__main__":
    from tzrec_build.bootstrap import main

    main(sys.argv[1:])

from collections.abc import Iterator
from typing import Any

from tzrec_build.graph.tasks import Graph  # needs the environment that main() makes

graph = Graph(os.path.dirname(os.path.realpath(__file__)))
DOIT_CONFIG = graph.config()


def task_build() -> Iterator[dict[str, Any]]:
    """Every artifact of every pipeline in workspace/."""
    yield from graph.tasks()
