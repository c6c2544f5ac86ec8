"""The rebuild matrix: kinds of edit, and for each the tasks that must run and those that must be restored; all others stay.

The sets are written by hand from what the documentation promises (docs/staleness.md), never taken from the rules.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from tests.e2e.matrix_workspace import CHOICE_PY, DAILY_TOML, MATCH_TOML, RANK, SHOP_TOML, write_table
from tests.e2e.project import Project
from tests.tiny_pipeline import write_rows

Change = Callable[[Project], None]
DAYS = ("ds@20260101", "ds@20260102", "ds@20260103")


def tasks(pipeline: str, verbs: str) -> set[str]:
    """``train pick evaluate/late`` of a pipeline as task names."""
    return {":".join((verb.partition("/")[0], pipeline, *verb.split("/")[1:])) for verb in verbs.split()}


def days(verbs: str, *which: int) -> set[str]:
    """Tasks of the daily pipeline, of these days (1 to 3), or of all."""
    return set().union(*(tasks(f"daily:{DAYS[day - 1]}", verbs) for day in which or (1, 2, 3)))


TABLES = {"step:shop:tables"}
SELECTION = tasks("shop", "train_select importance prune")
USES_MODEL = tasks("shop", "pick evaluate evaluate/late predict/all export")
SHOP_TRAINED = tasks("shop", "train") | USES_MODEL | tasks("shop", "benchmark_run/8 benchmark page")
SHOP_CONFIG = tasks("shop", "config select_config prune final_config")
SHOP_MODEL = SHOP_CONFIG | SELECTION | SHOP_TRAINED
MATCH_TRAINED = tasks("match", "train pick evaluate embed index embed_users hitrate page")
DAY_TRAINED = "train pick evaluate page"
# with stand-ins a tool's code never changes its outputs, so an edit of code stops at the tasks that have it in their closure
SHOP_TORCH = tasks("shop", "train_select train evaluate evaluate/late predict/all export benchmark_run/8")
MATCH_TORCH = tasks("match", "train evaluate embed embed_users")
DAILY_TORCH = days("train evaluate")
TORCH = SHOP_TORCH | MATCH_TORCH | DAILY_TORCH
FG = tasks("shop", "fg") | tasks("match", "fg")


@dataclass(frozen=True, slots=True)
class Edit:
    """One row.

    Attributes:
        change: what a person does.
        ran: tasks that must be built.
        restored: tasks that must come from the cache.
        alike: tasks with one action key: the first is built, the others are restored unless they run at the same time.
        env: environment of the build after it.
    """

    change: Change
    ran: set[str] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)
    alike: set[str] = field(default_factory=set)
    env: dict[str, str] = field(default_factory=dict)


def replaced(path: str, old: str, new: str) -> Change:
    """Replace text in a file of the checkout's root; it must be there."""

    def change(project: Project) -> None:
        file = project.root / path
        text = file.read_text()
        assert old in text, f"{path} holds no {old!r}"
        file.write_text(text.replace(old, new, 1))

    return change


def written(path: str, text: str) -> Change:
    """Write a file below workspace/."""
    return lambda project: project.write(path, text) and None


def appended(path: str, text: str) -> Change:
    """Append text to a file of the checkout's root."""

    def change(project: Project) -> None:
        with (project.root / path).open("a") as file:
            file.write(text)

    return change


def code(path: str) -> Change:
    """Add a statement that means something to a module of ours."""
    return appended(f"tzrec_build/{path}", "\nADDED_BY_AN_EDIT = 1\n")


def table(path: str, seed: int = 9) -> Change:
    """Other rows in a table of the rank pipeline."""
    return lambda project: write_table(project.path(path), seed)


def toml(text: str, old: str, new: str, pipeline: str = "shop") -> Change:
    """Another pipeline.toml."""
    assert old in text, old
    return written(f"{pipeline}/pipeline.toml", text.replace(old, new))


def nothing(project: Project) -> None:
    """Change nothing."""


def touch_all(project: Project) -> None:
    """New time stamps on every file of the user and of the package."""
    for folder in (project.root / "workspace", project.root / "tzrec_build"):
        for file in folder.rglob("*"):
            if file.is_file() and ".state" not in file.parts:
                os.utime(file)


