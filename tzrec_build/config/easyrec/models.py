"""Models: one row of `MODELS` for each model_class that has a counterpart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tzrec_build.config.easyrec.groups import fill_sequence
from tzrec_build.config.easyrec.heads import task
from tzrec_build.config.easyrec.layers import mlp
from tzrec_build.config.easyrec.parts import UNSET_DEFAULT, Rule, Rules, Source, Target, apply, dropped, same
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType

PENALTIES = "l2_regularization wide_regularization dense_regularization"


@dataclass(frozen=True, slots=True)
class Job:
    """What a builder of a model works with."""

    source: Source  # the message of the model
    model: Source  # model_config
    target: Target  # the result's model_config
    keys: Mapping[str, str]  # column -> feature of ids that reads it alone
    sampled: bool  # data_config has a sampler
    labels: list[str]  # label_fields


@dataclass(frozen=True, slots=True)
class Model:
    """One model_class.

    Attributes:
        message: field of model_config that holds its settings.
        name: the model here; "" where a builder decides.
        build: converts the settings.
        groups: which groups are read, from old name to new.
        kind: rank (losses of model_config), tasks or match.
        sequences: groups whose features are read as sequences.
        item_group: group of the item side.
    """

    message: str
    name: str
    build: Callable[[Job, Target], None]
    groups: Callable[[Job], dict[str, str]]
    kind: str = "rank"
    sequences: tuple[str, ...] = field(default=())
    item_group: str = ""


def _group_names(job: Job) -> list[str]:
    return [group.get("group_name") for group in job.model.parts("feature_groups")]


def _named(*names: str) -> Callable[[Job], dict[str, str]]:
    """Read groups of fixed names, those of the model that exist."""
    return lambda job: {name: name for name in names if name in _group_names(job)}


def _first(job: Job) -> dict[str, str]:
    """Read the group `all`, else the first."""
    names = _group_names(job)
    name = "all" if "all" in names else next(iter(names), "")
    return {name: name} if name else {}


def _inputs(job: Job) -> dict[str, str]:
    """Read the groups that towers name, in the order of model_config."""
    fields = ("towers", "din_towers") if job.model.get("model_class") == "MultiTowerDIN" else ("towers",)
    towers = [tower for name in fields for tower in job.source.parts(name)]
    read = {tower.get("input") for tower in towers}
    sequences = [group.get("group_name") for group in job.model.parts("seq_att_groups")]
    return {name: name for name in [*_group_names(job), *sequences] if name in read}


def _dcn_groups(job: Job) -> dict[str, str]:
    name = job.source.part("deep_tower").get("input")
    return {name: name}


def _wide_deep(job: Job, made: Target) -> None:
    """DeepFM, and Wide & Deep, whose settings have the same names."""
    source = job.source
    mlp(source.part("dnn"), made, "deep")
    if source.has("final_dnn"):
        mlp(source.part("final_dnn"), made, "final")
    width = int(source.get("wide_output_dim"))
    rounded = -(-max(width, 1) // 4) * 4
    how = "rounded up to a multiple of 4, which the fused kernels need" if rounded != width else ""
    if source.has("wide_output_dim"):
        place = made.set("wide_embedding_dim", rounded)
        source.note("wide_output_dim", "approximated" if how else "mapped", place, how)
    else:
        made.put("wide_embedding_dim", rounded, f"EasyRec's default {width}, {how}" if how else UNSET_DEFAULT)


def _multi_tower(job: Job, made: Target) -> None:
    source = job.source
    for tower in source.parts("towers"):
        inner = made.new("towers")
        tower.note("input", "kept", inner.set("input", tower.get("input")))
        mlp(tower.part("dnn"), inner, "mlp")
    mlp(source.part("final_dnn"), made, "final")
    source.drop("bst_towers", "only the class MultiTowerBST reads them")
    if job.model.get("model_class") != "MultiTowerDIN":
        source.drop("din_towers", "only the class MultiTowerDIN reads them")


def _multi_tower_din(job: Job, made: Target) -> None:
    _multi_tower(job, made)
    attentions = {group.get("group_name"): group for group in job.model.parts("seq_att_groups")}
    for tower in job.source.parts("din_towers"):
        inner = made.new("din_towers")
        name = tower.get("input")
        tower.note("input", "kept", inner.set("input", name))
        mlp(tower.part("dnn"), inner, "attn_mlp", own_output=1)
        if name not in attentions:
            tower.refuse("tower without group", f"a din_tower must name a seq_att_group, got {name!r}", "input")


def sequence_groups(job: Job) -> None:
    """Convert the attention groups that towers read into SEQUENCE groups."""
    din = job.model.get("model_class") == "MultiTowerDIN"
    read = {tower.get("input") for tower in job.source.parts("din_towers")} if din else set()
    for attention in job.model.parts("seq_att_groups"):
        name = attention.get("group_name")
        if name not in read:
            attention.note("", "dropped", "", "the model does not read this group")
            continue
        made = job.target.new("feature_groups")
        attention.note("group_name", "kept", made.set("group_name", name))
        made.message.group_type = FeatureGroupType.SEQUENCE
        fill_sequence(attention, made)
        attention.drop("seq_dnn", "the layers of the din_tower count")


def _dlrm(job: Job, made: Target) -> None:
    source = job.source
    mlp(source.part("bot_dnn"), made, "dense_mlp")
    mlp(source.part("top_dnn"), made, "final")
    made.put("arch_with_sparse", value=False, why="EasyRec's DLRM joins the products alone")
    op = source.get("arch_interaction_op")
    how = "" if op == "dot" else "products are dots"
    source.note("arch_interaction_op", "approximated" if how else "kept", "", how)
    itself = source.get("arch_interaction_itself")
    source.note(
        "arch_interaction_itself",
        "approximated" if itself else "kept",
        "",
        "no product of a feature with itself" if itself else "",
    )
    joined = source.get("arch_with_dense_feature")
    source.note(
        "arch_with_dense_feature",
        "kept" if joined else "approximated",
        "",
        "" if joined else "the dense part is joined",
    )


def _dcn(job: Job, made: Target) -> None:
    source = job.source
    deep, cross = source.part("deep_tower"), source.part("cross_tower")
    if deep.get("input") != cross.get("input"):
        text = f"deep and cross tower must read one group, got {deep.get('input')!r} and {cross.get('input')!r}"
        source.refuse("DCN with two groups", text)
    deep.note("input", "mapped", "model_config.feature_groups[0]")
    cross.note("input", "mapped", "model_config.feature_groups[0]")
    apply(cross, made.child("cross"), {"cross_num": Rule("cross_num", always=True)})
    mlp(deep.part("dnn"), made, "deep")
    mlp(source.part("final_dnn"), made, "final")


def tasks(source: Source, made: Target, keys: Mapping[str, str], labels: list[str]) -> None:
    """Convert task towers."""
    for i, tower in enumerate(source.parts("task_towers")):
        inner = made.new("task_towers")
        task(tower, inner, keys, labels[i] if i < len(labels) else "")
        if tower.has("dnn"):
            mlp(tower.part("dnn"), inner, "mlp")
        if tower.has("relation_tower_names"):
            tower.note(
                "relation_tower_names", "kept", inner.set("relation_tower_names", tower.get("relation_tower_names"))
            )
        if tower.has("relation_dnn"):
            if tower.has("relation_tower_names"):
                mlp(tower.part("relation_dnn"), inner, "relation_mlp")
            else:
                tower.drop("relation_dnn", "the tower has no relations, EasyRec does not build it either")


def _experts(source: Source, made: Target) -> None:
    if source.has("expert_dnn") and source.get("num_expert"):
        mlp(source.part("expert_dnn"), made, "expert_mlp")
        source.note("num_expert", "kept", made.set("num_expert", source.get("num_expert")))
        return
    source.drop("expert_dnn num_expert", "there are no experts without both")


def _mmoe(job: Job, made: Target) -> None:
    source = job.source
    experts = source.parts("experts")
    if experts and not source.get("num_expert"):
        first = experts[0]
        mlp(first.part("dnn"), made, "expert_mlp")
        made.put("num_expert", len(experts), "the number of `experts`")
        for expert in experts:
            expert.drop("expert_name", "experts have numbers")
            equal = expert.part("dnn").message == first.part("dnn").message
            if expert is not first:
                note = "" if equal else "all experts have the layers of the first"
                expert.note("dnn", "mapped" if equal else "approximated", made.at("expert_mlp"), note)
    elif source.has("expert_dnn") and source.get("num_expert"):
        _experts(source, made)
        source.drop("experts", "expert_dnn wins")
    else:
        source.refuse("MMoE without experts", "MMoE must have expert_dnn and num_expert")
    tasks(source, made, job.keys, job.labels)


def _ple(job: Job, made: Target) -> None:
    for network in job.source.parts("extraction_networks"):
        inner = made.new("extraction_networks")
        apply(network, inner, same("network_name expert_num_per_task share_num"))
        mlp(network.part("task_expert_net"), inner, "task_expert_net")
        if network.has("share_expert_net"):
            mlp(network.part("share_expert_net"), inner, "share_expert_net")
    tasks(job.source, made, job.keys, job.labels)


def _dbmtl(job: Job, made: Target) -> None:
    source = job.source
    for name, what in (("bottom_cmbf", "CMBF"), ("bottom_uniter", "Uniter")):
        if source.has(name):
            source.refuse(f"DBMTL with {what}", f"{name} has no counterpart", name)
    if source.has("bottom_dnn"):
        mlp(source.part("bottom_dnn"), made, "bottom_mlp")
    _experts(source, made)
    tasks(source, made, job.keys, job.labels)


def _simple_tasks(job: Job, made: Target) -> None:
    tasks(job.source, made, job.keys, job.labels)


def tower(source: Source, made: Target, name: str, last: list[int]) -> None:
    """Convert the layers of a match tower; its last layer is the output, whose width goes to `last`."""
    layers = made.child(name)
    units = list(source.get("hidden_units"))
    if len(units) > 1:
        mlp(source, made, name, own_output=units[-1])
    elif units:
        mlp(source, made, name)
    else:
        layers.message.ClearField("hidden_units")
        source.refuse("layers without width", "hidden_units must be given, got none")
    last.extend(units[-1:])


def output_dim(job: Job, made: Target, widths: list[int]) -> None:
    """Write the width of both towers."""
    if len(set(widths)) > 1:
        text = f"the towers must end with one width, got {' and '.join(map(str, widths))}"
        job.source.refuse("towers of two widths", text)
    if widths:
        made.put("output_dim", widths[0], "the last layer of the towers")


_SIMILARITY: Rules = (
    {"simi_func": Rule("similarity", always=True)}
    | same("temperature")
    | dropped("scale_simi", "the similarity has no learned scale")
    | dropped("item_id", "rows of the same item are not masked")
)


def similarity(job: Job, made: Target) -> None:
    """Convert the similarity and where negatives come from."""
    source = job.source
    values = made.message.DESCRIPTOR.fields_by_name["similarity"].enum_type.values_by_name
    apply(
        source,
        made,
        _SIMILARITY | {"simi_func": Rule("similarity", always=True, convert=lambda name: values[name].number)},
    )
    if not job.sampled:
        made.put(
            "in_batch_negative",
            value=True,
            why="negatives are the other rows of the batch, as in EasyRec without a sampler",
        )
    if source.has("ignore_in_batch_neg_sam"):
        ignore = source.get("ignore_in_batch_neg_sam")
        how = "" if ignore == job.sampled else "either a sampler or the batch gives the negatives"
        source.note("ignore_in_batch_neg_sam", "approximated" if how else "mapped", made.at("in_batch_negative"), how)


def _dssm(job: Job, made: Target) -> None:
    widths: list[int] = []
    for name, group in (("user_tower", "user"), ("item_tower", "item")):
        side, inner = job.source.part(name), made.child(name)
        inner.message.input = group
        side.note(
            "id",
            "approximated",
            inner.at("input"),
            f"the tower reads the group {group!r}; its id is a feature like the others",
        )
        side.drop("senet", "TorchEasyRec has no SENet: features are not weighed")
        tower(side.part("dnn"), inner, "mlp", widths)
    output_dim(job, made, widths)
    similarity(job, made)


def _dat(job: Job, made: Target) -> None:
    _dssm(job, made)
    for name in ("user", "item"):
        made.child(f"{name}_tower").set("augment_input", f"{name}_id_augment")
    apply(job.source, made, same("amm_i_weight amm_u_weight"))


_CAPSULE: Rules = same(
    "max_k max_seq_len high_dim num_iters routing_logits_scale routing_logits_stddev squash_pow const_caps_num"
) | dropped("scale_ratio", "no such scale")


def _mind(job: Job, made: Target) -> None:
    source = job.source
    user, widths = made.child("user_tower"), list[int]()
    user.message.input, user.message.history_input = "user", "hist"
    mlp(source.part("user_dnn"), user, "user_mlp")
    if source.has("pre_capsule_dnn"):
        mlp(source.part("pre_capsule_dnn"), user, "hist_seq_mlp")
    apply(source.part("capsule_config"), user.child("capsule_config"), _CAPSULE)
    tower(source.part("concat_dnn"), user, "concat_mlp", widths)
    item = made.child("item_tower")
    item.message.input = "item"
    tower(source.part("item_dnn"), item, "mlp", widths)
    values = user.message.DESCRIPTOR.fields_by_name["user_seq_combine"].enum_type.values_by_name
    apply(source, user, {"user_seq_combine": Rule("user_seq_combine", convert=lambda name: values[name].number)})
    apply(source, made, same("simi_pow") | dropped("time_id_fea max_interests_simi", "no such part"))
    output_dim(job, made, widths)
    similarity(job, made)


def _rocket(job: Job, made: Target) -> None:
    for old, new in (("share_dnn", "share_mlp"), ("booster_dnn", "booster_mlp"), ("light_dnn", "light_mlp")):
        mlp(job.source.part(old), made, new)
    values = made.message.DESCRIPTOR.fields_by_name["feature_distillation_function"].enum_type.values_by_name
    apply(
        job.source,
        made,
        same("feature_based_distillation")
        | {
            "feature_distillation_function": Rule(
                "feature_distillation_function", convert=lambda name: values[name].number
            )
        },
    )


_SIDES = _named("user", "item")
MODELS: Mapping[str, Model] = {
    "DeepFM": Model("deepfm", "deepfm", _wide_deep, _named("wide", "deep", "fm")),
    "WideAndDeep": Model("wide_and_deep", "wide_and_deep", _wide_deep, _named("wide", "deep")),
    "MultiTower": Model("multi_tower", "multi_tower", _multi_tower, _inputs),
    "MultiTowerDIN": Model("multi_tower", "multi_tower_din", _multi_tower_din, _inputs),
    "DCN": Model("dcn", "dcn_v1", _dcn, _dcn_groups),
    "DLRM": Model("dlrm", "dlrm", _dlrm, _named("sparse", "dense")),
    "RocketLaunching": Model("rocket_launching", "rocket_launching", _rocket, _first),
    "MMoE": Model("mmoe", "mmoe", _mmoe, _first, "tasks"),
    "PLE": Model("ple", "ple", _ple, _first, "tasks"),
    "DBMTL": Model("dbmtl", "dbmtl", _dbmtl, _first, "tasks"),
    "SimpleMultiTask": Model("simple_multi_task", "dbmtl", _simple_tasks, _first, "tasks"),
    "DSSM": Model("dssm", "dssm", _dssm, _SIDES, "match", (), "item"),
    "DSSM_SENet": Model("dssm_senet", "dssm", _dssm, _SIDES, "match", (), "item"),
    "DAT": Model("dat", "dat", _dat, _named("user", "item", "user_id_augment", "item_id_augment"), "match", (), "item"),
    "MIND": Model("mind", "mind", _mind, _named("user", "hist", "item"), "match", ("hist",), "item"),
}
