"""Chart of intervals: one row per part with a dot and a line, in one or several panels, with reference lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Literal

import altair as alt

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.reporting.charts.theme import (
    ChartSize,
    Row,
    interval_range,
    interval_row,
    log_ticks,
    rows_chart,
    text_width,
)
from headway.reporting.colours import LIGHT

NAME_LETTERS, NARROW_NAME_LETTERS, NAME_LINES = 28, 20, 3
"""Letters of a line of a name left of the plot at most, wide and narrow; and its lines at most."""
NOTES, LINE, GAP = 96, 14, 9
"""Pixels for the notes right of the plot, for a line of a name, and between two rows."""

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

    def draw(size: ChartSize) -> alt.TopLevelMixin:
        names = [_wrap(row.name, size) for panel in panels for row in panel.spans]
        left = round(max(text_width(line) for name in names for line in name.split("\n"))) + 10
        return alt.vconcat(*(_panel(panel, left, size) for panel in panels), spacing=22)

    return draw


def _wrap(name: str, size: ChartSize) -> str:
    """Return a name in lines that fit left of the plot."""
    letters = NARROW_NAME_LETTERS if size.narrow else NAME_LETTERS
    lines = textwrap.wrap(name, letters, break_on_hyphens=False, max_lines=NAME_LINES, placeholder=" …")
    return "\n".join(lines)


def _panel(panel: IntervalPanel, left: int, size: ChartSize) -> alt.LayerChart:
    width = size.width - left - (NOTES if panel.notes else 16)
    rows = [
        interval_row(
            row.seen,
            scale=panel.scale,
            name=_wrap(row.name, size),
            note=row.note,
            colour=LIGHT[row.style],
            shape=_SHAPES[row.style],
        )
        for row in panel.spans
    ]
    x = _x(panel, rows, width, size)
    names = alt.Axis(
        title=None, minExtent=left, maxExtent=left, labelLimit=left, labelExpr=r"split(datum.label, '\n')", grid=False
    )
    color = alt.Color("colour:N", scale=None, legend=None)
    base = rows_chart(rows).encode(y=alt.Y("name:N", axis=names, sort=None), x=x, color=color)
    layers = [
        *_reference_lines(panel, x),
        base.mark_rule(strokeWidth=1.75).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(shape=alt.Shape("shape:N", scale=None, legend=None)),
        *_notes(panel, rows, width),
    ]
    step = GAP + LINE * max(str(row["name"]).count("\n") + 1 for row in rows)
    drawn = alt.layer(*layers).properties(width=width, height=alt.Step(step))
    return drawn.properties(title=alt.TitleParams(text=panel.title, offset=22)) if panel.title else drawn


def _x(panel: IntervalPanel, rows: Sequence[Row], width: int, size: ChartSize) -> alt.X:
    """Return the x channel, with a margin around everything that is drawn."""
    low, high = interval_range(rows, *(line.at for line in panel.marks))
    axis = alt.Axis(title=panel.axis, grid=True, format="~f")
    if panel.log:
        low, high = low / 1.25, high * 1.25
        axis.values = log_ticks(low, high, width)
        return alt.X("value:Q", axis=axis).scale(type="log", domain=(low, high), nice=False)
    margin = (high - low) * 0.06 or 0.001
    axis.tickCount = 3 if size.narrow else 6
    return alt.X("value:Q", axis=axis).scale(domain=(low - margin, high + margin), nice=False)


def _notes(panel: IntervalPanel, rows: Sequence[Row], width: int) -> list[alt.Chart]:
    if not panel.notes:
        return []
    style = {"align": "left", "color": LIGHT["muted"], "fontSize": 11}
    x = alt.XValue(width + 10)
    return [
        rows_chart(rows).mark_text(**style).encode(x=x, y=alt.Y("name:N", sort=None), text="note:N"),
        rows_chart([{}]).mark_text(text=panel.notes, **style).encode(x=x, y=alt.YValue(-9)),
    ]


def _reference_lines(panel: IntervalPanel, x: alt.X) -> list[alt.Chart]:
    drawn = []
    for line in panel.marks:
        base = rows_chart([{"value": line.at}]).encode(x=x)
        color, dash = (LIGHT["fail"], [5, 4]) if line.limit else (LIGHT["muted"], [1, 0])
        drawn.append(base.mark_rule(color=color, strokeDash=dash, strokeWidth=1.5))
        text = base.mark_text(color=color, align="right", dx=4, text=line.message, fontSize=11)
        drawn += [text.encode(y=alt.YValue(-9))] if line.message else []
    return drawn
