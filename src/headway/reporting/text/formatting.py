"""Format numbers, intervals, dates, durations and lines, with no more digits than the data support."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from headway.core.errors import ConfigError
from headway.core.evidence import Measurement
from headway.core.measure import share_measures

TIMED = ("latency.", "throughput.", "cost.cpu_s.", "cost.per_million.", "cost.energy_j.")
TINY, ROUNDING = 1e-4, 1e-12


def format_number(value: float, *, width: float = 0.0) -> str:
    """Format a number with two digits of its interval's width, or three significant ones without an interval.

    From 1 up, an interval leaves at most three significant digits; values below 0.0001 have an exponent, and values
    below 1e-12 are rounding errors.

    >>> format_number(0.74127, width=0.052), format_number(31.2345), format_number(4.8e-6), format_number(336776.0)
    ('0.741', '31.2', '4.8e-6', '336,776')
    """
    if not math.isfinite(value):
        return "not known"
    if value != 0 and max(abs(value), width) < TINY:
        return _exponent(value)
    return _rounded(value, _decimals(value, width, max_digits=3 if abs(value) >= 1 else 0))


def format_measurement(measurement: Measurement) -> str:
    """Format a measurement with unit and interval: `0.741 [0.715, 0.767]`, `31.2 us [30.9, 31.6]`, `x 8.4 [8.2, 8.6]`.

    A count or a maximum over the given rows is a fact and has no interval; where data give none, `(no interval)` is
    shown.
    """
    interval = format_interval(measurement)
    return f"{format_value(measurement)} {interval}" if interval else format_value(measurement)


def has_interval(measurement: Measurement) -> bool:
    """Return whether the data give an interval; see `Measurement.has_interval`."""
    return measurement.has_interval


def format_value(measurement: Measurement) -> str:
    """Format the value of a measurement with its unit, to be shown with `format_interval` or `format_basis`."""
    scale, prefix = _scale(measurement)
    value, width = measurement.value * scale, _width(measurement) * scale
    tiny = not math.isfinite(value) or (value != 0 and max(abs(value), width) < TINY)
    text = (
        format_number(value, width=width)
        if tiny
        else _rounded(value, _decimals(value, width, max_digits=_max_digits(measurement)))
    )
    if not math.isfinite(value):
        return text
    if measurement.low == measurement.high and value == round(value):
        text = f"{value:,.0f}"  # a count
    elif value == 0 and width < ROUNDING:
        text = "0"
    if measurement.name.endswith("speedup") or measurement.unit == "x":
        return f"x {text}"
    unit = "%" if _is_share(measurement.name) else measurement.unit
    return f"{text} {prefix}{unit}".rstrip()


def format_interval(measurement: Measurement) -> str:
    """Format the interval on the scale of `format_value`.

    Empty for a fact, `(no interval)` where the data give none.
    """
    width = _width(measurement)
    if not math.isfinite(measurement.value) or (has_interval(measurement) and not width):
        return ""
    if not has_interval(measurement):
        return "(no interval)"
    scale, _ = _scale(measurement)
    ends = (measurement.low * scale, measurement.high * scale)
    largest = max(map(abs, (*ends, measurement.value * scale)))
    if largest < ROUNDING:
        return ""
    if largest < TINY:
        return "[" + ", ".join(_exponent(end) for end in ends) + "]"
    decimals = _decimals(measurement.value * scale, width * scale, max_digits=_max_digits(measurement))
    return "[" + ", ".join(_rounded(end, decimals) for end in ends) + "]"


def format_limit(value: float, measure: str) -> str:
    """Format a limit of a policy in the unit of its measure: `0.005`, `5 %`."""
    return f"{value * 100:g} %" if _is_share(measure) else f"{value:g}"


def format_ratio(measurement: Measurement) -> str:
    """Format a ratio within a sentence: `8.40 [8.23, 8.57] times`."""
    return f"{format_measurement(measurement).removeprefix('x ')} times"


def format_basis(measurement: Measurement, groups: str = "groups") -> str:
    """Format what a measurement rests on: `18,251 rows, 62 days`; the groups of a timing are its rounds."""
    rows = f"{measurement.n_rows:,} rows"
    word = "rounds" if is_timing(measurement) else groups
    return f"{rows}, {measurement.n_groups:,} {word}" if measurement.n_groups else rows


def is_timing(measurement: Measurement) -> bool:
    """Return whether it was measured by calling the model again and again, on more rows than the data have."""
    return measurement.unit == "x" or measurement.name.startswith(TIMED)


def format_seconds(value: float) -> str:
    """Format a duration: `0.82 s`, `12.4 s`, `2 min 13 s`."""
    if round(value) < 100:
        return f"{format_number(value)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes:,} min {rest} s"


def short_digest(digest: str) -> str:
    """Return the first 12 characters of a digest, without its algorithm."""
    return digest.rpartition(":")[2][:12]


def typeset(text: str) -> str:
    r"""Replace micro, times and minus signs as in print, and prevent line breaks within numbers and intervals.

    >>> typeset("x 8.4, -0.002, 31.2 us on 2013-09-01")
    '×\u202f8.4, −0.002, 31.2\xa0µs on 2013-09-01'
    """
    text = re.sub(r"(?<=\d) us\b", "\u00a0µs", text)
    text = re.sub(r"(\[[^\s,]+,) (?=[^\s\]]+\])", "\\1\u00a0", text)
    text = re.sub(r"\bx (?=\d)", "×\u202f", text)
    text = re.sub(r"(?<=\d) (?=(?:%|ms|s|[kM]? ?rows/s)(?!\w))", "\u00a0", text)
    return re.sub(r"(?<![\w.)\]-])-(?=\d)", "−", text)


def period_name(label: str) -> str:
    """Return a month or a day in words: `September 2013`, `2 September 2013`; other labels are unchanged."""
    month = label[5:7]
    if not is_dated(label[:10]) or not 1 <= int(month) <= 12:
        return label
    name = f"{calendar.month_name[int(month)]} {label[:4]}"
    return f"{int(label[8:10])} {name}" if label[8:10] else name


def format_time(at: str) -> str:
    """Format an ISO time to the minute, in UTC if it names a zone.

    >>> format_time("2026-11-24T18:38:43+00:00"), format_time("2013-10-02T00:00:00"), format_time("2013-10")
    ('2026-11-24 18:38 UTC', '2013-10-02 00:00', '2013-10')
    """
    if "T" not in at:
        return at
    time = datetime.fromisoformat(at)
    return f"{time:%Y-%m-%d %H:%M}" if time.tzinfo is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def is_dated(label: str) -> bool:
    """Return whether a label is a month or a day: `2013-09`, `2013-09-02`."""
    return _DATED.fullmatch(label) is not None


def describe_interval(seen: Measurement, *, scale: float = 1.0) -> str:
    """Describe the ends of an interval with unit: `3 to 8`, a fact: `3`; `about 3 (too few groups ...)` without one."""
    if not has_interval(seen):
        return f"about {format_value(seen)} (too few groups for an interval)"
    width = (seen.high - seen.low) * scale
    low, high = (format_number(end * scale, width=width) for end in (seen.low, seen.high))
    unit = f" {seen.unit}" if seen.unit else ""
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def describe_percentage(seen: Measurement) -> str:
    """Describe a share by the ends of its interval: `3 to 8 of 100`."""
    return f"{describe_interval(seen, scale=100.0)} of 100"


def join_names(names: Sequence[str], *, limit: int = 5) -> str:
    """Join names in a sentence and count those beyond the first few: `a, b and 3 more`."""
    shown, more = names[:limit], len(names) - limit
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _width(measurement: Measurement) -> float:
    return measurement.high - measurement.low if has_interval(measurement) else 0.0


def _scale(measurement: Measurement) -> tuple[float, str]:
    """Return the factor and the prefix of the unit that compensates for it."""
    if _is_share(measurement.name):
        return 100.0, ""
    if measurement.unit == "s" and 0 < measurement.value < 1e-3:
        return 1e6, "u"
    if measurement.unit != "rows/s" or not math.isfinite(measurement.value):
        return 1.0, ""
    if abs(measurement.value) >= 1e6:
        return 1e-6, "M "
    return (1e-3, "k ") if abs(measurement.value) >= 1e4 else (1.0, "")


def _max_digits(measurement: Measurement) -> int:
    """Return the maximum of significant digits; 0 means as many as the width supports."""
    return 3 if measurement.unit or abs(measurement.value) >= 1 else 0


def _decimals(value: float, width: float, *, max_digits: int) -> int:
    """Return the digits after the point, negative where digits before it are rounded."""
    size = math.floor(math.log10(abs(value))) if value else 0
    if width <= 0:
        return max(0, 2 - size) if value else 0
    wanted = 1 - math.floor(math.log10(width))
    return min(wanted, max_digits - 1 - size) if max_digits and value else wanted


def _rounded(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.lstrip("-") if not any(digit in text for digit in "123456789") else text


def _exponent(value: float) -> str:
    if 0 < abs(value) < ROUNDING:
        return "< 1e-12"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}" if value else "0"


def _is_share(measure: str) -> bool:
    """Return whether a measure is a share of rows, of all or of a part: `missing.decision_churn`."""
    return any(measure == name or measure.endswith(f".{name}") for name in share_measures())


_DATED = re.compile(r"\d{4}-\d\d(-\d\d)?")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration; raise ConfigError with examples if it is invalid.

    >>> parse_duration("90"), parse_duration("60s"), parse_duration("1.5m")
    (90.0, 60.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise ConfigError(f"{text!r} is not a duration", hint="60s, 5m, or 1h")
    return float(found[1]) * _SECONDS[found[2]]


UNPRINTABLE = re.compile("[^\u0020-\u007e\u00a0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, marks that reverse the direction of writing, and what XML 1.0 cannot hold."""


def one_line(text: str) -> str:
    r"""Collapse white space to single spaces and replace characters that cannot be printed by U+FFFD.

    >>> one_line("a\n  b\x1b[2J")
    'a b\ufffd[2J'
    """
    return UNPRINTABLE.sub("\ufffd", " ".join(text.split()))
