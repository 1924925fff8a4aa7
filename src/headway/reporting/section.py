"""Sections of report and card: what was measured and what it means, one file per section."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headway.core import plugins
from headway.core.evidence import Finding, Measurement
from headway.core.record import Record
from headway.reporting.charts.theme import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.text.tables import Table

NOT_RUN = "E001"


class Section(Record, frozen=True, kw_only=True):
    """One subject of the report, in sentences and in numbers.

    Sections are ordered by `place`. `prefixes` are the beginnings of the measure names it covers. `lead` says what was
    done. `conclusions` are sentences that the intervals support, whatever the point estimate says. `picture` draws only
    when it is called, because a card has no charts.
    """

    title: str
    place: int
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
    """Return the sections that this report has measurements for, by name, in reading order."""
    found = {name: load_section(name)(report) for name in plugins.names("section")}
    held = {name: section for name, section in found.items() if section is not None}
    return dict(sorted(held.items(), key=lambda named: named[1].place))


def winner_measurements(report: ReportData, *names: str) -> tuple[Measurement, ...]:
    """Return the winner's measurements with these names, over all rows and by part."""
    held = report.winner.evidence.measurements if report.winner else ()
    return tuple(measurement for measurement in held if measurement.name in names)


def with_enough_rows(report: ReportData, found: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """Return the measurements of parts with enough rows and groups to be judged."""
    return tuple(
        measurement
        for measurement in found
        if measurement.slice and measurement.n_rows >= report.slice_rows and measurement.n_groups >= report.slice_groups
    )


def other_measurements(report: ReportData, found: Mapping[str, Section]) -> tuple[Measurement, ...]:
    """Return what was measured over all rows and no section covers."""
    told = tuple(name for section in found.values() for name in section.prefixes)
    held = report.winner.evidence.measurements if report.winner else ()
    return tuple(measurement for measurement in held if not measurement.slice and not measurement.name.startswith(told))


def not_run_findings(report: ReportData) -> tuple[Finding, ...]:
    """Return the findings on metrics and audits that could not run; they never count as passed."""
    return tuple(finding for finding in _found(report) if finding.code == NOT_RUN)


def other_findings(report: ReportData) -> tuple[Finding, ...]:
    """Return the other findings of metrics and audits on the winner."""
    return tuple(finding for finding in _found(report) if finding.code != NOT_RUN)


def _found(report: ReportData) -> tuple[Finding, ...]:
    return report.winner.evidence.findings if report.winner else ()
