"""Names that become names of torch modules: torch keeps those of its own methods for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tzrec_build.config.subject import Subject

_NAMES = (
    "T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double dump_patches eval "
    "extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu items keys load_state_dict modules "
    "mtia named_buffers named_children named_modules named_parameters parameters pop register_backward_hook register_buffer "
    "register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook "
    "register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter "
    "register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory "
    "state_dict to to_empty train training type update values xpu zero_grad"
)
TORCH_NAMES = frozenset(
    _NAMES.split()
)  # public attributes of torch.nn.ModuleDict: no member of one may have such a name


def is_taken(name: str) -> bool:
    """Say whether torch refuses a module of this name.

    >>> is_taken("items"), is_taken("a.b"), is_taken("item")
    (True, True, False)
    """
    return name in TORCH_NAMES or "." in name


def names_are_free(subject: Subject) -> Iterator[tuple[str, str]]:
    """Names of tables, towers and groups of which a model makes modules, and which torch refuses."""
    for at, name in _module_names(subject):
        if is_taken(name):
            rule = f"{at.rpartition('.')[2]} must be neither with '.' nor the name of a method of torch's modules"
            yield at, f"{rule}, got {name!r}; rename it, for instance {name.replace('.', '_') + '_'!r}"


def _module_names(subject: Subject) -> Iterator[tuple[str, str]]:
    for feature in subject.features:
        if feature.body.embedding_name:
            yield f"{feature.at}.embedding_name", feature.body.embedding_name
    model: Any = subject.config.model_config
    for i, tower in enumerate(model.multi_tower.towers):
        yield f"model_config.multi_tower.towers[{i}].input", tower.input
    for i, tower in enumerate(model.dbmtl.task_towers):
        yield f"model_config.dbmtl.task_towers[{i}].tower_name", tower.tower_name
    for i, group in enumerate(model.feature_groups):
        if group.sequence_encoders or model.HasField("variational_dropout"):
            yield f"model_config.feature_groups[{i}].group_name", group.group_name
