from __future__ import annotations

import subprocess
import sys

import pytest

from tests.features.making import config, features
from tzrec_build.config.support import find_unsupported
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.create import resolve_fg_mode

ID = 'id_feature {{ feature_name: "{0}" expression: "{1}" embedding_dim: 4 num_buckets: 5 }}'


def test_order_is_that_of_the_config() -> None:
    text = "".join(f"feature_configs {{ {ID.format(name, 'user:x')} }}" for name in ("b", "a", "c"))
    assert [one.name for one in features(text)] == ["b", "a", "c"]


def test_one_name_twice() -> None:
    text = f"feature_configs {{ {ID.format('a', 'user:x')} }}" * 2
    with pytest.raises(
        ConfigError,
        match=r"feature 'a' \(feature_configs\[1\].id_feature\): the name 'a' is taken by feature 'a' \(feature_configs\[0\]",
    ):
        features(text)


def test_types_that_are_not_built() -> None:
    text = 'feature_configs { lookup_feature { feature_name: "l" map: "user:m" key: "item:k" } }'
    with pytest.raises(
        NotSupportedError, match=r"not supported yet: lookup_feature in feature 'l' \(feature_configs\[0\]"
    ):
        features(text)
    with pytest.raises(ConfigError, match=r"feature_configs\[0\]: must hold one feature"):
        features("feature_configs {}")


@pytest.mark.parametrize(
    ("field", "refused"),
    [
        ("zch { zch_size: 10 }", ["zch"]),
        ("dynamicemb { max_capacity: 9 }", ["dynamicemb"]),
        ("stub_type: true", ["stub_type"]),
        ("stub_type: false", []),
        ("use_mask: true", []),  # without sample_mask_prob, which is refused, it does nothing
    ],
)
def test_fields_of_a_feature_are_refused_by_the_support_table_alone(field: str, refused: list[str]) -> None:
    text = f'feature_configs {{ id_feature {{ feature_name: "a" expression: "user:x" embedding_dim: 4 num_buckets: 5 {field} }} }}'
    found = [hit.field_path for hit in find_unsupported(config(text))]
    assert found == [f"feature_configs[0].id_feature.{name}" for name in refused]
    if not refused:
        assert [one.name for one in features(text)] == ["a"]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "FG_NONE"),
        ("fg_mode: FG_DAG", "FG_DAG"),
        ("fg_mode: FG_BUCKETIZE", "FG_BUCKETIZE"),
        ("fg_encoded: true fg_mode: FG_DAG", "FG_NONE"),
        ("fg_encoded: false", "FG_DAG"),
        ("fg_encoded: false fg_threads: 0", "FG_NORMAL"),
    ],
)
def test_fg_mode(text: str, mode: str) -> None:
    assert resolve_fg_mode(config(f"data_config {{ {text} }}").data_config) == mode


def test_sampled_item_features_go_to_the_negative_group() -> None:
    text = f"feature_configs {{ {ID.format('u', 'user:uid')} }} feature_configs {{ {ID.format('i', 'item:iid')} }}"
    sampler = 'negative_sampler { input_path: "t" num_sample: 2 attr_fields: "iid" item_id_field: "iid" }'
    assert [one.data_group for one in features(text, data=sampler)] == ["__BASE__", "__NEG__"]
    assert [one.data_group for one in features(text)] == ["__BASE__", "__BASE__"]


def test_describing_features_needs_no_torch() -> None:
    program = (
        "import sys, tzrec_build.features.fg, tzrec_build.features.create, tzrec_build.features.combo_feature,"
        "tzrec_build.features.raw_feature, tzrec_build.data.readers, tzrec_build.data.writers;"
        "print(sorted({'torch', 'pandas', 'torchrec'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
