"""Markdown for GitHub and GitLab: escaped text, and tables."""

from __future__ import annotations

import re

from headway.reporting.text.formatting import one_line
from headway.reporting.text.tables import Cell, Line, Table

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BEGINS = re.compile(r"^(\d*)([-+=.)#])(?=[\s=#-]|$)")
# `@name` would notify a person, `#12` would be a link, `:x:` an emoji: an invisible comment separates the characters.
_JOINED = re.compile(r"[@#!](?=\w)|:(?=//|[\w+-]*[a-z][\w+-]*:)|\bwww(?=\.)", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    r"""Escape a text as one line: no markup, link, mention, table border or HTML results from it.

    >>> escape_markdown("a|b <i> @ada roc_auc *x*")
    'a\\|b &lt;i&gt; @<!-- -->ada roc_auc \\*x\\*'
    """
    found = re.sub("[&<>]", lambda match: _ENTITIES[match[0]], _MARKS.sub(r"\\\g<0>", one_line(text)))
    return _BEGINS.sub(r"\1\\\2", _JOINED.sub(r"\g<0><!-- -->", found))


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, one line per row; lines of a cell are joined by breaks, notes get a column."""
    noted = any(table.notes)
    titles = [escape_markdown(column.title) for column in table.columns] + ["Why it lost"] * noted
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    for row, note in zip(rows, table.notes, strict=False):
        row.extend([escape_markdown(note)] * noted)
    return "\n".join(map(_row, [titles, ["---"] * len(titles), *rows])) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return "<br>".join(_line(line) for line in cell if line.text.strip())


def _line(line: Line) -> str:
    return f"**{escape_markdown(line.text)}**" if line.style == "strong" else escape_markdown(line.text)
