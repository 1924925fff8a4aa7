"""Reliability diagram: observed share against predicted probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import altair as alt
import msgspec

from headway.core.evidence import Evidence
from headway.core.record import Record
from headway.core.verdict import RuleResult
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.theme import LIGHT, SEE_TABLE, ChartSize, RenderedChart, inline_data, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting


def plugin(report: ReportData) -> Section | None:
    """Return the section on the winner's reliability; None for fewer than two bins."""
    if report.winner is None or len(winner_measurements(report, "reliability")) < 2:
        return None
    return Section(
        title="Whether what is said is what happens",
        place=12,
        prefixes=("reliability", "ece"),
        lead="The rows were sorted by the probability that they were given, and counted: how often it was right.",
        conclusions=tuple(_means(report)),
        table=details.tabulate_reliability(report.winner.evidence),
        picture=lambda: draw_reliability(report),
    )


def _means(report: ReportData) -> list[str]:
    error = next((measurement for measurement in winner_measurements(report, "ece") if not measurement.slice), None)
    if error is None or not formatting.has_interval(error):
        return ["How far off the probabilities are on average cannot be said on these rows."]
    message = f"A probability that it gives is off by {meaning.describe_interval(error, scale=100.0)} points of 100 on average"
    rule_result = next((rule_result for rule_result in _rulings(report) if rule_result.rule.measure == "ece"), None)
    limit = rule_result.rule.at_most if rule_result else None
    if rule_result is None or limit is None:
        return [f"{message}."]
    ends = {
        "pass": f"less than the {limit * 100:g} that the policy allows",
        "fail": f"more than the {limit * 100:g} that the policy allows",
        "undecided": f"and the data cannot tell whether that is within the {limit * 100:g} that the policy allows",
    }
    return [f"{message}, {ends[rule_result.answer]}."]


def _rulings(report: ReportData) -> tuple[RuleResult, ...]:
    return report.winner.verdict.rule_results if report.winner else ()


class ReliabilityBin(Record, frozen=True, kw_only=True):
    """Rows with similar probability: their mean prediction, the observed share, and its interval."""

    series: str
    said: float
    seen: float
    low: float
    high: float
    rows: int


def draw_reliability(report: ReportData) -> RenderedChart | None:
    """Draw the reliability of the winner and of the baseline on the same rows; return None for fewer than two bins."""
    if report.winner is None:
        return None
    live = _bins(report.winner.evidence, report.word)
    came = _bins(report.as_it_came, BASELINE) if report.as_it_came and report.winner.variant.steps else []
    if len(live) < 2:
        return None
    return render_chart(
        lambda size: _chart(live, came, size),
        name="reliability",
        title=_title(report.winner.evidence),
        alt=_alt(live, report.word),
        reading=_reading(bool(came)),
    )


def _bins(evidence: Evidence, series: str) -> list[ReliabilityBin]:
    """Return the bins with a predicted and an observed share, lowest prediction first."""
    found = []
    for seen in evidence.measurements:
        said = evidence.find("reliability.predicted", seen.slice) if seen.name == "reliability" else None
        if said is not None and math.isfinite(said.value + seen.value):
            low, high = (seen.low, seen.high) if formatting.has_interval(seen) else (seen.value, seen.value)
            found.append(
                ReliabilityBin(series=series, said=said.value, seen=seen.value, low=low, high=high, rows=seen.n_rows)
            )
    return sorted(found, key=lambda each: each.said)


def _title(evidence: Evidence) -> str:
    ece = evidence.find("ece")
    if ece is None:
        return "What is said, and what happens"
    return f"What is said and what happens differ by {formatting.format_measurement(ece)} on average"


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
    """Return the width of a bar in pixels: bins of equal mass are dense where most rows are, and bars must not overlap."""
    nearest = min(after.said - before.said for before, after in pairwise(live))
    return min(22.0, max(2.0, nearest / top * size.plot * 0.8))


def _axis(field: str, top: float, *, title: str | None = None, labels: bool = True) -> alt.X | alt.Y:
    """Return an axis from 0 to `top`, x for `said` and y otherwise; both have the same scale."""
    channel = alt.X if field == "said" else alt.Y
    step = 0.1 if top <= 0.6 else 0.2
    ticks = [round(index * step, 1) for index in range(math.floor(top / step + 1e-9) + 1)]
    across = channel is alt.X and labels
    return (
        channel(f"{field}:Q")
        .scale(domain=(0, top), nice=False)
        .axis(title=title, values=ticks, format=".1f", labels=labels, ticks=across)
    )


BASELINE = "model as it came"
Row = dict[str, object]
_LEGEND = alt.Legend(title=None, symbolStrokeWidth=0, symbolSize=110)


def series_color(rows: Sequence[Row], *, legend: bool = True) -> alt.Color:
    """Return the colour of a row's `series`: baseline or winner."""
    scale = _scale(rows, LIGHT["live"], LIGHT["came"])
    return alt.Color("series:N", scale=scale, legend=_LEGEND if legend else None)


def series_shape(rows: Sequence[Row], *, legend: bool = True) -> alt.Shape:
    """Return the shape of a row's `series`, in one legend with its colour."""
    scale = _scale(rows, "circle", "square")
    return alt.Shape("series:N", scale=scale, legend=_LEGEND if legend else None)


def series_dash(rows: Sequence[Row]) -> alt.StrokeDash:
    """Return the dash of a row's `series`."""
    return alt.StrokeDash("series:N", scale=_scale(rows, [1, 0], [5, 4]), legend=None)


def _scale(rows: Sequence[Row], winner: object, came: object) -> alt.Scale:
    names = sorted({str(row["series"]) for row in rows}, key=lambda name: name == BASELINE)
    return alt.Scale(domain=names, range=[came if name == BASELINE else winner for name in names])
