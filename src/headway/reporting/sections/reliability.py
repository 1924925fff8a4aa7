"""Reliability diagram: observed share against predicted probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import altair as alt
import msgspec

from headway.core.evidence import Evidence
from headway.core.record import Record
from headway.reporting.charts.theme import LIGHT, SEE_TABLE, ChartSize, RenderedChart, inline_data, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurement, winner_measurements
from headway.reporting.text import formatting, tables


def plugin(report: ReportData) -> Section | None:
    """Return the section on the winner's reliability; None for fewer than two bins."""
    if report.winner is None or len(winner_measurements(report, "reliability")) < 2:
        return None
    return Section(
        title="Calibration",
        order=12,
        prefixes=("reliability", "ece"),
        lead="The rows were sorted into bins by their predicted probability, which is compared with the share of positives.",
        conclusions=tuple(_conclusions(report)),
        table=tables.tabulate_reliability(report.winner.evidence),
        picture=lambda: draw_reliability(report),
    )


def _conclusions(report: ReportData) -> list[str]:
    error = winner_measurement(report, "ece")
    if error is None or not formatting.has_interval(error):
        return ["The calibration error cannot be estimated on these rows."]
    message = f"A predicted probability is off by {formatting.describe_interval(error, scale=100.0)} percentage points on average"
    rule_results = report.winner.verdict.rule_results if report.winner else ()
    rule_result = next((rule_result for rule_result in rule_results if rule_result.rule.measure == "ece"), None)
    limit = rule_result.rule.at_most if rule_result else None
    if rule_result is None or limit is None:
        return [f"{message}."]
    ends = {
        "pass": f"less than the limit of {limit * 100:g}",
        "fail": f"more than the limit of {limit * 100:g}",
        "undecided": f"and it is undecided whether this is within the limit of {limit * 100:g}",
    }
    return [f"{message}, {ends[rule_result.answer]}."]


class ReliabilityBin(Record, frozen=True, kw_only=True):
    """Rows with similar probability: their mean prediction, the observed share, and its interval."""

    series: str
    predicted: float
    observed: float
    low: float
    high: float
    rows: int


def draw_reliability(report: ReportData) -> RenderedChart | None:
    """Draw the reliability of the winner and of the baseline on the same rows; return None for fewer than two bins."""
    if report.winner is None:
        return None
    live = _bins(report.winner.evidence, report.word)
    baseline = (
        _bins(report.baseline_evidence, BASELINE) if report.baseline_evidence and report.winner.variant.steps else []
    )
    if len(live) < 2:
        return None
    return render_chart(
        lambda size: _chart(live, baseline, size),
        name="reliability",
        title=_title(report.winner.evidence),
        alt=_alt(live, report.word),
        reading=_reading(with_baseline=bool(baseline)),
    )


def _bins(evidence: Evidence, series: str) -> list[ReliabilityBin]:
    """Return the bins with a predicted and an observed share, lowest prediction first."""
    found = []
    for seen in evidence.measurements:
        predicted = evidence.find("reliability.predicted", seen.slice) if seen.name == "reliability" else None
        if predicted is not None and math.isfinite(predicted.value + seen.value):
            low, high = (seen.low, seen.high) if formatting.has_interval(seen) else (seen.value, seen.value)
            bin_ = ReliabilityBin(
                series=series, predicted=predicted.value, observed=seen.value, low=low, high=high, rows=seen.n_rows
            )
            found.append(bin_)
    return sorted(found, key=lambda reliability_bin: reliability_bin.predicted)


def _title(evidence: Evidence) -> str:
    ece = evidence.find("ece")
    if ece is None:
        return "Predicted and observed"
    return f"Predicted and observed differ by {formatting.format_measurement(ece)} on average"


def _alt(live: Sequence[ReliabilityBin], word: str) -> str:
    ends = " to ".join(
        f"{one.observed:.2f} observed where {one.predicted:.2f} was predicted" for one in (live[0], live[-1])
    )
    return f"Reliability of the {word} variant in {len(live)} bins: from {ends}. {SEE_TABLE}"


