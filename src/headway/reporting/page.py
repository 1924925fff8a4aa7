"""The report: a story written as one HTML file that needs no script, no font and no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

import headway
from headway.reporting import details, periods
from headway.reporting.charts import pareto, theme, timeline
from headway.reporting.charts.theme import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.events import list_events
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, not_run_findings, other_findings, other_measurements
from headway.reporting.summary import describe_replay, summary_answers
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.tables import Style, Table

_HERE = Path(__file__).parent


def write_report(report: ReportData, path: Path) -> Path:
    """Write the report of a story to `path`, whole or not at all, and return the path; its folder is made if absent."""
    return write_atomically(render_report(report), path)


def render_report(report: ReportData) -> str:
    """The HTML of the report of a story."""
    found = build_sections(report)
    return render_page(
        "main.html",
        kind="report",
        title=report.title,
        lead=report.lead,
        footing=f"Those of quality count whole {report.groups}, not single rows, for rows of one share their fate; "
        "those of time count rounds of timing.",
        replies=summary_answers(report),
        report=report,
        sections=found,
        pictures=report_charts(report, found),
        conclusions={"frontier": pareto.pareto_conclusions(report), "year": timeline.timeline_conclusions(report)},
        unmeasured=not_run_findings(report),
        untold=other_measurements(report, found),
        warned=other_findings(report),
        events=list_events(report),
        tables=tables,
        details=details,
        describe_replay=describe_replay,
    )


def render_page(body: str, **parts: object) -> str:
    """A page whose main part is the template `body`, with what the head and the foot of each page show.

    Parts are `kind`, `title`, `lead`, `summary_answers`, `footing`, and what the body reads.
    """
    style = theme.stylesheet() + (_HERE / "page.css").read_text(encoding="utf-8")
    template = _environment().get_template("page.html")
    return template.render(body=body, style=style, version=headway.__version__, **parts)


def report_charts(report: ReportData, found: Mapping[str, Section] | None = None) -> dict[str, RenderedChart]:
    """The pictures that this story has, by name: frontier, year, and those of its sections (`found`)."""
    drawn = {"frontier": pareto.draw_pareto(report), "year": timeline.draw_timeline(report)}
    drawn |= {
        name: build_section.picture()
        for name, build_section in (build_sections(report) if found is None else found).items()
    }
    return {name: each for name, each in drawn.items() if each is not None}


def table_of_contents(main: str) -> list[tuple[str, str]]:
    """The headings of the parts of a page, each with the id by which a link finds it."""
    return re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', main)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "typeset": formatting.typeset,
        "short": formatting.short_digest,
        "measured": formatting.format_measurement,
        "number": formatting.format_number,
        "meaning": words.measure_meaning,
        "date": periods.period_name,
        "badge": timeline.event_badge,
        "contents": table_of_contents,
    }
    return environment


_STYLES: dict[Style, str] = {
    "pass": ";color:#00805f;font-weight:600",
    "fail": ";color:#c8400f;font-weight:600",
    "undecided": ";color:#967000;font-weight:600",
    "plain": "",
    "quiet": ";opacity:.7;font-size:12px",
    "strong": ";font-weight:600",
}


def notebook_html(title: str, lines: Sequence[str], table: Table) -> str:
    """The HTML that a notebook shows for a result."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["typeset"] = formatting.typeset
    template = environment.get_template("notebook.html")
    return template.render(title=title, lines=lines, table=table, styles=_STYLES)
