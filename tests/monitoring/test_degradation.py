"""Degradation is reported if an interval shows it at the given level; the noise of a short period is not enough."""

from __future__ import annotations

import numpy as np
import pytest
from headway_echo import Echo
from msgspec.structs import replace
from tests.monitoring.rollouts import release

from headway.core.evidence import Measurement
from headway.core.monitoring import MonitoringReport
from headway.core.verdict import Rule, RuleResult
from headway.evaluation.context import Comparison
from headway.evaluation.metrics.calibration import plugin as calibration
from headway.monitoring.degradation import exceeds, find_degradation, split_ece


def answers(*, rows: int, shift: float = 0.0, days: int = 30, seed: int = 0) -> Comparison:
    """Return a comparison whose log-odds are off by `shift`, with a shared effect of each day."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    odds = rng.normal(-1, 1, len(day))
    true = 1 / (1 + np.exp(-(odds + shift + 0.3 * rng.normal(size=days)[day])))
    scores = (1 / (1 + np.exp(-odds)))[:, None]
    labels = (rng.random(len(day)) < true).astype(np.float64)
    return Comparison(
        variant=release().variant,
        model=Echo(b"echo", {}),
        reference=Echo(b"echo", {}),
        rows=odds[:, None],
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=day,
        slices={},
        threshold=0.5,
    )


def measured(name: str, value: float, *, se: float | None = 0.01) -> Measurement:
    return Measurement(
        name=name, value=value, low=value, high=value, method="test", n_rows=900, n_groups=30, se=se, dof=29
    )


def watch(**found: float) -> MonitoringReport:
    plain = MonitoringReport(
        name="a", release="", period="", since="", until="", n_rows=9, n_labeled=9, status="healthy", message=""
    )
    change = (measured("roc_auc.change", found.get("ranks", 0.0)),)
    quality = (measured("ece.split", found.get("ece", 0.0)),)
    return replace(plain, change=change, quality=quality, cost=measured("cost", found.get("cost", 0.0)))


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({}, ()),
        ({"ranks": -0.05}, ("roc_auc.change",)),
        ({"ranks": 0.05}, ()),
        ({"ece": 0.08}, ()),
        ({"ece": 0.15}, ("ece.split",)),
        ({"cost": 0.05, "ece": 0.15}, ("ece.split", "cost")),
    ],
    ids=["nothing", "ranks worse", "ranks better", "off within the limit", "off", "two"],
)
def test_each_degradation_shown_by_its_interval_is_named(found, shown):
    assert find_degradation(watch(**found), level=0.01, ece_at_most=0.1).shown == shown


def test_a_smaller_level_needs_more_evidence_and_the_three_tests_share_it():
    seen = watch(ranks=-0.025)  # 2.5 standard errors
    assert find_degradation(seen, level=0.05, ece_at_most=0.1).shown == ("roc_auc.change",)
    assert find_degradation(seen, level=0.02, ece_at_most=0.1).shown == ()
    assert exceeds(seen.change[0], 0.0, -1, alpha=0.02)  # alone it would be shown


def test_an_interval_far_over_a_limit_is_not_excluded_although_nothing_is_shown():
    wide = replace(measured("ece.split", 0.08), low=0.0, high=0.25, se=0.08)
    seen = replace(watch(), quality=(wide,))
    found = find_degradation(seen, level=0.01, ece_at_most=0.1)
    assert (found.shown, found.not_excluded) == ((), ("ece.split",))
    plain = replace(measured("ece", 0.12), low=0.05, high=0.19, se=0.035)  # its noise adds to it: a bound from above
    assert find_degradation(replace(seen, quality=(wide, plain)), level=0.01, ece_at_most=0.1).not_excluded == ()
    drop = replace(watch(), change=(replace(measured("roc_auc.change", 0.0), low=-0.15, high=0.15, se=0.07),))
    assert find_degradation(drop, level=0.01, ece_at_most=0.1).not_excluded == ("roc_auc.change",)
    cost = replace(watch(), cost=replace(measured("cost", 40.0), low=-20.0, high=100.0, se=30.0))
    assert find_degradation(cost, level=0.01, ece_at_most=0.1, usual_cost=150.0).not_excluded == ("cost",)
    assert find_degradation(cost, level=0.01, ece_at_most=0.1, usual_cost=500.0).not_excluded == ()


def test_a_rule_of_the_policy_that_is_undecided_is_not_excluded():
    rule = Rule(measure="roc_auc", at_least=0.65)
    seen = replace(watch(), rule_results=(RuleResult(rule=rule, answer="undecided", message=""),))
    assert find_degradation(seen, level=0.01, ece_at_most=0.1).not_excluded == ("roc_auc at least 0.65",)


def test_without_an_interval_nothing_is_shown():
    seen = replace(watch(), change=(measured("roc_auc.change", -0.5, se=None),))
    assert find_degradation(seen, level=0.05, ece_at_most=0.1).shown == ()


@pytest.mark.slow
def test_calibrated_probabilities_show_no_error_however_short_the_period():
    plain, split = (
        [measure(answers(rows=2, seed=seed)) for seed in range(100)]
        for measure in (lambda subject: calibration(subject)[0], lambda subject: split_ece(subject, run=7))
    )
    assert np.mean([error.value for error in plain]) > 0.15  # noise alone
    assert abs(np.mean([error.value for error in split])) < 0.02
    assert not any(exceeds(error, 0.05, 1, alpha=0.003) for error in split)


def test_miscalibrated_probabilities_show_the_plain_error():
    subject = answers(rows=400, shift=1.0)
    split = split_ece(subject, run=7)
    assert split.value == pytest.approx(calibration(subject)[0].value, abs=1e-9)
    assert exceeds(split, 0.05, 1, alpha=0.003)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [5, 60])
def test_the_split_error_is_on_average_at_most_the_true_one(rows):
    """The shift of log-odds of .5 is a true error of about .096."""
    found = np.mean([split_ece(answers(rows=rows, shift=0.5, seed=seed), run=7).value for seed in range(300)])
    assert 0.02 < found < 0.1
