"""Tool `prune`: a config that keeps the most useful features of each group, and all that something else needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.importance_files import group_entries, load_tables

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tzrec_build.protos.tzrec.feature_pb2 import FeatureConfig
    from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupConfig
    from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

# Fields that name features, or (all but feature_names) columns that features read.
REFERENCE_FIELDS = frozenset(
    {
        "feature_names",  # feature groups and sequence groups
        "session_name",  # jrc_loss
        "grouping_key",  # grouped metrics
        "domain_input_name",  # pepnet
        "attr_fields",  # samplers: columns of the sampled rows
        "item_id_field",
        "user_id_field",
        "sample_cost_field",
    }
)
SEQUENCE_BLOCK = "SequenceFeature"
COLUMN_SIDES = ("user:", "item:", "context:")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to keep: `topk` features of each ranked group; `clear_variational_dropout` ends the search for features."""

    pipeline_config_path: str
    importance_dir: str
    topk: int
    output_config_path: str
    clear_variational_dropout: bool = True


def select_topk(drop_p: Mapping[str, float], features: Iterable[str], topk: int) -> set[str]:
    """Keep the topk features least likely to be dropped; all when there are fewer.

    Args:
        drop_p: entry -> dropout probability in [0, 1], the group's features and its sequence encoders.
        features: the entries that can be dropped; sequence encoders cannot and take no place.
        topk: 1 or more.
    Raises:
        ConfigError: topk is below 1.

    >>> sorted(select_topk({"age": 0.9, "seq": 0.0, "uid": 0.1, "city": 0.2}, ["age", "uid", "city"], 2))
    ['city', 'uid']
    """
    if topk < 1:
        raise ConfigError(f"--topk: must be at least 1, got {topk}")
    return set(sorted(features, key=lambda name: drop_p[name])[:topk])


def prune_config(config: EasyRecConfig, importance: Mapping[str, Mapping[str, float]], topk: int) -> EasyRecConfig:
    """Build the pruned config.

    Groups without an importance table (a single feature, sequence groups) keep all their features. A feature's config stays
    when a group, a sequence group, a kept feature (`feature:x`) or a field of `REFERENCE_FIELDS` names it; whole sequence
    blocks always stay.

    Args:
        config: left as it is.
        importance: group -> entry -> dropout probability.
        topk: features to keep in each ranked group.
    Raises:
        ConfigError: the tables are of another config, or topk is below 1.
    """
    pruned = type(config)()
    pruned.CopyFrom(config)
    groups = {group.group_name: group for group in pruned.model_config.feature_groups}
    for name, drop_p in importance.items():
        _check_table(name, drop_p, groups)
        kept = select_topk(drop_p, dict.fromkeys(groups[name].feature_names), topk)
        names = [feature for feature in groups[name].feature_names if feature in kept]
        del groups[name].feature_names[:]
        groups[name].feature_names.extend(names)
    needed = _needed_features(pruned)
    features = [
        feature
        for feature in pruned.feature_configs
        if _body(feature).DESCRIPTOR.name == SEQUENCE_BLOCK or _feature_name(feature) in needed
    ]
    del pruned.feature_configs[:]
    pruned.feature_configs.extend(features)
    return pruned


def run_prune(spec: Spec) -> None:
    """Read config and importance tables, write the pruned config.

    Raises:
        ConfigError: the config is wrong or does not fit the tables.
        DataError: the tables are missing or damaged.
    """
    from tzrec_build.config.load import load_pipeline_config, save_pipeline_config

    config = load_pipeline_config(spec.pipeline_config_path)
    pruned = prune_config(config, load_tables(Path(spec.importance_dir)), spec.topk)
    if spec.clear_variational_dropout:
        pruned.model_config.ClearField("variational_dropout")
    save_pipeline_config(pruned, spec.output_config_path)
    left = {_feature_name(feature) for feature in pruned.feature_configs}
    gone = [name for feature in config.feature_configs if (name := _feature_name(feature)) not in left]
    logger.info("%d of %d features stay; gone: %s", len(left), len(config.feature_configs), ", ".join(gone) or "none")


def _check_table(name: str, drop_p: Mapping[str, float], groups: Mapping[str, FeatureGroupConfig]) -> None:
    if name not in groups:
        raise ConfigError(
            f"--importance_dir: group {name!r} is not in the config{suggestion(name, groups)}; "
            "rank the features of this config"
        )
    entries = set(group_entries(groups[name]))
    for text, odd in (("lacks", sorted(entries - set(drop_p))), ("has the unknown", sorted(set(drop_p) - entries))):
        if odd:
            raise ConfigError(
                f"--importance_dir: the table of group {name!r} {text} {odd[0]!r}; rank the features of this config"
            )


def _needed_features(config: EasyRecConfig) -> set[str]:
    """Names of the features that something in the config needs, with the features that those are computed from."""
    bodies = {_feature_name(feature): _body(feature) for feature in config.feature_configs}
    needed = _names_outside(config, bodies)
    blocks = [name for name, body in bodies.items() if body.DESCRIPTOR.name == SEQUENCE_BLOCK]
    waiting = [*blocks, *sorted(needed & set(bodies))]
    while waiting:
        sources = {
            text.removeprefix("feature:") for text in _texts(bodies[waiting.pop()]) if text.startswith("feature:")
        }
        waiting.extend(sorted((sources - needed) & set(bodies)))
        needed |= sources
    return needed


def _names_outside(config: EasyRecConfig, bodies: Mapping[str, Message]) -> set[str]:
    """Features named by the groups and by `REFERENCE_FIELDS`; a column name stands for the features that read it alone."""
    from tzrec_build.config.walk import walk_fields

    readers: dict[str, list[str]] = {}
    for name, body in bodies.items():
        columns = {text.partition(":")[2] for text in _texts(body) if text.startswith(COLUMN_SIDES)}
        if len(columns) == 1:
            readers.setdefault(columns.pop(), []).append(name)
    needed: set[str] = set()
    for part in (config.model_config, config.data_config, config.eval_config, config.train_config):
        for found in walk_fields(part):
            if found.field.name not in REFERENCE_FIELDS:
                continue
            values = list(found.value) if found.field.is_repeated else [found.value]
            needed.update(values)
            if found.field.name != "feature_names":
                needed.update(name for value in values for name in readers.get(value, ()))
    return needed


def _texts(message: Message) -> Iterator[str]:
    """All text values of a message and of the messages below it."""
    from tzrec_build.config.walk import walk_fields

    for found in walk_fields(message):
        if found.field.type == found.field.TYPE_STRING:
            yield from found.value if found.field.is_repeated else [found.value]


def _body(feature: FeatureConfig) -> Message:
    body: Message = getattr(feature, feature.WhichOneof("feature"))
    return body


def _feature_name(feature: FeatureConfig) -> str:
    body = _body(feature)
    field = "sequence_name" if body.DESCRIPTOR.name == SEQUENCE_BLOCK else "feature_name"
    return str(getattr(body, field))


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build prune", description=__doc__)
    parser.add_argument("--pipeline_config_path", required=True, help="config to prune")
    parser.add_argument("--importance_dir", required=True, help="folder that the tool feature_importance wrote")
    parser.add_argument("--topk", type=int, required=True, help="features to keep in each ranked group")
    parser.add_argument("--output_config_path", required=True, help="config to write")
    parser.add_argument(
        "--clear_variational_dropout",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take variational_dropout out of the config; default yes",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        paths = (args.pipeline_config_path, args.importance_dir, args.topk, args.output_config_path)
        run_prune(Spec(*paths, clear_variational_dropout=args.clear_variational_dropout))

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
