"""What is missing: a square for each column and stretch of time, the darker the more rows lack a value there."""

from __future__ import annotations

import altair as alt

from headway.core.assessment import Assessment
from headway.reporting.charts.drawing import SEE_TABLE, ChartSize, RenderedChart, inline_data, render_chart
from headway.reporting.check.axes import bucket_name, buckets_axis, buckets_of, format_share
from headway.reporting.palette import LIGHT

MOST_COLUMNS, LEAST = 20, 0.001
STEP = 22


def columns_with_missing(found: Assessment) -> list[str]:
    """The columns that lack the most, the worst first; what hardly ever lacks a value is left out."""
    most: dict[str, float] = {}
    for stretch in buckets_of(found):
        for name, part in stretch.missing.items():
            most[name] = max(most.get(name, 0.0), part)
    worst = sorted(most, key=lambda name: -most[name])
    return [name for name in worst if most[name] >= LEAST][:MOST_COLUMNS]


def draw_missing(found: Assessment) -> RenderedChart | None:
    """The picture; None where no column lacks a value in more than one row of a thousand."""
    columns, stretches = columns_with_missing(found), buckets_of(found)
    if not columns or not stretches:
        return None
    worst = max(stretches, key=lambda stretch: stretch.missing[columns[0]])
    message = (
        f"'{columns[0]}' lacks the most: {format_share(worst.missing[columns[0]])} of the rows in {bucket_name(worst)}"
    )
    return render_chart(
        lambda size: _chart(found, columns, size),
        name="missing",
        title=message,
        alt=f"Share of missing values by column and time. {message}. {SEE_TABLE}",
        reading=(
            "The darker a square, the more rows of that time lack a value of that column; an empty one lacks none.",
            "A square that is darker than its neighbours is a feed that broke. A row that is dark throughout is a "
            "column that is mostly absent.",
        ),
    )


def _chart(found: Assessment, columns: list[str], size: ChartSize) -> alt.Chart:
    stretches = buckets_of(found)
    rows: list[dict[str, object]] = [
        {"from": place + 0.04, "to": place + 0.96, "column": name, "share": stretch.missing[name]}
        for place, stretch in enumerate(stretches)
        for name in columns
    ]
    room = 96 if size.narrow else 150
    y = (
        alt.Y("column:N")
        .sort(columns)
        .axis(title=None, labelLimit=room - 8, minExtent=room, maxExtent=room, grid=False)
    )
    x = alt.X("from:Q").scale(domain=(0, len(stretches)), nice=False).axis(buckets_axis(stretches, size))
    tone = alt.FillOpacity("share:Q").scale(type="sqrt", domain=[0, 1], range=[0.0, 1.0]).legend(None)
    base = alt.Chart(inline_data(rows)).mark_rect(color=LIGHT["live"], stroke=LIGHT["line"], strokeWidth=1)
    return base.encode(x=x, x2="to:Q", y=y, fillOpacity=tone).properties(
        width=size.plot - room + 46, height=STEP * len(columns)
    )
