"""`tzrec-build TOOL ...`: the tools by hand. Nothing heavy is imported before the tool is known, and none for ``--help``."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence

USAGE_ERROR = 2

TOOLS: Mapping[str, str] = {  # module below tzrec_build.tools -> what it does
    "compile_protos": "compile protos/ into tzrec_build/protos/",
    "config": "show, compare, lint, edit and rewrite configs",
    "feature_info": "bring sizes of features found in the data into a config",
    "project_config": "cut a config down to what one step reads",
    "convert_easyrec": "a TorchEasyRec config from an EasyRec config, with a receipt",
    "train": "train a model, evaluate it on the way, write checkpoints",
    "pick_checkpoint": "choose the latest, the best or a given checkpoint",
    "evaluate": "metrics of a checkpoint on a table",
    "predict": "predictions or embeddings for a table",
    "export": "a model for serving",
    "feature_importance": "importance of each feature, from variational dropout",
    "prune": "a config with the most useful features only",
    "fg_json": "fg.json and its assets for the feature generator",
    "faiss_index": "a FAISS index and its id mapping from embeddings",
    "hitrate": "how much of the ground truth an index brings back",
    "benchmark": "mean and spread of metrics over runs, beside baselines",
    "report": "one self-contained page about a pipeline",
}


def usage() -> str:
    """Text of ``tzrec-build --help``."""
    width = max(map(len, TOOLS))
    rows = [f"  {name:<{width}}  {help_line}" for name, help_line in TOOLS.items()]
    return "\n".join(
        ["usage: tzrec-build TOOL [flags]", "", "tools:", *rows, "", "tzrec-build TOOL --help shows its flags"]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one tool with the remaining arguments.

    Args:
        argv: arguments after the program's name; those of the process when None (console script).
    Returns:
        The tool's exit code, or 2 when no such tool exists.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else USAGE_ERROR
    name = arguments[0].replace("-", "_")
    if name not in TOOLS:
        near = difflib.get_close_matches(name, TOOLS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "tzrec-build --help lists the tools"
        print(f"tzrec-build: no tool {arguments[0]!r}; {hint}", file=sys.stderr)
        return USAGE_ERROR
    code: int = importlib.import_module(f"tzrec_build.tools.{name}").main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
