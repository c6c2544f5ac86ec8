"""Every path-valued field of a config: an edit of the file that it names makes exactly its readers stale."""

from __future__ import annotations

from collections import deque

import pytest

from tests.graph.toml_files import load
from tzrec_build.config.paths import PATH_FIELDS, classified_paths
from tzrec_build.graph.compile import compile_workspace
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.state import State
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

PIPELINE = """
[config]
path = "x.config"
[select]
topk = 3
[eval.late]
data = "late.parquet"
[predict.all]
input = "all.parquet"
[export]
[index]
items = "items.parquet"
id_field = "item_id"
[hitrate]
users = "users.parquet"
[benchmark]
runs = 1
"""
TRAININGS = {"train_select:x", "train:x", "benchmark_run:x:8"}
EVALUATIONS = {"evaluate:x", "evaluate:x:late"}
FEATURES = TRAININGS | EVALUATIONS | {"predict:x:all", "export:x", "embed:x", "embed_users:x", "fg:x"}
SAMPLERS = TRAININGS | EVALUATIONS
READERS = {  # field -> tasks that read the file; those of a kind of feature read it wherever features are made
    "EasyRecConfig.train_input_path": TRAININGS,
    "EasyRecConfig.eval_input_path": {"evaluate:x", "benchmark_run:x:8"},
    "EasyRecConfig.model_dir": set(),
    "TrainConfig.fine_tune_checkpoint": TRAININGS,
    "TrainConfig.fine_tune_ckpt_param_map": TRAININGS,
    "DeltaEmbeddingDumpConfig.output_dir": set(),
    "NegativeSampler.input_path": SAMPLERS,
    "NegativeSamplerV2.user_input_path": SAMPLERS,
    "NegativeSamplerV2.item_input_path": SAMPLERS,
    "NegativeSamplerV2.pos_edge_input_path": SAMPLERS,
    "HardNegativeSampler.user_input_path": SAMPLERS,
    "HardNegativeSampler.item_input_path": SAMPLERS,
    "HardNegativeSampler.hard_neg_edge_input_path": SAMPLERS,
    "HardNegativeSamplerV2.user_input_path": SAMPLERS,
    "HardNegativeSamplerV2.item_input_path": SAMPLERS,
    "HardNegativeSamplerV2.pos_edge_input_path": SAMPLERS,
    "HardNegativeSamplerV2.hard_neg_edge_input_path": SAMPLERS,
    "TDMSampler.item_input_path": SAMPLERS,
    "TDMSampler.edge_input_path": SAMPLERS,
    "TDMSampler.predict_edge_input_path": SAMPLERS,
    "TextNormalizer.stop_char_file": FEATURES,
    "CustomFeature.operator_lib_file": FEATURES,
    "DynamicEmbedding.init_table": TRAININGS,
    "IdFeature.vocab_file": FEATURES,
    "IdFeature.asset_dir": FEATURES,
    "ComboFeature.vocab_file": FEATURES,
    "ComboFeature.asset_dir": FEATURES,
    "LookupFeature.vocab_file": FEATURES,
    "LookupFeature.asset_dir": FEATURES,
    "MatchFeature.vocab_file": FEATURES,
    "MatchFeature.asset_dir": FEATURES,
    "CustomFeature.vocab_file": FEATURES,
    "CustomFeature.asset_dir": FEATURES,
    "BoolMaskFeature.vocab_file": FEATURES,
    "BoolMaskFeature.asset_dir": FEATURES,
    "TokenizeFeature.vocab_file": FEATURES,
    "TokenizeFeature.asset_dir": FEATURES,
}


def route(name):
    """Fields that lead from the whole config to a message, by the shortest way."""
    queue = deque([(EasyRecConfig.DESCRIPTOR, ())])
    seen = set()
    while queue:
        descriptor, fields = queue.popleft()
        if descriptor.name == name:
            return fields
        seen.add(descriptor.full_name)
        queue += [
            (field.message_type, (*fields, field))
            for field in descriptor.fields
            if field.message_type and field.message_type.full_name not in seen
        ]
    raise AssertionError(f"no message {name} in the schema")


def config_with(message_field):
    """A config in which one field names the file ``named``."""
    name, _, field = message_field.partition(".")
    config = message = EasyRecConfig()
    for step in route(name):
        message = getattr(message, step.name).add() if step.is_repeated else getattr(message, step.name)
    message.SetInParent()
    if field == "asset_dir":
        message.asset_dir, message.vocab_file = "assets", "words"
    else:
        setattr(message, field, "assets/words")
    return config


def compiled(root, config):
    facts = {
        "paths": classified_paths(config),
        "kinds": [],
        "train_input_path": config.train_input_path or "t.parquet",
        "eval_input_path": config.eval_input_path or "e.parquet",
    }
    found = compile_workspace(load(root, {"x": PIPELINE}), lambda _pipeline, _edits: facts)
    assert not found.broken
    return found.specs


def test_the_table_above_is_whole():
    assert set(READERS) == set(PATH_FIELDS)


@pytest.mark.parametrize("field", READERS)
def test_exactly_the_readers_are_stale_after_an_edit_of_the_file(tmp_path, field):
    specs = compiled(tmp_path, config_with(field))
    named = tmp_path / "workspace/x/assets/words"
    named.parent.mkdir()
    named.write_text("one")

    def parts():
        judge = Judge(State(str(tmp_path / "state")), str(tmp_path), str(tmp_path))
        return {spec.name: judge.snapshot(spec).parts() for spec in specs}

    before = parts()
    named.write_text("two")
    after = parts()
    assert {name for name in before if before[name] != after[name]} == READERS[field]