def same_bytes(project: Project) -> None:
    """Write configs and tables again as they are: other inodes, other times."""
    for path in ("shop/rank.config", "shop/raw/a.parquet", "match/items.txt", "shop/pipeline.toml", "shop/vocab.txt"):
        file = project.path(path)
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)


def same_size_and_time(project: Project) -> None:
    """Other bytes of the same number under the old time stamp."""
    file = project.path("shop/vocab.txt")
    before = file.stat()
    file.write_text("a\nb\nd\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_table(project: Project) -> None:
    """Another name for a table, and the same in pipeline.toml."""
    project.path("shop/late.parquet").rename(project.path("shop/later.parquet"))
    project.write("shop/pipeline.toml", SHOP_TOML.replace("late.parquet", "later.parquet"))


def move_table(project: Project) -> None:
    """The table in another folder, its name and content as before."""
    project.path("elsewhere").mkdir()
    project.path("shop/late.parquet").rename(project.path("elsewhere/late.parquet"))
    project.write("shop/pipeline.toml", SHOP_TOML.replace('"late.parquet"', '"../elsewhere/late.parquet"'))


def other_users(project: Project) -> None:
    """One user less."""
    path = project.path("match/users.parquet")
    pq.write_table(pq.read_table(path).slice(1), path)


def other_items(project: Project) -> None:
    """One item less."""
    path = project.path("match/items.parquet")
    pq.write_table(pq.read_table(path).slice(1), path)


def extra_day(project: Project) -> None:
    """A fourth partition, and the range that asks for it."""
    write_rows(project.write("data/ds=20260104/part-0.parquet", ""), rows=100, seed=44)
    project.write("daily/pipeline.toml", DAILY_TOML.replace("20260103", "20260104"))


def day(number: int, name: str = "part-0") -> Change:
    """Other rows in, or a further file of, a day's partition."""
    return lambda project: (
        write_rows(project.write(f"data/ds=2026010{number}/{name}.parquet", ""), rows=90, seed=77) and None
    )


def new_pipeline(project: Project) -> None:
    """A pipeline of one step."""
    project.write(
        "notes/pipeline.toml",
        '[step.copy]\ncommand = ["cp", "{inputs.a}", "{outputs.b}"]\n'
        'inputs = { a = "a.txt" }\noutputs = { b = "b.txt" }\n',
    )
    project.write("notes/a.txt", "a\n")


def without_daily(project: Project) -> None:
    """A pipeline less."""
    shutil.rmtree(project.path("daily"))


def package(name: str, version: str) -> Change:
    """Another version of an installed package."""

    def change(project: Project) -> None:
        (found,) = (project.root / "installed").glob(f"{name}-*.dist-info")
        found.rename(found.with_name(f"{name}-{version}.dist-info"))

    return change


def local_tag(project: Project) -> None:
    """Another build of the same torch."""
    (found,) = (project.root / "installed").glob("torch-*.dist-info")
    version = found.name.removesuffix(".dist-info").partition("+")[0]
    found.rename(found.with_name(f"{version}+other.dist-info"))


MODEL_FILE = "shop/build/train/model.ckpt-8/model/.metadata"


def cut(project: Project) -> None:
    """A truncated checkpoint."""
    os.truncate(project.path(MODEL_FILE), 5)


def junk(project: Project) -> None:
    """An edited checkpoint."""
    project.path(MODEL_FILE).write_text("junk")


def delete(path: str) -> Change:
    """An artifact, or all of them, deleted."""
    return lambda project: shutil.rmtree(project.path(path))


def executable(project: Project) -> None:
    """An output with another mode."""
    project.path("match/build/index/faiss_index").chmod(0o755)


CONFIG_TABLE = '[config]\npath = "rank.config"\n'
ALL_OF_MATCH = tasks("match", "config final_config fg") | MATCH_TRAINED
ALL = (  # every task of the workspace
    {"protos", "step:shop:tables"}
    | (SHOP_MODEL | tasks("shop", "fg"))
    | ALL_OF_MATCH
    | days("config final_config fg train pick evaluate page")
)

EDITS: dict[str, Edit] = {
    # nothing that counts
    "nothing": Edit(nothing),
    "touch everything": Edit(touch_all),
    "same bytes written again": Edit(same_bytes),
    "comment in pipeline.toml": Edit(appended("workspace/shop/pipeline.toml", "# a note\n")),
    "order of tables in pipeline.toml": Edit(
        written("shop/pipeline.toml", SHOP_TOML.replace(CONFIG_TABLE, "") + CONFIG_TABLE)
    ),
    "another home folder": Edit(nothing, env={"HOME": "/nonexistent/home"}),
    "an environment variable that nobody declares": Edit(
        nothing, env={"MATRIX_OTHER": "x", "USER": "other", "LANG": "C"}
    ),
    "time zone and locale": Edit(nothing, env={"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"}),
    "a new pipeline": Edit(new_pipeline, {"step:notes:copy"}),
    "a pipeline removed": Edit(without_daily),
    # inputs
    "raw file that is used": Edit(table("shop/raw/a.parquet"), TABLES | SELECTION | SHOP_TRAINED | MATCH_TRAINED),
    "raw file that is not used": Edit(table("shop/raw/b.parquet"), TABLES),
    "raw file added": Edit(table("shop/raw/c.parquet"), TABLES),
    "raw file removed": Edit(lambda p: p.path("shop/raw/b.parquet").unlink(), TABLES),
    "evaluation table": Edit(
        table("shop/eval.parquet"),
        tasks("shop", "evaluate predict/all benchmark_run/8 benchmark page")
        | tasks("match", "evaluate page")
        | days("evaluate page"),
    ),
    "further evaluation table": Edit(table("shop/late.parquet"), tasks("shop", "evaluate/late")),
    "vocabulary named in the config": Edit(
        written("shop/vocab.txt", "a\nb\nd\n"), SELECTION | SHOP_TRAINED | tasks("shop", "fg")
    ),
    "same size, old time stamp": Edit(same_size_and_time, SELECTION | SHOP_TRAINED | tasks("shop", "fg")),
    "sampler table named in the config": Edit(
        replaced("workspace/match/items.txt", "39\t1.0", "39\t2.0"), MATCH_TRAINED
    ),
    "baseline": Edit(
        written("shop/baseline.json", '{"baselines": {"popularity": {"auc": 0.6}}, "threshold": 0.0}\n'),
        tasks("shop", "benchmark page"),
    ),
    "users of the hit rate": Edit(other_users, tasks("match", "embed_users hitrate page")),
    "items of the index": Edit(other_items, tasks("match", "embed index hitrate page")),
    "table renamed": Edit(rename_table, tasks("shop", "evaluate/late")),
    "table moved to another folder": Edit(move_table),
    "partition added": Edit(
        extra_day,
        tasks("daily:ds@20260104", DAY_TRAINED),
        tasks("daily:ds@20260104", "config final_config fg"),
    ),
    "first partition backfilled": Edit(day(1), days(DAY_TRAINED)),
    "second partition backfilled": Edit(day(2), days(DAY_TRAINED, 2, 3)),
    "last partition backfilled": Edit(day(3), days(DAY_TRAINED, 3)),
    "file added to a partition": Edit(day(3, "part-1"), days(DAY_TRAINED, 3)),
    # user steps
    "comment in a script that is an input": Edit(appended("workspace/shop/tables.py", "# a note\n"), TABLES),
    "docstring in a module that a script imports": Edit(
        written("shop/choice.py", CHOICE_PY.replace("Which of", "The one of"))
    ),
    "code of a module that a script imports": Edit(
        written("shop/choice.py", CHOICE_PY.replace("int(text)", "int(text) + 0")), TABLES
    ),
    "declared environment variable": Edit(nothing, TABLES, env={"MATRIX_REGION": "eu"}),
    "parameter of a step": Edit(
        toml(SHOP_TOML, "which = 0", "which = 1"), TABLES | SELECTION | SHOP_TRAINED | MATCH_TRAINED
    ),
    "parameter of a step, same result": Edit(toml(SHOP_TOML, "{ which = 0 }", "{ which = 0, spare = 1 }"), TABLES),
    "time limit of a step": Edit(toml(SHOP_TOML, 'env = ["MATRIX_REGION"]', 'env = ["MATRIX_REGION"]\ntimeout = "1h"')),
    "retries of a step": Edit(toml(SHOP_TOML, 'env = ["MATRIX_REGION"]', 'env = ["MATRIX_REGION"]\nretries = 2')),
    # config parts
    "comment in the config": Edit(appended("workspace/shop/rank.config", "# a note\n"), tasks("shop", "config")),
    "order of sections in the config": Edit(
        written(
            "shop/rank.config",
            'export_config { exporter_type: "latest" }\n'
            + RANK.replace('export_config { exporter_type: "latest" }\n', ""),
        ),
        tasks("shop", "config"),
    ),
    "explicit default in the config": Edit(
        replaced("workspace/shop/rank.config", "num_buckets: 30", "trainable: true num_buckets: 30"),
        SHOP_CONFIG | tasks("shop", "page"),
    ),
    "field without effect in the config": Edit(
        replaced("workspace/shop/rank.config", "batch_size: 50", "batch_size: 50 num_workers: 3"),
        SHOP_CONFIG | tasks("shop", "page"),
    ),
    "learning rate": Edit(replaced("workspace/shop/rank.config", "lr: 0.1", "lr: 0.2"), SHOP_MODEL),
    "layer": Edit(replaced("workspace/shop/rank.config", "hidden_units: [8]", "hidden_units: [9]"), SHOP_MODEL),
    "batch size": Edit(replaced("workspace/shop/rank.config", "batch_size: 50", "batch_size: 60"), SHOP_MODEL),
    "feature": Edit(
        replaced("workspace/shop/rank.config", "num_buckets: 40", "num_buckets: 41"), SHOP_MODEL | tasks("shop", "fg")
    ),
    "learning rate of the match config": Edit(
        replaced("workspace/match/match.config", "lr: 0.1", "lr: 0.2"),
        tasks("match", "config final_config") | MATCH_TRAINED,
    ),
    "[config.edit]": Edit(
        toml(SHOP_TOML, "[data]", '[config.edit]\n"data_config.batch_size" = 60\n[data]'), SHOP_MODEL
    ),
    # pipeline.toml
    "[select] topk": Edit(
        toml(SHOP_TOML, "topk = 3", "topk = 4"), tasks("shop", "prune final_config fg") | SHOP_TRAINED
    ),
    "[train] seed": Edit(
        toml(SHOP_TOML, "seed = 7", "seed = 8"),
        (SELECTION | SHOP_TRAINED | tasks("shop", "benchmark_run/9")) - tasks("shop", "benchmark_run/8"),
    ),
    "[train] threads": Edit(toml(SHOP_TOML, "seed = 7", "seed = 7\nthreads = 2"), SELECTION | SHOP_TRAINED),
    "[train] device": Edit(toml(SHOP_TOML, "seed = 7", 'seed = 7\ndevice = "cpu"'), SELECTION | SHOP_TRAINED),
    "[train] timeout": Edit(toml(SHOP_TOML, "seed = 7", 'seed = 7\ntimeout = "3d"')),
    "[pick] by step, the same checkpoint": Edit(
        toml(MATCH_TOML, '[pick]\nby = "step"\nstep = 8\n', "", "match"),
        tasks("match", "pick evaluate embed embed_users"),
    ),
    "[pick] by best": Edit(
        toml(SHOP_TOML, "[select]", '[pick]\nby = "best"\nmetric = "auc"\n[select]'),
        tasks("shop", "train page") | USES_MODEL,
    ),
    "[fg] reserves": Edit(toml(SHOP_TOML, 'reserves = ["clk"]', 'reserves = ["clk", "user"]'), tasks("shop", "fg")),
    "[predict.all] reserved": Edit(
        toml(SHOP_TOML, 'reserved = ["user"]', 'reserved = ["user", "item"]'), tasks("shop", "predict/all")
    ),
    "[eval.late] removed": Edit(toml(SHOP_TOML, '[eval.late]\ndata = "late.parquet"\n', "")),
    "[eval.more] added": Edit(
        toml(SHOP_TOML, "[predict.all]", '[eval.more]\ndata = "late.parquet"\n[predict.all]'),
        restored=tasks("shop", "evaluate/more"),
    ),
    "[benchmark] runs": Edit(toml(SHOP_TOML, "runs = 1", "runs = 2"), tasks("shop", "benchmark_run/9 benchmark page")),
    "[index] type": Edit(toml(MATCH_TOML, "HNSWFlatIP", "IVFFlatIP", "match"), tasks("match", "index hitrate page")),
    "[hitrate] top_k": Edit(toml(MATCH_TOML, "top_k = 5", "top_k = 6", "match"), tasks("match", "hitrate page")),
    "[train] init_from removed": Edit(
        toml(DAILY_TOML, '[train]\ninit_from = "train[ds-1]"\n', "", "daily"), days(DAY_TRAINED, 2, 3)
    ),
    # code
    "docstring of a model": Edit(appended("tzrec_build/models/multi_tower.py", "\n\n# a comment\n")),
    "code of multi_tower": Edit(code("models/multi_tower.py"), SHOP_TORCH),
    "code of deepfm": Edit(code("models/deepfm.py"), DAILY_TORCH),
    "code of dssm": Edit(code("models/dssm.py"), MATCH_TORCH),
    "code of a model outside the package": Edit(appended("workspace/daily/own_model.py", "\nSCALE = 2\n"), DAILY_TORCH),
    "docstring of a model outside the package": Edit(replaced("workspace/daily/own_model.py", "another", "one more")),
    "code of a layer of one model": Edit(code("modules/fm.py"), DAILY_TORCH),
    "code of a layer of all models": Edit(code("modules/mlp.py"), TORCH),
    "code of a model that nobody uses": Edit(code("models/dbmtl.py")),
    "code of a layer that nobody uses": Edit(code("modules/cin.py")),
    "code of a feature type": Edit(code("features/raw_feature.py"), TORCH | FG, alike=days("fg")),
    "code of a feature type that nobody uses": Edit(code("features/combo_feature.py")),
    "registry of models": Edit(
        replaced(
            "tzrec_build/models/registry.py", '"dbmtl":', '"added": "tzrec_build.models.dbmtl:DBMTL",\n    "dbmtl":'
        )
    ),
    "code of a tool": Edit(code("tools/prune.py"), tasks("shop", "prune")),
    "code of the training loop": Edit(
        code("training/loop.py"),
        tasks("shop", "train_select train benchmark_run/8") | tasks("match", "train") | days("train"),
    ),
    "code of the index tool": Edit(code("tools/faiss_index.py"), tasks("match", "index")),
    "code of the engine": Edit(code("graph/reporter.py")),
    "code of the store": Edit(code("store/cas.py")),
    "comment in a .proto": Edit(appended("protos/tzrec/data.proto", "// a note\n"), {"protos"}),
    # environment
    "version of torch": Edit(package("torch", "2.99.0"), TORCH | tasks("shop", "importance")),
    "local tag of torch": Edit(local_tag),
    "version of faiss": Edit(package("faiss_cpu", "9.9.9"), tasks("match", "index hitrate")),
    "version of a package that nobody names": Edit(package("pytest", "99.0")),
    # outputs
    "cut checkpoint": Edit(cut, restored=tasks("shop", "train")),
    "edited checkpoint": Edit(junk, restored=tasks("shop", "train")),
    "file added to an artifact": Edit(written("shop/build/train/more.txt", "more\n"), restored=tasks("shop", "train")),
    "mode of an output": Edit(executable, restored=tasks("match", "index")),
    "artifact deleted": Edit(delete("match/build/index"), restored=tasks("match", "index")),
    "every artifact of a pipeline deleted": Edit(delete("match/build"), restored=ALL_OF_MATCH),
    "records deleted": Edit(delete("shop/build/train/records")),
}
