"""Conversion of EasyRec configs: expectations by hand, and a receipt that leaves nothing out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format

from tests.tools.easyrec_texts import DATA, config_text, convert_text, refusals
from tzrec_build.config.lint import lint
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.tools import convert_easyrec

DEEPFM = Path(__file__).parents[1] / "configs" / "easyrec" / "deepfm.config"


def run(tmp_path, source, *flags):
    out = tmp_path / "new.config"
    code = convert_easyrec.main(["--easyrec_config_path", str(source), "--output_tzrec_config_path", str(out), *flags])
    return code, out


def expected(text):
    config = EasyRecConfig()
    text_format.Parse(text, config)
    return config


def test_deepfm_model_is_what_a_person_would_write(tmp_path):
    code, out = run(tmp_path, DEEPFM)
    assert code == 0
    config = load_pipeline_config(out)
    assert (
        config.model_config
        == expected("""model_config {
      feature_groups { group_name: "wide" feature_names: ["user_id", "item_id", "price"] group_type: WIDE }
      feature_groups { group_name: "deep" feature_names: ["user_id", "item_id", "tags", "price", "user_item"] group_type: DEEP }
      deepfm {
        wide_embedding_dim: 8
        deep { hidden_units: [64, 32] dropout_ratio: [0.1, 0.2] activation: "nn.ELU" use_bn: true }
        final { hidden_units: 16 use_bn: false }
      }
      losses { binary_cross_entropy {} }
      metrics { auc { thresholds: 1000 } }
      metrics { grouped_auc { grouping_key: "user_id" } }
    }""").model_config
    )
    assert lint(config) == []


def test_deepfm_features_are_what_a_person_would_write(tmp_path):
    _, out = run(tmp_path, DEEPFM)
    assert (
        load_pipeline_config(out).feature_configs
        == expected("""
      feature_configs { id_feature { feature_name: "user_id" expression: "user:user_id" embedding_dim: 16
        hash_bucket_size: 1000 value_dim: 1 default_value: "" } }
      feature_configs { id_feature { feature_name: "item_id" expression: "user:item_id" embedding_dim: 16
        num_buckets: 500 value_dim: 1 default_value: "0" embedding_name: "items_" } }
      feature_configs { id_feature { feature_name: "tags" expression: "user:tags" embedding_dim: 16
        hash_bucket_size: 100 separator: "|" weighted: true } }
      feature_configs { raw_feature { feature_name: "price" expression: "user:price" embedding_dim: 16
        boundaries: [1, 10, 100] default_value: "1.5" } }
      feature_configs { combo_feature { feature_name: "user_item" expression: ["user:user_id", "user:item_id"]
        embedding_dim: 16 hash_bucket_size: 10000 } }
    """).feature_configs
    )


def test_deepfm_training_and_data_are_what_a_person_would_write(tmp_path):
    _, out = run(tmp_path, DEEPFM)
    config = load_pipeline_config(out)
    rate = "exponential_decay_learning_rate { decay_size: 1000 decay_factor: 0.5 min_learning_rate: 0.00001 }"
    wanted = expected(f"""
      train_input_path: "train.csv" eval_input_path: "eval.csv" model_dir: "experiments/deepfm"
      train_config {{
        sparse_optimizer {{ adam_optimizer {{ lr: 0.001 }} {rate} }}
        dense_optimizer {{ adam_optimizer {{ lr: 0.001 }} {rate} }}
        num_steps: 500 save_checkpoints_steps: 100 log_step_count_steps: 50 keep_checkpoint_max: 10
      }}
      eval_config {{ num_steps: 4 }}
      export_config {{ exporter_type: "best" best_exporter_metric: "grouped_auc" }}
      data_config {{
        dataset_type: CsvDataset delimiter: "\\t" batch_size: 256 label_fields: "click" shuffle: true fg_mode: FG_DAG
        input_fields {{ input_name: "click" input_type: INT32 }} input_fields {{ input_name: "user_id" input_type: STRING }}
        input_fields {{ input_name: "item_id" input_type: INT64 }} input_fields {{ input_name: "tags" input_type: STRING }}
        input_fields {{ input_name: "price" input_type: DOUBLE }}
      }}""")
    wanted.MergeFrom(expected("").__class__(feature_configs=config.feature_configs, model_config=config.model_config))
    assert config == wanted


def test_the_receipt_has_a_row_for_every_set_field_of_the_source(tmp_path):
    run(tmp_path, DEEPFM)
    report = json.loads((tmp_path / "conversion_report.json").read_text())
    from tzrec_build.config.easyrec.convert import parse_easyrec
    from tzrec_build.config.schema_source import our_schema
    from tzrec_build.config.walk import is_own_message, walk_fields

    source = parse_easyrec(DEEPFM.read_text(), "x", our_schema())
    scalars = [found.path for found in walk_fields(source) if not is_own_message(found.field)]
    assert sorted(row["source"] for row in report["fields"]) == sorted(scalars)
    assert {row["result"] for row in report["fields"]} <= {"kept", "mapped", "approximated", "dropped"}
    assert all(row["note"] for row in report["fields"] if row["result"] in {"approximated", "dropped"})
    assert sum(report["counts"].values()) == len(scalars)


def test_every_target_of_the_receipt_is_set_in_the_result(tmp_path):
    _, out = run(tmp_path, DEEPFM)
    report = json.loads((tmp_path / "conversion_report.json").read_text())
    from tzrec_build.config.walk import walk_fields, walk_messages

    config = load_pipeline_config(out)
    places = {found.path for found in walk_fields(config)} | {path for path, _ in walk_messages(config)}
    targets = {target for row in report["fields"] for target in row["targets"]}
    assert targets - places == set()


def test_two_conversions_give_the_same_bytes(tmp_path):
    texts = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        _, out = run(folder, DEEPFM)
        texts.append(out.read_text() + (folder / "conversion_report.json").read_text())
    assert texts[0] == texts[1]


def test_the_table_says_what_is_dropped_and_why(tmp_path, capsys):
    run(tmp_path, DEEPFM)
    out = capsys.readouterr().out
    assert out.startswith("41 kept, 29 mapped, 0 approximated, 4 dropped, 7 added\n")
    assert "  data_config.prefetch_size = 4: reading ahead has no setting\n" in out


def test_strict_makes_a_drop_an_error_and_writes_the_receipt_only(tmp_path, capsys):
    code, out = run(tmp_path, DEEPFM, "--strict")
    assert code == 2
    err = capsys.readouterr().err
    assert "data_config.prefetch_size = 4 is dropped: reading ahead has no setting" in err
    assert "--strict allows no dropped field, got 4" in err
    assert not out.exists()
    assert (tmp_path / "conversion_report.json").exists()


def test_strict_passes_what_has_no_drop(tmp_path):
    text = DEEPFM.read_text().replace("  prefetch_size: 4\n", "").replace("  sync_replicas: true\n", "")
    text = text.replace("    l2_regularization: 0.00001\n", "").replace("  embedding_regularization: 0.00001\n", "")
    (tmp_path / "old.config").write_text(text)
    code, _ = run(tmp_path, tmp_path / "old.config", "--strict", "--report_path", str(tmp_path / "r" / "r.json"))
    assert code == 0
    assert json.loads((tmp_path / "r" / "r.json").read_text())["counts"]["dropped"] == 0


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (
            'model_class: "DeepFM"',
            'model_class: "ESMM"',
            "model_config.model_class: model_class 'ESMM' has no counterpart",
        ),
        ('model_class: "DeepFM"', 'model_class: "DLRM"', "model_class 'DLRM' needs its settings dlrm, got none"),
        (
            '"tf.nn.elu"',
            '"tf.nn.crelu"',
            "model_config.deepfm.dnn.activation: activation 'tf.nn.crelu' has no counterpart",
        ),
        ("hash_bucket_size: 1000 ", "", "feature 'user_id' must say how many ids there are"),
        ("deepfm {", "loss_type: PAIR_WISE_LOSS deepfm {", "loss PAIR_WISE_LOSS has no counterpart"),
        (
            '"tags", "price"',
            '"tagz", "price"',
            "group 'deep' must name configured features, got 'tagz'",
        ),
        (
            "embedding_dim: 16 hash_bucket_size: 1000 ",
            "hash_bucket_size: 1000 ",
            "feature 'user_id' must have an embedding_dim",
        ),
        ("hidden_units: [16]", "", "hidden_units must be given, got none"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name_and_nothing_is_written(old, new, text, tmp_path, capsys):
    changed = DEEPFM.read_text().replace(old, new, 1)
    assert changed != DEEPFM.read_text()
    (tmp_path / "old.config").write_text(changed)
    code, out = run(tmp_path, tmp_path / "old.config")
    err = capsys.readouterr().err
    assert code == 2, err
    assert text in err
    assert "not converted; change what is named above" in err
    assert "Traceback" not in err
    assert not out.exists()
    assert json.loads((tmp_path / "conversion_report.json").read_text())["refused"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modeldir: 'x'", 'old.config:1:1: message type "protos.EasyRecConfig" has no field named "modeldir"'),
        ("model_dir: 1", "old.config:1:12: "),
        ("model_config {", "old.config:1:"),
    ],
)
def test_a_text_that_does_not_parse_is_shown_with_its_place(text, message, tmp_path, capsys):
    (tmp_path / "old.config").write_text(text)
    code, _ = run(tmp_path, tmp_path / "old.config")
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_field_given_twice_has_its_last_value():
    text = config_text("deepfm").replace("batch_size: 32", "batch_size: 32 batch_size: 64")
    assert convert_text(text).config.data_config.batch_size == 64


def test_a_package_digest_without_a_package_is_an_error(tmp_path, capsys):
    code, _ = run(tmp_path, DEEPFM, "--easyrec_package_sha256", "0" * 64)
    assert code == 2
    assert "--easyrec_package_sha256: needs --easyrec_package_path, got none" in capsys.readouterr().err


def test_a_named_package_gives_the_schema(tmp_path):
    import zipfile

    from tzrec_build.config.schema_source import OUR_MODULES

    with zipfile.ZipFile(tmp_path / "easy_rec.whl", "w") as archive:
        for path in OUR_MODULES.glob("*_pb2.py"):
            archive.write(path, f"easy_rec/python/protos/{path.name}")
    code, out = run(tmp_path, DEEPFM, "--easyrec_package_path", str(tmp_path / "easy_rec.whl"))
    assert code == 0
    (tmp_path / "ours").mkdir()
    assert out.read_text() == run(tmp_path / "ours", DEEPFM)[1].read_text()


def test_a_field_without_a_rule_is_refused_and_not_lost():
    from tzrec_build.config.easyrec import data

    rules = dict(data._DATA)
    del rules["prefetch_size"]
    text = config_text("deepfm", data=DATA + " prefetch_size: 3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "_DATA", rules)
        assert "data_config.prefetch_size: the conversion has no rule for this field here; remove it" in refusals(text)


def test_paths_that_are_not_given_are_empty_and_said_to_be():
    converted = convert_text(config_text("deepfm", pipeline='model_dir: "m"'))
    assert (converted.config.train_input_path, converted.config.HasField("eval_input_path")) == ("", True)
    assert ("train_input_path", "", "required; give it by a flag") in converted.receipt.added


def test_the_table_is_written_also_when_the_conversion_is_refused(tmp_path, capsys):
    source, table = tmp_path / "old.config", tmp_path / "table.txt"
    source.write_text(DEEPFM.read_text())
    assert run(tmp_path, source, "--table_path", str(table))[0] == 0
    assert table.read_text() == capsys.readouterr().out
    table.unlink()
    source.write_text(DEEPFM.read_text().replace('model_class: "DeepFM"', 'model_class: "AutoInt"'))
    assert run(tmp_path, source, "--table_path", str(table))[0] == 2
    assert "kept, " in table.read_text()


def test_a_table_whose_name_torch_keeps_for_itself_is_renamed_and_said_so(tmp_path):
    _, out = run(tmp_path, DEEPFM)
    (row,) = [
        row
        for row in json.loads((tmp_path / "conversion_report.json").read_text())["fields"]
        if row["source"].endswith("embedding_name")
    ]
    assert (row["value"], row["result"]) == ("items", "mapped")
    assert 'embedding_name: "items_"' in out.read_text()
