"""Metric `floor`: a model that knows something gains over a constant and a simple tree, a destroyed one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from headway_echo import Echo
from msgspec.structs import replace as replaced
from sklearn.metrics import ndcg_score
from sklearn.tree import DecisionTreeRegressor

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Evidence, Machine
from headway.core.texts import text_codes
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.data.settings.policy import PolicySection
from headway.evaluation.context import Comparison
from headway.evaluation.metrics.floor import plugin
from headway.evaluation.quality.ranking import ndcg_by_query
from headway.evaluation.reference_model import SHRINKAGE, fit_reference, fit_reference_tree, floor_rows
from headway.registry.default_policy import floor_rules
from headway.registry.judge import judge

TASKS = ("binary", "multiclass", "regression", "ranking", "embedding")
ROWS = 1200


class Answers(Echo):
    """A model that answers a row with a function of it."""

    def __init__(self, function):
        super().__init__(b"echo", {})
        self.predict = function


def softmax(z):
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def world(task, rng, count=ROWS):
    """Return rows, labels and the true model of a task."""
    rows = rng.normal(size=(count, 4))
    signal = rows[:, 0] + 0.5 * rows[:, 1]
    if task == "binary":
        truth = lambda x: 1 / (1 + np.exp(-(x[:, :1] + 0.5 * x[:, 1:2])))  # noqa: E731
        return rows, (rng.random(count) < truth(rows)[:, 0]).astype(float), truth
    if task == "multiclass":
        truth = lambda x: softmax(2 * x[:, :3])  # noqa: E731
        draws = rng.random((count, 1)) > np.cumsum(truth(rows), 1)
        return rows, draws.sum(1).clip(0, 2).astype(float), truth
    if task == "embedding":
        labels = rng.integers(0, 12, count).astype(float)
        rows[:, :2] = np.column_stack([np.cos(labels), np.sin(labels)]) * 6 + 0.3 * rows[:, :2]
        return rows, labels, lambda x: x[:, :2]
    truth = lambda x: x[:, :1] + 0.5 * x[:, 1:2]  # noqa: E731
    noise = rng.normal(size=count)
    if task == "ranking":
        return rows, np.digitize(signal + noise, [-1, 0.5, 1.5]).astype(float), truth
    return rows, signal + noise, truth


def comparison(task, answer, *, seed=0, fitted=True, groups=60):
    """Return the comparison of a model with these answers on new rows of a task, and other rows for the floor."""
    rng = np.random.default_rng(seed)
    rows, labels, _ = world(task, rng)
    others, known, _ = world(task, rng)
    model = Answers(answer)
    scores = model.predict(rows)
    signature = Signature(inputs=tuple(Field(name=name) for name in "abcd"))
    artifact = Artifact(format="echo", digest="sha256:0", size_bytes=4)
    group = np.sort(np.arange(len(labels)) % groups)
    fit = LabeledData(rows=others, labels=known, groups=np.arange(len(known)))
    return Comparison(
        variant=Variant(artifact=artifact, engine="echo", signature=signature, task=task),
        model=model,
        reference=model,
        rows=rows,
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=group,
        slices={},
        threshold=0.5,
        floor=floor_rows(lambda: fit) if fitted else None,
    )


def true_model(task):
    return world(task, np.random.default_rng(0))[2]


def reversed_answers(task):
    true = true_model(task)
    return (lambda x: softmax(-np.log(true(x)))) if task == "multiclass" else lambda x: 1 - true(x)


def noise(task):
    width = {"multiclass": 3, "embedding": 6}.get(task, 1)

    def answer(rows):
        drawn = np.random.default_rng(abs(int(rows.sum() * 1e6))).random((len(rows), width))
        return softmax(drawn) if task == "multiclass" else drawn

    return answer


def constant(task):
    answer = {"multiclass": [0.2, 0.3, 0.5], "embedding": [1.0, 0.0]}.get(task, [0.4])
    return lambda rows: np.tile(answer, (len(rows), 1))


def judged(subject):
    """Judge a comparison by the floor of its task."""
    found = tuple(result for result in plugin(subject) if not isinstance(result, NotApplicable))
    machine = Machine(cpu="", cores=1, system="", python="")
    evidence = Evidence(subject="", dataset="", period="test", machine=machine, measurements=found)
    return judge(evidence, PolicySection(release=floor_rules(subject.variant.task)))


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted on other rows", "fitted on halves"])
@pytest.mark.parametrize("task", TASKS)
def test_a_sound_model_passes_the_floor_of_its_task(task, fitted):
    verdict = judged(comparison(task, true_model(task), fitted=fitted))
    assert verdict.answer == "pass", [result.message for result in verdict.rule_results]


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted on other rows", "fitted on halves"])
@pytest.mark.parametrize(
    ("task", "destroyed"),
    [
        (task, make)
        for task in TASKS
        for make in (reversed_answers, noise, constant)
        if (task, make) != ("embedding", reversed_answers)  # neighbors stay neighbors in a mirrored space
    ],
)
def test_a_destroyed_model_does_not_pass_the_floor(task, destroyed, fitted):
    assert judged(comparison(task, destroyed(task), fitted=fitted)).answer != "pass"


@pytest.mark.parametrize("task", TASKS)
def test_one_answer_for_all_rows_gains_exactly_nothing(task):
    found = plugin(comparison(task, constant(task)))[0]
    assert (found.name, found.value, found.low, found.high, found.n_groups) == ("gain_over_constant", 0, 0, 0, 0)
    assert judged(comparison(task, constant(task))).answer == "fail"


@pytest.mark.parametrize("task", TASKS)
def test_few_groups_leave_the_floor_undecided(task):
    assert judged(comparison(task, true_model(task), groups=12)).answer == "undecided"


def test_class_weights_do_not_count_against_a_model():
    true = true_model("binary")
    shifted = lambda x: 1 / (1 + (1 / true(x) - 1) / 20)  # noqa: E731
    verdict = judged(comparison("binary", shifted))
    assert verdict.answer == "pass"


def test_the_gain_of_a_regression_is_one_minus_its_squared_error_over_that_of_the_mean():
    subject = comparison("regression", true_model("regression"))
    mean = subject.floor.validation.labels.mean()
    errors = np.square(subject.scores[:, 0] - subject.labels).mean(), np.square(mean - subject.labels).mean()
    assert plugin(subject)[0].value == pytest.approx(1 - errors[0] / errors[1], abs=1e-12)


def test_equal_weights_change_nothing_and_other_weights_do():
    subject = comparison("binary", true_model("binary"), fitted=False)
    ones, rng = np.full(len(subject.labels), 3.0), np.random.default_rng(1)
    plain, equal = (plugin(one)[0].value for one in (subject, replace(subject, weights=ones)))
    assert equal == pytest.approx(plain, abs=1e-6)
    assert plugin(replace(subject, weights=rng.random(len(ones)) + 0.1))[0].value != plain


def test_what_cannot_be_judged_is_refused_with_a_reason():
    subject = comparison("binary", true_model("binary"), fitted=False)
    one_group = replace(subject, groups=np.zeros(len(subject.labels), dtype=np.int64))
    for wrong, reason in (
        (one_group, "one group alone"),
        (replace(subject, labels=np.ones(len(subject.labels))), "right on every row"),
        (replace(subject, variant=replace_task(subject, "other")), "no floor"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            plugin(wrong)
    alone = comparison("embedding", true_model("embedding"))
    with pytest.raises(NotApplicable, match="no label occurs twice"):
        plugin(replace(alone, labels=np.arange(len(alone.labels), dtype=float)))
    numbers = comparison("regression", true_model("regression"))
    with pytest.raises(NotApplicable, match="not finite"):
        plugin(replace(numbers, labels=np.full(len(numbers.labels), np.nan)))


def replace_task(subject, task):
    return replaced(subject.variant, task=task)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_reference_tree_is_that_of_scikit_learn_with_leaves_shrunk_halfway(weighted):
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 9, (4000, 3)).astype(float)
    labels = rows[:, 0] * (rows[:, 1] > 4) + rng.normal(size=len(rows))
    weights = rng.random(len(rows)) + 0.5 if weighted else None
    data = LabeledData(rows=rows, labels=labels, groups=np.arange(len(rows)), weights=weights)
    tree = DecisionTreeRegressor(max_depth=3, min_samples_leaf=20).fit(rows, labels, sample_weight=weights)
    mean = np.average(labels, weights=weights)
    expected = mean + SHRINKAGE * (tree.predict(rows) - mean)
    assert np.allclose(fit_reference_tree(data).predict(rows)[:, 0], expected)


def test_the_reference_tree_uses_missing_values_and_answers_in_shares_of_classes():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(900, 2))
    labels = rng.integers(0, 3, 900).astype(float)
    rows[labels == 2, 1] = np.nan
    rows = np.column_stack([rows, np.full(900, np.nan)])
    data = LabeledData(rows=rows, labels=labels, groups=np.arange(900))
    shares = fit_reference_tree(data, n_classes=3).predict(rows)
    assert np.allclose(shares.sum(1), 1) and (shares[labels == 2, 2] > 0.6).all()


def test_rows_for_the_floor_are_read_and_fitted_once():
    reads = []

    def read():
        reads.append("validation")
        return LabeledData(rows=np.ones((40, 1)), labels=np.arange(40.0), groups=np.arange(40))

    rows = floor_rows(read)
    assert rows.reference(0) is rows.reference(0) and rows.validation is rows.validation
    assert reads == ["validation"]


def test_the_order_of_one_tied_list_is_the_mean_over_all_orders():
    subject = comparison("ranking", constant("ranking"))
    tied = ndcg_by_query(subject, [np.zeros(len(subject.labels))])[0][0]
    own = subject.labels[subject.groups == 0]
    gains = (np.exp2(own) - 1)[None]
    assert tied[0] == pytest.approx(ndcg_score(gains, np.zeros_like(gains), k=10), abs=1e-9)


def test_a_small_table_has_a_tree_as_its_reference_not_a_constant():
    """On 37 rows of three clusters, models on permuted labels were better than a reference without any split."""
    labels = np.repeat([0.0, 1.0, 2.0], [10, 14, 13])
    rows = labels[:, None] + 0.1 * np.random.default_rng(0).normal(size=(37, 4))
    tree = fit_reference_tree(LabeledData(rows=rows, labels=labels, groups=np.arange(37)), n_classes=3)
    assert (tree.predict(rows).argmax(1) == labels).all()


def texts_of(count, *, n_classes, seed=0):
    """Return rows of a text and a number, and their classes: 3 of 8 words of a text are those of its class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, count)
    words = [
        [f"class{label}word{rng.integers(6)}" for _ in range(3)] + [f"common{rng.integers(40)}" for _ in range(5)]
        for label in labels
    ]
    codes = text_codes.keep([" ".join(rng.permutation(row)) for row in words])
    rows = np.column_stack([codes, rng.normal(size=count)])
    return LabeledData(rows=rows, labels=labels.astype(float), groups=np.arange(count) // 2)


@pytest.mark.parametrize(("n_classes", "given"), [(2, 0), (2, 2), (150, 150)])
def test_the_reference_over_texts_learns_their_words(n_classes, given):
    train, test = texts_of(3_000, n_classes=n_classes), texts_of(600, n_classes=n_classes, seed=1)
    found = fit_reference(train, texts=(0,), n_classes=given)(test.rows)
    assert found.shape == (600, given or 1)
    decided = found.argmax(1) if given else found[:, 0] > 0.5
    assert (decided == test.labels).mean() > (0.8 if n_classes > 2 else 0.95)
    truth = np.eye(n_classes)[test.labels.astype(int)] if given else test.labels[:, None]
    assert np.square(found - truth).sum(1).mean() < 0.5


def test_the_reference_over_texts_reads_other_columns_and_takes_empty_and_missing_texts():
    train = texts_of(2_000, n_classes=2)
    number = train.labels + 0.1 * np.random.default_rng(2).normal(size=2_000)
    same = np.full(2_000, text_codes.keep(["all the same"])[0])
    reference = fit_reference(replace(train, rows=np.column_stack([same, number])), texts=(0,), n_classes=2)
    empty, never = text_codes.keep(["", "xylophone"])
    rows = np.array([[empty, 1.0], [np.nan, 0.0], [never, 1.1]])
    assert reference(rows).argmax(1).tolist() == [1, 0, 1]
    alone = fit_reference(replace(train, rows=same[:, None]), texts=(0,), n_classes=2)
    np.testing.assert_allclose(alone(rows[:, :1])[0], np.bincount(train.labels.astype(int)) / 2_000, atol=0.01)
    assert reference(rows[:0]).shape == (0, 2)


def test_the_reference_of_numbers_over_texts_is_better_than_their_mean():
    train, test = texts_of(3_000, n_classes=5), texts_of(600, n_classes=5, seed=1)
    found = fit_reference(replace(train, labels=train.labels * 1.5), texts=(0,))(test.rows)[:, 0]
    truth = test.labels * 1.5
    assert np.square(found - truth).mean() < 0.6 * truth.var()


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted on other rows", "fitted on halves"])
def test_a_model_that_reads_no_words_does_not_pass_the_floor_over_texts(fitted):
    train, test = texts_of(2_000, n_classes=3), texts_of(900, n_classes=3, seed=1)
    known = fit_reference(train, texts=(0,), n_classes=3)

    def verdict_of(answer):
        model = Answers(answer)
        inputs = (Field(name="message", datatype="BYTES", is_text=True), Field(name="number"))
        artifact = Artifact(format="echo", digest="sha256:0", size_bytes=4)
        scores = model.predict(test.rows)
        subject = Comparison(
            variant=Variant(artifact=artifact, engine="echo", signature=Signature(inputs=inputs), task="multiclass"),
            model=model,
            reference=model,
            rows=test.rows,
            labels=test.labels,
            scores=scores,
            reference_scores=scores,
            groups=test.groups,
            slices={},
            threshold=0.5,
            floor=floor_rows(lambda: train, texts=(0,)) if fitted else None,
        )
        return judged(subject)

    assert verdict_of(known).answer == "pass"
    assert verdict_of(noise("multiclass")).answer != "pass"
