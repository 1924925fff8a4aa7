"""Reliability: how often it happened among the rows to which a model gave a probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import altair as alt
import msgspec

from headway.core.evidence import Evidence
from headway.core.record import Record
from headway.reporting.charts.drawing import SEE_TABLE, ChartSize, RenderedChart, inline_data, render_chart
from headway.reporting.charts.series import BASELINE, Row, series_color, series_dash, series_shape
from headway.reporting.palette import LIGHT
from headway.reporting.story import ReportData
from headway.reporting.text import numbers


class ReliabilityBin(Record, frozen=True, kw_only=True):
    """Rows of similar probability: what was said of them on average, the share observed, and its interval."""

    series: str
    said: float
    seen: float
    low: float
    high: float
    rows: int


def draw_reliability(story: ReportData) -> RenderedChart | None:
    """The reliability of the winner, beside the model as it came on the same rows; None for fewer than two bins."""
    if story.winner is None:
        return None
    live = _bins(story.winner.evidence, story.word)
    came = _bins(story.as_it_came, BASELINE) if story.as_it_came and story.winner.variant.steps else []
    if len(live) < 2:
        return None
    return render_chart(
        lambda size: _chart(live, came, size),
        name="reliability",
        title=_title(story.winner.evidence),
        alt=_alt(live, story.word),
        reading=_reading(bool(came)),
    )


def _bins(evidence: Evidence, series: str) -> list[ReliabilityBin]:
    """The bins that have a predicted and an observed share, from the lowest prediction up."""
    found = []
    for seen in evidence.measurements:
        said = evidence.find("reliability.predicted", seen.slice) if seen.name == "reliability" else None
        if said is not None and math.isfinite(said.value + seen.value):
            low, high = (seen.low, seen.high) if numbers.has_interval(seen) else (seen.value, seen.value)
            found.append(
                ReliabilityBin(series=series, said=said.value, seen=seen.value, low=low, high=high, rows=seen.n_rows)
            )
    return sorted(found, key=lambda each: each.said)


def _title(evidence: Evidence) -> str:
    ece = evidence.find("ece")
    if ece is None:
        return "What is said, and what happens"
    return f"What is said and what happens differ by {numbers.format_measurement(ece)} on average"


def _alt(live: Sequence[ReliabilityBin], word: str) -> str:
    ends = " to ".join(f"{one.seen:.2f} observed where {one.said:.2f} was said" for one in (live[0], live[-1]))
    return f"Reliability of the {word} variant in {len(live)} bins: from {ends}. {SEE_TABLE}"


def _reading(both: bool) -> tuple[str, ...]:
    lines = [
        "Rows are sorted into bins by the probability they were given. On the diagonal, what is said is what happens: "
        "of 100 rows told 30 %, 30 are positive.",
        "Above the diagonal it happens more often than is said; below, less often. The band is the 95 % interval.",
        "The bars show on how many rows each mark rests.",
    ]
    if both:
        lines.append("Dashed with squares: the model as it came, on the same rows.")
    return tuple(lines)


def _chart(live: Sequence[ReliabilityBin], came: Sequence[ReliabilityBin], size: ChartSize) -> alt.TopLevelMixin:
    highest = max(end for reliability_bin in (*live, *came) for end in (reliability_bin.said, reliability_bin.high))
    top = min(1.0, math.ceil(highest * 10 + 0.2) / 10)
    return alt.vconcat(_curves([*live, *came], top, size), _counts(live, top, size), spacing=14)


def _curves(bins: Sequence[ReliabilityBin], top: float, size: ChartSize) -> alt.LayerChart:
    rows = _rows(bins)
    base = alt.Chart(inline_data(rows)).encode(x=_axis("said", top, labels=False), color=series_color(rows))
    corners = inline_data([{"said": 0.0, "seen": 0.0}, {"said": top, "seen": top}])
    y = _axis("seen", top)
    layers = [
        alt.Chart(corners).mark_line(color=LIGHT["muted"], strokeWidth=1).encode(x="said:Q", y="seen:Q"),
        base.mark_area(opacity=0.2, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2, clip=True).encode(y=y, strokeDash=series_dash(rows)),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=series_shape(rows)),
    ]
    height = 280 if size.narrow else 340
    return alt.layer(*layers).properties(width=size.plot, height=height, title="Share observed (with 95 % interval)")


def _counts(live: Sequence[ReliabilityBin], top: float, size: ChartSize) -> alt.Chart:
    return (
        alt.Chart(inline_data(_rows(live)))
        .mark_bar(color=LIGHT["live"], size=_bar(live, top, size), opacity=0.75)
        .encode(
            x=_axis("said", top, title="Probability that was said"),
            y=alt.Y("rows:Q").axis(title=None, format="~s", tickCount=3),
        )
        .properties(width=size.plot, height=70, title="Rows")
    )


def _rows(bins: Sequence[ReliabilityBin]) -> list[Row]:
    return [msgspec.structs.asdict(reliability_bin) for reliability_bin in bins]


def _bar(live: Sequence[ReliabilityBin], top: float, size: ChartSize) -> float:
    """Pixels of a bar's width: bins of equal mass crowd where most rows are, and bars may not hide each other."""
    nearest = min(after.said - before.said for before, after in pairwise(live))
    return min(22.0, max(2.0, nearest / top * size.plot * 0.8))


def _axis(field: str, top: float, *, title: str | None = None, labels: bool = True) -> alt.X | alt.Y:
    """A share of 0 to `top` on x for `said`, on y else; both axes run alike, so that the diagonal is one."""
    channel = alt.X if field == "said" else alt.Y
    step = 0.1 if top <= 0.6 else 0.2
    ticks = [round(index * step, 1) for index in range(math.floor(top / step + 1e-9) + 1)]
    across = channel is alt.X and labels
    return (
        channel(f"{field}:Q")
        .scale(domain=(0, top), nice=False)
        .axis(title=title, values=ticks, format=".1f", labels=labels, ticks=across)
    )
