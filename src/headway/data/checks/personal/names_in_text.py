"""D054: A string column contains names of people, and `[personal]` does not mention it."""

from __future__ import annotations

import polars as pl

from headway.core.errors import NotApplicable, PluginError
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.matrix import STRING_DTYPES
from headway.data.personal.detection import mask_value, unique_values
from headway.data.personal.names import MAY_BE_NAME, NameFinder, name_finder

CODES = ("D054",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the number of values that contain a name.

    About 1 in 10 hits is wrong.

    Raises
    ------
    NotApplicable
        If the lists of names are not installed and a column may contain names.
    """
    section, table = context.config.personal, context.dataset.table
    excluded = {*section.keep, *section.hash}
    columns = (column for column in table.iter_columns() if column.dtype in STRING_DTYPES)
    unique = {column.name: unique_values(column) for column in columns if column.name not in excluded}
    candidates = {name: values.filter(values.str.contains(MAY_BE_NAME)) for name, values in unique.items()}
    if not any(map(len, candidates.values())):
        return []
    try:
        find = name_finder()
    except PluginError as error:
        raise NotApplicable(error.what, hint=error.hint) from error
    found = (_finding(name, values, find, searched=len(unique[name])) for name, values in candidates.items())
    return [finding for finding in found if finding is not None]


def _finding(name: str, values: pl.Series, find: NameFinder, *, searched: int) -> Finding | None:
    hits = [(text, spans[0]) for text in values if (spans := find(text))]
    if not hits:
        return None
    text, span = hits[0]
    return Finding(
        code="D054",
        severity="undecided",
        message=f"'{name}' holds names of people in {len(hits):,} of {searched:,} values, such as "
        f"{mask_value(text[span.start : span.end])}",
        where=f"column {name}",
        measured=len(hits) / searched,
        limit=0.0,
        hint=f'[personal] drop = ["{name}"], or hash, or [personal.keep] {name} = "WHY"',
    )
