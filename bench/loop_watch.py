"""The watch: false alarms and finds of drift, its cost, and quality without labels; `loop.py` prints the rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from time import process_time

import numpy as np

from flight_year import FIRST_TRAINED_TO, Year
from harness import Row, shown
from headway.core.contracts import Window, Windows
from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.evidence.tables import exact_auc
from headway.observe.detectors.group_permutation import plugin as detect
from headway.observe.no_labels import Scored, estimate

HALVES = 84  # of each month
WORLDS = 400
ROWS = 327_000
MONTHS = range(1, 13)
JUDGED = range(7, 13)
DAYS, FLIGHTS, FEATURES = 60, 60, 20


def rows(year: Year) -> list[Row]:
    """All rows on drift and on quality without labels."""
    return [*_drift(year), _cost(year), *_no_labels(year)]


def _drift(year: Year) -> list[Row]:
    return [_false_alarms(year), *_found(year), *_simulated()]


def _false_alarms(year: Year) -> Row:
    false = float(np.mean([_halves(year, month) for month in MONTHS]))
    return Row(
        name="drift.false_alarm",
        measured=false,
        unit="share",
        target="0.03 to 0.07",
        ok=0.03 <= false <= 0.07,
        against=f"{HALVES * len(MONTHS)} random halves of the days of single months; 120 of 120 alarm by PSI > .1",
    )


def _found(year: Year) -> list[Row]:
    weeks, days = (sum(_adjacent(year, run)) for run in (7, 1))
    return [
        Row(
            name="drift.found",
            measured=weeks,
            unit="months",
            target="11 of 11 adjacent months",
            ok=weeks == 11,
            against="runs of 7 days or more permuted; January to February does not differ by more than weeks do",
        ),
        shown("drift.found.single_days", days, "months", "single days permuted, not valid for periods in order"),
    ]


def _simulated() -> list[Row]:
    weeks, days = (_alarms_without_change(run) for run in (7, 1))
    worlds = f"{WORLDS} worlds without change, days correlated with the day before by 0 to .7"
    return [
        Row(
            name="drift.simulated.false_alarm",
            measured=weeks,
            unit="share",
            target="at most 0.10",
            ok=weeks <= 0.10,
            against=worlds,
        ),
        shown("drift.simulated.single_days", days, "share", "the same worlds, single days permuted"),
    ]


def _halves(year: Year, month: int) -> float:
    """The share of random halves of a month's days that raise an alarm: chance alone parted them."""
    rng = np.random.default_rng(month)
    here = np.flatnonzero(year.month == month)
    rows, day = year.rows[here], year.day[here]
    days = np.unique(day)
    alarms = 0
    for _ in range(HALVES):
        first = np.isin(day, rng.permutation(days)[: len(days) // 2])
        before, after = (Window(rows=rows[part], groups=day[part]) for part in (first, ~first))
        alarms += detect(Windows(before=before, after=after, signature=year.signature, run=1)).alarm
    return alarms / HALVES


def _adjacent(year: Year, run: int) -> list[bool]:
    windows = [year.window(year.month == month) for month in MONTHS]
    return [
        detect(Windows(before=before, after=after, signature=year.signature, run=run)).alarm
        for before, after in pairwise(windows)
    ]


def _alarms_without_change(run: int) -> float:
    """The share of alarms where nothing changed, but days lean on the day before: a known, correlated truth."""
    signature = Signature(inputs=tuple(Field(name=f"x{number}") for number in range(FEATURES)))
    alarms = 0
    for seed in range(WORLDS):
        rows, day = _world(np.random.default_rng(seed))
        first = day < DAYS // 2
        before, after = (Window(rows=rows[part], groups=day[part]) for part in (first, ~first))
        alarms += detect(Windows(before=before, after=after, signature=signature, run=run)).alarm
    return alarms / WORLDS


def _world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """60 days of 60 rows and 20 features; a day shifts each feature, by an autoregression of correlation 0 to .7."""
    lean = np.linspace(0, 0.7, FEATURES)
    shift = rng.normal(size=(DAYS, FEATURES))
    for today in range(1, DAYS):
        shift[today] = lean * shift[today - 1] + np.sqrt(1 - lean**2) * shift[today]
    day = np.repeat(np.arange(DAYS), FLIGHTS)
    return rng.normal(size=(len(day), FEATURES)) + shift[day], day


def _cost(year: Year) -> Row:
    """CPU seconds for 327,000 rows of the 19 features and the hour of the day, half a year against the other."""
    rows = np.column_stack([year.rows, np.floor(year.rows[:, year.signature.names.index("dep_minute")] / 60)])[:ROWS]
    signature = Signature(inputs=(*year.signature.inputs, Field(name="hour")))
    some = replace(year, rows=rows, day=year.day[:ROWS], signature=signature)
    first = year.month[:ROWS] <= 6
    windows = Windows(before=some.window(first), after=some.window(~first), signature=signature)
    taken_s = []
    for _ in range(5):
        began = process_time()
        detect(windows)
        taken_s.append(process_time() - began)
    median = float(np.median(taken_s))
    return Row(
        name="drift.cpu_seconds",
        measured=median,
        unit="CPU s",
        target="at most 0.4 for 327,000 x 20",
        ok=median <= 0.4,
        against="7.05 of evidently 0.7.23",
    )


def _no_labels(year: Year) -> list[Row]:
    """July to December, each from the labelled months since May, of the model trained on January to April."""
    scores = year.scores(FIRST_TRAINED_TO, 0, 12)
    months = {
        month: Scored(scores=scores[here], labels=year.late[here], groups=year.day[here])
        for month in range(FIRST_TRAINED_TO + 1, 13)
        for here in [(year.month == month) & ~np.isnan(scores)]
    }
    errors, covered, briers, abstained = [], 0, 0, 0
    for month in JUDGED:
        now = months[month]
        past = [months[each] for each in range(FIRST_TRAINED_TO + 1, month)]
        try:
            area, brier = estimate(past, now.scores, now.groups)
        except NotApplicable:
            abstained += 1
            continue
        truth = exact_auc(now.scores, now.labels)
        errors.append(abs(area.value - truth))
        covered += area.low <= truth <= area.high
        briers += brier.low <= float(np.square(now.scores - now.labels).mean()) <= brier.high
    return _as_rows(errors, covered, briers, abstained)


def _as_rows(errors: list[float], covered: int, briers: int, abstained: int) -> list[Row]:
    error = float(np.mean(errors))
    answered = f"of {len(errors)} months answered"
    return [
        Row(
            name="no_labels.auc_error",
            measured=error,
            unit="AUC",
            target="at most 0.025",
            ok=error <= 0.025,
            against=f"mean {answered}; .0351 of nannyml 0.13.1",
        ),
        Row(
            name="no_labels.covered",
            measured=covered,
            unit="months",
            target="at least 5 of 6",
            ok=covered >= 5,
            against=f"{answered}; 0 of 6 of nannyml 0.13.1",
        ),
        Row(
            name="no_labels.abstained",
            measured=abstained,
            unit="months",
            target="at most 3",
            ok=abstained <= 3,
        ),
        shown("no_labels.brier_covered", briers, "months", f"{answered}: a jump of the base rate shows in no score"),
    ]
