"""What of the schema this code base covers: the one table that decides between reading, no effect, and refusing.

A set field must be in `READ` (some code acts on it), in `NO_EFFECT` (it cannot change a result here; the reason is written
down), or hold its default. Everything else is refused by name and place. Whoever teaches a floor a new part adds its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from tzrec_build.config.positions import positions
from tzrec_build.config.walk import SetField, is_own_message, messages_in
from tzrec_build.errors import NotSupportedError

_TABLE = (
    "embedding_name embedding_dim pooling default_value separator init_fn fg_encoded_default_value trainable data_type"
)
_SEQUENCE = "sequence_length sequence_delim sequence_fields"
_VOCABULARY = "vocab_list vocab_dict vocab_file asset_dir default_bucketize_value"
_SCHEDULES = (
    "constant_learning_rate exponential_decay_learning_rate manual_step_learning_rate cosine_annealing_learning_rate"
    " cosine_annealing_warm_restarts_learning_rate"
)
_CLIPPING = "gradient_clipping max_gradient"
_WARMUP = "warmup_learning_rate warmup_size min_learning_rate by_epoch"
_TASK = "tower_name label_name metrics losses num_class mlp weight sample_weight_name"
_TASK_SPACE = "task_space_indicator_label in_task_space_weight out_task_space_weight"
_SIMILARITY = "output_dim similarity temperature in_batch_negative"

READ: Mapping[str, str] = {  # message -> the fields that our code acts on
    "EasyRecConfig": "train_input_path eval_input_path model_dir train_config eval_config export_config data_config"
    " feature_configs model_config",
    # data
    "DataConfig": "batch_size fg_encoded fg_encoded_multival_sep label_fields input_fields delimiter with_header"
    " eval_batch_size drop_remainder sample_weight_fields fg_mode shuffle shuffle_buffer_size input_fields_str"
    " negative_sampler",
    "Field": "input_name input_type",
    "NegativeSampler": "input_path num_sample attr_fields item_id_field attr_delimiter num_eval_sample field_delimiter",
    # features
    "FeatureConfig": "id_feature raw_feature combo_feature sequence_feature sequence_id_feature sequence_raw_feature",
    "SeqFeatureConfig": "id_feature raw_feature",
    "SequenceFeature": "sequence_name sequence_length sequence_delim sequence_pk features",
    "IdFeature": f"feature_name expression hash_bucket_size num_buckets value_dim weighted fg_value_type {_VOCABULARY} {_TABLE}"
    f" {_SEQUENCE}",
    "RawFeature": f"feature_name expression boundaries value_dim normalizer {_TABLE} {_SEQUENCE}",
    "ComboFeature": f"feature_name expression hash_bucket_size value_dim {_VOCABULARY} {_TABLE}",
    "ParameterConstraints": "",
    # model
    "ModelConfig": "feature_groups num_class losses metrics variational_dropout deepfm multi_tower multi_tower_din"
    " wide_and_deep dcn_v1 dcn_v2 dlrm mask_net xdeepfm mmoe dbmtl ple dssm",
    "FeatureGroupConfig": "group_name feature_names group_type sequence_groups sequence_encoders embedding_name_suffix",
    "SeqGroupConfig": "group_name feature_names embedding_name_suffix",
    "SeqEncoderConfig": "din_encoder simple_attention pooling_encoder multi_window_din_encoder",
    "MultiWindowDINEncoder": "name input attn_mlp windows_len",
    "DINEncoder": "name input attn_mlp max_seq_length",
    "SimpleAttention": "name input max_seq_length",
    "PoolingEncoder": "name input pooling_type max_seq_length",
    "VariationalDropout": "regularization_lambda",
    "MLP": "hidden_units dropout_ratio activation use_bn bias use_ln",
    "MaskNetModule": "n_mask_blocks mask_block top_mlp use_parallel",
    "MaskBlock": "reduction_ratio aggregation_dim hidden_dim",
    "Cross": "cross_num",
    "CrossV2": "cross_num low_rank",
    "ExtractionNetwork": "expert_num_per_task share_num task_expert_net share_expert_net",
    "Tower": "input mlp",
    "DINTower": "input attn_mlp",
    "TaskTower": f"{_TASK} {_TASK_SPACE}",
    "BayesTaskTower": f"{_TASK} {_TASK_SPACE} relation_tower_names relation_mlp",
    "DeepFM": "deep final wide_embedding_dim wide_init_fn",
    "WideAndDeep": "deep final wide_embedding_dim wide_init_fn",
    "MultiTower": "towers final",
    "MultiTowerDIN": "towers din_towers final",
    "DLRM": "dense_mlp arch_with_sparse final",
    "DCNV1": "cross deep final",
    "DCNV2": "backbone cross deep final",
    "MaskNet": "mask_net_module",
    "xDeepFM": "cin deep final wide_embedding_dim wide_init_fn",
    "CIN": "cin_layer_size",
    "MMoE": "expert_mlp gate_mlp num_expert task_towers",
    "DBMTL": "mask_net bottom_mlp expert_mlp gate_mlp num_expert task_towers",
    "PLE": "extraction_networks task_towers",
    "DSSM": f"user_tower item_tower {_SIMILARITY}",
    "LossConfig": "binary_cross_entropy softmax_cross_entropy l2_loss binary_focal_loss",
    "BinaryCrossEntropy": "label_smoothing",
    "SoftmaxCrossEntropy": "label_smoothing",
    "BinaryFocalLoss": "gamma alpha",
    "L2Loss": "",
    "MetricConfig": "auc multiclass_auc recall_at_k mean_absolute_error mean_squared_error accuracy grouped_auc",
    "AUC": "thresholds",
    "MulticlassAUC": "thresholds average",
    "RecallAtK": "top_k",
    "Accuracy": "threshold top_k",
    "GroupedAUC": "grouping_key",
    "MeanAbsoluteError": "",
    "MeanSquaredError": "",
    # training
    "TrainConfig": "sparse_optimizer dense_optimizer num_steps num_epochs save_checkpoints_steps save_checkpoints_epochs"
    " fine_tune_checkpoint keep_checkpoint_max",
    "SparseOptimizer": f"sgd_optimizer adagrad_optimizer adam_optimizer rowwise_adagrad_optimizer {_SCHEDULES}",
    "DenseOptimizer": f"sgd_optimizer adagrad_optimizer adam_optimizer adamw_optimizer {_SCHEDULES}",
    "FusedSGDOptimizer": f"lr {_CLIPPING}",
    "FusedAdagradOptimizer": f"lr initial_accumulator_value {_CLIPPING}",
    "FusedAdamOptimizer": f"lr beta1 beta2 weight_decay {_CLIPPING}",
    "FusedRowWiseAdagradOptimizer": f"lr weight_decay weight_decay_mode {_CLIPPING}",
    "SGDOptimizer": "lr momentum weight_decay dampening nesterov",
    "AdagradOptimizer": "lr weight_decay initial_accumulator_value eps",
    "AdamOptimizer": "lr beta1 beta2 weight_decay eps amsgrad",
    "AdamWOptimizer": "lr beta1 beta2 weight_decay eps amsgrad",
    "ConstantLR": "",
    "ExponentialDecayLR": f"decay_size decay_factor staircase {_WARMUP}",
    "ManualStepLR": "schedule_sizes learning_rates warmup by_epoch",
    "CosineAnnealingLR": f"T_max {_WARMUP}",
    "CosineAnnealingWarmRestartsLR": f"T_0 T_mult {_WARMUP}",
    "EvalConfig": "num_steps",
    "ExportConfig": "exporter_type best_exporter_metric metric_larger_is_better",
}

_ODPS = "only for MaxCompute sessions; tables are read from files"
_MASK = "only acts with sample_mask_prob, which is refused"
_SHOWN = "only shown while training; no result is made from it"
_SPEED = "changes the speed of one process, not its numbers"

NO_EFFECT: Mapping[str, str] = {  # field -> why it cannot change a result here
    "DataConfig.dataset_type": "the files decide how they are read; kinds of data that are no files are refused below",
    "DataConfig.num_workers": "one thread reads ahead in a fixed order",
    "DataConfig.pin_memory": _SPEED,
    "DataConfig.fg_threads": "features are computed vectorised in one thread; see fg_encoded for its old second meaning",
    "DataConfig.in_order": "batches always come in order",
    "DataConfig.is_orderby_partition": _ODPS,
    "DataConfig.odps_data_quota_name": _ODPS,
    "DataConfig.odps_data_compression": _ODPS,
    "IdFeature.use_mask": _MASK,
    "RawFeature.use_mask": _MASK,
    "ComboFeature.use_mask": _MASK,
    "IdFeature.embedding_constraints": "one process holds every table whole",
    "RawFeature.embedding_constraints": "one process holds every table whole",
    "ComboFeature.embedding_constraints": "one process holds every table whole",
    "ModelConfig.kernel": "chooses between implementations of the same sequence operators; no covered model uses them",
    "ModelConfig.train_metrics": _SHOWN,
    "TaskTower.train_metrics": _SHOWN,
    "BayesTaskTower.train_metrics": _SHOWN,
    "TaskTower.pareto_min_loss_weight": "only acts with use_pareto_loss_weight, which is refused",
    "BayesTaskTower.pareto_min_loss_weight": "only acts with use_pareto_loss_weight, which is refused",
    "VariationalDropout.embedding_wise_variational_dropout": "TorchEasyRec accepts and ignores it: one probability a feature",
    "ExtractionNetwork.network_name": "a name; no parameter and no output carries it",
    "TrainConfig.log_step_count_steps": _SHOWN,
    "TrainConfig.use_tensorboard": _SHOWN,
    "TrainConfig.tensorboard_summaries": _SHOWN,
    "TrainConfig.global_embedding_constraints": "one process holds every table whole",
    "TrainConfig.cudnn_allow_tf32": "no covered model has a convolution",
    "TrainConfig.grad_scaler": "only acts with mixed_precision, which is refused",
    "ExportConfig.cudnn_allow_tf32": "no covered model has a convolution",
    "SGDOptimizer.fused": _SPEED,
    "AdagradOptimizer.fused": _SPEED,
    "AdamOptimizer.fused": _SPEED,
    "AdamWOptimizer.fused": _SPEED,
    "EvalConfig.log_step_count_steps": _SHOWN,
}

REFUSED_VALUES: Mapping[str, frozenset[str]] = {  # field of READ or NO_EFFECT -> values (enum names, text) not covered
    "DataConfig.dataset_type": frozenset({"KafkaDataset", "OdpsDatasetV1"}),
    "FeatureGroupConfig.group_type": frozenset({"JAGGED_SEQUENCE"}),
    "DSSM.similarity": frozenset({"EUCLID"}),
}

_READ_FIELDS = {f"{message}.{field}" for message, fields in READ.items() for field in fields.split()}


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A set field, or value, that nothing covers: its path in the config and how a message names it."""

    field_path: str
    what: str


