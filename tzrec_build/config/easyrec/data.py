"""Where data come from and how they are read: paths, data_config, samplers."""

from __future__ import annotations

from collections.abc import Mapping

from tzrec_build.config.easyrec.parts import Rule, Rules, Source, Target, apply, dropped, expand, same

_FILES = "tables of this kind cannot be read; convert them to Parquet"
INPUT_TYPES: Mapping[str, tuple[str, str]] = {  # input_type -> dataset_type, how it is approximated
    "CSVInput": ("CsvDataset", ""),
    "CSVInputV2": ("CsvDataset", ""),
    "CSVInputEx": ("CsvDataset", ""),
    "OdpsInput": ("OdpsDataset", ""),
    "OdpsInputV2": ("OdpsDataset", ""),
    "OdpsInputV3": ("OdpsDataset", ""),
    "OdpsRTPInput": ("OdpsDataset", "one column for each feature, not one column of all"),
    "OdpsRTPInputV2": ("OdpsDataset", "one column for each feature, not one column of all"),
    "ParquetInput": ("ParquetDataset", ""),
    "ParquetInputV2": ("ParquetDataset", ""),
    "ParquetInputV3": ("ParquetDataset", ""),
    "HiveParquetInput": ("ParquetDataset", "Hive's files, not its tables, are read"),
    "RTPInput": ("ParquetDataset", "one column for each feature, not one column of all; convert the text to Parquet"),
    "RTPInputV2": ("ParquetDataset", "one column for each feature, not one column of all; convert the text to Parquet"),
    "HiveRTPInput": (
        "ParquetDataset",
        "one column for each feature, not one column of all; convert the table to Parquet",
    ),
    "HiveInput": ("ParquetDataset", _FILES),
    "TFRecordInput": ("ParquetDataset", _FILES),
    "BatchTFRecordInput": ("ParquetDataset", _FILES),
    "CriteoInput": ("ParquetDataset", _FILES),
    "DummyInput": ("ParquetDataset", "random input for measurements has no counterpart"),
    "DataHubInput": ("ParquetDataset", "a DataHub topic cannot be read; write it to Parquet"),
    "KafkaInput": ("KafkaDataset", ""),
}
ENCODED = frozenset(
    {"RTPInput", "RTPInputV2", "OdpsRTPInput", "OdpsRTPInputV2", "HiveRTPInput"}
)  # values as fg gives them
_TYPES = {name: name for name in ("INT32", "INT64", "STRING", "FLOAT", "DOUBLE")} | {"BOOL": "INT32"}
SAMPLERS = ("negative_sampler", "negative_sampler_v2", "hard_negative_sampler", "hard_negative_sampler_v2")
_SAMPLER_FIELDS = same(
    "input_path user_input_path item_input_path pos_edge_input_path hard_neg_edge_input_path num_sample num_hard_sample"
    " attr_fields item_id_field user_id_field attr_delimiter num_eval_sample"
) | {"field_delimiter": Rule("field_delimiter", always=True)}
_DATA: Rules = (
    {"batch_size": Rule("batch_size", always=True), "shuffle": Rule("shuffle", always=True)}
    | same("label_fields shuffle_buffer_size with_header eval_batch_size drop_remainder")
    | {
        "num_parallel_calls": Rule("num_workers", convert=lambda n: max(int(n), 1)),
        "sample_weight": Rule("sample_weight_fields", convert=lambda name: [name]),
    }
    | dropped("prefetch_size", "reading ahead has no setting")
    | dropped("auto_expand_input_fields", "input_fields lists every column")
    | dropped("label_sep label_dim", "a label has one value")
    | dropped("extra_label_func", "labels are columns; compute them before")
    | dropped(
        "shard file_shard pai_worker_queue pai_worker_slice_num chief_redundant", "workers share files their own way"
    )
    | dropped("selected_cols selected_col_types", "columns are chosen by name, from labels and features")
    | dropped("rtp_separator", "each feature has a column")
    | dropped("ignore_error", "a bad row is an error")
    | dropped("data_compression_type n_data_batch_tfrecord", "the file says it")
    | dropped("feature_fields", "features name their columns")
)
_UNREAD = {
    "kafka_train_input": "name the topic in train_input_path as the reader wants it",
    "kafka_eval_input": "name the topic in eval_input_path as the reader wants it",
    "datahub_train_input": "DataHub cannot be read",
    "datahub_eval_input": "DataHub cannot be read",
    "hive_train_input": "Hive cannot be read; give the files of the table",
    "hive_eval_input": "Hive cannot be read; give the files of the table",
    "binary_train_input": "binary files cannot be read; convert them to Parquet",
    "binary_eval_input": "binary files cannot be read; convert them to Parquet",
}


