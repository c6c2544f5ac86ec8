"""What the rebuild matrix puts in the place of ``tzrec_build/tools/entry.py``: heavy tools write digests of what they read.

Flags, configs, light tools and everything that the engine sees (commands, inputs, code closures) stay the real ones; only the seconds
of torch are left out. `tests/e2e/test_matrix.py` runs a part of its table with the real tools too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tzrec_build.errors import BuildError

OUT_FLAGS = {
    "train": "model_dir",
    "evaluate": "eval_result_path",
    "predict": "predict_output_path",
    "export": "export_dir",
    "feature-importance": "output_dir",
    "faiss-index": "index_output_dir",
    "hitrate": "output_dir",
    "report": "output_dir",
    "fg-json": "fg_output_dir",
}
NO_MATTER = ("debug", "resume_dir", "resume_every_s")  # flags that change no output
READ_BY_CONFIG = re.compile(r'(?:vocab_file|input_path|vocab_dict_file): "([^"]+)"')


def _content(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file() and "records" not in p.parts) if path.is_dir() else [path]
    return " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def _matches(text: str) -> list[Path]:
    found: list[Path] = []
    for one in filter(None, text.split(",")):
        path = Path(one)
        found += sorted(path.parent.glob(path.name)) if "*" in one else [path] if path.exists() else []
    return found


def _read(name: str, value: object) -> str:
    if name == "pick" and value:  # the tools read the name in it only
        return str(json.loads(Path(str(value)).read_text())["checkpoint"])
    found = _matches(value) if isinstance(value, str) else []
    texts = [name, *(_content(path) for path in found)] if found else [name, repr(value)]
    if name == "pipeline_config_path":
        config = Path(str(value)).read_text()
        named = [one for group in READ_BY_CONFIG.findall(config) for one in group.split(",")]
        texts += [_content(Path(one)) for one in named if Path(one).exists()]
    return " ".join(texts)


def _digest(args: argparse.Namespace, out: str) -> str:
    parts = [_read(name, value) for name, value in sorted(vars(args).items()) if name not in (out, *NO_MATTER)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _train(out: Path, digest: str, args: argparse.Namespace) -> None:
    for part in ("model/.metadata", "optimizer/.metadata", "plan"):
        _write(out / "model.ckpt-8" / part, digest)
    if args.eval_input_path:
        _write(out / "train_eval_result_v2.txt", f'{{"global_step": 8, "auc": 0.{int(digest[:6], 16)}}}\n')


def _importance(out: Path, digest: str, args: argparse.Namespace) -> None:
    """Values differ with what was read, their order never: so what `prune` keeps is known."""
    names = ["user", "item", "cat", "price", "tags"]
    noise = int(digest[:4], 16) / 1e6
    rows = "".join(f"{name},{0.1 * i + 0.1 + noise}\n" for i, name in enumerate(names))
    _write(out / "feature_dropout_ratio_all.csv", "feature_name,mean_drop_p\n" + rows)


def _index(out: Path, digest: str, args: argparse.Namespace) -> None:
    for name in ("faiss_index", "id_mapping"):
        _write(out / name, digest)
    _write(out / "manifest.json", f'{{"index_type": "HNSWFlatIP", "metric": "IP", "rows": 3, "digest": "{digest}"}}\n')


def _one_file(name: str) -> Callable[[Path, str, argparse.Namespace], None]:
    return lambda out, digest, args: _write(out / name, digest)


def _evaluate(out: Path, digest: str, args: argparse.Namespace) -> None:
    _write(out, f'{{"global_step": 8, "auc": 0.{int(digest[:6], 16)}}}\n')


def _report(out: Path, digest: str, args: argparse.Namespace) -> None:
    _write(out / "index.html", digest)
    _write(out / "headline.txt", "")


WRITERS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _one_file("part-0.parquet"),
    "export": _one_file("scripted_model.pt"),
    "feature-importance": _importance,
    "faiss-index": _index,
    "hitrate": _one_file("hitrate.json"),
    "report": _report,
    "fg-json": _one_file("fg.json"),
}


def _wait() -> None:
    """While a test keeps a file ``hold`` in the pipeline's folder, wait there, and tell by a file ``holding``."""
    while Path("hold").exists():
        Path("holding").touch()
        time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run_tool(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None], argv: Sequence[str]) -> int:
    """Run a light tool for real, and write in the place of a heavy one."""
    parser.add_argument("--debug", action="store_true")
    args = parser.parse_args(argv)
    tool = parser.prog.removeprefix("tzrec-build ").replace("_", "-")
    if tool in WRITERS:
        out = OUT_FLAGS[tool]
        digest = _digest(args, out)
        _wait()
        WRITERS[tool](Path(getattr(args, out)), digest, args)
        return 0
    try:
        run(args)
    except BuildError as err:
        print(f"{parser.prog}: {err}", file=sys.stderr)
        return err.exit_code
    return 0
