"""The mean of the target, or the share of each class, from one stretch of time to the next, with its intervals."""

from __future__ import annotations

import altair as alt

from headway.core.assessment import Assessment
from headway.core.evidence import Measurement
from headway.reporting.charts.drawing import (
    SEE_TABLE,
    ChartSize,
    RenderedChart,
    axis_format,
    inline_data,
    panel_title,
    render_chart,
    wrap_parts,
)
from headway.reporting.check.axes import bucket_name, buckets_axis, buckets_of
from headway.reporting.palette import LIGHT
from headway.reporting.text import numbers

COLOURS = ("live", "came", "undecided", "pass")
SHAPES = ("circle", "square", "triangle-up", "diamond")
MEAN = "mean"


def draw_target(found: Assessment) -> RenderedChart | None:
    """The picture; None where the target is known in fewer than two stretches."""
    known = [stretch for stretch in buckets_of(found) if stretch.target]
    if len(known) < 2:
        return None
    first = known[0].target[0].slice
    means = [(stretch, _of(stretch.target, first)) for stretch in known]
    told = [(each, mean) for each, mean in means if mean]
    (low, least), (high, most) = (end(told, key=lambda pair: pair[1].value) for end in (min, max))
    what = f"share of '{first}'" if first else "target's mean"
    ends = f"{numbers.format_measurement(least)} in {bucket_name(low)} and {numbers.format_measurement(most)} in {bucket_name(high)}"
    message = f"The {what} lies between {ends}"
    return render_chart(
        lambda size: _chart(found, size),
        name="target",
        title=message,
        alt=f"{message}. {SEE_TABLE}",
        reading=(
            "Points are means of the rows whose outcome is known; vertical lines are 95 % intervals by group.",
            "Where two intervals overlap widely, the target did not move for sure. Where it did, a model that "
            "learned from the rows of one says too much or too little of the other.",
        ),
    )


def _of(target: tuple[Measurement, ...], label: str) -> Measurement | None:
    return next((measurement for measurement in target if measurement.slice == label), None)


def _chart(found: Assessment, size: ChartSize) -> alt.LayerChart:
    stretches = buckets_of(found)
    names = list(dict.fromkeys(measurement.slice or MEAN for stretch in stretches for measurement in stretch.target))
    rows = [
        _row(place + 0.5 + 0.12 * (names.index(measurement.slice or MEAN) - (len(names) - 1) / 2), measurement)
        for place, stretch in enumerate(stretches)
        for measurement in stretch.target
    ]
    ends = [float(str(row[end])) for row in rows for end in ("low", "high")]
    x = alt.X("at:Q").scale(domain=(0, len(stretches)), nice=False).axis(buckets_axis(stretches, size))
    y = (
        alt.Y("value:Q")
        .scale(zero=False)
        .axis(title=None, format=axis_format(min(ends), max(ends), ticks=4), tickCount=4)
    )
    legend = alt.Legend(title=None) if len(names) > 1 else None
    colour = alt.Color("series:N", legend=legend).scale(
        domain=names, range=[LIGHT[each] for each in COLOURS[: len(names)]]
    )
    shape = alt.Shape("series:N", legend=legend).scale(domain=names, range=list(SHAPES[: len(names)]))
    base = alt.Chart(inline_data(rows))
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    what, by = ("Mean of the target" if len(names) == 1 else "Share of each class"), "part of the split"
    title = panel_title(wrap_parts([f"{what} by {'time' if found.stretches else by}"], size.width))
    return alt.layer(bars, points).properties(width=size.plot, height=180 if size.narrow else 220, title=title)


def _row(at: float, each: Measurement) -> dict[str, object]:
    low, high = (each.low, each.high) if numbers.has_interval(each) else (each.value, each.value)
    return {"at": at, "series": each.slice or MEAN, "value": each.value, "low": low, "high": high}