def convert_paths(source: Source, target: Target) -> None:
    """Convert input paths and model_dir; paths that EasyRec leaves out are written empty, to be given by flags."""
    for name, other in (("train_input_path", "parquet_train_input"), ("eval_input_path", "parquet_eval_input")):
        given = name if source.has(name) else other
        if source.has(given):
            source.note(given, "kept" if given == name else "mapped", target.set(name, source.get(given)))
        else:
            target.put(name, "", "required; give it by a flag")
        source.drop(other, f"{name} wins") if given == name else None
    source.note("model_dir", "kept", target.set("model_dir", source.get("model_dir")))
    for name, why in _UNREAD.items():
        source.note(name, "dropped", "", why)


def convert_data(source: Source, target: Target, label_name: str) -> None:
    """Convert data_config.

    Args:
        source: EasyRec's.
        target: the result's.
        label_name: the one label of a model that names it; it then comes first.
    """
    apply(source, target, _DATA)
    kind = source.get("input_type")
    dataset, how = INPUT_TYPES[kind]
    number = target.message.DESCRIPTOR.fields_by_name["dataset_type"].enum_type.values_by_name[dataset].number
    source.note("input_type", "approximated" if how else "mapped", target.set("dataset_type", number), how)
    if dataset == "CsvDataset":
        mark = source.get("separator")
        if source.has("separator"):
            source.note("separator", "mapped", target.set("delimiter", mark))
    source.drop("separator", f"{dataset} has no separator") if dataset != "CsvDataset" else None
    modes = target.message.DESCRIPTOR.fields_by_name["fg_mode"].enum_type.values_by_name
    mode = "FG_BUCKETIZE" if kind in ENCODED else "FG_DAG"
    target.put(
        "fg_mode",
        modes[mode].number,
        f"{mode}: {'columns hold what fg made' if kind in ENCODED else 'columns are raw'}",
    )
    labels = list(target.message.label_fields)
    if label_name in labels[1:]:
        target.set("label_fields", [label_name, *(name for name in labels if name != label_name)])
        source.note("label_fields", "mapped", target.at("label_fields"), "the label of the model comes first")
    _columns(source, target)
    _sampler(source, target)


def _columns(source: Source, target: Target) -> None:
    for field in source.parts("input_fields"):
        names = expand([field.get("input_name")])
        for name in names:
            _column(field, target.new("input_fields"), name)


def _column(field: Source, made: Target, name: str) -> None:
    field.note("input_name", "kept", made.set("input_name", name))
    given = field.get("input_type")
    numbers = made.message.DESCRIPTOR.fields_by_name["input_type"].enum_type.values_by_name
    known = _TYPES[given]
    how = "" if known == given else "true is 1"
    field.note("input_type", "approximated" if how else "kept", made.set("input_type", numbers[known].number), how)
    if field.at("default_val") not in field.receipt.entries:
        field.drop("default_val", "no feature reads this column alone")
    field.drop("input_dim input_shape", "features say how many values they have")
    field.drop(
        "user_define_fn user_define_fn_path user_define_fn_res_type", "columns are read as they are; compute it before"
    )
    field.drop("ignore_val", "no value is ignored")


def _sampler(source: Source, target: Target) -> None:
    for name in SAMPLERS:
        if source.has(name):
            apply(source.part(name), target.child(name), _SAMPLER_FIELDS)
    if source.has("negative_sampler_in_memory"):
        made = target.child("negative_sampler")
        apply(source.part("negative_sampler_in_memory"), made, _SAMPLER_FIELDS)


def sampler_of(source: Source) -> Source | None:
    """Give the sampler of a data_config, if it has one."""
    for name in (*SAMPLERS, "negative_sampler_in_memory"):
        if source.has(name):
            return source.part(name)
    return None
