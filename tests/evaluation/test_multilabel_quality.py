"""Several labels a row: values equal scikit-learn's, each label is judged, and drops are positive if worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replaced
from sklearn import metrics
from tests.evaluation.conftest import subject_from

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation import point_comparison
from headway.evaluation.context import Comparison
from headway.evaluation.metrics import bias, calibration, decisions, floor, missing, parity, quality, slices
from headway.evaluation.point_comparison import OpenedModel

GROUPS, ROWS = 40, 30
NAMES = ("billing", "delivery", "refund")


def several(*, harm: float = 0.5, names: tuple[str, ...] = NAMES) -> Comparison:
    """Return labels with their true probabilities; the variant's have noise on their log odds."""
    rng = np.random.default_rng(0)
    odds = rng.normal(-1, 1.5, size=(GROUPS * ROWS, len(names)))
    reference, scores = (1 / (1 + np.exp(-x)) for x in (odds, odds + harm * rng.normal(size=odds.shape)))
    labels = (rng.random(odds.shape) < reference).astype(np.float64)
    groups = np.repeat(np.arange(GROUPS), ROWS)
    subject = subject_from(labels[:, 0], scores[:, 0], reference[:, 0], groups, task="multilabel")
    signature = replaced(subject.variant.signature, classes=names)
    return replace(
        subject,
        variant=replaced(subject.variant, signature=signature),
        labels=labels,
        scores=scores,
        reference_scores=reference,
    )


def measured(metric, subject: Comparison) -> dict[str, Measurement]:
    found = [one for one in metric.plugin(subject) if isinstance(one, Measurement)]
    return {f"{one.name} {one.slice}".strip(): one for one in found}


def test_labels_are_measured_as_scikit_learn_does():
    subject = several()
    found, truth, decided = measured(quality, subject), subject.labels, subject.scores > 0.5
    assert found["micro_f1"].value == pytest.approx(metrics.f1_score(truth, decided, average="micro"))
    assert found["macro_f1"].value == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
    assert found["exact_match"].value == pytest.approx(metrics.accuracy_score(truth, decided))
    assert found["hamming_loss"].value == pytest.approx(metrics.hamming_loss(truth, decided))
    losses = [metrics.log_loss(truth[:, index], subject.scores[:, index]) for index in range(3)]
    assert found["log_loss"].value == pytest.approx(np.mean(losses))
    of_labels = metrics.f1_score(truth, decided, average=None)
    assert [found[f"f1 label={name}"].value for name in NAMES] == pytest.approx(of_labels)
    assert found["base_rate label=refund"].value == pytest.approx(truth[:, 2].mean())
    assert (
        found["f1 label=billing"].n_rows
        == ((truth[:, 0] + decided[:, 0] + (subject.reference_scores[:, 0] > 0.5)) > 0).sum()
    )


def test_weights_are_honoured_as_scikit_learn_does():
    subject = several()
    weights = np.random.default_rng(2).uniform(0.5, 3, len(subject.labels))
    found = measured(quality, replace(subject, weights=weights))
    expected = metrics.f1_score(subject.labels, subject.scores > 0.5, average="macro", sample_weight=weights)
    assert found["macro_f1"].value == pytest.approx(expected)


@pytest.mark.parametrize(
    "measure", ["micro_f1", "macro_f1", "exact_match", "hamming_loss", "log_loss", "brier", "f1 label=refund"]
)
def test_a_drop_is_positive_if_the_variant_is_worse_and_zero_if_it_is_the_same(measure):
    name, _, label = measure.partition(" ")
    drop = f"{name}.drop {label}".strip()
    equal = several(harm=0.0)
    worse, same, lossy = (
        measured(quality, subject)[drop] for subject in (several(harm=3.0), replace(equal, keeps_answers=True), equal)
    )
    assert 0 < worse.low <= worse.value <= worse.high and worse.n_groups == GROUPS
    assert same.low == same.value == same.high == lossy.value == 0
    assert (lossy.low < 0 < lossy.high) == (name not in ("log_loss", "brier"))  # other rows may be decided otherwise


def test_intervals_are_wider_for_rows_that_depend_on_each_other():
    subject = several()
    copies = replace(
        subject,
        labels=np.repeat(subject.labels[::ROWS], ROWS, axis=0),
        scores=np.repeat(subject.scores[::ROWS], ROWS, axis=0),
    )
    alone = replace(copies, groups=np.arange(len(copies.labels)))
    for name in ("micro_f1", "exact_match"):
        of_groups, of_rows = (measured(quality, one)[name] for one in (copies, alone))
        assert of_groups.high - of_groups.low > 2 * (of_rows.high - of_rows.low)


