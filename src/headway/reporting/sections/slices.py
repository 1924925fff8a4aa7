"""Declared slices: whether a part of the rows is harmed more than the overall figure shows."""

from __future__ import annotations

import math

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.verdict import Answer, RuleResult
from headway.reporting.charts.intervals import IntervalPanel, ReferenceLine
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    CROSS,
    Section,
    count_small_slices,
    draw_intervals,
    interval_rows,
    shown_above,
    shown_below,
    winner_measurements,
    with_enough_rows,
)
from headway.reporting.text import formatting, tables, words

LOSS, BIAS = "brier.drop", "calibration.bias"
MAX_ROWS = 14
"""Slices that are drawn: the worst ones; the rest are counted."""


def plugin(report: ReportData) -> Section | None:
    """Return the winner's slices against the baseline.

    None where the winner is the baseline or no slice was measured.
    """
    named = [measurement for measurement in winner_measurements(report, LOSS) if measurement.slice]
    if not named or report.winner is None or not report.winner.variant.steps:
        return None
    found = slice_losses(report)
    return Section(
        title="Performance by slice",
        order=20,
        prefixes=(LOSS, "calibration."),
        lead="A model can be good overall and bad for a part of the rows. Each slice that the project declares is "
        "compared with the baseline.",
        conclusions=(
            *_conclusions(found, worst_slice_result(report)),
            *_miscalibrated(slice_biases(report)),
            *count_small_slices(report, len(named) - len(found)),
        ),
        table=tables.tabulate_slices(found, report.groups),
        picture=lambda: draw_slices(report, found) if len(found) > 1 else None,
    )


def slice_losses(report: ReportData) -> tuple[Measurement, ...]:
    """Return the loss of each slice that is large enough to be judged, the possibly worst first."""
    known = [
        measurement
        for measurement in with_enough_rows(report, winner_measurements(report, LOSS))
        if math.isfinite(measurement.value) and formatting.has_interval(measurement)
    ]
    return tuple(sorted(known, key=lambda measurement: -measurement.high))


def slice_biases(report: ReportData) -> tuple[Measurement, ...]:
    """Return observed minus predicted share of each slice that is large enough, largest gap first."""
    known = [
        measurement
        for measurement in with_enough_rows(report, winner_measurements(report, BIAS))
        if formatting.has_interval(measurement)
    ]
    return tuple(sorted(known, key=lambda measurement: -abs(measurement.value)))


def _miscalibrated(found: tuple[Measurement, ...]) -> list[str]:
    """Return where the event is more or less frequent than predicted, corrected for comparing all slices."""
    shown = {
        "more": shown_above(found),
        "less": [
            replace(measurement, value=-measurement.value, low=-measurement.high, high=-measurement.low)
            for measurement in shown_below(found)
        ],
    }
    return [
        f"Positives are {word} frequent than predicted where "
        + "; where ".join(
            f"{measurement.slice} (by {formatting.describe_percentage(measurement)})" for measurement in seen[:5]
        )
        + "."
        for word, seen in shown.items()
        if seen
    ]


def worst_slice_result(report: ReportData) -> RuleResult | None:
    """Return the rule result on the worst slice."""
    rule_results = report.winner.verdict.rule_results if report.winner else ()
    return next(
        (rule_result for rule_result in rule_results if rule_result.rule.measure == f"worst_slice.{LOSS}"), None
    )


def draw_slices(report: ReportData, found: tuple[Measurement, ...]) -> RenderedChart:
    """Draw the slices, worst first."""
    rule_result = worst_slice_result(report)
    limit = rule_result.rule.at_most if rule_result else None
    notes = f"rows / {report.groups}"
    panels = [
        IntervalPanel(
            axis=f"{words.measure_title(LOSS)} (above 0 is worse)",
            spans=interval_rows(found[:MAX_ROWS], shown_above(found), counts=True),
            marks=(
                ReferenceLine(at=0.0),
                *((ReferenceLine(at=limit, message=f"limit {limit:g}", limit=True),) if limit is not None else ()),
            ),
            notes=notes,
        )
    ]
    if biases := slice_biases(report):
        shown = [*shown_above(biases), *shown_below(biases)]
        panels.append(
            IntervalPanel(
                title="Calibration",
                axis="observed minus predicted, of 100",
                spans=interval_rows(biases[:MAX_ROWS], shown, counts=True),
                scale=100.0,
                notes=notes,
            )
        )
    shown_slices = found[:MAX_ROWS]
    ends = (f"{one.slice} with {formatting.format_measurement(one)}" for one in (shown_slices[0], shown_slices[-1]))
    return draw_intervals(
        "slices",
        _title(found, rule_result),
        panels,
        alt=f". {words.measure_title(LOSS)} of {len(shown_slices)} slices, the worst first: {' to '.join(ends)}",
        reading=_reading(report, found, limit),
    )


def _conclusions(found: tuple[Measurement, ...], rule_result: RuleResult | None) -> list[str]:
    if not found:
        return []
    if all(measurement.low == measurement.high == 0 for measurement in found):
        return ["No slice changes at all."]
    message: dict[Answer, str] = {
        "pass": "No slice loses more than the policy allows: even the least certain one, {}, loses at most {} (mean "
        "squared error of the probability).",
        "fail": "At least one slice is shown to lose more than the policy allows. For {} the loss could be as much as "
        "{} (mean squared error of the probability).",
        "undecided": "It is not shown that every slice is within the limit: for {} the loss could be as much as {} "
        "(mean squared error of the probability).",
    }
    answer = rule_result.answer if rule_result else "undecided"
    return [message[answer].format(found[0].slice, formatting.format_number(found[0].high))]


def _title(found: tuple[Measurement, ...], rule_result: RuleResult | None) -> str:
    seen = rule_result.measurement if rule_result and rule_result.measurement else found[0]
    worst = f"{seen.slice} with {formatting.format_measurement(seen)}"
    if rule_result is None:
        return f"{len(found)} slices compared with the baseline; the worst is {worst}"
    message: dict[Answer, str] = {
        "pass": f"None of {len(found)} slices is beyond the limit; nearest to it is",
        "fail": f"Of {len(found)} slices, at least one is beyond the limit; the worst is",
        "undecided": f"Some of {len(found)} slices are undecided; the least certain is",
    }
    return f"{message[rule_result.answer]} {worst}"


def _reading(report: ReportData, found: tuple[Measurement, ...], limit: float | None) -> tuple[str, ...]:
    lines = [
        f"Each line is a slice. {words.measure_title(LOSS)}: {words.measure_meaning(LOSS)}",
        f"Lines are 95 % intervals; on the right are the rows and {report.groups} of each. {CROSS}",
    ]
    if limit is not None:
        lines.append(f"Dashed: the limit for every slice ({limit:g}).")
    if len(found) > MAX_ROWS:
        lines.append(f"The {MAX_ROWS} worst of {len(found)} slices are shown.")
    return tuple(lines)
