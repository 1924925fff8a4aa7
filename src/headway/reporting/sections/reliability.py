"""Reliability diagram: observed share against predicted probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from headway.core.comparison import ComparedModel
from headway.core.evidence import Evidence
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    count_axis,
    encode_series,
    interval_row,
    render_chart,
    rows_chart,
)
from headway.reporting.colours import LIGHT
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
        lead="The rows were sorted into bins by their predicted probability, which is compared with the share of "
        "positives.",
        conclusions=tuple(_conclusions(report)),
        table=tables.tabulate_reliability(report.winner.evidence),
        picture=lambda: draw_reliability(report),
    )


def _conclusions(report: ReportData) -> list[str]:
    error = winner_measurement(report, "ece")
    if error is None or not formatting.has_interval(error):
        return ["The calibration error cannot be estimated on these rows."]
    message = (
        f"A predicted probability is off by {formatting.describe_interval(error, scale=100.0)} percentage points on "
        "average"
    )
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


BASELINE = "baseline"


def draw_reliability(report: ReportData) -> RenderedChart | None:
    """Draw the reliability of the winner and of the baseline on the same rows; return None for fewer than two bins."""
    if report.winner is None:
        return None
    winner = _bins(report.winner.evidence, report.word)
    baseline = (
        _bins(report.baseline_evidence, BASELINE) if report.baseline_evidence and report.winner.variant.steps else []
    )
    if len(winner) < 2:
        return None
    return render_chart(
        lambda size: alt.vconcat(*_panels(winner, baseline, size), spacing=14),
        name="reliability",
        title=_title(report.winner.evidence),
        alt=_alt(winner, report.word),
        reading=_reading(with_baseline=bool(baseline)),
    )


def draw_curves(
    first: tuple[Evidence | ComparedModel, str],
    second: tuple[Evidence | ComparedModel, str],
    *,
    name: str,
    title: str,
    lead: str,
) -> RenderedChart | None:
    """Draw the reliability of two models on the same rows, each with its name; None for fewer than two bins."""
    own, other = (_bins(*one) for one in (first, second))
    if min(len(own), len(other)) < 2:
        return None
    return render_chart(
        lambda size: alt.vconcat(*_panels(own, other, size), spacing=14),
        name=name,
        title=title,
        alt=_alt(own, first[1]),
        reading=(lead, *_reading(with_baseline=False), f"Dashed with squares: the {second[1]}."),
    )


def _bins(evidence: Evidence | ComparedModel, series: str) -> list[Row]:
    """Return the bins with a mean prediction and an observed share, lowest prediction first."""
    rows: list[tuple[float, Row]] = []
    for seen in evidence.measurements:
        mean = evidence.find("reliability.predicted", seen.slice) if seen.name == "reliability" else None
        if mean is not None and math.isfinite(mean.value + seen.value):
            rows.append((mean.value, interval_row(seen, predicted=mean.value, rows=seen.n_rows, series=series)))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _title(evidence: Evidence) -> str:
    ece = evidence.find("ece")
    if ece is None:
        return "Predicted and observed"
    return f"Predicted and observed differ by {formatting.format_measurement(ece)} on average"


def _alt(winner: Sequence[Row], word: str) -> str:
    ends = " to ".join(
        f"{row['value']:.2f} observed where {row['predicted']:.2f} was predicted" for row in (winner[0], winner[-1])
    )
    return f"Reliability of the {word} variant in {len(winner)} bins: from {ends}. {SEE_TABLE}"


def _reading(*, with_baseline: bool) -> tuple[str, ...]:
    lines = [
        "Rows are sorted into bins by their predicted probability. On the diagonal, the model is calibrated: of 100 "
        "rows with a probability of 30 %, 30 are positive.",
        "Above the diagonal, positives are more frequent than predicted; below, less. The band is the 95 % interval.",
        "The bars show the number of rows in each bin.",
    ]
    if with_baseline:
        lines.append("Dashed with squares: the baseline, on the same rows.")
    return tuple(lines)


def _panels(winner: Sequence[Row], baseline: Sequence[Row], size: ChartSize) -> tuple[alt.LayerChart, alt.Chart]:
    rows = [*winner, *baseline]
    highest = max(float(str(row[key])) for row in rows for key in ("predicted", "high"))
    top = min(1.0, math.ceil(highest * 10 + 0.2) / 10)
    return _curves(rows, top, size), _counts(winner, top, size)


def _curves(rows: Sequence[Row], top: float, size: ChartSize) -> alt.LayerChart:
    names = list(dict.fromkeys(str(row["series"]) for row in rows))
    shown = (LIGHT["live"], "circle", [1, 0]), (LIGHT["came"], "square", [5, 4])
    styles = dict(zip(names, shown, strict=False))
    colours, shapes, dashes = ({name: style[part] for name, style in styles.items()} for part in range(3))
    series = encode_series(
        names, legend=alt.Legend(title=None, symbolStrokeWidth=0, symbolSize=110), color=colours, shape=shapes
    )
    x, y = alt.X("predicted:Q", **_axis(top, labels=False)), alt.Y("value:Q", **_axis(top))
    base = rows_chart(rows).encode(x=x, y=y, color=series["color"])
    diagonal = rows_chart([{"predicted": end, "value": end} for end in (0.0, top)])
    layers = [
        diagonal.mark_line(color=LIGHT["muted"], strokeWidth=1).encode(x="predicted:Q", y="value:Q"),
        base.mark_area(opacity=0.2, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=2, clip=True).encode(**encode_series(names, legend=None, strokeDash=dashes)),
        base.mark_point(filled=True, size=60, opacity=1).encode(shape=series["shape"]),
    ]
    height = 280 if size.narrow else 340
    return alt.layer(*layers).properties(width=size.plot, height=height, title="Observed share, with 95 % interval")


def _counts(winner: Sequence[Row], top: float, size: ChartSize) -> alt.Chart:
    """Return the number of rows by bin; bins of equal mass are dense where most rows are, and bars must not overlap."""
    nearest = min(after - before for before, after in pairwise(float(str(row["predicted"])) for row in winner))
    width = min(22.0, max(2.0, nearest / top * size.plot * 0.8))
    x = alt.X("predicted:Q", **_axis(top, title="Predicted probability", ticks=True))
    bars = rows_chart(winner).mark_bar(color=LIGHT["live"], size=width, opacity=0.75)
    y = alt.Y("rows:Q").axis(count_axis(ticks=3))
    return bars.encode(x=x, y=y).properties(width=size.plot, height=70, title="Rows")


def _axis(top: float, *, title: str | None = None, labels: bool = True, ticks: bool = False) -> dict[str, Any]:
    """Return scale and axis of a probability from 0 to `top`."""
    step = 0.1 if top <= 0.6 else 0.2
    values = [round(index * step, 1) for index in range(math.floor(top / step + 1e-9) + 1)]
    return {
        "scale": alt.Scale(domain=(0, top), nice=False),
        "axis": alt.Axis(title=title, values=values, format=".1f", labels=labels, ticks=ticks),
    }
