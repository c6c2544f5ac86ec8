"""The choice of a checkpoint as a file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tzrec_build.tools.pick_checkpoint import main


@pytest.fixture
def model_dir(tmp_path):
    for step in (10, 20, 30):
        (tmp_path / f"model.ckpt-{step}" / "model").mkdir(parents=True)
        (tmp_path / f"model.ckpt-{step}" / "model" / ".metadata").touch()
    lines = [{"global_step": 10, "auc": 0.6}, {"global_step": 20, "auc": 0.7}, {"global_step": 30, "auc": 0.65}]
    (tmp_path / "train_eval_result_v2.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "step"),
    [
        ([], 30),
        (["--by", "best", "--metric", "auc"], 20),
        (["--by", "best", "--metric", "auc", "--smaller_is_better"], 10),
        (["--by", "step", "--step", "10"], 10),
    ],
)
def test_each_rule_writes_its_choice(model_dir, tmp_path, flags, step):
    out = tmp_path / "pick.json"
    assert main(["--model_dir", str(model_dir), "--output_path", str(out), *flags]) == 0
    chosen = json.loads(out.read_text())
    assert (chosen["checkpoint"], chosen["step"]) == (f"model.ckpt-{step}", step)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--by", "best"], 2, "--metric: must be given with --by best"),
        (["--by", "best", "--metric", "acu"], 2, "'acu' was not evaluated; did you mean 'auc'"),
        (["--by", "step"], 2, "--step: must be given"),
        (["--by", "step", "--step", "11"], 1, "model.ckpt-11 is wanted but only steps 10, 20, 30 are there"),
    ],
)
def test_a_rule_that_chooses_nothing_writes_nothing(model_dir, tmp_path, capsys, flags, code, message):  # noqa: PLR0917
    out = tmp_path / "pick.json"
    assert main(["--model_dir", str(model_dir), "--output_path", str(out), *flags]) == code
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_empty_model_dir_is_refused(tmp_path, capsys):
    assert main(["--model_dir", str(tmp_path), "--output_path", str(tmp_path / "p")]) == 1
    assert "holds no whole checkpoint" in capsys.readouterr().err


def test_it_needs_neither_torch_nor_numpy():
    code = "import sys, tzrec_build.tools.pick_checkpoint; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
