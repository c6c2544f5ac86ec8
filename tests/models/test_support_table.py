"""What the config floor calls supported is what the registries can build, and the other way round."""

from tzrec_build.config.support import READ
from tzrec_build.features.registry import FEATURES, SEQUENCE_MEMBERS
from tzrec_build.models.metric_specs import METRIC_RULES
from tzrec_build.models.registry import MODELS
from tzrec_build.protos.tzrec import feature_pb2, metric_pb2, model_pb2, optimizer_pb2
from tzrec_build.training.metrics import METRICS
from tzrec_build.training.optimizers import DENSE, FUSED


def members(message, oneof):
    return {field.name for field in message.DESCRIPTOR.oneofs_by_name[oneof].fields}


def read(message, oneof):
    return set(READ[message.DESCRIPTOR.name].split()) & members(message, oneof)


def test_supported_models_are_the_registered_ones():
    assert read(model_pb2.ModelConfig, "model") == set(MODELS)


def test_supported_features_are_the_registered_ones():
    assert read(feature_pb2.FeatureConfig, "feature") == set(FEATURES) | {"sequence_feature"}
    assert read(feature_pb2.SeqFeatureConfig, "feature") == set(SEQUENCE_MEMBERS)


def test_supported_metrics_are_those_with_a_rule_and_those_that_can_be_computed():
    assert read(metric_pb2.MetricConfig, "metric") == set(METRIC_RULES) == set(METRICS)


def test_supported_optimizers_are_the_built_ones():
    assert read(optimizer_pb2.SparseOptimizer, "optimizer") == set(FUSED)
    assert read(optimizer_pb2.DenseOptimizer, "optimizer") == set(DENSE)
