"""Rows that a model answers are chosen on validation, and certified on other held-out rows."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.random import Generator, default_rng

from headway.core.arrays import Ints
from headway.core.config import Config, section_of
from headway.core.errors import ConfigError
from headway.data.settings.model import Costs
from headway.evaluation.answer_plan import LabeledAnswers, least_units, make_plan, measure_answers, require_decidable
from headway.evaluation.settings.answer import AnswerSection, RemoteStage

pytestmark = pytest.mark.slow
CLASSES = ("delivery", "refund", "invoice", "oos")
LIMIT = 0.05


def _answers(n: int, random: Generator, *, groups: Ints | None = None, weak: int = -1) -> LabeledAnswers:
    """Return calibrated answers of four classes, except that class `weak` is wrong in 3 of 10 answers."""
    labels = random.choice(4, n, p=(0.45, 0.3, 0.22, 0.03))
    top = 1 - 0.6 * random.random(n) ** 2
    answer = np.where(random.random(n) < top, labels, (labels + random.integers(1, 4, n)) % 4)
    if weak >= 0:
        wrong = (answer == weak) & (random.random(n) < 0.3)
        labels = np.where(wrong, (answer + 1) % 4, labels)
    probabilities = np.repeat(((1 - top) / 3)[:, None], 4, axis=1)
    probabilities[np.arange(n), answer] = top
    return LabeledAnswers(classes=CLASSES, probabilities=probabilities, labels=labels, groups=groups, threshold=0.5)


def _both(n: int = 4_000, *, seed: int = 0, weak: int = -1) -> tuple[LabeledAnswers, LabeledAnswers]:
    random = default_rng(seed)
    return _answers(n, random, weak=weak), _answers(n, random, weak=weak)


def test_a_certified_plan_answers_rows_within_the_limit_and_never_the_rejects():
    validation, held_out = _both()
    section = AnswerSection(limit=LIMIT, reject="oos")

    plan = make_plan(validation, held_out, section)
    fresh = _answers(50_000, default_rng(9))
    decided = fresh.decided(plan)

    assert plan.certificate.is_certified
    assert set(plan.thresholds) == {"delivery", "refund", "invoice"}
    assert plan.certificate.coverage.value > 0.3
    assert (decided.answer != fresh.labels)[decided.is_answered].mean() <= LIMIT
    assert not decided.is_answered[decided.answer == 3].any()


def test_the_certificate_is_that_of_what_is_decided():
    validation, held_out = _both()
    plan = make_plan(validation, held_out, AnswerSection(limit=LIMIT, reject="oos"))

    decided = held_out.decided(plan)

    wrong = (decided.answer != held_out.labels)[decided.is_answered]
    assert plan.certificate.coverage.value == pytest.approx(decided.is_answered.mean())
    assert (plan.certificate.risk.value, plan.certificate.risk.n_rows) == (pytest.approx(wrong.mean()), len(wrong))


def test_certificates_of_classes_share_the_level():
    validation, held_out = _both()
    plan = make_plan(validation, held_out, AnswerSection(limit=LIMIT, reject="oos"))

    assert set(plan.classes) == {"delivery", "refund", "invoice"}
    assert {round(found.risk.level, 4) for found in plan.classes.values()} == {round(1 - 0.05 / 3, 4)}


def test_with_a_certificate_per_class_a_weak_class_is_not_answered():
    validation, held_out = _both(8_000, weak=2)

    plan = make_plan(validation, held_out, AnswerSection(limit=LIMIT, reject="oos", per_class=True))

    decided = held_out.decided(plan)
    assert set(plan.thresholds) == {"delivery", "refund"}
    assert not decided.is_answered[decided.answer == 2].any()
    assert plan.certificate.risk.high == LIMIT
    assert plan.certificate.coverage.value == pytest.approx(decided.is_answered.mean())


def test_nothing_is_answered_if_nothing_is_certified_and_the_message_says_what_would_do():
    validation, held_out = _both(100)
    section = AnswerSection(limit=0.01, reject="oos")

    plan = make_plan(validation, held_out, section)
    found, findings = measure_answers(plan, validation, held_out, section)

    assert not plan.certificate.is_certified
    assert not held_out.decided(plan).is_answered.any()
    assert next(seen.value for seen in found if seen.name == "answer.coverage") == 0
    assert findings[0].code == "E009"
    assert findings[0].severity == "warn"
    assert "answers nothing" in findings[0].message


def test_measurements_have_classes_needs_costs_and_a_curve():
    validation, held_out = _both(1_500)
    section = AnswerSection(limit=LIMIT, reject="oos", cost_per_message=2.0)

    plan = make_plan(validation, held_out, section)
    found, findings = measure_answers(plan, validation, held_out, section)

    by_name = {(seen.name, seen.slice): seen for seen in found}
    share = by_name["answer.coverage", ""].value
    assert by_name["answer.cost_per_thousand", ""].value == pytest.approx(2_000 * (1 - share))
    assert by_name["answer.risk", "answer=delivery"].n_rows > 0
    assert sum(name == "answer.curve_risk" for name, _ in by_name) > 10
    rare = {name.removeprefix("answer=") for measure, name in by_name if measure == "answer.groups_needed"}
    assert not rare & {name for name, one in plan.classes.items() if one.is_certified}
    assert all(finding.severity == "note" for finding in findings)


def test_a_class_that_is_not_certified_shows_its_own_share_of_errors():
    validation, held_out = _both(4_000, weak=2)
    section = AnswerSection(limit=0.15, reject="oos", rule="probability")

    plan = make_plan(validation, held_out, section)
    found, _ = measure_answers(plan, validation, held_out, section)

    decided = held_out.decided(plan)
    mine = decided.is_answered & (decided.answer == 2)
    risk = next(seen for seen in found if (seen.name, seen.slice) == ("answer.risk", "answer=invoice"))
    assert not plan.classes["invoice"].is_certified
    assert (risk.n_rows, risk.value) == (mine.sum(), pytest.approx((held_out.labels != 2)[mine].mean()))
    assert not any((seen.name, seen.slice) == ("answer.groups_needed", "answer=invoice") for seen in found)


def test_the_cost_is_that_of_the_next_stage():
    validation, held_out = _both(1_500)
    section = AnswerSection(limit=LIMIT, stages=("remote", "people"), remote=RemoteStage(cost_per_call=0.5))
    plan = make_plan(validation, held_out, section)
    found, _ = measure_answers(plan, validation, held_out, section)
    cost = next(seen for seen in found if seen.name == "answer.cost_per_thousand")
    assert cost.value == pytest.approx(500 * (1 - plan.certificate.coverage.value))


def test_whole_groups_are_tested():
    random = default_rng(3)
    groups = np.repeat(np.arange(400), 10)
    rows = [_answers(4_000, random, groups=groups) for _ in range(2)]

    plan = make_plan(*rows, AnswerSection(limit=0.1, reject="oos"))

    assert plan.certificate.risk.n_groups == 400
    assert plan.certificate.is_certified


def test_a_reject_that_is_not_a_class_is_refused():
    with pytest.raises(ConfigError, match="no class 'out'"):
        make_plan(*_both(200), AnswerSection(limit=LIMIT, reject="out"))


def test_a_rule_that_is_set_is_taken():
    assert make_plan(*_both(), AnswerSection(limit=LIMIT, rule="entropy")).rule == "entropy"


def test_the_least_number_of_rows_and_groups_without_an_error():
    assert least_units(0.05, 0.05, by_group=False) == 59
    assert least_units(0.05, 0.05, by_group=True) == 60


@pytest.mark.parametrize("per_class", [False, True])
def test_plans_break_the_limit_no_more_often_than_promised(per_class):
    """The short form would still find thresholds that are chosen on the rows that certify them."""
    random, broken, runs = default_rng(5), 0, 60
    fresh = _answers(40_000, random)
    section = AnswerSection(limit=LIMIT, reject="oos", per_class=per_class, rule="probability")

    for _ in range(runs):
        plan = make_plan(_answers(800, random), _answers(800, random), section)
        decided = fresh.decided(plan)
        wrong = (decided.answer != fresh.labels) & decided.is_answered
        parts = [decided.answer == index for index in range(3)] if per_class else [decided.is_answered]
        answered = [(part & decided.is_answered).sum() for part in parts]
        broken += any((wrong & part).sum() > LIMIT * max(n, 1) for part, n in zip(parts, answered, strict=True))

    assert broken / runs <= 0.05 + 2.6 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"data.task": "multiclass", "model.costs": {"false_positive": 1, "false_negative": 4}}, "[model] costs"),
        ({"data.task": "multilabel", "answer.limit": 0.05}, "[answer]"),
        ({"data.sample_weight": "weight", "answer.limit": 0.05}, "[data] sample_weight"),
    ],
)
def test_settings_of_decisions_that_the_task_rules_out_are_refused_before_a_search(settings, where):
    config = Config(folder=".")
    for name, value in settings.items():
        table, field = name.split(".")
        value = Costs(**value) if field == "costs" else value
        config = config.having(replace(config[section_of(table)], **{field: value}))
    with pytest.raises(ConfigError) as refused:
        require_decidable(config)
    assert refused.value.where == where and refused.value.hint
