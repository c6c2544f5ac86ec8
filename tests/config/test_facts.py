import json

from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.facts import config_facts


def test_facts_name_registry_rows_paths_and_settings():
    facts = config_facts(next(path for path in CONFIGS if path.stem == "dssm_taobao"))
    assert facts["kinds"] == [
        "dense_optimizer:adam_optimizer",
        "encoder:pooling_encoder",
        "feature:id_feature",
        "feature:raw_feature",
        "feature:sequence_feature",
        "loss:softmax_cross_entropy",
        "metric:recall_at_k",
        "model:dssm",
        "sampler:negative_sampler",
        "schedule:constant_learning_rate",
        "sparse_optimizer:adagrad_optimizer",
    ]
    assert facts["has_variational_dropout"] is False
    assert facts["train_input_path"] == "odps://project/tables/taobao_train"
    assert [row["field"] for row in facts["paths"]][-1] == "data_config.negative_sampler.input_path"


def test_facts_are_json_and_say_how_the_checkpoint_is_picked(tmp_path):
    path = tmp_path / "x.config"
    path.write_text(
        GOOD + 'export_config { exporter_type: "best" best_exporter_metric: "mse" metric_larger_is_better: false }'
    )
    facts = config_facts(path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["pick"] == {"by": "best", "metric": "mse", "smaller_is_better": True}
    path.write_text(GOOD.replace("losses {", "variational_dropout {}\n  losses {"))
    assert config_facts(path)["pick"] == {"by": "latest", "metric": "", "smaller_is_better": False}
    assert config_facts(path)["has_variational_dropout"] is True


def test_facts_are_those_of_the_edited_config():
    path = next(path for path in CONFIGS if path.stem == "dssm_taobao")
    facts = config_facts(
        path, {"data_config.negative_sampler.input_path": "items.txt", "model_config.losses": "l2_loss {}"}
    )
    assert facts["paths"][-1]["value"] == "items.txt"
    assert "loss:l2_loss" in facts["kinds"]
