"""The report: a story written as one HTML file that needs no script, no font and no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

import headway
from headway.reporting import details, palette, periods
from headway.reporting.answers import replayed, replies
from headway.reporting.charts import frontier, marks, year
from headway.reporting.charts.drawing import Picture
from headway.reporting.console import write_atomically
from headway.reporting.moments import moments
from headway.reporting.section import Section, sections, unmeasured, untold, warned
from headway.reporting.story import Story
from headway.reporting.text import numbers, sheets, words

_HERE = Path(__file__).parent


def write(story: Story, path: Path) -> Path:
    """Write the report of a story to `path`, whole or not at all, and return the path; its folder is made if absent."""
    return write_atomically(render(story), path)


def render(story: Story) -> str:
    """The HTML of the report of a story."""
    found = sections(story)
    return laid_out(
        "main.html",
        kind="report",
        title=story.title,
        lead=story.lead,
        footing=f"Those of quality count whole {story.groups}, not single rows, for rows of one share their fate; "
        "those of time count rounds of timing.",
        replies=replies(story),
        story=story,
        sections=found,
        pictures=pictures(story, found),
        means={"frontier": frontier.means(story), "year": year.means(story)},
        unmeasured=unmeasured(story),
        untold=untold(story, found),
        warned=warned(story),
        moments=moments(story),
        sheets=sheets,
        details=details,
        replayed=replayed,
    )


def laid_out(body: str, **parts: object) -> str:
    """A page whose main part is the template `body`, with what the head and the foot of each page show.

    Parts are `kind`, `title`, `lead`, `replies`, `footing`, and what the body reads.
    """
    style = palette.stylesheet() + (_HERE / "page.css").read_text(encoding="utf-8")
    template = _environment().get_template("page.html")
    return template.render(body=body, style=style, version=headway.__version__, **parts)


def pictures(story: Story, found: Mapping[str, Section] | None = None) -> dict[str, Picture]:
    """The pictures that this story has, by name: frontier, year, and those of its sections (`found`)."""
    drawn = {"frontier": frontier.draw(story), "year": year.draw(story)}
    drawn |= {name: each.picture() for name, each in (sections(story) if found is None else found).items()}
    return {name: each for name, each in drawn.items() if each is not None}


def contents(main: str) -> list[tuple[str, str]]:
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
        "short": numbers.short,
        "measured": numbers.measured,
        "number": numbers.number,
        "meaning": words.meaning,
        "date": periods.name_of,
        "badge": marks.badge,
        "contents": contents,
    }
    return environment
