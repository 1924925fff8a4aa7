"""D054: A string column contains names of people, and `[personal]` does not mention it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from headway.core.errors import NotApplicable, PluginError
from headway.core.evidence import Finding
from headway.core.plugins import load_sibling
from headway.data.context import CheckContext
from headway.data.matrix import STRING_DTYPES
from headway.data.personal.detection import unique_values
from headway.data.personal.patterns import mask_value

CODES = ("D054",)
MAY_BE_NAME = r"[A-Z][a-z]+-?[A-Za-z]*(?: [A-Z]\.?)? (?:Mc|Mac|O')?[A-Z][a-z]|(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir)\.? [A-Z]"
"""Rust pattern that every text with a name matches."""
PROSE = r"(?:^|\s)[a-zß-öø-ÿ]{4,}"
"""Rust pattern of a text with a word in lower case; a text without one is the name of something."""
MIN_SHARE_OF_NAMES = 0.2
"""Of names of things, so many must be of people: of airports 11 % are named after one, and of towns 2 %."""
_WORD = r"[A-Z][a-zà-öø-ÿ]+(?:-[A-Z][a-zà-öø-ÿ]+)?"
_SURNAME = rf"(?:Mc|Mac|O')?{_WORD}"
_PAIR = re.compile(rf"(?<![\w'])({_WORD})(?: [A-Z]\.?)? (?:({_WORD}) )?({_SURNAME})(?![\w'])")
_TITLED = re.compile(rf"(?<!\w)(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir)\.? ((?:{_WORD} |[A-Z]\. )?{_SURNAME})(?![\w'])")
_NOT_ALONE = re.compile(r"^(?:Mc|Mac|O')(?=[A-Z])")
# Words that stand before or after names, and are in the lists of names.
NOT_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
    An And Any Are As At Be Best But By Can China Christian Day Do Else For Free From Good Great Had Has He Her His
    Hong How If In Is It Just King Lake Liberty Long Me More My New No Not Of Off On One Only Or Our Real Road San
    Santa See She So Some Street Than That The Their Then They This To Too Up Us Van Was Way We What When Where Who
    Will With You Your North South East West Saint Fort Mount Port Jan January Feb February Mar March Apr April May
    Jun June Jul July Aug August Sep September Oct October Nov November Dec December Mon Tue Wed Thu Fri Sat Sun
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday
    """,
    )
)


class NameSpan(NamedTuple):
    """Position of a name, from `start` to before `end`."""

    start: int
    end: int


NameFinder = Callable[[str], list[NameSpan]]


def plugin(context: CheckContext) -> list[Finding]:
    """Return one undecided finding per column with the number of values that contain a name.

    About 1 in 10 hits is wrong. Values that are names of things (airports, towns, brands) count only if a fifth of them
    are of people.

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


def name_finder() -> NameFinder:
    """Return a function that finds names: a given name followed by a surname, or a title followed by a name.

    Names that are also common words (Will, May) do not count on their own. Raises PluginError if the lists of the
    extra `names` are not installed.
    """
    lists = load_sibling(__name__, "names", reads="finding names of people in texts")
    given_names, surnames = lists.GIVEN - NOT_NAMES, lists.SURNAMES - NOT_NAMES

    def _is_surname(word: str) -> bool:
        """Return True for a surname, without its prefix (Mc), or for one part of a hyphenated one."""
        parts = (word.replace("'", "").capitalize(), _NOT_ALONE.sub("", word), *word.split("-"))
        return not surnames.isdisjoint(parts)

    def _find(text: str) -> list[NameSpan]:
        found = [NameSpan(*match.span(1)) for match in _TITLED.finditer(text)]
        at = 0
        while match := _PAIR.search(text, at):
            first, middle, last = match.groups()
            at = match.end(1)
            if first not in given_names:
                continue
            end = match.end() if _is_surname(last) else match.end(2) if middle and _is_surname(middle) else 0
            if end:
                found.append(NameSpan(match.start(), end))
                at = end
        return _without_overlap(found)

    return _find


def _without_overlap(found: list[NameSpan]) -> list[NameSpan]:
    """Return the spans in order; of two that overlap, the longer one."""
    spans: list[NameSpan] = []
    for span in sorted(found, key=lambda found_span: (found_span.start, -found_span.end)):
        if not spans or span.start >= spans[-1].end:
            spans.append(span)
    return spans
