"""Privacy attacks: which training rows the answers give away, and what they add on a sensitive column."""

from __future__ import annotations

import altair as alt
from msgspec import UNSET

from headway.core.evidence import DECLARED_PRIVACY, Measurement
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import SEE_TABLE, ChartSize, Row, interval_row, log_ticks, render_chart, rows_chart
from headway.reporting.colours import LIGHT
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    measurements_with_prefix,
    other_findings,
    shown_above,
    winner_measurement,
    winner_measurements,
)
from headway.reporting.text import formatting, tables

_PREFIX = "privacy."
_CURVE, _RATE, _ROW = "privacy.membership.roc", "privacy.membership.tpr_1pct", "privacy.membership.row"
_CHANCE = 0.01
_LOWEST = 1e-4
"""Lower end of the axes: an interval that reaches 0 is drawn down to here."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on privacy attacks; None where no such audit ran, and nothing is declared of the training."""
    found, declared = measurements_with_prefix(report, _PREFIX), _declared(report)
    if not (found or declared):
        return None
    return Section(
        title="Privacy",
        order=37,
        prefixes=(_PREFIX,),
        lead="The audits take the side of a caller who wants to learn about the people in the training data. "
        "Another attack may learn more.",
        conclusions=(
            *declared,
            *recognized(report),
            *_groups(report),
            *_exposed(report),
            *_column(report),
            *_rebuilt(report),
        ),
        table=tables.tabulate_parts(tuple(one for one in found if one.name != _CURVE), report.groups),
        picture=lambda: _picture(report),
    )


def _declared(report: ReportData) -> list[str]:
    """Return what is declared about training with differential privacy."""
    messages = [finding.message for finding in other_findings(report) if finding.code == DECLARED_PRIVACY]
    return [f"{message[:1].upper()}{message[1:]}." for message in dict.fromkeys(messages)]


def recognized(report: ReportData) -> list[str]:
    """Describe how many training rows are recognized with 1 % of the others accused, or how well on average."""
    rate = winner_measurement(report, _RATE)
    if rate is None:
        area = winner_measurement(report, "privacy.membership.auc")
        if area is None:
            return []
        shown = formatting.has_interval(area) and area.low > 0.5
        return [
            "The answers are shown to differ for rows that the model was trained on."
            if shown
            else "It is not shown that the answers differ for rows that the model was trained on." + _weakness(area)
        ]
    if not formatting.has_interval(rate):
        return ["How many training rows can be recognized cannot be estimated: there are too few groups."]
    share = formatting.describe_percentage(rate)
    accused = "while it wrongly accuses 1 of 100 others"
    if rate.low > _CHANCE:
        return [f"The attack recognizes {share} rows that the model was trained on, {accused}. Guessing recognizes 1."]
    bound = formatting.format_number(rate.high * 100)
    return [
        "The attack is not shown to recognize more training rows than guessing does: it finds at most "
        f"{bound} of 100, {accused}.{_weakness(rate)}"
    ]


def _weakness(measured: Measurement) -> str:
    """Return a sentence on an attack that was not run in full; empty for one that was."""
    effort = measured.effort
    if effort is UNSET:
        return " How much of the attack was run is not known, so this says little."
    return "" if effort.is_complete else f" That was the {effort}, so it says little."


def _groups(report: ReportData) -> list[str]:
    """Name the groups that are recognized more often than all rows are."""
    overall = winner_measurement(report, _RATE)
    groups = [one for one in winner_measurements(report, _RATE) if "=" in one.slice]
    if overall is None or not groups:
        return []
    above = [one.slice for one in shown_above(groups, overall.high)]
    if above:
        return [f"Recognized more often than others are {formatting.join_names(above)}."]
    return ["No group is shown to be recognized more often than the others."]


def _exposed(report: ReportData) -> list[str]:
    count = winner_measurement(report, "privacy.membership.exposed")
    if count is None:
        return []
    if not count.value:
        return ["No single row is given away by most of the models that were trained on it."]
    named = [one.slice for one in winner_measurements(report, _ROW)]
    rows = "1 row is" if count.value == 1 else f"{count.value:,.0f} rows are"
    return [
        f"{rows} given away by most of the models trained on them, first {formatting.join_names(named, limit=3)} "
        "of the training data, counted from 0."
    ]


