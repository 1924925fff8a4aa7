"""Sections of report and card: what was measured and what it means, one file per section."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import NOT_RUN, Finding, Measurement
from headway.core.record import Record
from headway.evaluation.statistics.claims import one_sided_bounds
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import SEE_TABLE, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.text.tables import Table

ALPHA, _LAST = 0.05, 1_000
_MIN_DOF = 3
"""Degrees of freedom from which quantiles are known; below, nothing is claimed of several intervals together."""


class Section(Record, frozen=True, kw_only=True):
    """One subject of the report, in sentences and in numbers.

    Sections are sorted by `order`. `prefixes` are the beginnings of the measure names it covers. `lead` says what was
    done. `conclusions` are sentences that the intervals support, whatever the point estimate says. `picture` draws only
    when it is called, because a card has no charts.
    """

    title: str
    order: int
    prefixes: tuple[str, ...]
    lead: str
    conclusions: tuple[str, ...]
    table: Table
    picture: Callable[[], RenderedChart | None] = lambda: None


def load_section(name: str) -> Callable[[ReportData], Section | None]:
    """Return the section of that name, a function of a report."""
    section: Callable[[ReportData], Section | None] = plugins.load("section", name)
    return section


def build_sections(report: ReportData) -> dict[str, Section]:
    """Return the sections that this report has measurements for, by name, in reading order.

    One that could not be made says why, and the report has all others.
    """
    found = {name: _build(name, report) for name in plugins.names("section")}
    present = {name: section for name, section in found.items() if section is not None}
    return dict(sorted(present.items(), key=lambda named: named[1].order))


def _build(name: str, report: ReportData) -> Section | None:
    section: Section | NotApplicable | None = plugins.run_plugin("section", name, lambda plugin: plugin(report))
    if not isinstance(section, NotApplicable):
        return section
    lead = f"The section {name!r} could not be made: {section.what}. {section.hint}".rstrip()
    return Section(
        title=f"{name}: not shown",
        order=_LAST,
        prefixes=(),
        lead=lead,
        conclusions=(),
        table=Table(columns=(), rows=()),
    )


def winner_measurement(report: ReportData, name: str) -> Measurement | None:
    """Return the winner's measurement of that name over all rows."""
    return report.winner.evidence.find(name) if report.winner else None


def winner_measurements(report: ReportData, *names: str) -> tuple[Measurement, ...]:
    """Return the winner's measurements with these names, over all rows and by slice."""
    return tuple(measurement for measurement in _measurements(report) if measurement.name in names)


def measurements_with_prefix(report: ReportData, *prefixes: str) -> tuple[Measurement, ...]:
    """Return the winner's measurements whose names begin with one of the prefixes, over all rows and by slice."""
    return tuple(measurement for measurement in _measurements(report) if measurement.name.startswith(prefixes))


def _measurements(report: ReportData) -> tuple[Measurement, ...]:
    return report.winner.evidence.measurements if report.winner else ()


def with_enough_rows(report: ReportData, found: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """Return the measurements of slices with enough rows and groups to be judged."""
    return tuple(
        measurement
        for measurement in found
        if measurement.slice and measurement.n_rows >= report.slice_rows and measurement.n_groups >= report.slice_groups
    )


def count_small_slices(report: ReportData, count: int) -> list[str]:
    """Return a sentence on slices with too few rows or groups to judge; empty where there are none."""
    limits = f"fewer than {report.slice_rows:,} rows or {report.slice_groups} {report.groups}"
    rest = "1 more slice has" if count == 1 else f"{count} more slices have"
    return [f"{rest} {limits} and cannot be judged."] if count else []


def other_measurements(report: ReportData, found: Mapping[str, Section]) -> tuple[Measurement, ...]:
    """Return what was measured over all rows and no section covers."""
    covered = tuple(prefix for section in found.values() for prefix in section.prefixes)
    return tuple(
        measurement
        for measurement in _measurements(report)
        if not measurement.slice and not measurement.name.startswith(covered)
    )


def not_run_findings(report: ReportData) -> tuple[Finding, ...]:
    """Return the findings on metrics and audits that could not run; they never count as passed."""
    return tuple(finding for finding in _findings(report) if finding.code == NOT_RUN)


def other_findings(report: ReportData) -> tuple[Finding, ...]:
    """Return the other findings of metrics and audits on the winner."""
    return tuple(finding for finding in _findings(report) if finding.code != NOT_RUN)


def _findings(report: ReportData) -> tuple[Finding, ...]:
    return report.winner.evidence.findings if report.winner else ()


def shown_above(found: Sequence[Measurement], limit: float = 0.0) -> list[Measurement]:
    """Return the measurements above a limit; with 95 % confidence all of them are, however many were compared."""
    return [measurement for measurement in found if _joint_interval(measurement, len(found))[0] > limit]


def shown_below(found: Sequence[Measurement], limit: float = 0.0) -> list[Measurement]:
    """Return the measurements below a limit, in the same sense."""
    return [measurement for measurement in found if _joint_interval(measurement, len(found))[1] < limit]


def _joint_interval(seen: Measurement, count: int) -> tuple[float, float]:
    """Return the interval widened so that all `count` hold at once (Bonferroni)."""
    if seen.se is None or seen.dof is None or count < 2:
        return (seen.low, seen.high)
    if seen.dof < _MIN_DOF:
        return (-math.inf, math.inf)
    low, high = one_sided_bounds(seen, ALPHA / (2 * count))
    return min(seen.low, low), max(seen.high, high)


CROSS = "A cross marks a value that is shown to be above 0, corrected for all comparisons."


def interval_rows(
    found: Sequence[Measurement], shown: Collection[Measurement] = (), *, counts: bool = False
) -> tuple[IntervalRow, ...]:
    """Return a row of a chart per measurement, named by its slice; those in `shown` are marked.

    `counts` adds the rows and groups of each measurement as a note.
    """
    return tuple(
        IntervalRow(
            name=measurement.slice,
            seen=measurement,
            note=f"{measurement.n_rows:,} / {measurement.n_groups:,}" if counts else "",
            style="fail" if measurement in shown else "live",
        )
        for measurement in found
    )


def draw_intervals(
    name: str, title: str, panels: Sequence[IntervalPanel], *, reading: Sequence[str], alt: str = ""
) -> RenderedChart:
    """Draw intervals; `reading` explains the chart, `alt` is added to the title in the text alternative."""
    return render_chart(
        intervals_chart(panels), name=name, title=title, alt=f"{title}{alt}. {SEE_TABLE}", reading=tuple(reading)
    )
