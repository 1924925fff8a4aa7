"""From traffic to measurements: which answers are compared at a shadow and at a canary."""

from __future__ import annotations

import numpy as np
import pytest

from headway.registry.rollout import MEASURES, Traffic, measure_stage, start_tracking, update_tracking

UNKNOWN = np.nan


def traffic(known, canary=(True, False, False, False)):
    """Return four requests with a key each; pairs are (live, release)."""
    pairs = {name: np.array(pair, dtype=np.float64) for name, pair in known.items()}
    return Traffic(keys=np.arange(4, dtype=np.uint64), canary=np.array(canary), known=pairs)


def value(name, known, *, share):
    [found] = measure_stage(update_tracking(start_tracking([name], share=share, alpha=0.05), traffic(known)))
    return found.value, found.n_groups


def test_decisions_are_compared_where_both_arms_answered():
    pairs = [(0, 1), (1, 1), (UNKNOWN, 1), (0, 0)]
    assert value("decision_churn", {"decision": pairs}, share=0.25) == (pytest.approx(1 / 3), 3)


def test_latencies_are_compared_where_both_arms_answered():
    pairs = [(10, 51), (10, 50), (UNKNOWN, 90), (30, 10)]
    assert value("slower_than_live", {"latency_us": pairs}, share=0.25) == (pytest.approx(1 / 3), 3)


def test_at_a_canary_errors_of_callers_are_compared():
    pairs = [(0, 1), (1, 0), (0, UNKNOWN), (0, UNKNOWN)]
    assert value("error_rate.drop", {"error_rate": pairs}, share=0.5) == (pytest.approx((1 / 0.5 - 1 / 0.5) / 4), 4)


def test_errors_of_release_and_live_are_paired_on_the_same_rows():
    pairs = [(0, 1), (0, 1), (0, 0), (1, 0)]
    assert value("slow_requests.drop", {"slow_requests": pairs}, share=0) == (pytest.approx(1 / 4), 4)


def test_losses_are_compared_on_the_same_rows_as_labels_come():
    watched = start_tracking(["brier.drop", "error_rate"], share=0.25, alpha=0.05)
    watched = update_tracking(watched, traffic({"error_rate": [(0, 1), (0, UNKNOWN), (0, UNKNOWN), (0, UNKNOWN)]}))
    assert [item.name for item in measure_stage(watched)] == ["error_rate"]
    watched = update_tracking(watched, traffic({"brier": [(0.1, 0.3), (0.2, 0.2), (0.1, UNKNOWN), (UNKNOWN, 0.1)]}))
    loss, errors = measure_stage(watched)
    assert (loss.name, loss.n_groups, errors.n_groups) == ("brier.drop", 2, 1)
    assert loss.value == pytest.approx(0.1, abs=1e-3) and errors.value == 1


def test_only_the_release_is_measured_by_its_own_answers():
    assert value("brier", {"brier": [(0, 0.5)] * 4}, share=0.25) == (pytest.approx(0.5), 4)


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_every_measure_can_be_followed_at_every_stage(share):
    ones = [(0.0, 1.0)] * 4
    known = {"error_rate": ones, "slow_requests": ones, "decision": ones, "latency_us": ones, "brier": ones}
    found = measure_stage(update_tracking(start_tracking(MEASURES, share=share, alpha=0.05), traffic(known)))
    assert tuple(measurement.name for measurement in found) == MEASURES
