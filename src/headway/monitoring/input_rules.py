"""Rules on the inputs that need no p-value, and take no part of the false-alarm budget.

O006: An input is out of its range: days are beyond the whole daily range of the reference by once more that range.
O010: A column is missing, outside the contract, or constant in far more rows than when the release was judged.
O011: No request was answered in a period of the log, or less than a tenth of the usual number.

`broken_inputs` holds a daily number (level, spread, missing
share, share out of the contract's range, category shares) against its smallest and largest day in the reference. An
input broke if three days in a row, or an eighth of the days of the period and at least four, are out. Category shares
are held against the range of a week as well, which is narrower. For a unit it is enough that the days are out of the
range at all, if median and interquartile range have changed by the factor of a unit together.

`check_rows` and `check_volume` need no earlier days: they judge a short period, from the first hour on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Finding
from headway.core.monitoring import INPUT_BROKE, BrokenInput
from headway.core.release import Bounds, Contract
from headway.core.variant import Signature
from headway.data.context import Windows
from headway.monitoring.budget import EPOCH
from headway.monitoring.daily_values import DailySeries, DailyValues, Kind

ROWS_BROKE, VOLUME_FELL = "O010", "O011"
MIN_DAYS = 28
"""Fewer days of reference do not show the range of a day."""
IN_A_ROW, MIN_OUT, SHARE_OUT, WEEK = 3, 4, 0.125, 7
_MIN_RANGE_SHARE, _MIN_RANGE = 0.05, 0.25
_ERRORS = 4.0
_UNITS = (10.0, 100.0, 1000.0, 60.0, 3600.0)
_UNIT_TOLERANCE, _MEDIAN_TOLERANCE = 1.3, 0.4
_WEEKS = 1.5
"""A week is out if it is beyond the range of the weeks of the reference by this part of that range."""
_ORDER: tuple[Kind, ...] = ("missing", "outside", "spread", "share", "level")
"""Which number describes a break, if several are out."""
MIN_ROWS = 20
MIN_SHARE = 0.05
"""A share must be higher by this, and by four standard errors of that many independent rows."""
CHANCE = 1e-6
"""A column is constant if its most frequent value would fill all rows with less than this probability."""
MIN_PERIODS, FALL = 3, 10.0


def broken_inputs(
    windows: Windows, reference: DailyValues, later: DailyValues, series: Sequence[DailySeries], *, n_days: int
) -> list[BrokenInput]:
    """Return each feature that broke in the last `n_days` days of `later`; none for a short reference."""
    if len(reference) < MIN_DAYS or not n_days:
        return []
    is_share = np.array([daily.is_share for daily in series])
    is_category = np.array([daily.kind == "share" for daily in series])
    out = _out_of_range(reference, later, is_share)
    of_weeks = _out_of_range(_weekly(reference), _weekly(later), is_share, margin=_WEEKS)
    weeks = _of_weeks(of_weeks, out) & is_category
    broke = _are_broken(out, n_days) | weeks[-n_days:].any(0)
    out |= weeks
    beyond = _out_of_range(reference, later, is_share, margin=0.0)
    for k in np.flatnonzero(_are_broken(beyond, n_days) & ~broke & ~is_share).tolist():
        before, after = _numbers(windows, series[k].feature, later.days[-n_days:][beyond[-n_days:, k]])
        if _unit(before, after):
            broke[k], out[:, k] = True, beyond[:, k]
    out[:-n_days] = False
    found = []
    for number, field in enumerate(windows.signature.inputs):
        own = [k for k, daily in enumerate(series) if daily.feature == number and broke[k]]
        if own and field.name not in windows.derived:
            first = min(own, key=lambda k: _ORDER.index(series[k].kind))
            days = later.days[out[:, own].any(1)]
            what = _describe(
                windows, series[first], reference.values[:, first], later.values[out[:, first], first], days
            )
            shown = f"{len(days)} day{'s' if len(days) > 1 else ''}"
            message = f"{field.name} is out of its range on {shown}: {what}"
            found.append(BrokenInput(column=field.name, days=iso_days(days), message=message))
    return found


def broken_finding(found: BrokenInput) -> Finding:
    """Return the finding of an input that broke."""
    return Finding(
        code=INPUT_BROKE,
        severity="warn",
        message=found.message,
        where=found.column,
        measured=float(len(found.days)),
        limit=float(IN_A_ROW),
        hint=f"check what fills {found.column}: fix a broken feed before you retrain on its rows",
    )


def iso_days(numbers: Ints) -> tuple[str, ...]:
    """Return days, counted from 1970, in ISO 8601."""
    return tuple((EPOCH + timedelta(days=number)).isoformat() for number in numbers.tolist())


def _are_broken(out: Bools, n_days: int) -> Bools:
    """Return which numbers are out in enough of the last days, [K]."""
    enough: Bools = out[-n_days:].sum(0) >= max(MIN_OUT, SHARE_OUT * n_days)
    return _in_a_row(out)[-n_days:].any(0) | enough


def _out_of_range(reference: DailyValues, later: DailyValues, is_share: Bools, *, margin: float = 1.0) -> Bools:
    """Return which days are out of the daily range by `margin` times that range, for each number, [T, K]."""
    empty = np.isnan(reference.values).all(0)
    before = np.where(empty, 0.0, reference.values)
    low, high = np.nanmin(before, axis=0), np.nanmax(before, axis=0)
    mean = np.nanmean(before, axis=0)
    noise = np.where(is_share, np.clip(mean, 0, 1) * (1 - np.clip(mean, 0, 1)), 1.0)
    width = np.maximum(high - low, np.where(is_share, _MIN_RANGE_SHARE, _MIN_RANGE))
    beyond = margin * np.maximum(width, _ERRORS * np.sqrt(noise / later.rows[:, None]))
    with np.errstate(invalid="ignore"):
        out: Bools = ((later.values > high + beyond) | (later.values < low - beyond)) & ~empty
    return out


def _weekly(daily: DailyValues) -> DailyValues:
    """Return the means of each day and the six before it [T - 6, K], without the largest and the smallest of them."""
    if len(daily) < WEEK:
        return daily.part(0, 0)
    rows, sent = (sliding_window_view(part, WEEK).sum(-1) for part in (daily.rows, daily.sent))
    middle = np.sort(sliding_window_view(daily.values, WEEK, axis=0), axis=-1)[..., 1:-1].mean(-1)
    return DailyValues(days=daily.days[WEEK - 1 :], rows=rows, sent=sent, values=middle)


def _of_weeks(out: Bools, days: Bools) -> Bools:
    """Return the days of the weeks that are out, in the shape of `days`."""
    found = np.zeros_like(days)
    for lag in range(WEEK if len(out) else 0):
        found[WEEK - 1 - lag : len(days) - lag] |= out
    return found


def _in_a_row(out: Bools) -> Bools:
    """Return which days end a run of IN_A_ROW days that are out, [T, K]."""
    ends = out.copy()
    for lag in range(1, IN_A_ROW):
        ends[lag:] &= out[:-lag]
        ends[:lag] = False
    return ends


def _describe(windows: Windows, daily: DailySeries, before: Floats, now: Floats, days: Ints) -> str:
    """Describe a break by the median of the days that are out and by the daily range of the reference."""
    number = daily.feature
    was = f"{np.nanmin(before):.0%} to {np.nanmax(before):.0%} of the rows of a day when judged"
    if daily.kind == "missing":
        what = "missing or unseen" if windows.signature.inputs[number].categories else "missing"
        return f"{np.median(now):.0%} of its values are {what}, {was}"
    if daily.kind == "share":
        names = daily.categories[0] if len(daily.categories) == 1 else "the rare categories together"
        return f"{names}: {np.median(now):.0%} of rows, {was}"
    if windows.signature.inputs[number].categories:
        return f"{np.median(now):.0%} of its values are none of its categories, {was}"
    return next(_describe_numbers(daily, *_numbers(windows, number, days), now, was))


def _numbers(windows: Windows, number: int, days: Ints) -> tuple[Floats, Floats]:
    """Return the values of a feature in the reference, and those of some days of the period."""
    before, after = windows.before.rows[:, number], windows.after.rows[np.isin(windows.after.groups, days), number]
    return before[np.isfinite(before)], after[np.isfinite(after)]


def _describe_numbers(daily: DailySeries, before: Floats, after: Floats, now: Floats, was: str) -> Iterator[str]:
    if daily.kind == "spread" and len(np.unique(after)) <= len(now):
        yield "it has one value for a whole day"
    if len(before) and len(after) and (unit := _unit(before, after)):
        factor, word = (unit, "larger") if unit > 1 else (1 / unit, "smaller")
        medians = f"median {np.median(before):.4g} when judged, {np.median(after):.4g} now"
        yield f"its values are about {factor:g} times {word} ({medians}), as after a change of unit"
    if daily.kind == "outside":
        yield f"{np.median(now):.0%} of its values are out of range, {was}"
    kind = "their spread within a day" if daily.kind == "spread" else "their level"
    medians = f"; median {np.median(before):.4g} when judged, {np.median(after):.4g} now" if len(after) else ""
    yield f"{kind} is far from that of any day when judged{medians}"


def _unit(before: Floats, after: Floats) -> float:
    """Return the factor by which median and interquartile range changed together, 0 if it is that of no unit."""
    quarters = (25, 50, 75)
    one, two = np.percentile(before, quarters), np.percentile(after, quarters)
    spreads, medians = (one[2] - one[0], two[2] - two[0]), (one[1], two[1])
    if spreads[0] <= 0 or spreads[1] <= 0:
        return 0.0
    for factor in (*_UNITS, *(1 / unit for unit in _UNITS)):
        close = abs(np.log(spreads[1] / spreads[0] / factor)) < np.log(_UNIT_TOLERANCE)
        if close and abs(medians[1] - factor * medians[0]) <= _MEDIAN_TOLERANCE * factor * spreads[0]:
            return factor
    return 0.0


def check_rows(rows: Floats, reference: Floats, contract: Contract, signature: Signature) -> list[Finding]:
    """Return a finding for each column that broke; none for fewer than 20 rows.

    Parameters
    ----------
    rows, reference : ndarray of shape (n, d)
        Rows of the period, and those that the release was judged on, which may be none.
    contract : Contract
        Ranges of the columns in the rows that the release was made on.
    signature : Signature
    """
    if len(rows) < MIN_ROWS:
        return []
    bounds = {column.name: column for column in contract.columns}
    found = []
    for index, field in enumerate(signature.inputs):
        column, before = rows[:, index], reference[:, index]
        broke = next(_breaks(column, before, bounds.get(field.name), contract.margin), None)
        if broke:
            what, share, usual, limit = broke
            found.append(
                Finding(
                    code=ROWS_BROKE,
                    severity="warn",
                    message=f"{field.name} {what} in {share:.0%} of {len(rows):,} rows ({usual:.0%} when judged)",
                    where=field.name,
                    measured=share,
                    limit=limit,
                    hint="check what fills this column",
                )
            )
    return found


def check_volume(n_rows: int, usual: float | None, n_before: int) -> list[Finding]:
    """Return a finding if a period of the log has no request, or few compared with `n_before` periods before."""
    if n_rows and not (usual and n_before >= MIN_PERIODS and n_rows < usual / FALL):
        return []
    amount = f"{n_rows:,} requests were answered" if n_rows else "no request was answered"
    compared = f" (usually {usual:,.0f})" if usual else ""
    return [
        Finding(
            code=VOLUME_FELL,
            severity="warn",
            message=f"{amount}{compared}",
            where="log",
            measured=float(n_rows),
            limit=usual / FALL if usual else None,
            hint="check the server and its callers",
        )
    ]


def _breaks(
    column: Floats, before: Floats, bounds: Bounds | None, margin: float
) -> Iterator[tuple[str, float, float, float]]:
    """Yield what broke, with its share now, its usual share, and the limit."""
    missing, known = np.isnan(column), before[~np.isnan(before)]
    was_missing = float(np.isnan(before).mean()) if len(before) else bounds.missing if bounds else None
    if was_missing is not None and (limit := _limit(was_missing, len(column))) < (share := float(missing.mean())):
        yield "is missing", share, was_missing, limit
    values = column[~missing]
    if bounds is not None and len(values):
        was_outside = float(_outside(known, bounds, margin).mean()) if len(known) else 0.0
        limit, share = _limit(was_outside, len(column)), float(_outside(values, bounds, margin).mean())
        if share > limit:
            yield "is outside its contract", share, was_outside, limit
    if len(values) >= MIN_ROWS and len(known) and (values == values[0]).all():
        usual = float((known == values[0]).mean())
        if usual ** len(values) < CHANCE:
            yield f"is always {values[0]:g}", 1.0, usual, usual


def _limit(usual: float, n_rows: int) -> float:
    """Return the share above which a column broke, from the usual share."""
    spread = max(usual, 1 / n_rows)
    return usual + max(MIN_SHARE, _ERRORS * float(np.sqrt(spread * max(1 - spread, 0.0) / n_rows)))


def _outside(values: Floats, bounds: Bounds, margin: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which values are outside: beyond the range and its margin, or no known category."""
    if bounds.categories:
        return np.asarray((values < 0) | (values >= len(bounds.categories)))
    low = -np.inf if bounds.lowest is None else bounds.lowest
    high = np.inf if bounds.highest is None else bounds.highest
    tolerance = margin * (high - low) if np.isfinite(high - low) else 0.0
    return np.asarray((values < low - tolerance) | (values > high + tolerance))
