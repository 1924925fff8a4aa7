"""Decision-based attacks: how often a small change turns a decision, through which columns, and how far."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting

_BEGINS, _SUCCESS, _LOSS = "attack.", "attack.success", "attack.success.drop"
_COLUMN, _TAKES, _REACH = "attack.column.success", "attack.columns", "attack.reach"
MOST = 8
"""Columns that are drawn: those that turn most decisions by themselves."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on attacks; None where the audit did not run."""
    whole = [measurement for measurement in winner_measurements(report, _SUCCESS) if not measurement.slice]
    if not whole:
        return None
    columns = sorted(winner_measurements(report, _COLUMN), key=lambda measurement: -measurement.value)
    held = report.winner.evidence.measurements if report.winner else ()
    return Section(
        title="When somebody wants another decision",
        place=36,
        prefixes=(_BEGINS,),
        lead="For rows of every group, a small change was sought that turns the decision, by somebody who can ask for "
        "decisions and sees nothing else. What is declared fixed was left alone, and what has bounds kept within them.",
        conclusions=(*_turned(whole[0]), *_takes(report), *_easiest(columns), *_beside(report)),
        table=details.tabulate_parts(
            tuple(measurement for measurement in held if measurement.name.startswith(_BEGINS)), report.groups
        ),
        picture=lambda: _picture(columns) if columns else None,
    )


def _turned(seen: Measurement) -> list[str]:
    if seen.high < formatting.ROUNDING:
        return [f"Of {seen.n_rows:,} rows not one decision could be turned, which does not show that none can be."]
    if not formatting.has_interval(seen):
        return ["How many decisions can be turned cannot be said: the groups are too few for an interval."]
    return [
        f"So {meaning.describe_percentage(seen)} decisions can be turned; who looks longer may turn more, never fewer."
    ]


def _takes(report: ReportData) -> list[str]:
    takes, reach = winner_measurements(report, _TAKES), winner_measurements(report, _REACH)
    if not takes or not reach:
        return []
    change = "one column" if takes[0].value < 2 else f"{formatting.format_number(takes[0].value)} columns"
    how = f"the number that moves most moves by {meaning.describe_interval(reach[0])} interquartile ranges"
    return [f"Half of those that are turned take a change of {change} at most; {how}."]


def _easiest(columns: list[Measurement]) -> list[str]:
    shown = meaning.shown_above(columns)
    if not shown:
        return []
    worst = shown[0]
    return [f"The easiest way leads through {worst.slice}: alone it turns {meaning.describe_percentage(worst)}."]


def _beside(report: ReportData) -> list[str]:
    whole = [measurement for measurement in winner_measurements(report, _LOSS) if not measurement.slice]
    if not whole or not formatting.has_interval(whole[0]):
        return []
    (lost,) = whole
    if max(abs(lost.low), lost.high) < formatting.ROUNDING:
        return ["It holds exactly as the model as it came does."]
    if lost.low > 0:
        return [
            f"It is shown to be easier to turn than the model as it came, by {meaning.describe_percentage(lost)} decisions."
        ]
    if lost.high < 0:
        return ["It is shown to be harder to turn than the model as it came."]
    most = formatting.format_number(lost.high * 100)
    return [f"It is not shown to be easier to turn than the model as it came; if it is, then by {most} of 100 at most."]


def _picture(columns: list[Measurement]) -> RenderedChart:
    shown = meaning.shown_above(columns)
    spans = tuple(
        IntervalRow(name=measurement.slice, seen=measurement, style="fail" if measurement in shown else "live")
        for measurement in columns[:MOST]
    )
    title = f"{len(shown)} of {len(columns)} columns are shown to turn decisions by themselves"
    return render_chart(
        intervals_chart([IntervalPanel(axis="share of decisions that it turns alone", spans=spans)]),
        name="attack",
        title=title,
        alt=f"{title}. {SEE_TABLE}",
        reading=(
            "Each line is a column; further right, more decisions are turned by changing it alone.",
            f"The {MOST} that turn most are drawn.",
            "A cross marks what is shown to be above 0, of all columns together.",
        ),
    )
