"""Fairness: gaps between groups of people in decisions and in calibration."""

from __future__ import annotations

from itertools import groupby

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    count_small_slices,
    draw_intervals,
    interval_rows,
    measurements_with_prefix,
    shown_above,
    winner_measurements,
    with_enough_rows,
)
from headway.reporting.text import formatting, tables, words

_ERROR = "bias.error_gap"
_GAPS = (*(f"bias.{name}_gap" for name in ("tpr", "fpr", "selection", "calibration", "ece")), _ERROR)


def plugin(report: ReportData) -> Section | None:
    """Return the section on groups of people that are large enough; None where no gap was measured."""
    measured = winner_measurements(report, *_GAPS)
    found = with_enough_rows(report, measured)
    if not measured:
        return None
    # The gaps and the rates behind them, by group.
    rates = sorted(measurements_with_prefix(report, "bias."), key=lambda measurement: measurement.slice)
    return Section(
        title="Fairness",
        order=30,
        prefixes=("bias.",),
        lead="Each group of people that the project declares is compared with all others, by its decisions at the "
        "threshold and by its calibration. 0 means equal.",
        conclusions=(*_conclusions(found), *count_small_slices(report, len(measured) - len(found))),
        table=tables.tabulate_parts(with_enough_rows(report, rates), report.groups, first="Group"),
        picture=lambda: _picture(found) if found else None,
    )


def _conclusions(found: tuple[Measurement, ...]) -> list[str]:
    """Return a sentence per gap that is shown, then how large any other gap could still be."""
    if not found:
        return []
    shown = shown_above(found)
    others = [measurement for measurement in found if measurement not in shown and formatting.has_interval(measurement)]
    lines = [f"{gap.slice} is shown to differ: {words.measure_name(gap.name)} {_size(gap)}." for gap in shown]
    if not shown:
        lines = ["No group is shown to be treated differently from the others. This does not prove equal treatment."]
    if others:
        worst = max(others, key=lambda measurement: measurement.high)
        count = f"{len(others)} {'other ' if shown else ''}comparison{'' if len(others) == 1 else 's'}"
        lines.append(
            f"{count} {'does' if len(others) == 1 else 'do'} not show a difference; the largest that is not excluded "
            f"is {_bound(worst)} ({words.measure_name(worst.name)}, {worst.slice})."
        )
    return lines


def _size(gap: Measurement) -> str:
    return formatting.describe_interval(gap) if gap.name == _ERROR else formatting.describe_percentage(gap)


def _bound(gap: Measurement) -> str:
    error = gap.name == _ERROR
    return formatting.format_number(gap.high) if error else f"{formatting.format_number(gap.high * 100)} of 100"


def _picture(found: tuple[Measurement, ...]) -> RenderedChart:
    shown = shown_above(found)
    ordered = sorted(found, key=lambda measurement: measurement.name)
    panels = [
        IntervalPanel(
            title=words.measure_title(name),
            axis="mean error" if name == _ERROR else "of 100",
            scale=1.0 if name == _ERROR else 100.0,
            spans=interval_rows(list(same), shown),
        )
        for name, same in groupby(ordered, key=lambda measurement: measurement.name)
    ]
    return draw_intervals(
        "people",
        f"{len(shown)} of {len(found)} gaps between groups of people are shown to exist",
        panels,
        alt=f": {', '.join(measurement.slice for measurement in shown) or 'none'}",
        reading=(
            "Each line compares a group of people with all others. A line that reaches 0 may be no difference.",
            "A cross marks a gap that is shown to exist, corrected for all comparisons.",
        ),
    )
