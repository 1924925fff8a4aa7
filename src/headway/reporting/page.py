"""HTML report: one file without scripts, fonts or other files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.reporting.charts import pareto, timeline
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.events import list_events
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, not_run_findings, other_findings, other_measurements
from headway.reporting.summary import describe_replay, summary_answers
from headway.reporting.template import render_page, template_environment
from headway.reporting.text import tables
from headway.reporting.text.tables import Style, Table


def write_report(report: ReportData, path: Path) -> Path:
    """Write the report to `path` atomically, creating its folder, and return the path."""
    return write_atomically(render_report(report), path)


def render_report(report: ReportData) -> str:
    """Return the HTML of a report."""
    found = build_sections(report)
    return render_page(
        "main.html",
        filters={"badge": timeline.event_badge},
        kind="report",
        title=report.title,
        lead=report.lead,
        footing=f"Intervals of quality are based on {report.groups}, because rows of one group are dependent; those of "
        "time are based on rounds of timing.",
        replies=summary_answers(report),
        report=report,
        sections=found,
        pictures=report_charts(report, found),
        conclusions={"frontier": pareto.pareto_conclusions(report), "year": timeline.timeline_conclusions(report)},
        events=list_events(report),
        tables=report_tables(report, found),
        variants=tables.split_columns(
            tables.tabulate_variants(report.frontier, winner=report.winner, reasons=report.reasons),
            keys=2,
            max_columns=8,
        ),
        describe_replay=describe_replay,
    )


def report_tables(report: ReportData, found: Mapping[str, Section]) -> dict[str, Table]:
    """Return the tables of a report by name; one of findings or measurements only where there are some."""
    groups = report.groups
    shown = {
        "releases": tables.tabulate_releases(report.releases),
        "windows": tables.tabulate_windows(report),
        "gaps": tables.tabulate_gaps(report),
        "refusals": tables.tabulate_findings(report.refusals),
        "findings": tables.tabulate_findings(report.findings),
        "stages": tables.tabulate_stages(report.stages),
    }
    if report.months and report.baseline_evidence:
        shown["months"] = tables.tabulate_months(report)
    if report.winner:
        shown["rules"] = tables.tabulate_rules(report.winner.verdict, groups=groups)
    if report.refused:
        shown["refused"] = tables.tabulate_rules(report.refused.judged.verdict, groups=groups)
    if others := other_measurements(report, found):
        shown["others"] = tables.tabulate_measurements(others, groups=groups)
    for name, findings in (("warned", other_findings(report)), ("unmeasured", not_run_findings(report))):
        if findings:
            shown[name] = tables.tabulate_findings(findings)
    return shown


def report_charts(report: ReportData, found: Mapping[str, Section] | None = None) -> dict[str, RenderedChart]:
    """Return the charts of a report by name: the Pareto front, the timeline, and those of the sections in `found`."""
    drawn = {"frontier": pareto.draw_pareto(report), "year": timeline.draw_timeline(report)}
    drawn |= {name: section.picture() for name, section in (build_sections(report) if found is None else found).items()}
    return {name: chart for name, chart in drawn.items() if chart is not None}


_STYLES: dict[Style, str] = {
    "pass": ";color:#00805f;font-weight:600",
    "fail": ";color:#c8400f;font-weight:600",
    "undecided": ";color:#967000;font-weight:600",
    "plain": "",
    "quiet": ";opacity:.7;font-size:12px",
    "strong": ";font-weight:600",
}


def notebook_html(title: str, lines: Sequence[str], table: Table, picture: RenderedChart | None = None) -> str:
    """Return the HTML that a notebook shows for a result.

    A chart is an image of its own, which no style of the notebook changes and every viewer of notebooks shows.
    """
    template = template_environment().get_template("notebook.html")
    source = "" if picture is None else base64.b64encode(picture.wide.encode()).decode()
    return template.render(title=title, lines=lines, table=table, picture=picture, source=source, styles=_STYLES)
