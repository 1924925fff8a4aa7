"""The false-alarm budget of a year: the level of each period, and that no period is tested twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from headway.core.monitoring import MonitoringAnswer, MonitoringReport
from headway.monitoring.budget import FDR_LEVEL, WEALTH, Budget, lord_level, period_of_report
from headway.registry.project import open_project

PLAIN = MonitoringReport(
    name="flights",
    release="sha256:1",
    period="",
    since="",
    until="",
    n_rows=1,
    n_labeled=1,
    status="healthy",
    message="",
)


def month(number: int, *, shown: bool = False, question: str = "drift") -> MonitoringReport:
    """A month from 2013-01 on, asked one question."""
    since, until = (datetime(2013 + index // 12, index % 12 + 1, 1).isoformat() for index in (number, number + 1))
    reply = MonitoringAnswer(question=question, level=0.01, shown=("drift.p",) if shown else ())
    return replace(PLAIN, since=since, until=until, answers=(reply,))


def test_levels_without_rejections_sum_to_less_than_the_wealth():
    spent = sum(lord_level([False] * number, 0.03) for number in range(2000))
    assert 0.029 < spent < 0.03


def test_both_questions_share_five_percent():
    assert sum(WEALTH.values()) == pytest.approx(0.05)


def test_the_level_falls_with_each_acceptance_and_rises_after_a_rejection():
    quiet = [lord_level([False] * number, 0.03) for number in range(12)]
    assert quiet == sorted(quiet, reverse=True)
    assert lord_level([False, False, True], 0.03) > 2 * quiet[3]
    assert lord_level([True] * 60, 0.03) < FDR_LEVEL


def test_machines_that_share_a_state_share_the_budget_and_test_no_period_twice(tmp_path):
    toml = f'[project]\nname = "flights"\nstate = "{tmp_path / "shared"}"\n'
    opened = []
    for machine in ("ada", "bob"):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "headway.toml").write_text(toml)
        opened.append(open_project(tmp_path / machine))
    ada, bob = opened
    for number in range(3):
        ada.save(month(number))
    next_period, alone = period_of_report(month(3)), Budget([])
    levels = [Budget(machine.records(MonitoringReport)).level("drift", next_period) for machine in opened]
    assert levels[0] == levels[1] < alone.level("drift", next_period) / 5
    assert Budget(bob.records(MonitoringReport)).last(period_of_report(month(2))) == month(2)
    for machine in opened:
        machine.state.close()


def test_the_first_rejection_earns_the_rate_less_the_wealth():
    assert lord_level([True], FDR_LEVEL) == lord_level([False], FDR_LEVEL)
    assert lord_level([True, True], FDR_LEVEL) > lord_level([False, True], FDR_LEVEL)


def test_at_most_five_percent_of_rejections_are_false_if_half_of_the_periods_changed():
    """Simulated p-values, independent: half of the periods changed, of which most can be shown."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(2000):
        changed = rng.random(12) < 0.5
        p = np.where(changed, rng.random(12) ** 12, rng.random(12))
        yes: list[bool] = []
        for value in p:
            yes.append(bool(value <= lord_level(yes, 0.03)))
        shares.append((np.array(yes) & ~changed).sum() / max(sum(yes), 1))
    assert np.mean(shares) <= FDR_LEVEL


def test_the_next_period_continues_the_spent_budget():
    budget = Budget([month(0), month(1, shown=True), month(2)])
    assert budget.level("drift", period_of_report(month(3))) == lord_level([False, True, False], WEALTH["drift"])
    assert budget.level("degradation", period_of_report(month(3))) == lord_level([], WEALTH["degradation"])


def test_a_period_reported_again_counts_once():
    first = month(0)
    later = replace(first, answers=(*first.answers, MonitoringAnswer(question="degradation", level=0.01)))
    budget = Budget([first, later])
    assert budget.level("drift", period_of_report(month(1))) == lord_level([False], WEALTH["drift"])
    assert budget.last(period_of_report(first)) == later and budget.last(period_of_report(month(1))) is None


def test_another_release_shares_the_budget_of_the_year_and_a_new_year_has_its_own():
    other = replace(month(1), release="sha256:2")
    budget = Budget([month(0), other])
    assert budget.level("drift", period_of_report(month(2))) == lord_level([False, False], WEALTH["drift"])
    assert budget.level("drift", period_of_report(month(13))) == lord_level([], WEALTH["drift"])


def test_a_year_begins_with_its_first_period():
    first = datetime.fromisoformat(month(5).since)
    inside, outside = ((first + timedelta(days=days)).isoformat() for days in (364, 365))
    budget = Budget([month(5)])
    levels = [budget.level("drift", replace_since(since)) for since in (inside, outside)]
    assert levels == [lord_level([False], WEALTH["drift"]), lord_level([], WEALTH["drift"])]


def replace_since(since: str):
    return period_of_report(replace(PLAIN, since=since, until="2099-01-01T00:00:00"))


def test_a_period_that_is_judged_again_keeps_its_level_and_its_last_answer_counts():
    first = month(0, shown=True)
    budget = Budget([first, month(1), month(0)])
    assert budget.level("drift", period_of_report(first)) == 0.01
    assert budget.level("drift", period_of_report(month(2))) == lord_level([False, False], WEALTH["drift"])