def _column(report: ReportData) -> list[str]:
    """Describe what the answers add on each sensitive column."""
    lines = []
    for one in winner_measurements(report, "privacy.attribute.advantage"):
        if not formatting.has_interval(one):
            lines.append(f"What the answers add on {one.slice} cannot be estimated: there are too few groups.")
        elif one.low > 0:
            share = formatting.describe_percentage(one)
            lines.append(
                f"Who knows the rest of a row guesses {one.slice} right for {share} more rows with the answer."
            )
        else:
            lines.append(f"The answers are not shown to add anything on {one.slice}.")
    return lines


def _rebuilt(report: ReportData) -> list[str]:
    """Describe how closely a training row is rebuilt from the answer, and with the file of the model."""
    known = {"privacy.inversion.error": "From its answer", "privacy.inversion.trees": "With the file of the model"}
    lines = []
    for name, how in known.items():
        error = winner_measurement(report, name)
        if error is None or not formatting.has_interval(error):
            continue
        share = formatting.describe_interval(error)
        lines.append(
            f"{how}, a training row is rebuilt with {share} of the error of a guess."
            if error.high < 1
            else f"{how}, a training row is not shown to be rebuilt better than by a guess."
        )
    return lines


def _picture(report: ReportData) -> RenderedChart | None:
    """Draw the share of training rows recognized against the share of others accused; None for fewer than two."""
    curve = sorted(winner_measurements(report, _CURVE), key=lambda one: float(one.slice))
    if len(curve) < 2:
        return None
    rate = next((one for one in curve if float(one.slice) == _CHANCE), curve[-1])
    return render_chart(
        lambda size: _roc(curve, size),
        name="privacy",
        title="Training rows that the attack recognizes",
        alt=f"Of the training rows {formatting.describe_percentage(rate)} are recognized where "
        f"{float(rate.slice):.0%} of the others are accused. {SEE_TABLE}",
        reading=(
            "Further up, more training rows are recognized; further left, fewer other rows are wrongly accused.",
            "The dashed line is guessing. The band is the 95 % interval; where it lies above the line, the model gives "
            "training rows away.",
            "Both scales are logarithmic: the left end matters most, where an accusation is almost certain.",
        ),
    )


def _roc(curve: list[Measurement], size: ChartSize) -> alt.LayerChart:
    rows: list[Row] = []
    for one in curve:
        row = interval_row(one, accused=float(one.slice))
        rows.append({name: max(float(str(value)), _LOWEST) for name, value in row.items()})
    low, high = float(curve[0].slice), float(curve[-1].slice)
    floor = min(min(float(str(row["low"])) for row in rows), low)
    height = 240
    x_axis = alt.Axis(title="share of other rows that are accused", values=log_ticks(low, high, size.plot), format="~g")
    y_axis = alt.Axis(title=None, values=log_ticks(floor, 1.0, height), format="~g")
    x = alt.X("accused:Q", axis=x_axis).scale(type="log", domain=(low, high), nice=False)
    y_scale = alt.Scale(type="log", domain=(floor, 1.0), nice=False)
    base = rows_chart(rows).encode(x=x)
    chance: list[Row] = [{"accused": at, "value": at} for at in (low, high)]
    title = alt.TitleParams(text="share of training rows that are recognized", dx=0)
    return (
        alt.layer(
            base.mark_area(color=LIGHT["live"], opacity=0.2).encode(
                y=alt.Y("low:Q", axis=y_axis, scale=y_scale), y2="high:Q"
            ),
            rows_chart(chance)
            .mark_line(color=LIGHT["muted"], strokeDash=[5, 4])
            .encode(x=x, y=alt.Y("value:Q", scale=y_scale)),
            base.mark_line(color=LIGHT["live"], strokeWidth=2).encode(y=alt.Y("value:Q", scale=y_scale)),
            base.mark_point(color=LIGHT["live"], filled=True, size=40).encode(y=alt.Y("value:Q", scale=y_scale)),
        )
        .properties(width=size.plot, height=height)
        .properties(title=title)
    )
