"""Chart of intervals: one row per part with a dot and a line, in one or several panels, with reference lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import altair as alt

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.reporting.charts.theme import LIGHT, ChartSize, inline_data
from headway.reporting.text import formatting

NAMES, NARROW_NAMES, NOTES, LETTER = 190, 136, 96, 6.6
"""Pixels for the names left of the plot at most, wide and narrow; for the notes right of it; and of a letter."""
STEP, STEP_ABOVE = 23, 40
"""Pixels of a line, and of one whose name is too long to stand left of it and stands above it."""

IntervalStyle = Literal["live", "fail"]
_SHAPES: dict[IntervalStyle, str] = {"live": "circle", "fail": "cross"}


class IntervalRow(Record, frozen=True, kw_only=True):
    """A row of the chart: its name, the measurement, and a note to the right."""

    name: str
    seen: Measurement
    note: str = ""
    style: IntervalStyle = "live"


class ReferenceLine(Record, frozen=True, kw_only=True):
    """A vertical line at a value that matters, with a label above it; a limit is dashed."""

    at: float
    message: str = ""
    limit: bool = False


class IntervalPanel(Record, frozen=True, kw_only=True):
    """Rows on one axis; `title` heads the panel, `notes` the column of notes."""

    axis: str
    spans: tuple[IntervalRow, ...]
    marks: tuple[ReferenceLine, ...] = (ReferenceLine(at=0.0),)
    title: str = ""
    notes: str = ""
    scale: float = 1.0
    log: bool = False


def intervals_chart(panels: Sequence[IntervalPanel]) -> Callable[[ChartSize], alt.TopLevelMixin]:
    """Return a function that draws the panels below each other in a given size."""
    names = [span.name for panel in panels for span in panel.spans]
    return lambda size: alt.vconcat(*(_panel(interval_panel, names, size) for interval_panel in panels), spacing=22)


def _panel(panel: IntervalPanel, names: Sequence[str], size: ChartSize) -> alt.LayerChart:
    longest = max(len(name) for name in names) * LETTER + 10
    above = longest > (NARROW_NAMES if size.narrow else NAMES)
    left = 0 if above else round(longest)
    width = size.width - left - (NOTES if panel.notes else 16)
    step = STEP_ABOVE if above else STEP
    axis = None if above else alt.Axis(title=None, minExtent=left, maxExtent=left, labelLimit=left - 6, grid=False)
    base = alt.Chart(inline_data([_row(span, panel) for span in panel.spans])).encode(
        y=alt.Y("key:N", axis=axis, sort=None)
    )
    layers = [
        *_marks(panel, size),
        base.mark_rule(strokeWidth=1.75).encode(_x(panel, size, "low"), x2="high:Q", color=_colour()),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            _x(panel, size, "value"), color=_colour(), shape=_shape()
        ),
        *_names(base, step, above=above),
        *_notes(base, panel, width),
    ]
    drawn = alt.layer(*layers).properties(width=width, height=alt.Step(step))
    return drawn.properties(title=alt.TitleParams(text=panel.title, offset=22)) if panel.title else drawn


def _row(span: IntervalRow, panel: IntervalPanel) -> dict[str, object]:
    known = formatting.has_interval(span.seen)
    ends = (span.seen.low, span.seen.high) if known else (span.seen.value, span.seen.value)
    low, high, value = (end * panel.scale for end in (*ends, span.seen.value))
    return {
        "key": span.name,
        "low": max(low, _room(panel)[0]) if panel.log else low,
        "high": high,
        "value": value,
        "note": span.note,
        "colour": LIGHT[span.style],
        "shape": _SHAPES[span.style],
    }


def _room(panel: IntervalPanel) -> tuple[float, float]:
    """Return the ends of the axis, with a margin around everything that is drawn."""
    seen = [span.seen for span in panel.spans]
    ends = [mark.at for mark in panel.marks] + [measurement.value * panel.scale for measurement in seen]
    ends += [
        end * panel.scale
        for measurement in seen
        if formatting.has_interval(measurement)
        for end in (measurement.low, measurement.high)
    ]
    if panel.log:
        least = min(end for end in ends if end > 0)
        return least / 1.25, max(ends) * 1.25
    room = (max(ends) - min(ends)) * 0.06 or 0.001
    return min(ends) - room, max(ends) + room


def _x(panel: IntervalPanel, size: ChartSize, field: str) -> alt.X:
    low, high = _room(panel)
    scale = alt.Scale(domain=(low, high), nice=False, type="log" if panel.log else "linear")
    ticks = 3 if size.narrow else 6
    if not panel.log:
        return alt.X(f"{field}:Q", scale=scale).axis(title=panel.axis, tickCount=ticks, grid=True, format="~f")
    return alt.X(f"{field}:Q", scale=scale).axis(title=panel.axis, values=_steps(low, high), grid=True, format="~f")


def _steps(low: float, high: float) -> list[float]:
    """Return the ticks of a logarithmic axis: 1, 2, 5 within two decades, else powers of ten."""
    few = high / low > 100
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [part * 10.0**power for power in powers for part in ((1,) if few else (1, 2, 5))]
    return [tick for tick in ticks if low <= tick <= high]


def _colour() -> alt.Color:
    return alt.Color("colour:N", scale=None, legend=None)


def _shape() -> alt.Shape:
    return alt.Shape("shape:N", scale=None, legend=None)


def _names(base: alt.Chart, step: int, *, above: bool) -> list[alt.Chart]:
    """Return the names above their rows, with a halo, because the line at 0 runs through them."""
    text = {"align": "left", "baseline": "bottom", "dy": -step // 4 + 2, "fontSize": 12}
    named = base.mark_text(**text, stroke=LIGHT["paper"], strokeWidth=4)
    return [named.encode(x=alt.XValue(0), text="key:N")] if above else []


def _notes(base: alt.Chart, panel: IntervalPanel, width: int) -> list[alt.Chart]:
    if not panel.notes:
        return []
    text = {"align": "left", "color": LIGHT["muted"], "fontSize": 11}
    heading = alt.Chart(inline_data([{}])).mark_text(text=panel.notes, **text)
    return [
        base.mark_text(**text).encode(x=alt.XValue(width + 10), text="note:N"),
        heading.encode(x=alt.XValue(width + 10), y=alt.YValue(-9)),
    ]


def _marks(panel: IntervalPanel, size: ChartSize) -> list[alt.Chart]:
    drawn, x = [], _x(panel, size, "x")
    for mark in panel.marks:
        base, colour = alt.Chart(inline_data([{"x": mark.at}])), LIGHT["fail" if mark.limit else "muted"]
        dash = [5, 4] if mark.limit else [1, 0]
        drawn.append(base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.5).encode(x=x))
        text = base.mark_text(color=colour, align="right", dx=4, text=mark.message, fontSize=11)
        drawn += [text.encode(x=x, y=alt.YValue(-9))] if mark.message else []
    return drawn
