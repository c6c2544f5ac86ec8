"""The table of rules: one `Rule` per artifact, with the tool that makes it, what the tool reads and its flags.

Those from a user's config to the one that is trained stand in `config_rules.py`.
"""

from __future__ import annotations

from tzrec_build.graph.config_rules import CONFIG_RULES, DEVICE, TORCH, TRAINED, has_config
from tzrec_build.graph.grammar import PipelineSpec
from tzrec_build.graph.rule import Extras, Flags, Given, Made, Model, Out, Param, Rule, Runs


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


_LEARN: Flags = (  # of every training on the final config; seed and evaluation are the rule's own
    ("--pipeline_config_path", Made("final_config/train.config")),
    ("--train_input_path", Given("data.train")),
    ("--model_dir", Out()),
    *DEVICE,
    ("--fine_tune_checkpoint", Given("train.init_from", optional=True)),
)

RULES: tuple[Rule, ...] = (
    *CONFIG_RULES,
    *(
        Rule(
            "train",
            "train the final model",
            "train",
            (*_LEARN, ("--seed", Param("train.seed")), *evaluated),
            TRAINED,
            when,
            purpose="train",
            packages=TORCH,
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
            *DEVICE,
        ),
        ("eval_result.txt",),
        has_config,
        purpose="eval",
        packages=TORCH,
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
            *DEVICE,
        ),
        ("eval_result.txt",),
        has_config,
        items=lambda p: [(one.name, one) for one in p.evals],
        purpose="eval",
        packages=TORCH,
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
            *DEVICE,
        ),
        ("part-*",),
        has_config,
        items=lambda p: [(one.name, one) for one in p.predicts],
        purpose="predict",
        packages=TORCH,
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
        packages=TORCH,
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
            *DEVICE,
        ),
        ("part-*",),
        _embeds_items,
        purpose="predict",
        packages=TORCH,
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
                *DEVICE,
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
            *DEVICE,
        ),
        ("part-*",),
        lambda p: p.hitrate is not None,
        purpose="predict",
        packages=TORCH,
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
        packages=TORCH,
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
        has_config,
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
