"""D054: A string column contains names of people, and `[personal]` does not mention it."""

from __future__ import annotations

import polars as pl

from headway.core.errors import NotApplicable, PluginError
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.personal.detection import mask_value, unique_values
from headway.data.personal.names import MAY_BE_NAME, NameFinder, name_finder

CODES = ("D054",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the number of values that contain a name; about 1 in 10 hits is wrong.

    Raises
    ------
    NotApplicable
        If the lists of names are not installed and a column may contain names.
    """
    section, table = survey.config.personal, survey.dataset.table
    texts = (column for column in table.iter_columns() if column.dtype in (pl.String, pl.Categorical, pl.Enum))
    unique = {each.name: unique_values(each) for each in texts if each.name not in {*section.keep, *section.hash}}
    may = {name: values.filter(values.str.contains(MAY_BE_NAME)) for name, values in unique.items()}
    if not any(map(len, may.values())):
        return []
    try:
        find = name_finder()
    except PluginError as error:
        raise NotApplicable(error.what, hint=error.hint) from error
    found = (_finding(name, some, find, looked_at=len(unique[name])) for name, some in may.items())
    return [each for each in found if each is not None]


def _finding(name: str, some: pl.Series, find: NameFinder, *, looked_at: int) -> Finding | None:
    hits = [(text, spans[0]) for text in some if (spans := find(text))]
    if not hits:
        return None
    text, span = hits[0]
    return Finding(
        code="D054",
        severity="undecided",
        message=f"'{name}' holds names of people in {len(hits):,} of {looked_at:,} values, such as "
        f"{mask_value(text[span.start : span.end])}",
        where=f"column {name}",
        measured=len(hits) / looked_at,
        limit=0.0,
        hint=f'[personal] drop = ["{name}"], or hash, or [personal.keep] {name} = "WHY"',
    )
