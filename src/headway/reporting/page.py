"""The report: a story written as one HTML file that needs no script, no font and no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

import headway
from headway.reporting import details, palette, periods
from headway.reporting.answers import describe_replay, summary_answers
from headway.reporting.charts import frontier, marks, year
from headway.reporting.charts.drawing import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.moments import list_events
from headway.reporting.section import Section, build_sections, not_run_findings, other_findings, other_measurements
from headway.reporting.story import ReportData
from headway.reporting.text import numbers, sheets, words

_HERE = Path(__file__).parent


def write_report(story: ReportData, path: Path) -> Path:
    """Write the report of a story to `path`, whole or not at all, and return the path; its folder is made if absent."""
    return write_atomically(render_report(story), path)


def render_report(story: ReportData) -> str:
    """The HTML of the report of a story."""
    found = build_sections(story)
    return render_page(
        "main.html",
        kind="report",
        title=story.title,
        lead=story.lead,
        footing=f"Those of quality count whole {story.groups}, not single rows, for rows of one share their fate; "
        "those of time count rounds of timing.",
        replies=summary_answers(story),
        story=story,
        sections=found,
        pictures=report_charts(story, found),
        means={"frontier": frontier.pareto_conclusions(story), "year": year.timeline_conclusions(story)},
        unmeasured=not_run_findings(story),
        untold=other_measurements(story, found),
        warned=other_findings(story),
        moments=list_events(story),
        sheets=sheets,
        details=details,
        describe_replay=describe_replay,
    )


def render_page(body: str, **parts: object) -> str:
    """A page whose main part is the template `body`, with what the head and the foot of each page show.

    Parts are `kind`, `title`, `lead`, `summary_answers`, `footing`, and what the body reads.
    """
    style = palette.stylesheet() + (_HERE / "page.css").read_text(encoding="utf-8")
    template = _environment().get_template("page.html")
    return template.render(body=body, style=style, version=headway.__version__, **parts)


def report_charts(story: ReportData, found: Mapping[str, Section] | None = None) -> dict[str, RenderedChart]:
    """The pictures that this story has, by name: frontier, year, and those of its sections (`found`)."""
    drawn = {"frontier": frontier.draw_pareto(story), "year": year.draw_timeline(story)}
    drawn |= {
        name: build_section.picture()
        for name, build_section in (build_sections(story) if found is None else found).items()
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
        "typeset": numbers.typeset,
        "short": numbers.short_digest,
        "measured": numbers.format_measurement,
        "number": numbers.format_number,
        "meaning": words.measure_meaning,
        "date": periods.period_name,
        "badge": marks.event_badge,
        "contents": table_of_contents,
    }
    return environment
