"""Rows of drift of texts: false alarms of years without a change, and texts until a shift of intents is found.

A simulated shop gets messages of all intents, in shares that vary from day to day, by weekday and with the days before;
a year is watched in weeks, by the tests, the budget and the classifier that a project would have. The messages are
those that no pipeline was fitted on; a day draws them with replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import polars as pl

from harness import Result, Row, shown
from headway.core.arrays import Floats, Ints
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.data.context import Window, Windows
from headway.engines.compiled.text import TextModel
from headway.monitoring.budget import WEALTH, lord_level
from headway.monitoring.input_drift import judge_inputs
from headway.monitoring.scored_rows import ScoredRows
from headway.monitoring.text_drift import with_text_features
from monitoring.canary import at_most
from text_rows import messages
from text_rows.speed import Pipeline

YEARS, WEEKS, SHIFTS, MAX_WEEKS = 100, 52, 200, 8
JUDGED_DAYS, TEXTS_A_DAY, WEEK = 56, 150, 7
OUTSIDE, SPREAD, LEAN, WEEKDAYS = 0.05, 0.2, 0.5, 0.1
SHIFTED, SHARE_BEFORE, SHARE_AFTER = 0.1, 0.1, 0.3
EPOCH = np.datetime64("2024-01-01", "us")
TINY = {"YEARS": 1, "WEEKS": 2, "SHIFTS": 2, "MAX_WEEKS": 2, "TEXTS_A_DAY": 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Messages by intent, the last of which is out of scope: their codes, answers and confidence."""

    intents: Ints
    codes: Floats
    answers: Ints
    confidence: Floats
    classes: tuple[str, ...]


def texts() -> Result:
    """Watch years without a change, and years in which some intents become more frequent."""
    rows = [_false_years(), *_until_alarm()]
    return messages.with_source((rows, []))


@cache
def pool() -> Pool:
    """Return the messages that the pipeline was not fitted on, with its answers."""
    known, pipeline = messages.load(), Pipeline.of("words")
    parts = (known.validation, known.test, known.outside_validation, known.outside_test)
    all_texts = [text for part in parts for text in part.texts]
    classes = tuple(pipeline.model.classes_.tolist())
    number = {name: index for index, name in enumerate(classes)}
    scores = TextModel(pipeline.program, {}).score(all_texts)
    return Pool(
        intents=np.array([number.get(intent, len(classes)) for part in parts for intent in part.intents]),
        codes=np.array(text_codes.keep(all_texts)),
        answers=scores.argmax(1),
        confidence=scores.max(1),
        classes=classes,
    )


def _false_years() -> Row:
    false = sum(_weeks_to_alarm(_Shop(seed), range(WEEKS)) is not None for seed in range(YEARS))
    return Row(
        name="drift.texts_false_year",
        measured=false / YEARS,
        unit="share of years",
        target="at most 0.05",
        ok=false / YEARS <= 0.05,
        against=f"{false} of {YEARS} years of {WEEKS} weeks without a change, {_about()}; at most "
        f"{at_most(false, YEARS):.3f}",
    )


