import hashlib

import pytest

from tests.config.test_support import MESSAGES
from tests.config.texts import CONFIGS, GOOD
from tzrec_build.config.edit import edit_config
from tzrec_build.config.load import canonical_text, load_pipeline_config, parse_pipeline_config
from tzrec_build.config.projection import PROJECTION_VERSION, PURPOSES, project
from tzrec_build.config.support import NO_EFFECT
from tzrec_build.config.walk import walk_fields
from tzrec_build.errors import ConfigError

CONFIG = parse_pipeline_config(GOOD, "x.config")


def changed_by(edits):
    other = edit_config(CONFIG, edits)
    return {purpose for purpose in PURPOSES if project(other, purpose) != project(CONFIG, purpose)}


MODEL = {"select", "train", "eval", "predict", "export"}


@pytest.mark.parametrize(
    ("edits", "wanted"),
    [
        ({"train_input_path": "other.parquet"}, set()),
        ({"eval_input_path": "other.parquet"}, set()),
        ({"model_dir": "other"}, set()),
        ({"export_config.exporter_type": "best"}, set()),
        ({"data_config.num_workers": 3}, set()),
        ({"data_config.fg_threads": 3}, set()),
        ({"data_config.dataset_type": "CsvDataset"}, set()),  # the files decide
        ({"data_config.pin_memory": False}, set()),
        ({"train_config.log_step_count_steps": 3}, set()),
        ({"data_config.shuffle": False}, set()),  # its default, spelled out
        ({"data_config.batch_size": 16}, MODEL),
        ({"data_config.shuffle": True}, {"select", "train"}),
        ({"train_config.num_epochs": 2}, {"select", "train"}),
        ({"train_config.sparse_optimizer.adagrad_optimizer.lr": 0.5}, {"select", "train"}),
        ({"eval_config.num_steps": 3}, {"select", "train", "eval"}),
        ({"model_config.metrics": "accuracy {}"}, {"select", "train", "eval"}),
        ({"model_config.losses": "binary_focal_loss {}"}, MODEL),
        ({"model_config.multi_tower.towers[0].mlp.hidden_units[0]": 3}, MODEL),
        ({"model_config.variational_dropout": ""}, MODEL),
        ({"feature_configs[0].id_feature.num_buckets": 11}, MODEL | {"fg"}),
        ({"feature_configs[0].id_feature.init_fn": "nn.init.zeros_"}, MODEL),
        ({"feature_configs[0].id_feature.stub_type": False}, MODEL | {"fg"}),  # fg.json repeats it when set
        ({"feature_configs[0].id_feature.default_bucketize_value": 0}, MODEL | {"fg"}),  # 0 differs from unset
        ({"data_config.fg_mode": "FG_NORMAL"}, MODEL | {"fg"}),
    ],
)
def test_a_change_reaches_exactly_the_purposes_that_read_it(edits, wanted):
    assert changed_by(edits) == wanted


def test_comments_order_and_spelled_out_defaults_change_nothing():
    head, tail = GOOD.split("data_config {", 1)
    moved = "# another\ndata_config {\n  shuffle: false " + tail + head
    other = parse_pipeline_config(moved, "x.config")
    for purpose in PURPOSES:
        assert canonical_text(project(other, purpose)) == canonical_text(project(CONFIG, purpose))


def test_the_given_config_stays_whole():
    before = canonical_text(CONFIG)
    for purpose in PURPOSES:
        project(CONFIG, purpose)
    assert canonical_text(CONFIG) == before


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_projection_loads_is_its_own_projection_and_holds_no_input_path(path, purpose):
    part = project(load_pipeline_config(path), purpose)
    again = parse_pipeline_config(canonical_text(part), "x.config")
    assert project(again, purpose) == part
    assert not {"train_input_path", "eval_input_path", "model_dir"} & {field.path for field in walk_fields(part)}
    assert not {field.key for field in walk_fields(part)} & set(NO_EFFECT)


def test_training_keeps_every_field_that_differs_from_its_default():
    kept = {field.path for field in walk_fields(project(CONFIG, "train"))}
    lost = {field.path for field in walk_fields(CONFIG)} - kept
    assert lost == {
        "train_input_path",
        "eval_input_path",
        "model_dir",
        "data_config.dataset_type",
        "model_config.feature_groups[0].group_type",  # DEEP is the default
        "model_config.feature_groups[1].group_type",
    }


def test_a_required_name_without_effect_stays_present_and_says_nothing():
    network = "extraction_networks { network_name: %r expert_num_per_task: 2 task_expert_net { hidden_units: 2 } }"
    task = 'task_towers { tower_name: "t" label_name: "clk" losses { binary_cross_entropy {} } }'
    one, two = (
        project(edit_config(CONFIG, {"model_config.ple": "{" + network % name + task + "}"}), "train") for name in "ab"
    )
    assert one == two
    assert project(parse_pipeline_config(canonical_text(one), "x.config"), "train") == one


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ConfigError, match=r"purpose: must be a known one, got 'trian'; did you mean 'train'\?"):
        project(CONFIG, "trian")


def test_a_changed_default_forces_the_version_up():
    defaults = sorted(
        f"{name}.{field.name}={field.default_value!r}"
        for name, descriptor in MESSAGES.items()
        for field in descriptor.fields
        if field.has_default_value
    )
    digest = hashlib.sha256("\n".join(defaults).encode()).hexdigest()[:16]
    assert (PROJECTION_VERSION, digest) == (1, "9c01c53d308b9604"), (
        "a default of the schema was added, changed or removed: a projected config that leaves the field out keeps its text while "
        f"its meaning changes. Raise PROJECTION_VERSION in config/projection.py, then write it here with {digest!r}"
    )
