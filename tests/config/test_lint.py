import pytest

from tests.config.lint_cases import CASES, Case
from tests.config.test_support import MESSAGES
from tests.config.texts import CONFIGS, GOOD, MATCH, SEQUENCES, TASKS
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import LEVELS, RULES, findings, lint
from tzrec_build.config.load import load_pipeline_config, parse_config, parse_pipeline_config
from tzrec_build.config.problems import located, raise_problems
from tzrec_build.config.ranges import RANGES
from tzrec_build.config.subject import Subject
from tzrec_build.errors import ConfigError


def found(text, replaced, edits, columns):
    text = text.replace(*replaced)
    config = edit_config(parse_config(text, "x.config"), edits)
    return findings(Subject(config, text, None if columns is None else dict.fromkeys(columns, "int64")))


def broken(case: Case):
    return found(case.text, case.bad_text, case.bad, case.bad_columns)


def near_miss(case: Case):
    return found(case.text, case.good_text, case.good, case.good_columns)


@pytest.mark.parametrize("text", [GOOD, SEQUENCES, MATCH, TASKS])
def test_good_texts_have_no_findings(text):
    assert [problem for problem in found(text, ("", ""), {}, None) if LEVELS[problem.rule] != "unsupported"] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_good_configs_have_no_findings(path):
    assert lint(load_pipeline_config(path)) == []
    assert findings(Subject(load_pipeline_config(path), path.read_text())) == []


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_finds_its_mistake_and_only_that(rule):
    problems = broken(CASES[rule])
    assert {problem.rule for problem in problems} - {*CASES[rule].also, "unsupported"} == {rule} - {"unsupported"}
    assert any(CASES[rule].words in problem.text for problem in problems if problem.rule == rule), problems


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_leaves_its_near_miss_alone(rule):
    assert [
        problem for problem in near_miss(CASES[rule]) if problem.rule == rule or LEVELS[problem.rule] == "error"
    ] == []


def test_every_rule_of_the_table_fires_once_and_has_one_near_miss():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    fired = [name for name in names if any(problem.rule == name for problem in broken(CASES[name]))]
    spared = [name for name in names if not any(problem.rule == name for problem in near_miss(CASES[name]))]
    assert (len(fired), len(spared)) == (len(names), len(names))
    assert set(CASES) == set(names)


@pytest.mark.parametrize("rule", CASES)
def test_every_message_says_rule_value_and_remedy(rule):
    for problem in broken(CASES[rule]):
        head, mark, remedy = problem.text.rpartition("; ")
        assert mark
        assert head
        assert remedy
        assert ", got " in head or problem.rule == "required", problem.text


def more(text, edits):
    return [
        (problem.rule, problem.text) for problem in lint(edit_config(parse_pipeline_config(text, "x.config"), edits))
    ]


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"train_config.num_epochs": 0}, "got num_steps 0 and num_epochs 0; set one"),
        ({"train_config.sparse_optimizer.adagrad_optimizer.lr": float("nan")}, "must be a finite number of 0 or more, got nan"),
        ({"train_config.dense_optimizer.adam_optimizer.beta2": 1.5}, "must be in [0, 1), got 1.5"),
        (
            {"train_config.dense_optimizer.manual_step_learning_rate": "{ schedule_sizes: 1 learning_rates: [0.1, -2] }"},
            "manual_step_learning_rate.learning_rates: must be a finite number of 0 or more, got -2",
        ),
        ({"model_config.losses[0].binary_cross_entropy.label_smoothing": 2}, "label_smoothing: must be in [0, 1], got 2"),
        (
            {"feature_configs[0].id_feature.vocab_list": ["x"], "feature_configs[0].id_feature.zch": "{ zch_size: 5 }"},
            "got num_buckets and vocab_list and zch; keep one",
        ),
        (
            {"feature_configs[2].raw_feature.mlp": "{}"},
            "feature 'r' must turn values into ids in one way, got boundaries and mlp; keep one",
        ),
        ({"model_config.losses": "l2_loss {}"}, "auc needs a loss with probabilities and num_class 1 or 2, got l2_loss"),
        (
            {"feature_configs[0].id_feature.embedding_name": "t", "feature_configs[2].raw_feature.embedding_name": "t",
             "feature_configs[2].raw_feature.embedding_dim": 8},
            "embedding_dim of the shared table 't' must be that of 'a', 4, got 8",
        ),
    ],
)  # fmt: skip
def test_other_ways_to_break_a_rule(edits, words):
    ((_, text),) = more(GOOD, edits)
    assert words in text


