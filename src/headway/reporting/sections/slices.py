"""Declared slices: whether a part of the rows is harmed more than the overall figure shows."""

from __future__ import annotations

import math

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.verdict import Answer, RuleResult
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements, with_enough_rows
from headway.reporting.text import formatting, words

LOSS, BIAS = "brier.drop", "calibration.bias"
MOST = 14
"""Slices that are drawn: the worst ones; the rest are counted."""


def plugin(report: ReportData) -> Section | None:
    """Return the winner's slices against the baseline; None where the winner is the baseline or no slice was measured."""
    named = [measurement for measurement in winner_measurements(report, LOSS) if measurement.slice]
    if not named or report.winner is None or not report.winner.variant.steps:
        return None
    found = of_slices(report)
    return Section(
        title="Part by part",
        place=20,
        prefixes=(LOSS, "calibration."),
        lead="A model can be right on the whole and wrong for some. The parts of the rows that the project names are "
        "compared with the model as it came, each by itself.",
        conclusions=(
            *_means(found, ruling_on(report)),
            *_biased(biases(report)),
            *details.count_small_parts(report, len(named) - len(found)),
        ),
        table=details.tabulate_slices(found, report.groups),
        picture=lambda: draw(report, found) if len(found) > 1 else None,
    )


def of_slices(report: ReportData) -> tuple[Measurement, ...]:
    """Return the loss of each slice that is large enough to be judged, the possibly worst first."""
    found = with_enough_rows(report, winner_measurements(report, LOSS))
    known = [
        measurement
        for measurement in found
        if math.isfinite(measurement.value) and formatting.has_interval(measurement)
    ]
    return tuple(sorted(known, key=lambda measurement: -measurement.high))


def biases(report: ReportData) -> tuple[Measurement, ...]:
    """Return observed minus predicted share of each slice that is large enough, largest gap first."""
    known = [
        measurement
        for measurement in with_enough_rows(report, winner_measurements(report, BIAS))
        if formatting.has_interval(measurement)
    ]
    return tuple(sorted(known, key=lambda measurement: -abs(measurement.value)))


def _biased(found: tuple[Measurement, ...]) -> list[str]:
    """Return where more or less happens than predicted, corrected for comparing all slices."""
    sides = {
        "More": meaning.shown_above(found),
        "Less": [_turned(measurement) for measurement in meaning.shown_below(found)],
    }
    return [
        f"{word} happens than is said where "
        + "; where ".join(
            f"{measurement.slice} (by {meaning.describe_percentage(measurement)})" for measurement in seen[:5]
        )
        + "."
        for word, seen in sides.items()
        if seen
    ]


def _turned(seen: Measurement) -> Measurement:
    return replace(seen, value=-seen.value, low=-seen.high, high=-seen.low)


def ruling_on(report: ReportData) -> RuleResult | None:
    """Return the rule result on the worst slice."""
    rule_results = report.winner.verdict.rule_results if report.winner else ()
    return next(
        (rule_result for rule_result in rule_results if rule_result.rule.measure == f"worst_slice.{LOSS}"), None
    )


def draw(report: ReportData, found: tuple[Measurement, ...]) -> RenderedChart:
    """Draw the slices, worst first."""
    rule_result = ruling_on(report)
    limit = rule_result.rule.at_most if rule_result else None
    panel = IntervalPanel(
        axis=f"{words.measure_title(LOSS)} (above 0 is worse)",
        spans=tuple(_span(measurement, meaning.shown_above(found)) for measurement in found[:MOST]),
        marks=(
            ReferenceLine(at=0.0),
            *((ReferenceLine(at=limit, message=f"limit {limit:g}", limit=True),) if limit is not None else ()),
        ),
        notes=f"rows / {report.groups}",
    )
    return render_chart(
        intervals_chart([panel, *_bias_panel(report)]),
        name="slices",
        title=_title(found, rule_result),
        alt=_alt(found[:MOST]),
        reading=_reading(report, found, limit),
    )


def _bias_panel(report: ReportData) -> list[IntervalPanel]:
    found = biases(report)
    shown = [*meaning.shown_above(found), *meaning.shown_below(found)]
    spans = tuple(_span(measurement, shown) for measurement in found[:MOST])
    title = "Whether what is said is what happens there"
    axis = "observed less said, of 100"
    return (
        [IntervalPanel(title=title, axis=axis, spans=spans, scale=100.0, notes=f"rows / {report.groups}")]
        if found
        else []
    )


def _span(seen: Measurement, harmed: list[Measurement]) -> IntervalRow:
    note = f"{seen.n_rows:,} / {seen.n_groups:,}"
    return IntervalRow(name=seen.slice, seen=seen, note=note, style="fail" if seen in harmed else "live")


def _means(found: tuple[Measurement, ...], rule_result: RuleResult | None) -> list[str]:
    if not found:
        return []
    worst = found[0]
    if all(measurement.low == measurement.high == 0 for measurement in found):
        return ["On none of them has anything changed."]
    said: dict[Answer, str] = {
        "pass": "None of these parts is harmed by more than the policy allows: even the least sure, {}, loses at most "
        "{} (mean squared error of the probability).",
        "fail": "At least one of these parts is shown to be harmed by more than the policy allows. For {} the loss "
        "could be as much as {} (mean squared error of the probability).",
        "undecided": "It is not shown that every part is spared: for {} the loss could be as much as {} (mean squared "
        "error of the probability).",
    }
    return [
        said[rule_result.answer if rule_result else "undecided"].format(
            worst.slice, formatting.format_number(worst.high)
        )
    ]


def _title(found: tuple[Measurement, ...], rule_result: RuleResult | None) -> str:
    seen = rule_result.measurement if rule_result and rule_result.measurement else found[0]
    worst = f"{seen.slice} with {formatting.format_measurement(seen)}"
    if rule_result is None:
        return f"{len(found)} slices against the model as it came; the worst is {worst}"
    message: dict[Answer, str] = {
        "pass": f"None of {len(found)} slices is harmed beyond the limit; nearest to it is",
        "fail": f"Of {len(found)} slices at least one is harmed beyond the limit; the worst is",
        "undecided": f"For some of {len(found)} slices the data cannot tell; the least sure is",
    }
    return f"{message[rule_result.answer]} {worst}"


def _alt(found: tuple[Measurement, ...]) -> str:
    ends = " to ".join(f"{one.slice} with {formatting.format_measurement(one)}" for one in (found[0], found[-1]))
    return f"{words.measure_title(LOSS)} of {len(found)} slices, the worst first: {ends}. {SEE_TABLE}"


def _reading(report: ReportData, found: tuple[Measurement, ...], limit: float | None) -> tuple[str, ...]:
    lines = [
        f"Each line is a part of the rows. {words.measure_title(LOSS)}: {words.measure_meaning(LOSS)}",
        f"Lines are 95 % intervals; on the right, the rows and {report.groups} on which each rests. A cross marks what "
        "is shown to be above 0, of all that were looked at together.",
    ]
    if limit is not None:
        lines.append(f"Dashed: the limit that no slice may pass ({limit:g}).")
    if len(found) > MOST:
        lines.append(f"The {MOST} worst of {len(found)} slices are shown.")
    return tuple(lines)
