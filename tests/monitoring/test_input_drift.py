"""The forms of the drift question share one level, and each period can be judged by one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.monitoring.worlds import days

from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.data.context import Window, Windows, load_detector
from headway.monitoring.budget import WEALTH, lord_level
from headway.monitoring.forecast import FormResult
from headway.monitoring.input_drift import FORECAST_SHARES, SEQUENTIAL_SHARE, _weights, judge_inputs, overall_p

JUDGED, MONTH = 92, 30
YEAR = WEALTH["drift"]
LAST = lord_level([False] * 11, YEAR)


def periods(*, by: float = 0.0, months: int = 1, run: int = 7, alpha: float = LAST, features: int = 4) -> Windows:
    """A reference of 92 days and a month of 30, after others if `months` is more than 1; x2 moves in the last one."""
    rows, day = days(np.random.default_rng(0), count=JUDGED + MONTH * months, features=features, lean=0.3)
    begin = JUDGED + MONTH * (months - 1)
    rows[day >= begin, 2] += by
    before, between, after = (
        Window(rows=rows[part], groups=day[part])
        for part in (day < JUDGED, (day >= JUDGED) & (day < begin), day >= begin)
    )
    signature = Signature(inputs=tuple(Field(name=f"x{number}") for number in range(features)))
    return Windows(before=before, between=between, after=after, signature=signature, run=run, alpha=alpha)


def test_the_twelfth_month_is_judged_where_runs_of_days_cannot_be_permuted():
    with pytest.raises(NotApplicable, match="too few to show a change"):
        load_detector("group_permutation")(periods(months=12))
    quiet, moved = judge_inputs(periods(months=12), year_alpha=YEAR), judge_inputs(periods(by=3.0), year_alpha=YEAR)
    assert not quiet.alarm and quiet.findings == ()
    assert moved.alarm and [found.where for found in moved.findings][:2] == ["all", "x2"]


def test_the_p_value_is_held_against_the_whole_level():
    moved = judge_inputs(periods(by=3.0), year_alpha=YEAR)
    [overall] = [found for found in moved.findings if found.where == "all"]
    assert overall.measured == overall_p(moved) <= overall.limit == LAST
    assert {found.slice for found in moved.measurements} == {"", "x0", "x1", "x2", "x3"}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("absent", [(), ("longer",), ("runs", "longer")])
def test_the_parts_of_the_forms_sum_to_the_level_of_a_period(absent, share):
    one = FormResult(p=1.0, by_feature=np.ones(2))
    forms = {form: one for form in (*FORECAST_SHARES, "sequential") if form not in absent}
    weights = _weights(forms, share=share, alpha=0.002, year_alpha=0.025)
    assert weights.pop("sequential") * 0.002 == pytest.approx(SEQUENTIAL_SHARE * 0.025)
    assert sum(weights.values()) + SEQUENTIAL_SHARE == pytest.approx(1.0)


def test_a_missing_column_is_found_and_named_once():
    windows = periods(months=2)
    windows.after.rows[:, 1] = np.nan
    drift = judge_inputs(windows, year_alpha=YEAR)
    assert [found.code for found in drift.findings if found.where == "x1"] == ["O006"]


@pytest.mark.parametrize("by", [0.0, 8.0])
def test_groups_that_are_not_days_are_judged_as_well(by):
    windows = periods(by=by, run=1, alpha=0.05)
    assert judge_inputs(windows, year_alpha=YEAR).alarm == (by > 0)


def test_rows_that_are_groups_of_their_own_are_judged_by_blocks():
    windows = periods(by=2.0, run=1, alpha=0.05, features=3)
    before, between, after = (
        Window(rows=part.rows, groups=np.arange(len(part.rows)))
        for part in (windows.before, windows.between, windows.after)
    )
    assert judge_inputs(replace(windows, before=before, between=between, after=after), year_alpha=YEAR).alarm


def test_a_few_days_of_reference_cannot_judge_and_are_refused():
    rows, day = days(np.random.default_rng(0), count=19)
    windows = replace(
        periods(),
        before=Window(rows=rows[day < 12], groups=day[day < 12]),
        between=None,
        after=Window(rows=rows[day >= 12], groups=day[day >= 12]),
    )
    with pytest.raises(NotApplicable, match="too few"):
        judge_inputs(windows, year_alpha=YEAR)
