"""The mean of the target, or the share of each class, from one stretch of time to the next, with its intervals."""

from __future__ import annotations

import altair as alt

from headway.core.assessment import Assessment
from headway.core.evidence import Measurement
from headway.reporting.charts.drawing import TABLE, Picture, Size, fixed, headed, picture, values, wrapped
from headway.reporting.check.axes import named, stretches_axis, stretches_of
from headway.reporting.palette import LIGHT
from headway.reporting.text import numbers

COLOURS = ("live", "came", "undecided", "pass")
SHAPES = ("circle", "square", "triangle-up", "diamond")
MEAN = "mean"


def draw(found: Assessment) -> Picture | None:
    """The picture; None where the target is known in fewer than two stretches."""
    known = [each for each in stretches_of(found) if each.target]
    if len(known) < 2:
        return None
    first = known[0].target[0].slice
    means = [(each, _of(each.target, first)) for each in known]
    told = [(each, mean) for each, mean in means if mean]
    (low, least), (high, most) = (end(told, key=lambda pair: pair[1].value) for end in (min, max))
    what = f"share of '{first}'" if first else "target's mean"
    ends = f"{numbers.measured(least)} in {named(low)} and {numbers.measured(most)} in {named(high)}"
    message = f"The {what} lies between {ends}"
    return picture(
        lambda size: _chart(found, size),
        name="target",
        title=message,
        alt=f"{message}. {TABLE}",
        reading=(
            "Points are means of the rows whose outcome is known; vertical lines are 95 % intervals by group.",
            "Where two intervals overlap widely, the target did not move for sure. Where it did, a model that "
            "learned from the rows of one says too much or too little of the other.",
        ),
    )


def _of(target: tuple[Measurement, ...], label: str) -> Measurement | None:
    return next((each for each in target if each.slice == label), None)


def _chart(found: Assessment, size: Size) -> alt.LayerChart:
    stretches = stretches_of(found)
    names = list(dict.fromkeys(each.slice or MEAN for stretch in stretches for each in stretch.target))
    rows = [
        _row(place + 0.5 + 0.12 * (names.index(each.slice or MEAN) - (len(names) - 1) / 2), each)
        for place, stretch in enumerate(stretches)
        for each in stretch.target
    ]
    ends = [float(str(row[end])) for row in rows for end in ("low", "high")]
    x = alt.X("at:Q").scale(domain=(0, len(stretches)), nice=False).axis(stretches_axis(stretches, size))
    y = alt.Y("value:Q").scale(zero=False).axis(title=None, format=fixed(min(ends), max(ends), ticks=4), tickCount=4)
    legend = alt.Legend(title=None) if len(names) > 1 else None
    colour = alt.Color("series:N", legend=legend).scale(
        domain=names, range=[LIGHT[each] for each in COLOURS[: len(names)]]
    )
    shape = alt.Shape("series:N", legend=legend).scale(domain=names, range=list(SHAPES[: len(names)]))
    base = alt.Chart(values(rows))
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    what, by = ("Mean of the target" if len(names) == 1 else "Share of each class"), "part of the split"
    title = headed(wrapped([f"{what} by {'time' if found.stretches else by}"], size.width))
    return alt.layer(bars, points).properties(width=size.plot, height=180 if size.narrow else 220, title=title)


def _row(at: float, each: Measurement) -> dict[str, object]:
    low, high = (each.low, each.high) if numbers.has_interval(each) else (each.value, each.value)
    return {"at": at, "series": each.slice or MEAN, "value": each.value, "low": low, "high": high}
