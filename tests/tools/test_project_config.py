import json
import subprocess
import sys

import pytest

from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.load import canonical_text, load_pipeline_config, parse_pipeline_config
from tzrec_build.config.projection import PURPOSES, project
from tzrec_build.tools.project_config import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Write a config into an empty folder, run the tool there, give exit code, stderr and what was written."""
    monkeypatch.chdir(tmp_path)

    def run_it(text=GOOD, *flags, name="my.config"):
        (tmp_path / name).write_text(text)
        code = main(["--pipeline_config_path", name, "--output_dir", "out", *flags])
        out = tmp_path / "out"
        return code, capsys.readouterr().err, {path.name: path for path in out.iterdir()} if out.is_dir() else {}

    return run_it


def test_it_writes_the_canonical_config_and_one_file_for_each_purpose(run):
    code, err, files = run(GOOD, "--purposes", ",".join(PURPOSES))
    assert (code, err) == (0, "")
    assert set(files) == {"pipeline.config"} | {f"{purpose}.config" for purpose in PURPOSES}
    config = parse_pipeline_config(GOOD, "x.config")
    assert files["pipeline.config"].read_text() == canonical_text(config)
    for purpose in PURPOSES:
        text = files[f"{purpose}.config"].read_text()
        assert text.startswith(f"# projection 1: {purpose}\n")
        assert load_pipeline_config(files[f"{purpose}.config"]) == project(config, purpose)


def test_only_the_asked_purposes_are_written(run):
    assert set(run(GOOD, "--purposes", "train")[2]) == {"pipeline.config", "train.config"}
    assert set(run(GOOD)[2]) >= {"pipeline.config"}


def test_edits_are_applied(run):
    edits = json.dumps(
        {"data_config.batch_size": 64, "feature_configs[id_feature.feature_name=a].id_feature.embedding_dim": 16}
    )
    config = load_pipeline_config(run(GOOD, "--edit_config_json", edits)[2]["pipeline.config"])
    assert config.data_config.batch_size == 64
    assert config.feature_configs[0].id_feature.embedding_dim == 16


def test_variational_dropout_is_added_only_when_absent(run):
    config = load_pipeline_config(run(GOOD, "--require_variational_dropout", "0.5")[2]["pipeline.config"])
    assert config.model_config.variational_dropout.regularization_lambda == 0.5
    own = GOOD.replace("losses {", "variational_dropout { regularization_lambda: 0.25 }\n  losses {")
    config = load_pipeline_config(run(own, "--require_variational_dropout", "0.5")[2]["pipeline.config"])
    assert config.model_config.variational_dropout.regularization_lambda == 0.25


def test_a_json_config_is_read_and_written_as_text(run):
    from google.protobuf import json_format

    config = parse_pipeline_config(GOOD, "x.config")
    code, _, files = run(json_format.MessageToJson(config), name="my.json")
    assert code == 0
    assert load_pipeline_config(files["pipeline.config"]) == config


def test_the_same_input_gives_the_same_bytes_in_any_folder(run, tmp_path):
    first = {name: path.read_bytes() for name, path in run(GOOD, "--purposes", "train,fg")[2].items()}
    (tmp_path / "b").mkdir()
    again = run(GOOD, "--purposes", "train,fg", "--output_dir", "elsewhere")[2]
    assert {name: (tmp_path / "elsewhere" / name).read_bytes() for name in again} == first


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_test_configs_pass(run, path):
    assert run(path.read_text(), "--purposes", "train,eval,predict,fg,export")[:2] == (0, "")


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        (
            GOOD.replace("batch_size", "batchsize"),
            (),
            "my.config:11:3: DataConfig has no field 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            GOOD.replace("  losses {", " wukong {}\n  losses {"),
            (),
            'my.config:27:2: field "wukong" is specified along with',
        ),
        (
            GOOD + "export_config { use_dense_ema: true }",
            (),
            "not supported yet: export_config.use_dense_ema in my.config:30",
        ),
        (
            GOOD.replace('"b", "r"', '"bb"'),
            (),
            "my.config:21: group 'item' must name configured features, got 'bb'; did you mean 'b'?",
        ),
        (GOOD, ("--edit_config_json", "[1]"), "--edit_config_json: must be a JSON object, got '[1]'"),
        (GOOD, ("--edit_config_json", "{"), "--edit_config_json: must be a JSON object, Expecting property name"),
        (GOOD, ("--edit_config_json", '{"data_config.x": 1}'), "edit 'data_config.x': DataConfig has no field 'x'"),
        (
            GOOD,
            ("--edit_config_json", '{"feature_configs[0]": "id_feature {}"}'),
            "my.config:16: IdFeature must set feature_name",
        ),
        (
            GOOD,
            ("--purposes", "train,trian"),
            "--purposes: must name known purposes, got 'trian'; did you mean 'train'?",
        ),
        (
            GOOD,
            ("--require_variational_dropout", "nan"),
            "--require_variational_dropout: must be a number of 0 or more, got nan",
        ),
    ],
    ids=lambda part: part[:40] if isinstance(part, str) else repr(part),
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(run, text, flags, words):
    code, err, files = run(text, *flags)
    assert code == 2
    assert err.startswith("project_config: ")
    assert words in err
    assert "Traceback" not in err
    assert files == {}


def test_all_broken_rules_are_reported_at_once(run):
    text = GOOD.replace('"b", "r"', '"bb", "rr"').replace('input: "user"', 'input: "usr"')
    assert len(run(text)[1].strip().split("\n")) == 3


def test_a_missing_config_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--pipeline_config_path", "no.config", "--output_dir", "out"]) == 2
    assert "no.config: cannot read this config, No such file or directory" in capsys.readouterr().err


def test_it_starts_without_heavy_packages(repo_root):
    code = (
        "import sys, tzrec_build.tools.project_config, tzrec_build.config.facts, tzrec_build.config.edit\n"
        "heavy = {'torch', 'torchrec', 'numpy', 'pyarrow', 'pandas', 'matplotlib', 'doit', 'google.protobuf.json_format'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo_root, check=True)
