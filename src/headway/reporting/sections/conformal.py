"""Conformal prediction: coverage of prediction sets or intervals against the promised coverage, and their size."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.evaluation.audits.conformal import PLAN
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    draw_intervals,
    measurements_with_prefix,
    shown_below,
    winner_measurement,
    winner_measurements,
    with_enough_rows,
)
from headway.reporting.text import formatting, tables

_COVERAGE = "conformal.coverage"
_PROMISED = PLAN.coverage
_MONTH = "month="


def plugin(report: ReportData) -> Section | None:
    """Return the section on prediction sets, overall, by month and by slice; None where they were not measured."""
    coverage = winner_measurement(report, _COVERAGE)
    if coverage is None:
        return None
    parts = with_enough_rows(report, winner_measurements(report, _COVERAGE))
    found = measurements_with_prefix(report, "conformal.")
    large = with_enough_rows(report, found)
    return Section(
        title="Conformal prediction",
        order=22,
        prefixes=("conformal.",),
        lead="A prediction set of several classes, or an interval of numbers, states how certain the model is. Sets "
        f"with a promised coverage of {_PROMISED * 100:.0f} % were calibrated for each of the {report.groups} on the "
        "previous ones.",
        conclusions=(_covered(coverage), *_worst(parts), *_sizes(report)),
        table=tables.tabulate_parts(
            [measurement for measurement in found if not measurement.slice or measurement in large], report.groups
        ),
        picture=lambda: _picture(coverage, parts) if parts else None,
    )


def _covered(coverage: Measurement) -> str:
    promised = f"the promised {_PROMISED * 100:.0f} %"
    if not formatting.has_interval(coverage):
        return "The coverage cannot be estimated: there are too few days."
    message = f"The coverage is {formatting.describe_interval(coverage, scale=100.0)} %"
    if coverage.high < _PROMISED:
        return f"{message}, below {promised}."
    if coverage.low > _PROMISED:
        return f"{message}, above {promised}: the sets are larger than needed."
    return f"{message}, which agrees with {promised}."


def _worst(parts: tuple[Measurement, ...]) -> list[str]:
    missed = [_part_name(measurement) for measurement in shown_below(parts, _PROMISED)]
    if missed:
        return [f"The coverage is below the promise in {formatting.join_names(missed)}."]
    return ["In no month and no slice is the coverage shown to be below the promise."] if parts else []


def _sizes(report: ReportData) -> list[str]:
    width, size = (winner_measurement(report, f"conformal.{name}") for name in ("width", "size"))
    if width and formatting.has_interval(width):
        return [f"The intervals are {formatting.describe_interval(width)} wide on average."]
    if size is None or not formatting.has_interval(size):
        return []
    if report.winner is None or report.winner.variant.task != "binary" or size.low <= 1:
        return [f"A set holds {formatting.describe_interval(size)} classes on average."]
    both = replace(size, value=size.value - 1, low=size.low - 1, high=size.high - 1)
    return [f"{formatting.describe_percentage(both)} sets hold both classes: the model is not certain enough there."]


def _part_name(seen: Measurement) -> str:
    return formatting.period_name(seen.slice.removeprefix(_MONTH))


def _picture(coverage: Measurement, parts: tuple[Measurement, ...]) -> RenderedChart:
    months, slices = (
        [measurement for measurement in parts if measurement.slice.startswith(_MONTH) is is_month]
        for is_month in (True, False)
    )
    panels = [
        IntervalPanel(
            title=head,
            axis="coverage, %",
            spans=tuple(IntervalRow(name=_part_name(measurement) or "all", seen=measurement) for measurement in found),
            marks=(ReferenceLine(at=_PROMISED * 100, message="promised"),),
            scale=100.0,
        )
        for head, found in {"By month": [*months, coverage], "By slice": slices}.items()
        if found
    ]
    return draw_intervals(
        "conformal",
        f"Coverage {formatting.describe_interval(coverage, scale=100.0)} %",
        panels,
        alt=f", in {len(months)} months and {len(slices)} slices",
        reading=("Left of the vertical line, the coverage is below the promise.",),
    )