def test_several_sequence_groups_need_names():
    text = SEQUENCES.replace('group_name: "h" ', "")
    assert (
        "each of several sequence groups of 'user' must set group_name, got none"
        in dict(more(text, {}))["sequence-group-name"]
    )


def test_a_vocabulary_file_needs_an_id_for_unknown_words():
    file = '{ feature_name: "a" expression: "user:a" embedding_dim: 4 vocab_file: "v" %s }'
    ((rule, text),) = more(GOOD, {"feature_configs[0].id_feature": file % ""})
    assert (rule, text.partition(",")[0]) == (
        "default-id",
        "default_bucketize_value of 'a' must be set beside vocab_file",
    )
    assert more(GOOD, {"feature_configs[0].id_feature": file % "default_bucketize_value: 3"}) == []


def test_tables_of_sequences_and_of_wide_groups_only_may_have_any_width():
    text = GOOD.replace("num_buckets: 10 embedding_dim: 4", "num_buckets: 10 embedding_dim: 3", 1)
    config = parse_pipeline_config(text.replace("group_type: DEEP", "group_type: WIDE", 1), "x.config")
    assert lint(config) == []
    narrow = edit_config(
        parse_pipeline_config(SEQUENCES, "x.config"), {"feature_configs[2].sequence_raw_feature.embedding_dim": 3}
    )
    assert lint(narrow) == []


def test_a_shared_name_means_two_tables_when_one_is_pooled_and_one_is_not():
    shared = {
        "feature_configs[0].id_feature.embedding_name": "t",
        "feature_configs[1].sequence_feature.features[0].id_feature": (
            '{ feature_name: "b" expression: "item:b" num_buckets: 20 embedding_dim: 8 embedding_name: "t" }'
        ),
    }
    assert [rule for rule, _ in more(SEQUENCES, shared)] == ["shared-embedding"]  # a is in the sequence group as well
    apart = {**shared, "model_config.feature_groups[0].sequence_groups[0].feature_names": ["s__b"]}
    assert more(SEQUENCES, {**apart, "model_config.feature_groups[0].sequence_groups[1].feature_names": ["q"]}) == []


def test_models_that_make_their_loss_themselves_need_neither_label_nor_loss():
    text = GOOD[: GOOD.index("  multi_tower {")] + "sid_rqkmeans { codebook: 4 } }"
    config = edit_config(parse_config(text, "x.config"), {"data_config.label_fields": []})
    assert {problem.rule for problem in findings(Subject(config))} <= {"required", "unsupported"}


def test_every_range_belongs_to_a_field_of_the_schema_and_holds_its_default():
    for name, fields in RANGES.items():
        for field, allowed in fields.items():
            found = MESSAGES[name].fields_by_name[field]
            assert found.is_repeated or allowed.fits(found.default_value), f"{name}.{field}"


def test_findings_are_raised_together_with_their_lines():
    text = GOOD.replace('feature_names: ["b", "r"]', 'feature_names: ["bb", "rr"]').replace(
        'input: "user"', 'input: "usr"'
    )
    with pytest.raises(ConfigError) as raised:
        raise_problems(lint(parse_pipeline_config(text, "x.config")), "x.config", text)
    lines = str(raised.value).split("\n")
    group = (
        text.splitlines().index('  feature_groups { group_name: "item" feature_names: ["bb", "rr"] group_type: DEEP }')
        + 1
    )
    assert [line.split(": ")[0] for line in lines] == [
        f"x.config:{group}",
        f"x.config:{group}",
        f"x.config:{group + 2}",
    ]
    assert located([], "x", "") == []
