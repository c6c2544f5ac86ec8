"""The table of rules: one `Rule` per artifact, with the tool that makes it, what the tool reads and its flags."""

from __future__ import annotations

from tzrec_build.graph.grammar import PipelineSpec
from tzrec_build.graph.rule import Extras, Flags, Given, Made, Model, Out, Param, Rule, Runs, Switch

_TORCH = ("torch", "torchrec", "fbgemm-gpu", "torchmetrics", "tensordict", "numpy", "pyarrow", "protobuf")


def _has_config(p: PipelineSpec) -> bool:
    return p.config is not None


def _selects(p: PipelineSpec) -> bool:
    return p.config is not None and p.select is not None


def _keeps_all(p: PipelineSpec) -> bool:
    return p.config is not None and p.select is None


def _trains(p: PipelineSpec) -> bool:
    return p.config is not None and not p.checkpoint


def _trains_to_compare(p: PipelineSpec) -> bool:
    return _trains(p) and p.pick.by == "best"


def _trains_to_the_end(p: PipelineSpec) -> bool:
    return _trains(p) and p.pick.by != "best"


def _embeds_items(p: PipelineSpec) -> bool:
    return p.index is not None and not p.index.input


def _seeds(p: PipelineSpec) -> list[tuple[str, object]]:
    """One run per seed; the seeds follow the training's own, which stays out so that a run never equals it."""
    return [(str(p.train.seed + i), p.train.seed + i) for i in range(1, (p.benchmark.runs if p.benchmark else 0) + 1)]


_DEVICE: Flags = (("--threads", Param("train.threads")), ("--device", Param("train.device")))
_TRAINED = ("model.ckpt-*",)
_LEARN: Flags = (  # of every training on the final config; seed and evaluation are the rule's own
    ("--pipeline_config_path", Made("final_config/train.config")),
    ("--train_input_path", Given("data.train")),
    ("--model_dir", Out()),
    *_DEVICE,
    ("--fine_tune_checkpoint", Given("train.init_from", optional=True)),
)

