"""What a workspace file says once it is read: one spec per expanded pipeline instance, one class per table.

Every field is a key of the TOML table that its class documents; the defaults of the grammar stand here and nowhere else
(`keys.py` holds the rules that a value must obey). A *path text* is a file, glob or folder relative to the pipeline's
folder, or a reference ``PIPELINE:ARTIFACT[/file]`` (see `references.parse_ref`) whose pipeline is an instance name.

The leaves are named tuples, not frozen dataclasses: making one class costs 0.07 ms against 0.5 ms, which on 17 leaves is
8 ms of every no-op run (budget: 17 ms for all of ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Scalar: TypeAlias = bool | int | float | str
EditValue: TypeAlias = Scalar | tuple["EditValue", ...]


class ConfigSpec(NamedTuple):
    """[config]: the model config; exactly one of `path` and `easyrec` is set."""

    path: str = ""
    easyrec: str = ""
    fg_json: str = ""  # of `easyrec`; "" for the one that it names
    schema: str = ""  # EasyRec package that `easyrec` is read with; "" for our schema
    feature_info: str = ""
    edit: tuple[tuple[str, EditValue], ...] = ()  # edit path -> value, in file order
    model: str = ""  # FILE.py:CLASS in place of the config's model

    @property
    def file(self) -> str:
        """The user's file."""
        return self.path or self.easyrec


class DataSpec(NamedTuple):
    """[data]: input tables; empty means the ones that the config names."""

    train: tuple[str, ...] = ()
    eval: tuple[str, ...] = ()
    fingerprint: str = "content"


class TrainSpec(NamedTuple):
    """[train]: how a training runs; `threads` and `device` also hold for every later step on its checkpoint."""

    processes: int = 1
    nodes: int = 1
    launcher: tuple[str, ...] = ()
    threads: int = 1
    device: str = "auto"
    seed: int = 7
    init_from: str = ""  # a path text; "" starts afresh, also for the first instance of a chain
    timeout_s: float = 0.0  # 0 = no limit
    cache: str = "full"
    resources: tuple[tuple[str, int], ...] = ()  # slots of every task that runs on `device`


class PickSpec(NamedTuple):
    """[pick]: which checkpoint of a training the rest uses."""

    by: str = "latest"
    metric: str = ""
    step: int = 0
    smaller_is_better: bool = False


class SelectSpec(NamedTuple):
    """[select]: feature selection by variational dropout."""

    topk: int
    regularization_lambda: float = 0.01


class EvalSpec(NamedTuple):
    """[eval.NAME]: one more evaluation."""

    name: str
    data: tuple[str, ...]


class PredictSpec(NamedTuple):
    """[predict.NAME]: one prediction; no `output_columns` means all of them."""

    name: str
    input: tuple[str, ...]
    reserved: tuple[str, ...] = ()
    output_columns: tuple[str, ...] = ()


class FgSpec(NamedTuple):
    """[fg]: fg.json for serving."""

    reserves: tuple[str, ...] = ()
    remove_bucketizer: bool = False


class ExportSpec(NamedTuple):
    """[export]: the model for serving."""

    mode: str = "script"


class IndexSpec(NamedTuple):
    """[index]: a FAISS index over what `tower` embeds of `items`, or over an `input` table of embeddings."""

    id_field: str
    tower: str = ""  # "item" unless `input` is set
    input: str = ""
    items: tuple[str, ...] = ()
    embedding_field: str = ""  # "" = what the tower writes
    type: str = "IVFFlatIP"
    ivf_nlist: int = 1000
    hnsw_M: int = 32  # noqa: N815 - the option names of TorchEasyRec and FAISS
    hnsw_efConstruction: int = 200  # noqa: N815


class HitrateSpec(NamedTuple):
    """[hitrate]: how many of a user's future items the index finds."""

    users: tuple[str, ...]
    top_k: int = 200
    request_id_field: str = "request_id"
    gt_items_field: str = "gt_items"
    exclude_items_field: str = ""
    user_embedding_field: str = "user_tower_emb"
    baseline: str = ""


class BenchmarkSpec(NamedTuple):
    """[benchmark]: the same training over several seeds, compared with a baseline file."""

    runs: int = 3
    baseline: str = ""


class StepSpec(NamedTuple):
    """[step.NAME]: a command of the user's own; placeholders in `command` are left for `expand.expand_command`."""

    name: str
    command: tuple[str, ...]
    inputs: tuple[tuple[str, tuple[str, ...]], ...] = ()  # name -> path texts
    outputs: tuple[tuple[str, str], ...] = ()  # name -> file below build/NAME
    env: tuple[str, ...] = ()  # names of variables whose values are part of the key
    params: tuple[tuple[str, Scalar], ...] = ()
    threads: int = 1
    resources: tuple[tuple[str, int], ...] = ()
    retries: int = 0
    timeout_s: float = 0.0  # 0 = no limit


class CacheSpec(NamedTuple):
    """[cache] of workspace.toml."""

    match: str = "portable"
    remote: str = ""


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """One pipeline, or one instance of a pipeline with [each]."""

    name: str  # "movielens_rank" or "daily:ds=20260101,config=dbmtl": tasks are "train:" + name
    base_name: str  # the folder's name
    folder: str  # absolute
    source: str  # pipeline.toml as messages show it, relative to the root
    default: bool  # False: not built by bare `doit`
    each: tuple[tuple[str, str], ...]  # variable -> value, in table order
    build_dir: str  # below the folder: "build" or "build/ds=20260101,config=dbmtl"
    config: ConfigSpec | None
    data: DataSpec
    train: TrainSpec
    checkpoint: str  # [checkpoint] path, a path text; "" = trained here
    pick: PickSpec
    select: SelectSpec | None
    evals: tuple[EvalSpec, ...]
    predicts: tuple[PredictSpec, ...]
    fg: FgSpec
    export: ExportSpec | None
    index: IndexSpec | None
    hitrate: HitrateSpec | None
    benchmark: BenchmarkSpec | None
    steps: tuple[StepSpec, ...]


@dataclass(frozen=True, slots=True)
class Workspace:
    """All pipelines, sorted by folder and then in [each] order, and what their text depended on.

    `files`, `env` and `globs` are what a cached copy must be compared with (`compiled.still_holds` does the last two).
    """

    root: str  # absolute; the pipelines are root/workspace/NAME
    resources: tuple[tuple[str, int], ...]  # slot name -> how many at a time
    cache: CacheSpec
    vars: tuple[tuple[str, EditValue], ...]
    pipelines: tuple[PipelineSpec, ...]
    files: tuple[str, ...]  # absolute path of every TOML file read
    env: tuple[tuple[str, str], ...]  # environment variables named in [each], with the values seen
    globs: tuple[tuple[str, str, tuple[str, ...]], ...]  # (folder, pattern, matches) of every glob in [each]
    max_cost_s: float = 0.0  # a build that would take longer is not started; 0 = no limit