def test_a_label_without_rows_is_named_and_not_judged():
    subject = several()
    labels, scores = subject.labels.copy(), subject.scores.copy()
    labels[:, 1] = scores[:, 1] = 0.0
    found = quality.plugin(replace(subject, labels=labels, scores=scores, reference_scores=scores))
    (reason,) = [one for one in found if isinstance(one, NotApplicable)]
    assert reason.what == "no row has, or was given, 1 of 3 labels: delivery"
    assert not [
        one for one in found if isinstance(one, Measurement) and (one.name, one.slice) == ("f1", "label=delivery")
    ]


def test_flips_are_counted_by_row_and_by_label():
    subject = several(harm=0.0)
    scores = subject.scores.copy()
    labeled = np.flatnonzero(subject.reference_scores[:, 2] > 0.5)
    scores[labeled[:30], 2] = 0.0
    found = measured(parity, replace(subject, scores=scores))
    assert found["decision_churn"].value == pytest.approx(30 / len(scores))
    assert found["decision_churn label=refund"].value == pytest.approx(30 / len(labeled))
    assert found["decision_churn label=refund"].n_rows == len(labeled)
    assert found["decision_churn label=billing"].value == 0


def test_decisions_of_the_library_count_where_it_has_its_own():
    subject = several(harm=0.0)
    none = np.zeros_like(subject.labels, dtype=np.int64)
    found = measured(quality, replace(subject, decisions=none))
    assert found["exact_match"].value == pytest.approx((subject.labels.sum(1) == 0).mean())


def test_calibration_is_that_of_all_labels_and_probabilities_that_move_show():
    true, moved = (measured(calibration, several(harm=harm)) for harm in (0.0, 3.0))
    assert true["ece"].value < 0.03 and true["ece"].n_rows == GROUPS * ROWS
    assert moved["ece.drop"].low > 0 and moved["probability_shift"].low > true["probability_shift"].high


@pytest.mark.parametrize("harm", [0.0, 30.0])
def test_the_floor_is_above_zero_for_a_model_that_knows_and_not_for_noise(harm):
    found = measured(floor, several(harm=harm))["gain_over_constant"]
    assert found.low > 0.1 if harm == 0.0 else found.high < 0.2


def test_slices_and_missing_values_are_judged_by_the_mean_over_labels():
    subject = several()
    codes = np.arange(len(subject.labels)) % 2
    rows = subject.rows.astype(np.float64).copy()
    rows[codes == 1, 0] = np.nan
    subject = replace(subject, rows=rows, slices={"channel": SliceColumn(codes=codes, values=("mail", "chat"))})
    errors = np.square(subject.scores - subject.labels).mean(1) - np.square(
        subject.reference_scores - subject.labels
    ).mean(1)
    assert measured(slices, subject)["brier.drop channel=chat"].value == pytest.approx(errors[codes == 1].mean())
    assert any(name.startswith("missing.decision_churn") for name in measured(missing, subject))


@pytest.mark.parametrize("metric", [bias, decisions])
def test_what_judges_two_classes_alone_refuses_by_name(metric):
    subject = several()
    people = {"age": SliceColumn(codes=np.arange(len(subject.labels)) % 2, values=("old", "young"))}
    with pytest.raises(NotApplicable, match="multilabel"):
        metric.plugin(replace(subject, sensitive_features=people))


@pytest.mark.parametrize("fault", ["probabilities", "labels", "shape"])
def test_answers_and_labels_that_do_not_fit_are_refused(fault):
    subject = several()
    wrong = {
        "probabilities": {"scores": subject.scores + 1},
        "labels": {"labels": subject.labels * 2},
        "shape": {"labels": subject.labels[:, :2]},
    }[fault]
    with pytest.raises(NotApplicable, match="probabilities" if fault == "probabilities" else "indicator matrix"):
        quality.plugin(replace(subject, **wrong))


def test_no_label_at_all_leaves_f1_undefined():
    subject = several()
    nothing = np.zeros_like(subject.labels)
    found = quality.plugin(replace(subject, labels=nothing, scores=nothing, reference_scores=nothing))
    assert any(isinstance(one, NotApplicable) and "F1 is undefined" in one.what for one in found)
    assert {one.name for one in found if isinstance(one, Measurement)} >= {"exact_match", "hamming_loss"}


def test_two_models_are_compared_by_their_sets_of_labels():
    subject = several()
    first, second = (
        OpenedModel(
            name="m",
            digest="d",
            is_release=False,
            variant=subject.variant,
            engine=subject.model,
            threshold=subject.threshold,
            scores=scores,
        )
        for scores in (subject.scores, subject.reference_scores)
    )
    (flips,) = point_comparison._flips(first, second, subject)
    own, before = subject.scores > 0.5, subject.reference_scores > 0.5
    differs = (own != before).any(axis=1)
    assert flips.n_flips == differs.sum() > 0 and flips.share.value == pytest.approx(differs.mean())
    assert flips.n_first_right == (differs & (own == subject.labels).all(axis=1)).sum()
    assert flips.n_second_right == (differs & (before == subject.labels).all(axis=1)).sum()
