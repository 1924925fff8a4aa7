"""A sheet with a title and some lines as HTML for a notebook, which keeps its own looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from headway.reporting.text import numbers
from headway.reporting.text.sheets import Style, Table

_STYLES: dict[Style, str] = {
    "pass": ";color:#00805f;font-weight:600",
    "fail": ";color:#c8400f;font-weight:600",
    "undecided": ";color:#967000;font-weight:600",
    "plain": "",
    "quiet": ";opacity:.7;font-size:12px",
    "strong": ";font-weight:600",
}


def notebook_html(title: str, lines: Sequence[str], sheet: Table) -> str:
    """The HTML that a notebook shows for a result."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["typeset"] = numbers.typeset
    template = environment.get_template("notebook.html")
    return template.render(title=title, lines=lines, sheet=sheet, styles=_STYLES)
