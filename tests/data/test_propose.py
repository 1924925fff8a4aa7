"""Roles, periods and limits that `headway init` proposes for a table."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headway.core.errors import ConfigError, DataError
from headway.data.propose import propose_settings

ROWS = 4000


def table(**columns: object) -> pl.DataFrame:
    """Return 100 days of 40 rows with hours, a carrier, a target that follows the hour, and the given columns."""
    draw = np.random.default_rng(0)
    hour = draw.integers(0, 24, ROWS)
    at = [datetime(2025, 1, 1) + timedelta(days=row // 40, hours=int(hour[row])) for row in range(ROWS)]
    base = {
        "at": at,
        "day": [time.date() for time in at],
        "hour": hour,
        "carrier": draw.choice(["AA", "B6", "UA"], ROWS),
        "late": (draw.random(ROWS) < hour / 30).astype(int),
    }
    return pl.DataFrame({**base, **columns})


def test_time_groups_slices_and_periods_are_found():
    found = propose_settings(table(), "late")
    assert (found.task, found.positive, found.time, found.groups, found.slices) == (
        "binary",
        "",
        "at",
        "day",
        ("carrier",),
    )
    assert found.features == ("hour", "carrier")
    assert found.split == {
        "train": ("2025-01-01", "2025-03-02"),
        "validation": ("2025-03-02", "2025-03-22"),
        "test": ("2025-03-22", "2025-04-11"),
    }


def test_columns_that_follow_the_outcome_are_suspected_with_the_finding():
    draw = np.random.default_rng(1)
    late = table()["late"].to_numpy()
    gaps = draw.random(ROWS) < 0.05
    leaks = table(
        late=[None if gap else value for value, gap in zip(late.tolist(), gaps, strict=True)],
        delay=late * 20 + draw.normal(0, 5, ROWS),
        landed=[None if gap else float(row % 9) for row, gap in enumerate(gaps)],
    )
    found = propose_settings(leaks, "late")
    assert {name: why[:4] for name, why in found.outcome.items()} == {"delay": "D003", "landed": "D002"}
    assert found.features == ("hour", "carrier")


def test_identifiers_constants_and_unsupported_types_are_ignored():
    odd = table(
        ticket=[f"T{row}" for row in range(ROWS)],
        number=range(ROWS),
        plane_id=[row % 7 for row in range(ROWS)],
        country=["US"] * ROWS,
        empty=pl.Series([None] * ROWS, dtype=pl.Float64),
        booked=[date(2024, 1, 1) + timedelta(days=row % 300) for row in range(ROWS)],
        legs=[[1, 2]] * ROWS,
    )
    assert propose_settings(odd, "late").ignore == (
        "ticket",
        "number",
        "plane_id",
        "country",
        "empty",
        "booked",
        "legs",
    )


def test_rows_are_grouped_by_customer_without_a_date():
    by_customer = table(customer_id=[row % 200 for row in range(ROWS)]).drop("at", "day")
    found = propose_settings(by_customer, "late")
    assert (found.time, found.groups, found.split) == ("", "customer_id", {})


def test_a_time_column_with_missing_values_is_not_used():
    gaps = table(at=[None, *table()["at"].to_list()[1:]])
    assert propose_settings(gaps, "late").time == "day"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "task", "positive", "classes"),
    [
        ([0, 1, 1, 0], "binary", "", 2),
        ([True, False, True, None], "binary", "", 2),
        (["no", "yes", "no", "no"], "binary", "yes", 2),
        ([1, 2, 1, 1], "binary", "2", 2),
        ([0, 1, 2, 0], "multiclass", "", 3),
        ([1.5, 2.5, 3.5, 0.5], "regression", "", 0),
    ],
)
def test_the_task_follows_from_the_values_of_the_target(values, task, positive, classes):
    found = propose_settings(table(late=values * (ROWS // 4)), "late")
    assert (found.task, found.positive, found.n_classes) == (task, positive, classes)


def test_a_target_of_three_strings_has_its_classes_in_order():
    found = propose_settings(table(late=["b", "c", "a", "a"] * (ROWS // 4)), "late")
    assert (found.task, found.classes, found.n_classes) == ("multiclass", ("a", "b", "c"), 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1] * ROWS, "'late' has 1 values"),
        ([f"text {row}" for row in range(ROWS)], "4,000 different strings\n  try: another"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        propose_settings(table(late=values), "late")


@pytest.mark.parametrize(("target", "message"), [("", "no target is given"), ("lat", "no column 'lat' to predict")])
def test_an_absent_target_is_an_error_that_lists_the_columns(target, message):
    with pytest.raises(
        ConfigError, match=f"{message}\n  at: columns: at, day, hour, carrier, late\n  try: --target COLUMN"
    ):
        propose_settings(table(), target)