def _until_alarm() -> list[Row]:
    found = []
    for seed in range(SHIFTS):
        draw = np.random.default_rng([seed, 1])
        week, day = int(draw.integers(WEEKS // 2)), int(draw.integers(WEEK))
        shop = _Shop(1_000 + seed, shifts_at=JUDGED_DAYS + week * WEEK + day)
        alarm = _weeks_to_alarm(shop, range(week, week + MAX_WEEKS))
        found.append(np.inf if alarm is None else ((alarm + 1 - week) * WEEK - day) * TEXTS_A_DAY)
    low, median, high = (float(np.quantile(found, share, method="higher")) for share in (0.1, 0.5, 0.9))
    share = f"a tenth of the intents go from {SHARE_BEFORE:.0%} to {SHARE_AFTER:.0%} of the messages within the week"
    return [
        Row(
            name="drift.texts",
            measured=median,
            unit="texts",
            target="<= 2000",
            ok=median <= 2_000,
            against=f"median of {SHIFTS} runs, a tenth at {low:,.0f} or less and a tenth at {high:,.0f} or more; "
            f"{share}, {_about()}",
        ),
        shown("drift.texts_not_found", float(np.isinf(found).mean()), "share", f"of the runs within {MAX_WEEKS} weeks"),
    ]


def _about() -> str:
    return f"{TEXTS_A_DAY} texts a day, {JUDGED_DAYS} days of reference, {len(pool().classes)} intents"


def _weeks_to_alarm(shop: _Shop, weeks: range) -> int | None:
    """Return the first week with an alarm; earlier weeks were tested without one, so each has less of the budget."""
    signature = Signature(inputs=(Field(name="text", datatype="BYTES", is_text=True),))
    before, later = shop.rows(0, JUDGED_DAYS), shop.rows(JUDGED_DAYS, JUDGED_DAYS + weeks.stop * WEEK)
    windows = Windows(before=before.detector_window(), after=later.detector_window(), signature=signature)
    windows = with_text_features(
        windows, before, later.subset(np.zeros(len(later), np.bool_)), later, classes=pool().classes
    )
    rows, groups = windows.after.rows, windows.after.groups
    a_week = WEEK * TEXTS_A_DAY
    for week in weeks:
        begin, end = week * a_week, (week + 1) * a_week
        drift = judge_inputs(
            replace(
                windows,
                between=Window(rows=rows[:begin], groups=groups[:begin]),
                after=Window(rows=rows[begin:end], groups=groups[begin:end]),
                alpha=lord_level([False] * week, WEALTH["drift"]),
            ),
            year_alpha=WEALTH["drift"],
        )
        if drift.alarm:
            return week
    return None


class _Shop:
    """Messages of a year, day by day; from the day `shifts_at` on some intents are more frequent."""

    def __init__(self, seed: int, *, shifts_at: int | None = None) -> None:
        self._draw = np.random.default_rng([seed, 0])
        known = pool()
        count, days = len(known.classes), JUDGED_DAYS + (WEEKS + MAX_WEEKS) * WEEK
        noise = self._draw.normal(size=(days, count))
        for day in range(1, days):
            noise[day] = LEAN * noise[day - 1] + np.sqrt(1 - LEAN**2) * noise[day]
        weekday = self._draw.normal(size=(WEEK, count))[np.arange(days) % WEEK]
        base = self._draw.dirichlet(np.full(count, 4.0))
        shares = base * np.exp(SPREAD * noise + WEEKDAYS * weekday)
        shares /= shares.sum(1, keepdims=True)
        if shifts_at is not None:
            shares[shifts_at:] = self._shifted(base, shares[shifts_at:])
        shares = np.column_stack([shares * (1 - OUTSIDE), np.full(days, OUTSIDE)])
        sizes = np.bincount(known.intents, minlength=count + 1)
        order, starts = np.argsort(known.intents, kind="stable"), np.cumsum(sizes) - sizes
        counts = np.array([self._draw.multinomial(TEXTS_A_DAY, day) for day in shares])
        intents = np.concatenate([np.repeat(np.arange(count + 1), day) for day in counts])
        self._texts = order[starts[intents] + (self._draw.random(len(intents)) * sizes[intents]).astype(np.int64)]

    def _shifted(self, base: Floats, shares: Floats) -> Floats:
        """Return shares in which a tenth of the intents have SHARE_AFTER of the messages, each as much more."""
        rising = np.zeros(len(base), np.bool_)
        order = self._draw.permutation(len(base))
        rising[order[: max(1, round(SHIFTED * len(base)))]] = True
        before = base[rising].sum()
        after = before + SHARE_AFTER - SHARE_BEFORE
        factors = np.where(rising, after / before, (1 - after) / (1 - before))
        found: Floats = shares * factors
        found /= found.sum(1, keepdims=True)
        return found

    def rows(self, first: int, last: int) -> ScoredRows:
        """Return the messages of the days from `first` to before `last`."""
        known, chosen = pool(), self._texts[first * TEXTS_A_DAY : last * TEXTS_A_DAY]
        day = np.repeat(np.arange(first, last), TEXTS_A_DAY)
        times = EPOCH + day.astype("timedelta64[D]")
        nothing = np.full(len(chosen), np.nan)
        return ScoredRows(
            name="",
            table=pl.DataFrame({"text": nothing}),
            times=times,
            rows=known.codes[chosen][:, None],
            scores=known.confidence[chosen],
            labels=nothing,
            labeled_at=np.full(len(chosen), np.datetime64("NaT"), times.dtype),
            groups=day,
            run=WEEK,
            texts=(0,),
            answers=known.answers[chosen],
            confidence=known.confidence[chosen],
        )
