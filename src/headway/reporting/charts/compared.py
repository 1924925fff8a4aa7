"""Charts of two models on the same rows: their calibration curves, and histograms of the times of their calls."""

from __future__ import annotations

import altair as alt

from headway.core.comparison import PointComparison
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    count_axis,
    encode_series,
    log_ticks,
    render_chart,
    rows_chart,
)
from headway.reporting.colours import LIGHT
from headway.reporting.sections.reliability import draw_curves
from headway.reporting.text import formatting

FIRST, SECOND = "first", "second"


def draw_calibration(found: PointComparison) -> RenderedChart | None:
    """Draw the calibration curves of both models; None for fewer than two bins."""
    return draw_curves(
        (found.first, FIRST),
        (found.second, SECOND),
        name="compared-reliability",
        title="Predicted probability against observed share",
        lead="Both models answered the same rows, each sorted into bins of its own.",
    )


def draw_call_times(found: PointComparison, *, interactive: bool = False) -> RenderedChart | None:
    """Draw histograms of the times of single calls of both models; None if they were not timed."""
    times = found.times
    if len(times.edges) < 2:
        return None
    ratio = next((one for one in times.measurements if one.name == "latency.speedup"), None)
    title = f"The first is {formatting.format_ratio(ratio)} as fast" if ratio else "Times of single calls"
    return render_chart(
        lambda size: _histograms(found, size),
        name="compared-times",
        title=title,
        alt=f"Histograms of {sum(times.first):,} calls of each model by their time. {SEE_TABLE}",
        reading=(
            "Calls of one row each, of both models in turns, so that both met the same machine.",
            "Further left is faster. The scale is logarithmic: each step to the right is the same factor.",
        ),
        interactive=(lambda size: _histograms(found, size)) if interactive else None,
    )


def _histograms(found: PointComparison, size: ChartSize) -> alt.Chart:
    edges = found.times.edges
    rows: list[Row] = [
        {
            "from": low,
            "to": high,
            "calls": count,
            "series": series,
            "time": f"{formatting.format_number(low)} to {formatting.format_number(high)} µs",
            "counted": f"{count:,} of {sum(counts):,}",
        }
        for series, counts in ((FIRST, found.times.first), (SECOND, found.times.second))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    ticks = log_ticks(edges[0], edges[-1], size.plot)
    x = (
        alt.X("from:Q")
        .scale(type="log", domain=(edges[0], edges[-1]), nice=False)
        .axis(title="Time of a call, µs (log scale)", values=ticks, format=",~g")
    )
    colours = {FIRST: LIGHT["live"], SECOND: LIGHT["came"]}
    series = encode_series([FIRST, SECOND], legend=alt.Legend(title=None), fill=colours, stroke=colours)
    bars = rows_chart(rows).mark_rect(fillOpacity=0.4, strokeWidth=1)
    y = alt.Y("calls:Q").axis(count_axis(ticks=4))
    tips = [
        alt.Tooltip(f"{field}:N", title=title)
        for field, title in (("series", "Model"), ("time", "Time of a call"), ("counted", "Calls"))
    ]
    return bars.encode(x=x, x2="to:Q", y=y, y2=alt.YDatum(0), tooltip=tips, **series).properties(
        width=size.plot, height=200, title="Calls"
    )
