"""Detect personal data by patterns and check digits, in strings and in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from headway.core.arrays import Bools
from headway.data.matrix import STRING_DTYPES
from headway.data.personal.normalization import NOT_PLAIN, PlainText
from headway.data.personal.patterns import (
    BARE,
    BEFORE,
    EMAIL_IN_WORDS,
    IN_TEXT,
    PersonalPattern,
    find_in_text,
    kind_of_value,
    mask_value,
)

PERSONAL = ("D050", "D051", "D052", "D054")
"""Codes of the findings on personal data in a column."""
MAX_VALUES = 100_000
MIN_BARE = 20
HALF = 0.5
_PREFILTERS = tuple(dict.fromkeys(form.needs for form in IN_TEXT))
_SHARES_PREFIX = tuple(pattern.startswith(BEFORE) for pattern in _PREFILTERS)
_ANY_WITH_PREFIX = (
    BEFORE
    + "(?:"
    + "|".join(pattern.removeprefix(BEFORE) for pattern in _PREFILTERS if pattern.startswith(BEFORE))
    + ")"
)
"""All prefilters with that prefix: one scan for all takes as long as for one, and most lines match none."""
_ANY = rf"[0-9@]|:[0-9A-Fa-f]{{0,4}}:|[A-Z]{{6}}|{EMAIL_IN_WORDS}"
_DIGITS = r"^\s*\d(?: ?\d){8,18}\s*$"
_MIN_ID = 100_000_000


class PersonalData(NamedTuple):
    """One kind of personal data in a column: the number of unique values that contain it, of `searched` values.

    `whole_values` of them contain nothing else. `example` is one of them, masked.
    """

    column: str
    kind: str
    values: int
    whole_values: int
    searched: int
    example: str

    @property
    def is_the_column(self) -> bool:
        """True if most values are personal data and nothing else."""
        return self.whole_values >= HALF * self.searched


def find_personal_data(table: pl.DataFrame, *, exclude: Collection[str] = ()) -> list[PersonalData]:
    """Search every string or integer column that is not excluded, in at most 100,000 values each."""
    return [found for column in table.columns if column not in exclude for found in find_in_column(table[column])]


def find_in_column(column: pl.Series) -> list[PersonalData]:
    """Return every kind of personal data in a column."""
    if not _is_searched(column):
        return []
    values = unique_values(column)
    counts, whole_values, examples = Counter[str](), Counter[str](), dict[str, str]()
    for kind, text, is_whole in _hits(values):
        counts[kind] += 1
        whole_values[kind] += is_whole
        if kind not in examples:
            examples[kind] = mask_value(text)
    return [
        PersonalData(column.name, kind, counts[kind], whole_values[kind], len(values), examples[kind])
        for kind in sorted(counts)
    ]


def _is_searched(column: pl.Series) -> bool:
    """Return True for strings, and for integers as long as an ID."""
    if column.dtype.is_integer():
        return not column.is_empty() and bool((column.max() or 0) >= _MIN_ID)  # type: ignore[operator]
    return column.dtype in STRING_DTYPES


def unique_values(column: pl.Series) -> pl.Series:
    """Return the unique values of a column as strings in plain spelling, at most 100,000."""
    values = column.drop_nulls().unique(maintain_order=True).cast(pl.String)
    if len(values) > MAX_VALUES:
        values = values.gather_every(-(-len(values) // MAX_VALUES))
    unusual = values.str.contains(NOT_PLAIN)
    if not unusual.any():
        return values
    spelled = pl.Series([PlainText(text).text for text in values.filter(unusual)], dtype=pl.String)
    return values.scatter(np.flatnonzero(unusual.to_numpy()), spelled)


def _hits(values: pl.Series) -> Iterator[tuple[str, str, bool]]:
    """Yield kind, match and whether it is the whole value, once per kind and value."""
    numbers = values.str.contains(_DIGITS)
    yield from _bare_number_hits(values.filter(numbers))
    of, seen = -1, set[str]()
    for number, text, length, forms in _candidate_lines(values.filter(~numbers)):
        if number != of:
            of, seen = number, set()
        elif seen.issuperset(form.kind for form in forms):
            continue
        for hit in find_in_text(text, forms):
            if hit.kind not in seen:
                seen.add(hit.kind)
                yield hit.kind, text[hit.start : hit.end], hit.end - hit.start == length


def _bare_number_hits(values: pl.Series) -> Iterator[tuple[str, str, bool]]:
    """Yield hits among values of digits alone if most have right check digits; one in ten has them by chance."""
    if len(values) < MIN_BARE:
        return
    kinds = [(kind_of_value(text, (*IN_TEXT, *BARE)), text) for text in values]
    for kind, count in Counter(kind for kind, _ in kinds if kind).items():
        if count >= HALF * len(values):
            yield from ((kind, text, True) for found_kind, text in kinds if found_kind == kind)


def _candidate_lines(values: pl.Series) -> Iterator[tuple[int, str, int, tuple[PersonalPattern, ...]]]:
    """Yield the lines that may contain something: value index, line, value length and the patterns to try.

    No pattern matches across lines.
    """
    if values.is_empty():
        return
    table = pl.DataFrame({"of": range(len(values)), "text": values, "length": values.str.strip_chars().str.len_chars()})
    if values.str.contains("\n", literal=True).any():
        table = table.with_columns(pl.col("text").str.split("\n")).explode("text")
    some = table.filter(pl.col("text").str.contains(_ANY))
    if some.is_empty():
        return
    may = _prefilter_matches(some["text"])
    worth = np.flatnonzero(may.any(axis=1))
    for (of, text, length), needs in zip(some[worth].iter_rows(), may[worth], strict=True):
        yield of, text, length, _patterns_for(needs.tobytes())


def _prefilter_matches(texts: pl.Series) -> Bools:
    """Return which prefilters each string matches, bool of shape (n, prefilters)."""
    may = np.zeros((len(texts), len(_PREFILTERS)), dtype=np.bool_)
    with_prefix = texts.str.contains(_ANY_WITH_PREFIX).to_numpy()
    some, rows = texts.filter(with_prefix), np.flatnonzero(with_prefix)
    for index, need in enumerate(_PREFILTERS):
        if _SHARES_PREFIX[index]:
            may[rows, index] = some.str.contains(need).to_numpy()
        else:
            may[:, index] = texts.str.contains(need).to_numpy()
    return may


@lru_cache(maxsize=4096)
def _patterns_for(needs: bytes) -> tuple[PersonalPattern, ...]:
    met = {need for need, is_met in zip(_PREFILTERS, needs, strict=True) if is_met}
    return tuple(form for form in IN_TEXT if form.needs in met)
