"""Selective answering: the share of rows that the model answers, and how many of its answers are wrong."""

from __future__ import annotations

import altair as alt

from headway.core.evidence import Measurement
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    interval_range,
    interval_row,
    render_chart,
    rows_chart,
    value_axis,
)
from headway.reporting.colours import LIGHT
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, measurements_with_prefix, winner_measurement, winner_measurements
from headway.reporting.text import formatting, tables

_COVERAGE, _RISK, _COST = "answer.coverage", "answer.risk", "answer.cost_per_thousand"
_CURVE = "answer.curve_"
_PERCENT = 100.0


def plugin(report: ReportData) -> Section | None:
    """Return the section on selective answering; None where the model answers every row."""
    coverage, risk = (winner_measurement(report, name) for name in (_COVERAGE, _RISK))
    if coverage is None or risk is None:
        return None
    found = measurements_with_prefix(report, "answer.")
    curve = [measurement for measurement in found if measurement.name.startswith(_CURVE)]
    return Section(
        title="Selective answering",
        order=21,
        prefixes=("answer.",),
        lead="The model answers a row if its confidence reaches a threshold, and hands on the others. The threshold "
        "was chosen on the rows of validation and certified on those of test, by exact tests.",
        conclusions=(_answered(coverage, risk), *_cost(report, coverage), *_classes(report)),
        table=tables.tabulate_parts([seen for seen in found if seen not in curve], report.groups),
        picture=lambda: _picture(report, coverage, risk) if curve else None,
    )


def _answered(coverage: Measurement, risk: Measurement) -> str:
    if not coverage.value:
        return "No threshold is certified, so the model answers nothing."
    return (
        f"The model answers {formatting.describe_interval(coverage, scale=_PERCENT)} % of the rows. "
        f"{risk.value:.2%} of {risk.n_rows:,} answers are wrong, and at most {risk.high:.2%} with "
        f"{risk.level:.4g} confidence."
    )


def _cost(report: ReportData, coverage: Measurement) -> list[str]:
    cost = winner_measurement(report, _COST)
    if cost is None or not coverage.value:
        return []
    return [f"The other rows cost {formatting.describe_interval(cost)} per thousand rows."]


def _classes(report: ReportData) -> list[str]:
    needed = [seen for seen in winner_measurements(report, "answer.groups_needed") if seen.slice]
    if not needed:
        return []
    fewest = min(needed, key=lambda seen: seen.value)
    return [
        f"{len(needed)} classes have no certificate of their own; {fewest.slice.removeprefix('answer=')} needs the "
        f"fewest more: about {fewest.value:,.0f} held-out {fewest.unit} in all."
    ]


def _picture(report: ReportData, coverage: Measurement, risk: Measurement) -> RenderedChart:
    shares = {seen.slice: seen for seen in winner_measurements(report, "answer.curve_coverage")}
    risks = {seen.slice: seen for seen in winner_measurements(report, "answer.curve_risk")}
    points = [
        interval_row(risks[slice], scale=_PERCENT, answered=share.value * _PERCENT, threshold=slice)
        for slice, share in shares.items()
    ]
    chosen = [interval_row(risk, scale=_PERCENT, answered=coverage.value * _PERCENT)] if coverage.value else []
    return render_chart(
        lambda size: _chart(points, chosen, size),
        name="answering",
        title="Wrong answers by the share of rows that are answered",
        alt=f"Share of wrong answers against the share of answered rows, for {len(points)} thresholds. {SEE_TABLE}",
        reading=(
            "Each point of the line is a threshold of the confidence; the band reaches up to the exact upper bound of "
            "that threshold alone. The dot is the certified threshold.",
        ),
    )


def _chart(points: list[dict[str, object]], chosen: list[dict[str, object]], size: ChartSize) -> alt.LayerChart:
    x = alt.X("answered:Q").axis(title="rows answered, %").scale(domain=(0, 100))
    y = alt.Y("value:Q").axis(value_axis(*interval_range(points), ticks=5))
    base = rows_chart(points).encode(x=x, y=y)
    layers = [
        base.mark_area(opacity=0.2, color=LIGHT["live"]).encode(y=alt.Y("value:Q").axis(title=None), y2="high:Q"),
        base.mark_line(strokeWidth=2, color=LIGHT["live"]),
        rows_chart(chosen).mark_point(filled=True, size=90, color=LIGHT["ink"]).encode(x=x, y=y),
    ]
    title = "wrong answers, %, with upper bound"
    return alt.layer(*layers).properties(width=size.plot, height=260 if size.narrow else 300, title=title)
