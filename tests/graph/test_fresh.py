"""Snapshots, keys and reasons."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading

import pytest

from tzrec_build.errors import DataError
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.rows import make_rows
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State


@pytest.fixture
def place(tmp_path):
    site = tmp_path / "site"
    for name in ("torch-2.13.0+cpu.dist-info", "faiss_cpu-1.15.1.dist-info", "numpy-2.4.6.dist-info"):
        (site / name).mkdir(parents=True)
    folder = tmp_path / "pipe"
    (folder / "data").mkdir(parents=True)
    (folder / "data/a.parquet").write_text("a")
    (folder / "data/b.parquet").write_text("b")
    (folder / "x.config").write_text("model")
    return tmp_path


def judge(place):
    return Judge(State(str(place / "state")), str(place), str(place / "site"))


def spec(place, **changes):
    base = TaskSpec(
        name="train:pipe",
        doc="",
        folder=str(place / "pipe"),
        out="build/train",
        argv=("python", "-m", "tool", "{inputs.train}", "{out}"),
        module="",
        inputs=(Input("config", ("x.config",)), Input("train", ("data/*.parquet",), named_in="pipeline.toml")),
        params=(("seed", 7),),
        outputs=(("model", "model"),),
        packages=("torch", "faiss"),
    )
    return dataclasses.replace(base, **changes)


def record(place, task):
    """Pretend that the task has just been built."""
    j = judge(place)
    out = place / "pipe/build/train"
    out.mkdir(parents=True, exist_ok=True)
    (out / "model").write_text("weights")
    j.state.set_record(task.name, {**j.snapshot(task).parts(), "outputs": j.outputs(task)})


def key(place, task):
    j = judge(place)
    return j.key(task, j.snapshot(task))


def test_never_built(place):
    assert str(judge(place).reason(spec(place))) == "never built here"


def test_up_to_date_after_a_record(place):
    record(place, spec(place))
    assert judge(place).reason(spec(place)) is None


def test_an_edit_right_after_the_comparison_does_not_get_into_the_stamp(place, monkeypatch):
    task = spec(place)
    record(place, task)
    (row,) = make_rows([task], str(place))
    one = judge(place)
    one.state.set_stamp(task.name, b"unknown")
    reason = one.reason

    def compare_then_edit(compared):
        found = reason(compared)
        (place / "pipe/x.config").write_text("edited")
        return found

    monkeypatch.setattr(one, "reason", compare_then_edit)
    assert one.verdict(row) is None
    assert str(judge(place).verdict(row)) == "input config x.config: content changed"


REASONS = [
    (lambda p: (p / "pipe/x.config").write_text("other"), {}, "input config x.config: content changed"),
    (lambda p: (p / "pipe/data/c.parquet").write_text("c"), {}, "input train c.parquet: added"),
    (lambda p: (p / "pipe/data/a.parquet").unlink(), {}, "input train a.parquet: gone"),
    (lambda p: None, {"params": (("seed", 8),)}, "parameter seed: 7 → 8"),
    (lambda p: None, {"params": (("seed", 7), ("topk", 3))}, "parameter topk: (none) → 3"),
    (
        lambda p: shutil.move(p / "site/torch-2.13.0+cpu.dist-info", p / "site/torch-2.13.1.dist-info"),
        {},
        "environment torch: 2.13.0 → 2.13.1",
    ),
    (lambda p: (p / "pipe/build/train/model").write_text("junk"), {}, "output build/train/model: content changed"),
    (lambda p: (p / "pipe/build/train/model").unlink(), {}, "output build/train/model: gone"),
    (lambda p: (p / "pipe/build/train/more").write_text(""), {}, "output build/train/more: added"),
]


@pytest.mark.parametrize(("change", "edits", "text"), REASONS, ids=[row[2] for row in REASONS])
def test_the_first_difference_is_the_reason(place, change, edits, text):
    record(place, spec(place))
    change(place)
    assert str(judge(place).reason(spec(place, **edits))) == text


def test_a_cpu_and_a_cuda_build_are_one_environment(place):
    before = key(place, spec(place))
    shutil.move(place / "site/torch-2.13.0+cpu.dist-info", place / "site/torch-2.13.0+cu130.dist-info")
    shutil.move(place / "site/faiss_cpu-1.15.1.dist-info", place / "site/faiss_gpu-1.15.1.dist-info")
    assert key(place, spec(place)) == before


def test_threads_never_see_half_of_the_package_list(place, monkeypatch):
    j, task = judge(place), spec(place)
    real, inside, done = os.listdir, threading.Event(), threading.Event()

    def slow(folder):
        names = real(folder)
        yield names[0]
        inside.set()
        done.wait(10)
        yield from names[1:]

    monkeypatch.setattr("tzrec_build.graph.fresh.os.listdir", slow)
    first = threading.Thread(target=j.snapshot, args=(task,))
    first.start()
    assert inside.wait(10)
    monkeypatch.setattr("tzrec_build.graph.fresh.os.listdir", real)
    env = j.snapshot(task).env
    done.set()
    first.join(10)
    assert (env["torch"], env["faiss"]) == ("2.13.0", "1.15.1")


def test_key_does_not_know_where_the_checkout_or_the_tables_lie(place, tmp_path):
    before = key(place, spec(place))
    other = tmp_path / "moved"
    shutil.copytree(place / "pipe", other / "pipe")
    shutil.copytree(place / "site", other / "site")
    shutil.move(other / "pipe/data", other / "elsewhere")
    moved = spec(other, inputs=(Input("config", ("x.config",)), Input("train", ("../elsewhere/*.parquet",))))
    assert key(other, moved) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda p: (p / "pipe/x.config").write_text("other"),
        lambda p: (p / "pipe/data/c.parquet").write_text("c"),
        lambda p: (p / "pipe/data/a.parquet").rename(p / "pipe/data/c.parquet"),
    ],
    ids=["content", "one more", "renamed"],
)
def test_content_and_names_of_inputs_are_in_the_key(place, change):
    before = key(place, spec(place))
    change(place)
    assert key(place, spec(place)) != before


@pytest.mark.parametrize(
    "edits",
    [{"params": (("seed", 8),)}, {"argv": ("python", "{out}")}, {"packages": ("torch",)}, {"outputs": ()}],
    ids=["param", "command", "packages", "outputs"],
)
def test_params_command_packages_and_outputs_are_in_the_key(place, edits):
    assert key(place, spec(place, **edits)) != key(place, spec(place))


def test_a_missing_input_names_where_it_is_asked_for(place):
    task = spec(place, inputs=(Input("train", ("no/*.parquet",), named_in="workspace/pipe/pipeline.toml"),))
    j = judge(place)
    with pytest.raises(DataError) as error:
        j.check_inputs(task, j.snapshot(task))
    assert str(error.value) == (
        "train:pipe: input train: nothing at no/*.parquet (named in workspace/pipe/pipeline.toml); "
        "put it there or correct the path"
    )


def test_an_exact_machine_is_its_processor_devices_and_local_tags(place):
    plain, exact = (judge(place).snapshot(spec(place, exact_machine=exact)).env for exact in (False, True))
    assert plain["torch"] == "2.13.0"
    assert exact["torch"] == "2.13.0+cpu"
    assert set(exact) - set(plain) == {"cpu", "gpu", "driver"}


def test_the_packages_that_a_users_script_imports_count_by_their_version(place):
    record = place / "site/numpy-2.4.6.dist-info/RECORD"
    record.write_text("numpy/__init__.py,,\n")
    (place / "pipe/clean.py").write_text("import helpers\n")
    (place / "pipe/helpers.py").write_text("def f():\n    import numpy.linalg\n    import json\n")
    step = spec(place, argv=("python", "clean.py"), packages=(), code=("clean.py",))
    snapshot = judge(place).snapshot(step)
    assert snapshot.env["numpy"] == "2.4.6"
    assert set(snapshot.env) == {"system", "python", "numpy"}
    assert set(snapshot.code) == {"clean.py", "helpers.py"}
    record.parent.rename(place / "site/numpy-2.4.7.dist-info")
    assert judge(place).snapshot(step).env["numpy"] == "2.4.7"
