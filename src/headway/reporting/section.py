"""A section of report and card: what was asked, what was measured, and what that means, one file a section."""

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
    """What was measured of one thing, told to a person who cannot code, and in numbers.

    Sections stand by `place`, the least first. `reads` are the beginnings of the names that it tells of. `lead` says
    what was done. `means` are sentences that the ends of the intervals bear out, whatever the point says. `picture`
    draws only when it is called, for a card has no pictures.
    """

    title: str
    place: int
    prefixes: tuple[str, ...]
    lead: str
    conclusions: tuple[str, ...]
    table: Table
    picture: Callable[[], RenderedChart | None] = lambda: None


def build_sections(report: ReportData) -> dict[str, Section]:
    """The sections for which this story holds measurements, by name, in the order in which they are read."""
    found = {name: plugins.load_section(name)(report) for name in plugins.names("section")}
    held = {name: section for name, section in found.items() if section is not None}
    return dict(sorted(held.items(), key=lambda named: named[1].place))


def winner_measurements(report: ReportData, *names: str) -> tuple[Measurement, ...]:
    """What was measured of the winner under these names, of the whole and of parts."""
    held = report.winner.evidence.measurements if report.winner else ()
    return tuple(measurement for measurement in held if measurement.name in names)


def with_enough_rows(report: ReportData, found: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """Those of parts that rest on enough rows and groups to be judged; the others would show noise."""
    return tuple(
        measurement
        for measurement in found
        if measurement.slice and measurement.n_rows >= report.slice_rows and measurement.n_groups >= report.slice_groups
    )


def other_measurements(report: ReportData, found: Mapping[str, Section]) -> tuple[Measurement, ...]:
    """What was measured over all rows and no section tells of."""
    told = tuple(name for section in found.values() for name in section.prefixes)
    held = report.winner.evidence.measurements if report.winner else ()
    return tuple(measurement for measurement in held if not measurement.slice and not measurement.name.startswith(told))


def not_run_findings(report: ReportData) -> tuple[Finding, ...]:
    """What a probe or an audit of the winner could not judge, and why: it never reads as well."""
    return tuple(finding for finding in _found(report) if finding.code == NOT_RUN)


def other_findings(report: ReportData) -> tuple[Finding, ...]:
    """What else probes and audits found of the winner."""
    return tuple(finding for finding in _found(report) if finding.code != NOT_RUN)


def _found(report: ReportData) -> tuple[Finding, ...]:
    return report.winner.evidence.findings if report.winner else ()
