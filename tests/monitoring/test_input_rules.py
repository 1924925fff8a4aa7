"""O006: inputs that broke are found without a p-value, and named by what happened to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.monitoring.worlds import days

from headway.core.evidence import Finding
from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.context import Window, Windows
from headway.monitoring.budget import day_number
from headway.monitoring.daily_values import daily_values, feature_readers, series_of
from headway.monitoring.input_rules import broken_finding, broken_inputs, iso_days

JUDGED, MONTH = 60, 30
FIELDS = (
    Field(name="amount"),
    Field(name="centred"),
    Field(name="kind", datatype="BYTES", categories=("a", "b", "c"), unseen="other"),
)


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An amount about 50, a number about 0, and a category, over 90 days of 40 rows."""
    rng = np.random.default_rng(seed)
    numbers, day = days(rng, count=JUDGED + MONTH, features=2, lean=0.5)
    kind = rng.choice(3, len(day), p=(0.5, 0.3, 0.2))
    return np.column_stack([50 + 10 * numbers[:, 0], numbers[:, 1], kind]), day


def broken(
    change: Callable[[np.ndarray, np.ndarray], None] | None = None,
    *,
    where: Callable[[np.ndarray], np.ndarray] = lambda day: day >= JUDGED,
    judged: int = JUDGED,
    contract: Contract | None = None,
) -> list[Finding]:
    rows, day = table()
    if change:
        change(rows, where(day) & (day >= judged))
    before, after = (Window(rows=rows[part], groups=day[part]) for part in (day < judged, day >= judged))
    windows = Windows(before=before, after=after, signature=Signature(inputs=FIELDS))
    readers = feature_readers(before, windows.signature, contract)
    parts = [daily_values(readers, window) for window in (before, after)]
    return [*map(broken_finding, broken_inputs(windows, *parts, series_of(readers), n_days=len(parts[1])))]


def missing(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 0] = np.nan


def tenth(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 0] /= 10


def thousandfold(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 1] *= 1000


def constant(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 1] = 0.25


def far(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here & (np.arange(len(here)) % 4 == 0), 0] = 999


def unseen(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 2] = np.where(np.arange(here.sum()) % 2, 3, rows[here, 2])


def swapped(rows: np.ndarray, here: np.ndarray) -> None:
    rows[here, 2] = np.array([2, 1, 0])[rows[here, 2].astype(int)]


def test_sound_days_are_not_broken():
    assert broken() == []


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (
            missing,
            "amount",
            "amount is out of its range on 30 days: 100% of its values are missing, 0% to 0% of the rows of a day",
        ),
        (tenth, "amount", "its values are about 10 times smaller (median 4"),
        (thousandfold, "centred", "its values are about 1000 times larger"),
        (constant, "centred", "centred is out of its range on 30 days: it has one value for a whole day"),
        (far, "amount", "25% of its values are out of range, 0% to 0%"),
        (unseen, "kind", "of its values are none of its categories, 0% to 0%"),
        (swapped, "kind", "% of rows, "),
    ],
)
def test_each_break_is_found_and_described(change, name, message):
    [finding] = broken(change)
    assert (finding.code, finding.where) == ("O006", name) and message in finding.message
    assert name in finding.hint


@pytest.mark.parametrize(
    "where",
    [lambda day: day >= JUDGED + 27, lambda day: day % 3 == 0, lambda day: (day // 5) % 3 == 0],
    ids=["the last three days", "every third day", "a third of the days"],
)
@pytest.mark.parametrize("change", [missing, tenth, constant, thousandfold])
def test_a_part_of_the_days_is_enough(change, where):
    assert len(broken(change, where=where)) == 1


def test_a_single_odd_day_is_not_a_break():
    assert broken(missing, where=lambda day: day == JUDGED + 3) == []


def test_values_beyond_the_range_of_the_contract_are_a_break():
    contract = Contract(columns=(Bounds(name="centred", lowest=-6.0, highest=6.0),), n_rows=1000)

    def beyond(rows: np.ndarray, here: np.ndarray) -> None:
        rows[here & (np.arange(len(here)) % 5 == 0), 1] = 8.0

    assert "20% of its values are out of range" in broken(beyond, contract=contract)[0].message
    assert all("out of range" not in finding.message for finding in broken(beyond))


def test_a_reference_of_less_than_four_weeks_has_no_rules():
    assert broken(missing, judged=27) == []


def test_a_cell_is_broken_on_each_day_that_is_out_of_range():
    assert iso_days(np.array([15_706, 15_707])) == ("2013-01-01", "2013-01-02")
    assert day_number("2013-01-02") == 15_707
    assert broken(missing, where=lambda day: day >= JUDGED + 27)[0].measured == 3.0
