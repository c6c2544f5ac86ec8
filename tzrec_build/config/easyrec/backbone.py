"""Backbones: models put together from blocks, where the blocks are those of a model that has a counterpart.

A backbone is recognised by the kinds of its layers; each row of `PATTERNS` says which kinds make which model. Anything else
is refused by the names of its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tzrec_build.config.easyrec.layers import mlp
from tzrec_build.config.easyrec.models import Job, Model, output_dim, similarity, tasks, tower
from tzrec_build.config.easyrec.parts import Source, Target

_IDENTITY = frozenset({"input", ""})
_WIRING = (
    "only_output_feature_list only_output_3d_tensor output_2d_tensor_and_feature_list output_seq_and_normal_feature"
    " concat_seq_feature wide_output_dim"
)
_KINDS = {"RankModel": "rank", "MultiTaskModel": "tasks", "MatchModel": "match"}


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its kind (class of its layer, `input`, "" for none), its layer, names of blocks and groups that it reads."""

    source: Source
    kind: str
    layer: Source | None
    blocks: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name by which others read it."""
        return str(self.source.get("name"))


def _block(source: Source) -> Block:
    kind, layer = "", None
    if source.has("keras_layer"):
        layer = source.part("keras_layer")
        kind = layer.get("class_name")
    elif source.has("recurrent") or source.has("repeat"):
        name = "recurrent" if source.has("recurrent") else "repeat"
        layer = source.part(name)
        kind = f"{name} {layer.part('keras_layer').get('class_name')}"
    elif source.has("layers"):
        kind = "several layers"
    elif source.has("lambda"):
        kind = "lambda"
    elif source.has("input_layer"):
        kind = "input"
    elif source.has("raw_input") or source.has("embedding_layer"):
        kind = "raw input"
    inputs = source.parts("inputs")
    blocks = tuple(one.get("block_name") for one in inputs if one.has("block_name"))
    groups = tuple(one.get("feature_group_name") for one in inputs if one.has("feature_group_name"))
    return Block(source, kind, layer, blocks, groups)


@dataclass(frozen=True, slots=True)
class Backbone:
    """All blocks of a backbone, by name, in the order of the config."""

    source: Source
    blocks: Mapping[str, Block]

    def of(self, kind: str) -> list[Block]:
        """Give the blocks of one kind."""
        return [block for block in self.blocks.values() if block.kind == kind]

    def groups(self, block: Block) -> list[str]:
        """Give the feature groups that a block reads, through blocks that only hand them on."""
        found = list(block.groups)
        for name in block.blocks:
            inner = self.blocks.get(name)
            if inner is not None and inner.kind in _IDENTITY | {"SENet"}:
                found += self.groups(inner)
        return found

    def group(self, block: Block) -> str:
        """Give the one group of a block; "" when there is not exactly one."""
        groups = self.groups(block)
        return groups[0] if len(set(groups)) == 1 else ""


def _view(source: Source) -> Backbone:
    return Backbone(source, {block.name: block for block in map(_block, source.parts("blocks"))})


def recognise(model: Source) -> tuple[Model, Source] | None:
    """Find the model that a backbone is, or refuse it by its layers."""
    view = _view(model.part("backbone"))
    kinds = [block.kind for block in view.blocks.values() if block.kind not in _IDENTITY]
    kind = _KINDS.get(model.get("model_class"), "")
    key = (kind, tuple(sorted(kinds)))
    pattern = PATTERNS.get(key)
    if pattern is None and kind == "rank" and kinds and set(kinds) == {"MLP"}:
        pattern = _TOWERS
    if pattern is None or view.source.has("packages") or not pattern.fits(view):
        layers = ", ".join(dict.fromkeys(kinds)) or "none"
        model.refuse(
            f"backbone of {layers}", f"a backbone of the layers {layers} is no model that has a counterpart", "backbone"
        )
        return None
    sequences = tuple(view.group(block) for block in view.of("DIN"))
    row = Model("backbone", pattern.name, _wired(pattern.build), pattern.groups, kind, sequences, pattern.item_group)
    return row, model.part("backbone")


def _wired(build: Callable[[Job, Target, Backbone], None]) -> Callable[[Job, Target], None]:
    """Wrap a builder so that the wiring of the blocks is accounted for as well."""

    def run(job: Job, made: Target) -> None:
        view = _view(job.source)
        build(job, made, view)
        _wiring(view, made)

    return run


def _wiring(view: Backbone, made: Target) -> None:
    place = made.path
    for block in view.blocks.values():
        for name in ("name", "inputs", "merge_inputs_into_list", "extra_input_fn", "lambda", "input_concat_axis"):
            block.source.note(name, "mapped", place)
        if block.source.has("input_layer"):
            layer = block.source.part("input_layer")
            for name in _WIRING.split():
                layer.note(name, "mapped", place)
            layer.drop(
                "do_batch_norm do_layer_norm dropout_rate feature_dropout_rate", "embeddings are read as they are"
            )
            layer.note("", "mapped", place) if not layer.message.ListFields() else None
        if block.source.has("keras_layer") and block.kind != "SENet":
            block.source.part("keras_layer").note("class_name", "mapped", place)
    for name in ("concat_blocks", "output_blocks"):
        view.source.note(name, "mapped", place)


def _layers(block: Block, made: Target, name: str, own_output: int | None = None) -> None:
    """Convert the MLP of a block."""
    if block.layer is not None:
        mlp(block.layer.part("mlp"), made, name, own_output=own_output)


def _final(view: Backbone, made: Target, name: str = "final") -> None:
    """Convert the top MLP of a backbone, which a block of MLP that joins others can be too."""
    if view.source.has("top_mlp"):
        mlp(view.source.part("top_mlp"), made, name)
        return
    for block in _joining(view):
        _layers(block, made, name, own_output=1)


def _joining(view: Backbone) -> list[Block]:
    """MLPs that read what other layers make."""
    passed_on = _IDENTITY | {"SENet"}
    return [
        block
        for block in view.of("MLP")
        if any(name in view.blocks and view.blocks[name].kind not in passed_on for name in block.blocks)
    ]


def _has_final(view: Backbone) -> bool:
    return view.source.has("top_mlp") != bool(_joining(view)) and len(_joining(view)) <= 1


def _reading(view: Backbone) -> list[Block]:
    """MLPs that read feature groups."""
    joining = {block.name for block in _joining(view)}
    return [block for block in view.of("MLP") if block.name not in joining and view.groups(block)]


def _towers(job: Job, made: Target, view: Backbone) -> None:
    del job
    for block in _reading(view):
        inner = made.new("towers")
        inner.message.input = view.group(block)
        _layers(block, inner, "mlp")
    _final(view, made)


def _din(job: Job, made: Target, view: Backbone) -> None:
    _towers(job, made, view)
    for block in view.of("DIN"):
        inner = made.new("din_towers")
        inner.message.input = view.group(block)
        if block.layer is not None:
            din = block.layer.part("din")
            mlp(din.part("attention_dnn"), inner, "attn_mlp", own_output=1)
            need = din.get("need_target_feature")
            din.note(
                "need_target_feature",
                "approximated" if need else "kept",
                "",
                "the target is not joined to the result" if need else "",
            )
            normal = din.get("attention_normalizer") == "softmax"
            din.note(
                "attention_normalizer",
                "kept" if normal else "approximated",
                "",
                "" if normal else "weights go through a softmax",
            )


def _dcn(job: Job, made: Target, view: Backbone) -> None:
    del job
    (cross,) = view.of("recurrent Cross")
    if cross.layer is not None:
        steps = cross.layer.get("num_steps")
        inner = made.child("cross")
        how = "cross layers with matrices of a low rank"
        cross.layer.note("num_steps", "approximated", inner.set("cross_num", steps), how)
        cross.layer.note("fixed_input_index", "mapped", inner.path)
        cross.layer.part("keras_layer").note("class_name", "mapped", inner.path)
    for block in _reading(view):
        _layers(block, made, "deep")
    _final(view, made)


_MASK_SIZES = {
    "output_size": "hidden_dim",
    "aggregation_size": "aggregation_dim",
    "reduction_factor": "reduction_ratio",
}


def _mask_net(job: Job, made: Target, view: Backbone) -> None:
    (block,) = view.of("MaskNet")
    if block.layer is None:
        return
    source = block.layer.part("masknet")
    module = made.child("mask_net_module" if made.message.DESCRIPTOR.name == "MaskNet" else "mask_net")
    masks = source.parts("mask_blocks")
    module.message.n_mask_blocks = len(masks)
    inner = module.child("mask_block")
    first = masks[0] if masks else source
    for mask in masks:
        other = mask.message != first.message
        how = "all mask blocks have the sizes of the first" if other else ""
        for name, new in _MASK_SIZES.items():
            if first.has(name):
                inner.set(new, first.get(name))
            mask.note(name, "approximated" if how else "mapped", inner.at(new), how)
        if first.has("aggregation_size") and not first.has("reduction_factor"):
            inner.message.reduction_ratio = 0
        mask.drop("input_layer_norm projection_dim", "no such part")
    source.note("use_parallel", "kept", module.set("use_parallel", source.get("use_parallel")))
    source.drop("input_layer_norm", "the input is always normalized")
    if source.has("mlp"):
        mlp(source.part("mlp"), module, "top_mlp")
    tasks(job.model.part("model_params"), made, job.keys, job.labels) if module.path.endswith("mask_net") else None


def _dlrm(job: Job, made: Target, view: Backbone) -> None:
    del job
    for block in _reading(view):
        _layers(block, made, "dense_mlp")
    made.put("arch_with_sparse", value=False, why="the sparse part goes into products only")
    _final(view, made)


def _wide_deep(job: Job, made: Target, view: Backbone) -> None:
    del job
    for block in _reading(view):
        _layers(block, made, "deep", own_output=1)
    made.put("wide_embedding_dim", 4, "a linear weight; the fused kernels need a multiple of 4")


def _xdeepfm(job: Job, made: Target, view: Backbone) -> None:
    del job
    (block,) = view.of("CIN")
    if block.layer is not None:
        cin = block.layer.part("cin")
        inner = made.child("cin")
        how = "products of the embeddings of the WIDE group, which have a table of their own; its linear sum is lost"
        cin.note(
            "hidden_feature_sizes", "approximated", inner.set("cin_layer_size", cin.get("hidden_feature_sizes")), how
        )
    for reader in _reading(view):
        _layers(reader, made, "deep")
    _final(view, made)


def _match(job: Job, made: Target, view: Backbone) -> None:
    widths: list[int] = []
    params = job.model.part("model_params")
    outputs = list(job.source.get("output_blocks"))
    for name, index in (("user_tower", "user_tower_idx_in_output"), ("item_tower", "item_tower_idx_in_output")):
        place = params.get(index)
        block = (
            view.blocks[outputs[place]]
            if place < len(outputs) and outputs[place] in view.blocks
            else view.of("MLP")[place]
        )
        inner = made.child(name)
        inner.message.input = view.group(block)
        params.note(index, "mapped", inner.at("input"))
        if block.layer is not None:
            tower(block.layer.part("mlp"), inner, "mlp", widths)
    _lost_senet(view)
    match_job = Job(params, job.model, job.target, job.keys, job.sampled, job.labels)
    output_dim(match_job, made, widths)
    similarity(match_job, made)


def _lost_senet(view: Backbone) -> None:
    for block in view.of("SENet"):
        if block.layer is not None:
            block.layer.note("senet", "dropped", "", "TorchEasyRec has no SENet: features are not weighed")
            block.layer.note("class_name", "dropped", "", "TorchEasyRec has no SENet: features are not weighed")


def _mmoe(job: Job, made: Target, view: Backbone) -> None:
    _lost_senet(view)
    (block,) = view.of("MMoE")
    if block.layer is not None:
        source = block.layer.part("mmoe")
        mlp(source.part("expert_mlp"), made, "expert_mlp")
        source.note("num_expert", "kept", made.set("num_expert", source.get("num_expert")))
        source.note("num_task", "mapped", made.at("task_towers"))
    tasks(job.model.part("model_params"), made, job.keys, job.labels)


def _task_towers(job: Job, made: Target, view: Backbone) -> None:
    del view
    tasks(job.model.part("model_params"), made, job.keys, job.labels)


def _all_groups(job: Job) -> dict[str, str]:
    view = _view(job.source)
    read = [name for block in view.blocks.values() for name in block.groups]
    return {name: name for name in dict.fromkeys(read)}


def _wide_and_deep_groups(job: Job) -> dict[str, str]:
    kinds = {group.get("group_name"): group.get("wide_deep") for group in job.model.parts("feature_groups")}
    return {name: "wide" if kinds.get(name) == "WIDE" else "deep" for name in _all_groups(job)}


def _dlrm_groups(job: Job) -> dict[str, str]:
    view = _view(job.source)
    dense = view.group(_reading(view)[0])
    return {name: "dense" if name == dense else "sparse" for name in _all_groups(job)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A model by its layers: how it is built, what must hold of the wiring, how its groups are named."""

    name: str
    build: Callable[[Job, Target, Backbone], None]
    fits: Callable[[Backbone], bool] = lambda _: True
    groups: Callable[[Job], dict[str, str]] = _all_groups
    item_group: str = ""


