"""D054: A string column contains names of people, and `[personal]` does not mention it."""

from __future__ import annotations

import polars as pl

from headway.core.errors import NotApplicable, PluginError
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.matrix import STRING_DTYPES
from headway.data.personal.detection import unique_values
from headway.data.personal.names import NameFinder, name_finder
from headway.data.personal.patterns import mask_value
from headway.data.settings.personal import PersonalSection

CODES = ("D054",)
MAY_BE_NAME = r"[A-Z][a-z]+-?[A-Za-z]*(?: [A-Z]\.?)? (?:Mc|Mac|O')?[A-Z][a-z]|(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir)\.? [A-Z]"
"""Rust pattern that every text with a name matches."""
PROSE = r"(?:^|\s)[a-zß-öø-ÿ]{4,}"
"""Rust pattern of a text with a word in lower case; a text without one is the name of something."""
MIN_SHARE_OF_NAMES = 0.2
"""Of names of things, so many must be of people: of airports 11 % are named after one, and of towns 2 %."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the number of values that contain a name.

    About 1 in 10 hits is wrong. Values that are names of things (airports, towns, brands) count only if a fifth of them
    are of people.

    Raises
    ------
    NotApplicable
        If the lists of names are not installed and a column may contain names.
    """
    section, table = context.config[PersonalSection], context.dataset.table
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
    found = (
        _finding(name, values, find, searched=len(unique[name]), n_names=int((~unique[name].str.contains(PROSE)).sum()))
        for name, values in candidates.items()
    )
    return [finding for finding in found if finding is not None]


def _finding(name: str, values: pl.Series, find: NameFinder, *, searched: int, n_names: int) -> Finding | None:
    """Return the finding on the names in some values of a column; `n_names` of all its values are names of things."""
    is_prose = values.str.contains(PROSE)
    hits = [(text, spans[0]) for text in values.filter(is_prose) if (spans := find(text))]
    of_names = [(text, spans[0]) for text in values.filter(~is_prose) if (spans := find(text))]
    if len(of_names) >= MIN_SHARE_OF_NAMES * n_names:
        hits += of_names
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
