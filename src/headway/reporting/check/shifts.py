"""Distributions that moved: for each column the share of rows in each bin, when the assessment was opened and now."""

from __future__ import annotations

import altair as alt

from headway.core.assessment import Assessment, Shift
from headway.reporting.charts.drawing import (
    SEE_TABLE,
    ChartSize,
    RenderedChart,
    inline_data,
    panel_title,
    render_chart,
    wrap_parts,
)
from headway.reporting.check.axes import format_share
from headway.reporting.palette import LIGHT

BEFORE, NOW = "before", "now"
STEP = 20


def draw_shifts(found: Assessment) -> RenderedChart | None:
    """The picture; None where no column is shown to have moved."""
    shifts = found.tested.shifts
    if not shifts:
        return None
    moved = shifts[0]
    most = max(range(len(moved.bins)), key=lambda bin: abs(moved.now[bin] - moved.before[bin]))
    was, now = format_share(moved.before[most]), format_share(moved.now[most])
    message = f"'{moved.column}' moved most surely: {moved.bins[most]} was {was} of the rows and is {now}"
    return render_chart(
        lambda size: _chart(shifts, size),
        name="shifts",
        title=message,
        alt=f"{message}. Shown are {', '.join(shift.column for shift in shifts)}. {SEE_TABLE}",
        reading=(
            "A line of each column is one bin of its values; squares are the rows when the assessment was opened, "
            "circles those since. The longer the line between them, the more moved there.",
            "Columns are shown that moved by themselves, with a chance of error that counts all columns.",
        ),
    )


def _chart(shifts: tuple[Shift, ...], size: ChartSize) -> alt.VConcatChart:
    panels = [_panel(shift, size, legend=not place) for place, shift in enumerate(shifts)]
    return alt.vconcat(*panels, spacing=14)


def _panel(shift: Shift, size: ChartSize, *, legend: bool) -> alt.LayerChart:
    room = 104 if size.narrow else 150
    rows: list[dict[str, object]] = [
        {"bin": bin, "from": before, "to": now}
        for bin, before, now in zip(shift.bins, shift.before, shift.now, strict=True)
    ]
    points = [
        {"bin": row["bin"], "series": name, "share": row[end]}
        for row in rows
        for name, end in ((BEFORE, "from"), (NOW, "to"))
    ]
    y = alt.Y("bin:N").sort(list(shift.bins)).axis(title=None, labelLimit=room - 8, minExtent=room, maxExtent=room)
    x = (
        alt.X("share:Q")
        .scale(zero=False)
        .axis(title=None, format=".0%", tickCount=3 if size.narrow else 5, labelOverlap=True, grid=True)
    )
    key = alt.Legend(title=None) if legend else None
    colour = alt.Color("series:N", legend=key).scale(domain=[BEFORE, NOW], range=[LIGHT["came"], LIGHT["live"]])
    shape = alt.Shape("series:N", legend=key).scale(domain=[BEFORE, NOW], range=["square", "circle"])
    line = alt.Chart(inline_data(rows)).mark_rule(color=LIGHT["muted"], strokeWidth=1.5)
    dots = alt.Chart(inline_data(points)).mark_point(size=60, filled=True, opacity=1)
    title = panel_title(wrap_parts([f"{shift.column}: share of rows", f"p {shift.p:.2g}"], size.width))
    return alt.layer(
        line.encode(x=alt.X("from:Q").scale(zero=False), x2="to:Q", y=y),
        dots.encode(x=x, y=y, color=colour, shape=shape),
    ).properties(width=size.plot - room + 46, height=STEP * len(shift.bins), title=title)