RULES: tuple[Rule, ...] = (
    Rule(
        "config",
        "check the pipeline config, apply [config.edit], write it in canonical form",
        "project_config",
        (
            ("--pipeline_config_path", Given("config.path")),
            ("--output_dir", Out()),
            ("--edit_config_json", Param("config.edit")),
        ),
        ("pipeline.config",),
        _has_config,
    ),
    Rule(
        "select_config",
        "the config of the selection training: variational dropout switched on",
        "project_config",
        (
            ("--pipeline_config_path", Made("config/pipeline.config")),
            ("--output_dir", Out()),
            ("--purposes", "select"),
            ("--require_variational_dropout", Param("select.regularization_lambda")),
        ),
        ("select.config",),
        _selects,
    ),
    Rule(
        "train_select",
        "train with variational dropout, to learn which features matter",
        "train",
        (
            ("--pipeline_config_path", Made("select_config/select.config")),
            ("--train_input_path", Given("data.train")),
            ("--model_dir", Out()),
            ("--seed", Param("train.seed")),
            *_DEVICE,
        ),
        _TRAINED,
        _selects,
        purpose="select",
        packages=_TORCH,
        threads="train.threads",
    ),
    Rule(
        "importance",
        "feature importance from variational dropout: a table and a picture per feature group",
        "feature_importance",
        (
            ("--pipeline_config_path", Made("select_config/select.config")),
            ("--model_dir", Made("train_select")),
            ("--output_dir", Out()),
            ("--visualize", Switch()),
        ),
        ("feature_dropout_ratio_*.csv",),
        _selects,
        packages=("torch", "matplotlib", "numpy", "protobuf"),
    ),
    Rule(
        "prune",
        "the config with the [select] topk features of each group only",
        "prune",
        (
            ("--pipeline_config_path", Made("config/pipeline.config")),
            ("--importance_dir", Made("importance")),
            ("--topk", Param("select.topk")),
            ("--output_config_path", Out("pipeline.config")),
        ),
        ("pipeline.config",),
        _selects,
    ),
    *(
        Rule(
            "final_config",
            "the config that is trained, and the part of it that each later tool reads",
            "project_config",
            (
                ("--pipeline_config_path", Made(source)),
                ("--output_dir", Out()),
                ("--purposes", "train,eval,predict,fg,export"),
            ),
            ("pipeline.config", "train.config", "eval.config", "predict.config", "fg.config", "export.config"),
            when,
        )
        for source, when in (("prune/pipeline.config", _selects), ("config/pipeline.config", _keeps_all))
    ),
    Rule(
        "fg",
        "fg.json and its vocabulary files, for the feature generator in serving",
        "fg_json",
        (
            ("--pipeline_config_path", Made("final_config/fg.config")),
            ("--fg_output_dir", Out()),
            ("--reserves", Param("fg.reserves")),
            ("--remove_bucketizer", Param("fg.remove_bucketizer")),
        ),
        ("fg.json",),
        _has_config,
        purpose="fg",
        packages=("pyarrow", "numpy", "protobuf"),
    ),
    *(
        Rule(
            "train",
            "train the final model",
            "train",
            (*_LEARN, ("--seed", Param("train.seed")), *evaluated),
            _TRAINED,
            when,
            purpose="train",
            packages=_TORCH,
            threads="train.threads",
        )
        # Evaluated while it trains only where [pick] compares checkpoints: else another evaluation table would train again.
        for evaluated, when in (
            (
                (
                    ("--eval_input_path", Given("data.eval")),
                    ("--keep_best", Param("pick.metric")),
                    ("--smaller_is_better", Param("pick.smaller_is_better")),
                ),
                _trains_to_compare,
            ),
            ((), _trains_to_the_end),
        )
    ),
    Rule(
        "pick",
        "choose the checkpoint that the rest uses",
        "pick_checkpoint",
        (
            ("--model_dir", Made("train")),
            ("--by", Param("pick.by")),
            ("--metric", Param("pick.metric")),
            ("--step", Param("pick.step")),
            ("--smaller_is_better", Param("pick.smaller_is_better")),
            ("--output_path", Out("checkpoint.json")),
        ),
        ("checkpoint.json",),
        _trains,
        packages=(),
    ),
    Rule(
        "evaluate",
        "evaluate the chosen checkpoint",
        "evaluate",
        (
            ("--pipeline_config_path", Made("final_config/eval.config")),
            ("checkpoint", Model()),
            ("--eval_input_path", Given("data.eval")),
            ("--eval_result_path", Out("eval_result.txt")),
            *_DEVICE,
        ),
        ("eval_result.txt",),
        _has_config,
        purpose="eval",
        packages=_TORCH,
        threads="train.threads",
        needs_table="data.eval",
    ),
    Rule(
        "evaluate",
        "evaluate the chosen checkpoint on another table ([eval.NAME])",
        "evaluate",
        (
            ("--pipeline_config_path", Made("final_config/eval.config")),
            ("checkpoint", Model()),
            ("--eval_input_path", Given("item.data")),
            ("--eval_result_path", Out("eval_result.txt")),
            *_DEVICE,
        ),
        ("eval_result.txt",),
        _has_config,
        items=lambda p: [(one.name, one) for one in p.evals],
        purpose="eval",
        packages=_TORCH,
        threads="train.threads",
    ),
    Rule(
        "predict",
        "predict a table with the chosen checkpoint ([predict.NAME])",
        "predict",
        (
            ("--pipeline_config_path", Made("final_config/predict.config")),
            ("checkpoint", Model()),
            ("--predict_input_path", Given("item.input")),
            ("--predict_output_path", Out()),
            ("--reserved_columns", Param("item.reserved")),
            ("--output_columns", Param("item.output_columns")),
            *_DEVICE,
        ),
        ("part-*",),
        _has_config,
        items=lambda p: [(one.name, one) for one in p.predicts],
        purpose="predict",
        packages=_TORCH,
        threads="train.threads",
    ),
    Rule(
        "export",
        "the model for serving: TorchScript, with its config and fg.json",
        "export",
        (
            ("--pipeline_config_path", Made("final_config/export.config")),
            ("checkpoint", Model()),
            ("--export_dir", Out()),
            ("--mode", Param("export.mode")),
        ),
        (),
        lambda p: p.export is not None,
        purpose="export",
        packages=_TORCH,
    ),
    Rule(
        "embed",
        "embeddings of every item ([index])",
        "predict",
        (
            ("--pipeline_config_path", Made("final_config/predict.config")),
            ("checkpoint", Model()),
            ("--predict_input_path", Given("index.items")),
            ("--predict_output_path", Out()),
            ("--tower", Param("index.tower")),
            ("--reserved_columns", Param("index.id_field")),
            *_DEVICE,
        ),
        ("part-*",),
        _embeds_items,
        purpose="predict",
        packages=_TORCH,
        threads="train.threads",
    ),
    *(
        Rule(
            "index",
            "FAISS index over the item embeddings, with its id mapping",
            "faiss_index",
            (
                ("--embedding_input_path", source),
                ("--index_output_dir", Out()),
                ("--index_type", Param("index.type")),
                ("--id_field", Param("index.id_field")),
                ("--embedding_field", Param("embedding_field")),
                ("--ivf_nlist", Param("index.ivf_nlist")),
                ("--hnsw_M", Param("index.hnsw_M")),
                ("--hnsw_efConstruction", Param("index.hnsw_efConstruction")),
                *_DEVICE,
            ),
            ("faiss_index", "id_mapping"),
            when,
            packages=("faiss", "numpy", "pyarrow"),
            threads="train.threads",
        )
        for source, when in (
            (Made("embed/*.parquet"), _embeds_items),
            (Given("index.input"), lambda p: p.index is not None and bool(p.index.input)),
        )
    ),
    Rule(
        "embed_users",
        "embeddings of the users whose future items are known ([hitrate])",
        "predict",
        (
            ("--pipeline_config_path", Made("final_config/predict.config")),
            ("checkpoint", Model()),
            ("--predict_input_path", Given("hitrate.users")),
            ("--predict_output_path", Out()),
            ("--tower", "user"),
            ("--reserved_columns", Param("hitrate_columns")),
            *_DEVICE,
        ),
        ("part-*",),
        lambda p: p.hitrate is not None,
        purpose="predict",
        packages=_TORCH,
        threads="train.threads",
    ),
    Rule(
        "hitrate",
        "how many of the users' future items the index finds",
        "hitrate",
        (
            ("--user_gt_input", Made("embed_users/*.parquet")),
            ("--index_dir", Made("index")),
            ("--request_id_field", Param("hitrate.request_id_field")),
            ("--gt_items_field", Param("hitrate.gt_items_field")),
            ("--user_embedding_field", Param("hitrate.user_embedding_field")),
            ("--exclude_items_field", Param("hitrate.exclude_items_field")),
            ("--top_k", Param("hitrate.top_k")),
            ("--baseline", Given("hitrate.baseline", optional=True)),
            ("--output_dir", Out()),
        ),
        ("hitrate.json",),
        lambda p: p.hitrate is not None,
        packages=("faiss", "numpy", "pyarrow"),
    ),
    Rule(
        "benchmark_run",
        "one training of the benchmark, on a seed of its own",
        "train",
        (*_LEARN, ("--seed", Param("item")), ("--eval_input_path", Given("data.eval"))),
        ("train_eval_result_v2.txt",),
        lambda p: p.benchmark is not None,
        items=_seeds,
        purpose="train",
        packages=_TORCH,
        threads="train.threads",
    ),
    Rule(
        "benchmark",
        "mean and spread of each metric over the seeds, beside the baselines",
        "benchmark",
        (
            ("--runs", Runs()),
            ("--config_name", Param("base_name")),
            ("--baseline", Given("benchmark.baseline", optional=True)),
            ("--output_dir", Out()),
        ),
        ("benchmark_eval.txt", "benchmark_report.json"),
        lambda p: p.benchmark is not None,
        packages=(),
    ),
    Rule(
        "page",
        "one page that shows what was built and how good it is",
        "report",
        (
            ("--pipeline", Param("name")),
            ("--artifacts", Param("build_dir")),
            ("--only", Extras()),
            ("--output_dir", Out()),
        ),
        ("index.html", "headline.txt"),
        _has_config,
        extra=(
            Made("final_config/pipeline.config", optional=True),
            Made("importance", optional=True),
            Made("train/train_eval_result_v2.txt", optional=True),
            Made("evaluate", optional=True),
            Made("index/manifest.json", optional=True),
            Made("hitrate/hitrate.json", optional=True),
            Made("benchmark", optional=True),
        ),
        headline="headline.txt",
    ),
)