def _one_group_each(view: Backbone) -> bool:
    return _has_final(view) and bool(_reading(view)) and all(view.group(block) for block in _reading(view))


def _one_group(view: Backbone) -> bool:
    return len({name for block in view.blocks.values() for name in block.groups}) == 1


def _two_groups(view: Backbone) -> bool:
    return len({name for block in view.blocks.values() for name in block.groups}) == 2


_TOWERS = Pattern("multi_tower", _towers, _one_group_each)
PATTERNS: Mapping[tuple[str, tuple[str, ...]], Pattern] = {  # (kind of model, sorted kinds of layers)
    ("rank", ("DIN", "MLP")): Pattern("multi_tower_din", _din, _one_group_each),
    ("rank", ("MLP", "recurrent Cross")): Pattern("dcn_v2", _dcn, _one_group),
    ("rank", ("MaskNet",)): Pattern("mask_net", _mask_net, _one_group),
    ("rank", ("DotInteraction", "MLP")): Pattern("dlrm", _dlrm, _two_groups, _dlrm_groups),
    ("rank", ("Add", "MLP")): Pattern("wide_and_deep", _wide_deep, _two_groups, _wide_and_deep_groups),
    ("rank", ("CIN", "MLP", "MLP")): Pattern("xdeepfm", _xdeepfm, _two_groups, _wide_and_deep_groups),
    ("tasks", ()): Pattern("dbmtl", _task_towers, _one_group),
    ("tasks", ("MaskNet",)): Pattern("dbmtl", _mask_net, _one_group),
    ("tasks", ("MMoE", "SENet")): Pattern("mmoe", _mmoe, _one_group),
    ("match", ("MLP", "MLP")): Pattern("dssm", _match, _two_groups, item_group="item"),
    ("match", ("MLP", "MLP", "SENet", "SENet")): Pattern("dssm", _match, _two_groups, item_group="item"),
}
