"""Extraction: how many queries a caller needs to copy the model, and how far a copy gets."""

from __future__ import annotations

import altair as alt

from headway.core.evidence import Measurement
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    encode_series,
    interval_row,
    log_ticks,
    render_chart,
    rows_chart,
    value_axis,
)
from headway.reporting.colours import LIGHT
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, measurements_with_prefix, winner_measurement, winner_measurements
from headway.reporting.text import formatting, tables

_PREFIX = "extraction."
_AGREEMENT, _QUERIES = "extraction.agreement", "extraction.queries_95"
_UNIT, _CONSTANT, _TOP = " queries", "no queries", "top answer"
_VIEWS = {"": "scores as they are", _TOP: "decisions alone"}
_COLOURS = {"scores as they are": LIGHT["live"], "decisions alone": LIGHT["undecided"]}


def plugin(report: ReportData) -> Section | None:
    """Return the section on copies of the model; None where the audit did not run."""
    found = measurements_with_prefix(report, _PREFIX)
    if not found:
        return None
    return Section(
        title="Copies of the model",
        order=39,
        prefixes=(_PREFIX,),
        lead="The audit takes the side of a caller who has rows without labels, sends them to the model, and trains a "
        "model of their own on the answers. Another attack may need fewer rows.",
        conclusions=copied(report),
        table=tables.tabulate_parts(found, report.groups),
        picture=lambda: _picture(report),
    )


def copied(report: ReportData) -> tuple[str, ...]:
    """Return what the audit shows, in sentences: rows that a copy needs, how far it gets, and what slows it down."""
    return (*_needed(report), *_furthest(report), *_views(report), *_hours(report))


def _needed(report: ReportData) -> list[str]:
    queries = winner_measurement(report, _QUERIES)
    if queries is None:
        return []
    if formatting.has_interval(queries):
        rows = formatting.describe_interval(queries)
        return [f"With the answers to {rows} rows a caller has a copy that agrees with the model on 95 of 100 rows."]
    if queries.low == queries.value:
        return [f"No copy agreed with the model on 95 of 100 rows, after {queries.value:,.0f} rows had been sent."]
    return [
        f"A copy that agrees with the model on 95 of 100 rows needs the answers to at least {queries.low:,.0f} rows."
    ]


def _furthest(report: ReportData) -> list[str]:
    """Describe the copy with most queries, next to one that needs none."""
    constant = next((one for one in winner_measurements(report, _AGREEMENT) if one.slice == _CONSTANT), None)
    points = _curve(report, "")
    if not points:
        return []
    count, last = points[-1]
    if not formatting.has_interval(last):
        return ["How far a copy agrees cannot be estimated: there are too few groups."]
    reached = f"After {count:,} rows the best copy agrees on {formatting.describe_percentage(last)}"
    if constant is None or not formatting.has_interval(constant):
        return [f"{reached}."]
    return [f"{reached}; always giving the most frequent answer agrees on {formatting.describe_percentage(constant)}."]


def _views(report: ReportData) -> list[str]:
    """Say whether a copy needs more rows if callers see the decision alone."""
    scores = winner_measurement(report, _QUERIES)
    top = next((one for one in winner_measurements(report, _QUERIES) if one.slice == _TOP), None)
    if scores is None or top is None or not formatting.has_interval(scores):
        return []
    if top.low <= scores.high:
        return ["It is not shown that a copy needs more rows if callers see the decision alone, without a score."]
    if formatting.has_interval(top):
        return [f"If callers see the decision alone, a copy needs {formatting.describe_interval(top)} rows."]
    return [f"If callers see the decision alone, a copy needs more than {top.low:,.0f} rows."]


def _hours(report: ReportData) -> list[str]:
    hours = winner_measurement(report, "extraction.hours_95")
    if hours is None:
        return []
    time = formatting.describe_interval(hours) if formatting.has_interval(hours) else f"at least {hours.low:.2g} h"
    return [f"At the limit of requests per API key that takes {time}, with one row in a request."]


def _curve(report: ReportData, view: str) -> list[tuple[int, Measurement]]:
    """Return the agreement of the best copy by number of queries, for one view of the answers."""
    found = []
    for one in winner_measurements(report, _AGREEMENT):
        count, _, seen = one.slice.partition(_UNIT)
        if one.slice != _CONSTANT and seen.removeprefix(", ") == view:
            found.append((int(count.replace(",", "")), one))
    return sorted(found, key=lambda point: point[0])


def _picture(report: ReportData) -> RenderedChart | None:
    """Draw the agreement by number of queries; None for fewer than two."""
    curves = {name: points for view, name in _VIEWS.items() if len(points := _curve(report, view)) > 1}
    if not curves:
        return None
    count, last = next(iter(curves.values()))[-1]
    return render_chart(
        lambda size: _agreement(curves, size),
        name="extraction",
        title="How far a copy agrees with the model",
        alt=f"After {count:,} rows the best copy agrees on {formatting.describe_percentage(last)}. {SEE_TABLE}",
        reading=(
            "Further right, the caller has sent more rows (the scale is logarithmic); further up, the copy is closer.",
            "The dashed line is the level of 95 of 100. The band is the 95 % interval.",
        ),
    )


def _agreement(curves: dict[str, list[tuple[int, Measurement]]], size: ChartSize) -> alt.LayerChart:
    rows: list[Row] = [
        interval_row(one, count=count, series=name) for name, points in curves.items() for count, one in points
    ]
    counts = sorted({count for points in curves.values() for count, _ in points})
    low = min(0.94, *(one.low for points in curves.values() for _, one in points))
    x_axis = alt.Axis(title="rows sent", values=log_ticks(counts[0], counts[-1], size.plot), format=",")
    x = alt.X("count:Q", axis=x_axis).scale(type="log", domain=(counts[0], counts[-1]), nice=False)
    y_scale = alt.Scale(domain=(low, 1.0), nice=False)
    series = encode_series(
        list(curves), legend=alt.Legend(title=None, orient="top") if len(curves) > 1 else None, color=_COLOURS
    )
    base = rows_chart(rows).encode(x=x, **series)
    level: list[Row] = [{"count": at, "value": 0.95} for at in (counts[0], counts[-1])]
    y = alt.Y("value:Q", scale=y_scale)
    return (
        alt.layer(
            base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", axis=value_axis(low, 1.0), scale=y_scale), y2="high:Q"),
            rows_chart(level).mark_line(color=LIGHT["muted"], strokeDash=[5, 4]).encode(x=x, y=y),
            base.mark_line(strokeWidth=2).encode(y=y),
            base.mark_point(filled=True, size=40).encode(y=y),
        )
        .properties(width=size.plot, height=220)
        .properties(title=alt.TitleParams(text="share of rows on which the copy agrees", dx=0))
    )