def find_unsupported(config: Message) -> list[Unsupported]:
    """List every set field that no table covers, in declaration order; below a refused message nothing more is listed."""
    return list(_walk(config, ""))


def _walk(parent: Message, path: str) -> Iterator[Unsupported]:
    for field, value in parent.ListFields():
        at = f"{path}.{field.name}" if path else field.name
        found = SetField(at, parent, field, value)
        if found.key in REFUSED_VALUES:
            name = _value_name(found)
            if name in REFUSED_VALUES[found.key]:
                yield Unsupported(at, f"{at} = {name}")
        elif found.key in NO_EFFECT:
            continue
        elif found.key not in _READ_FIELDS:
            if not _is_default(found):
                yield Unsupported(at, at)
        elif is_own_message(field):
            yield from (hit for child_at, child in messages_in(field, value, at) for hit in _walk(child, child_at))


def _is_default(found: SetField) -> bool:
    """Say whether a scalar was spelled out with its own default, which asks for nothing."""
    if found.field.is_repeated or found.field.message_type is not None:
        return False
    return bool(found.value == found.field.default_value)


def _value_name(found: SetField) -> str:
    """Write a scalar as in the config: enums by name."""
    if found.field.enum_type is not None and not found.field.is_repeated:
        return str(found.field.enum_type.values_by_number[found.value].name)
    return str(found.value)


def check_supported(config: Message, path: str, text: str) -> None:
    """Refuse a config that asks for a part that is not built yet.

    Args:
        config: the loaded config.
        path: the user's file, for the message.
        text: the text of that file, for the lines.

    Raises:
        NotSupportedError: `not supported yet: FIELD in FILE:LINE`, one line for each such field; `what` and `where` are the first's.
    """
    found = find_unsupported(config)
    if not found:
        return
    index = positions(text)
    errors = [NotSupportedError(hit.what, f"{path}:{index.place(hit.field_path)[0]}") for hit in found]
    first = errors[0]
    first.args = ("\n".join(str(error) for error in errors),)
    raise first
