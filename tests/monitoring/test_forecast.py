"""Daily values judged by the forecast of a reference: found where they moved, silent where only days differ."""

from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring.worlds import days

from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.data.context import Window
from headway.monitoring.daily_values import DailyValues, daily_values, feature_readers, series_of
from headway.monitoring.forecast import FormResult, forecast_forms, harmonic_mean

JUDGED, MONTH = 92, 30
YEAR_END = 2e-4  # the level that is left for the twelfth quiet month


def forms(
    rows: np.ndarray, day: np.ndarray, *, judged: int = JUDGED, month: int = MONTH, fields: tuple[Field, ...] = ()
) -> dict[str, FormResult]:
    """Judge the last `month` days by the first `judged` ones."""
    signature = Signature(inputs=fields or tuple(Field(name=f"x{number}") for number in range(rows.shape[1])))
    before, later = (Window(rows=rows[part], groups=day[part]) for part in (day < judged, day >= judged))
    readers = feature_readers(before, signature)
    parts = [daily_values(readers, window) for window in (before, later)]
    return forecast_forms(*parts, series_of(readers), n_days=month)


def year(seed: int = 0, *, months: int = 1, lean: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    return days(np.random.default_rng(seed), count=JUDGED + MONTH * months, lean=lean)


def test_the_harmonic_mean_adds_many_small_values_and_takes_a_single_one_as_bonferroni_does():
    assert harmonic_mean(np.full(20, 0.01)) == pytest.approx(0.01)
    assert harmonic_mean(np.array([0.001, *np.ones(19)])) == pytest.approx(0.02, rel=0.03)


def test_a_month_that_moved_has_a_p_value_below_the_level_of_any_month():
    rows, day = year()
    rows[day >= JUDGED, 2] += 3
    found = forms(rows, day)
    assert found["period"].p < YEAR_END / 4
    assert int(np.argmin(found["period"].by_feature)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("lean", [0.0, 0.7])
def test_quiet_months_have_no_small_p_value(lean):
    for seed in range(5):
        found = forms(*year(seed, lean=lean))
        assert min(form.p for form in found.values()) > 0.001


def test_a_weekly_pattern_is_not_a_change():
    rows, day = year(3)
    rows[day % 7 == 6] += 5
    assert min(form.p for form in forms(rows, day, month=5).values()) > 0.001


def test_a_few_days_inside_a_month_are_found_by_the_runs():
    rows, day = year(1)
    rows[(day >= JUDGED + 12) & (day < JUDGED + 21), 1] += 5
    found = forms(rows, day)
    assert found["runs"].p < YEAR_END / 2 and found["runs"].p < found["period"].p


def test_a_slow_shift_is_found_by_all_months_together():
    rows, day = year(2, months=8, lean=0.0)
    rows[day >= JUDGED, 0] += 1.2
    found = forms(rows, day)
    assert found["longer"].p < YEAR_END < found["period"].p
    assert found["sequential"].p < found["period"].p / 5


def test_many_features_that_move_a_little_are_found_together():
    rows, day = days(np.random.default_rng(4), count=JUDGED + MONTH, features=20)
    rows[day >= JUDGED] += 1.0
    found = forms(rows, day)["period"]
    assert found.p < min(found.by_feature) * 20 / 1.5


def test_a_share_moves_only_if_its_rows_show_it_as_a_count():
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(JUDGED + MONTH), 20)
    category = rng.choice(3, len(day), p=(0.6, 0.37, 0.03)).astype(float)[:, None]
    fields = (Field(name="kind", datatype="BYTES", categories=("a", "b", "c")),)
    assert forms(category, day, fields=fields)["period"].p > 0.01
    category[(day >= JUDGED) & (rng.random(len(day)) < 0.15)] = 2
    assert forms(category, day, fields=fields)["period"].p < YEAR_END / 4


def test_days_without_rows_and_columns_without_values_are_no_change():
    rows, day = year()
    rows[:, 3] = np.nan
    keep = day % 7 < 5
    found = forms(rows[keep], day[keep], month=22)
    assert min(form.p for form in found.values()) > 0.001
    assert all(np.isfinite(form.by_feature).all() for form in found.values())


def test_a_reference_of_a_few_days_is_refused():
    rows, day = year()
    with pytest.raises(NotApplicable, match="19 days of reference and 103 days are too few groups"):
        forms(rows, day, judged=19, month=103)


def test_a_day_with_a_handful_of_rows_is_left_out():
    rows, day = year()
    few = (day != 100) | (np.arange(len(day)) % 40 < 2)
    signature = Signature(inputs=tuple(Field(name=f"x{number}") for number in range(4)))
    window = Window(rows=rows[few], groups=day[few])
    daily = daily_values(feature_readers(window, signature), window)
    assert isinstance(daily, DailyValues) and 100 not in daily.days and len(daily) == JUDGED + MONTH - 1
