"""Conformal prediction: coverage of prediction sets or intervals against the promised coverage, and their size."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.evaluation.audits.conformal import PLAN
from headway.reporting import details, periods
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements, with_enough_rows
from headway.reporting.text import formatting

_HELD = "conformal.coverage"
_PROMISED = PLAN.coverage
_MONTH = "month="


def plugin(report: ReportData) -> Section | None:
    """Return the section on prediction sets, overall, by month and by slice; None where they were not measured."""
    found = winner_measurements(report, _HELD)
    held = next((measurement for measurement in found if not measurement.slice), None)
    if held is None:
        return None
    parts = with_enough_rows(report, found)
    return Section(
        title="Answers that hold the truth",
        place=22,
        prefixes=("conformal.",),
        lead="Where one answer is not sure enough, a set of several can be said, and an interval in place of a number. "
        f"Sets that promise to hold the truth in {_PROMISED * 100:.0f} of 100 cases were made anew for each of the "
        f"{report.groups} from those before it.",
        conclusions=(_held(held), *_worst(parts), *_sizes(report)),
        table=details.tabulate_parts(_told(report), report.groups, first="Where"),
        picture=lambda: _picture(held, parts) if parts else None,
    )


def _told(report: ReportData) -> tuple[Measurement, ...]:
    """Return the measurements over all rows, and of parts that are large enough."""
    held = report.winner.evidence.measurements if report.winner else ()
    found = tuple(measurement for measurement in held if measurement.name.startswith("conformal."))
    large = with_enough_rows(report, found)
    return tuple(measurement for measurement in found if not measurement.slice or measurement in large)


def _held(seen: Measurement) -> str:
    if not formatting.has_interval(seen):
        return "How often they hold it cannot be said on so few days."
    message = f"Of 100 sets, {meaning.describe_interval(seen, scale=100.0)} held the truth"
    if seen.high < _PROMISED:
        return f"{message}: fewer than the {_PROMISED * 100:.0f} that were promised."
    if seen.low > _PROMISED:
        return f"{message}: more than the {_PROMISED * 100:.0f} that were promised; they are larger than they need be."
    return f"{message}, which agrees with the {_PROMISED * 100:.0f} that were promised."


def _worst(parts: tuple[Measurement, ...]) -> list[str]:
    missed = [_where(measurement) for measurement in meaning.shown_below(parts, _PROMISED)]
    if missed:
        return [f"They held it less often than promised in {meaning.join_names(missed)}."]
    return ["In no month and no slice are they shown to hold it less often than promised."] if parts else []


def _sizes(report: ReportData) -> list[str]:
    whole = {
        measurement.name: measurement
        for measurement in winner_measurements(report, "conformal.size", "conformal.width")
        if not measurement.slice
    }
    known = {name: measurement for name, measurement in whole.items() if formatting.has_interval(measurement)}
    if width := known.get("conformal.width"):
        return [f"The intervals are {meaning.describe_interval(width)} wide on average."]
    size = known.get("conformal.size")
    if size is None:
        return []
    if report.winner is None or report.winner.variant.task != "binary" or size.low <= 1:
        return [f"A set holds {meaning.describe_interval(size)} answers on average."]
    more = replace(size, value=size.value - 1, low=size.low - 1, high=size.high - 1)
    return [f"{meaning.describe_percentage(more)} sets say both yes and no, for neither is sure enough there."]


def _where(seen: Measurement) -> str:
    return periods.period_name(seen.slice.removeprefix(_MONTH))


def _picture(held: Measurement, parts: tuple[Measurement, ...]) -> RenderedChart:
    months, slices = (
        [measurement for measurement in parts if measurement.slice.startswith(_MONTH) is is_month]
        for is_month in (True, False)
    )
    title = f"Of 100 sets, {meaning.describe_interval(held, scale=100.0)} held the truth"
    panels = [
        IntervalPanel(
            title=head,
            axis="of 100 sets, so many held the truth",
            spans=tuple(IntervalRow(name=_where(measurement) or "all", seen=measurement) for measurement in found),
            marks=(ReferenceLine(at=_PROMISED * 100, message="promised"),),
            scale=100.0,
        )
        for head, found in {"Month by month": [*months, held], "Slice by slice": slices}.items()
        if found
    ]
    return render_chart(
        intervals_chart(panels),
        name="conformal",
        title=title,
        alt=f"{title}, in {len(months)} months and {len(slices)} slices. {SEE_TABLE}",
        reading=("Left of the upright line, sets held the truth less often than promised.",),
    )