def _reading(*, with_baseline: bool) -> tuple[str, ...]:
    lines = [
        "Rows are sorted into bins by their predicted probability. On the diagonal, the model is calibrated: of 100 rows "
        "with a probability of 30 %, 30 are positive.",
        "Above the diagonal, positives are more frequent than predicted; below, less. The band is the 95 % interval.",
        "The bars show the number of rows in each bin.",
    ]
    if with_baseline:
        lines.append("Dashed with squares: the baseline, on the same rows.")
    return tuple(lines)


def _chart(live: Sequence[ReliabilityBin], baseline: Sequence[ReliabilityBin], size: ChartSize) -> alt.TopLevelMixin:
    highest = max(
        end for reliability_bin in (*live, *baseline) for end in (reliability_bin.predicted, reliability_bin.high)
    )
    top = min(1.0, math.ceil(highest * 10 + 0.2) / 10)
    return alt.vconcat(_curves([*live, *baseline], top, size), _counts(live, top, size), spacing=14)


def _curves(bins: Sequence[ReliabilityBin], top: float, size: ChartSize) -> alt.LayerChart:
    rows = _rows(bins)
    base = alt.Chart(inline_data(rows)).encode(x=_axis("predicted", top, labels=False), color=series_color(rows))
    corners = inline_data([{"predicted": 0.0, "observed": 0.0}, {"predicted": top, "observed": top}])
    y = _axis("observed", top)
    layers = [
        alt.Chart(corners).mark_line(color=LIGHT["muted"], strokeWidth=1).encode(x="predicted:Q", y="observed:Q"),
        base.mark_area(opacity=0.2, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2, clip=True).encode(y=y, strokeDash=series_dash(rows)),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=series_shape(rows)),
    ]
    height = 280 if size.narrow else 340
    return alt.layer(*layers).properties(width=size.plot, height=height, title="Observed share, with 95 % interval")


def _counts(live: Sequence[ReliabilityBin], top: float, size: ChartSize) -> alt.Chart:
    return (
        alt.Chart(inline_data(_rows(live)))
        .mark_bar(color=LIGHT["live"], size=_bar(live, top, size), opacity=0.75)
        .encode(
            x=_axis("predicted", top, title="Predicted probability"),
            y=alt.Y("rows:Q").axis(title=None, format="~s", tickCount=3),
        )
        .properties(width=size.plot, height=70, title="Rows")
    )


def _rows(bins: Sequence[ReliabilityBin]) -> list[Row]:
    return [msgspec.structs.asdict(reliability_bin) for reliability_bin in bins]


def _bar(live: Sequence[ReliabilityBin], top: float, size: ChartSize) -> float:
    """Return the width of a bar in pixels: bins of equal mass are dense where most rows are, and bars must not overlap."""
    nearest = min(after.predicted - before.predicted for before, after in pairwise(live))
    return min(22.0, max(2.0, nearest / top * size.plot * 0.8))


def _axis(field: str, top: float, *, title: str | None = None, labels: bool = True) -> alt.X | alt.Y:
    """Return an axis from 0 to `top`, x for `predicted` and y otherwise; both have the same scale."""
    channel = alt.X if field == "predicted" else alt.Y
    step = 0.1 if top <= 0.6 else 0.2
    ticks = [round(index * step, 1) for index in range(math.floor(top / step + 1e-9) + 1)]
    across = channel is alt.X and labels
    return (
        channel(f"{field}:Q")
        .scale(domain=(0, top), nice=False)
        .axis(title=title, values=ticks, format=".1f", labels=labels, ticks=across)
    )


BASELINE = "baseline"
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


def _scale(rows: Sequence[Row], winner: object, baseline: object) -> alt.Scale:
    names = sorted({str(row["series"]) for row in rows}, key=lambda name: name == BASELINE)
    return alt.Scale(domain=names, range=[baseline if name == BASELINE else winner for name in names])
