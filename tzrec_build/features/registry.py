"""Feature types by their oneof name in the config; a row is ``module:Class``, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

FEATURES: Mapping[str, str] = {
    "id_feature": "tzrec_build.features.id_feature:IdFeature",
    "raw_feature": "tzrec_build.features.raw_feature:RawFeature",
    "combo_feature": "tzrec_build.features.combo_feature:ComboFeature",
    "sequence_id_feature": "tzrec_build.features.id_feature:IdFeature",
    "sequence_raw_feature": "tzrec_build.features.raw_feature:RawFeature",
}
SEQUENCE_MEMBERS = ("id_feature", "raw_feature")
