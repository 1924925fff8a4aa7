"""Pages of one file without scripts: the frame of a page, its style, and the filters of its templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import jinja2

import headway
from headway.reporting import colours
from headway.reporting.text import formatting, words

_HERE = Path(__file__).parent
NO_FILTERS: Mapping[str, Callable[..., str]] = MappingProxyType({})


def render_page(
    body: str, *, written: str = "", filters: Mapping[str, Callable[..., str]] = NO_FILTERS, **parts: object
) -> str:
    """Render a page with the template `body` as its main part.

    `parts` are `kind`, `title`, `lead`, `replies`, `footing`, and whatever the template reads. `written` is the time in
    the footer, by default now, and `filters` are further filters of the template.
    """
    style = colours.stylesheet() + (_HERE / "page.css").read_text(encoding="utf-8")
    template = template_environment(filters).get_template("page.html")
    written = written or datetime.now(UTC).isoformat(timespec="seconds")
    return template.render(body=body, style=style, version=headway.__version__, written=written, **parts)


def table_of_contents(main: str) -> list[tuple[str, str]]:
    """Return the id and text of each heading of a page."""
    return re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', main)


def template_environment(filters: Mapping[str, Callable[..., str]] = NO_FILTERS) -> jinja2.Environment:
    """Return the templates of this folder, with the filters that all of them use and further ones."""
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
        "date": formatting.period_name,
        "time": formatting.format_time,
        "contents": table_of_contents,
        **filters,
    }
    return environment
