"""Columns of a table that hold personal data, found on their unique values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.personal.kinds import BARE, BEFORE, IN_TEXT, PersonalPattern, find_in_text, kind_of_value, mask_value

MAX_VALUES = 100_000
MIN_BARE = 20
HALF = 0.5
_PREFILTERS = tuple(dict.fromkeys(form.needs for form in IN_TEXT))
_SHARES_PREFIX = tuple(each.startswith(BEFORE) for each in _PREFILTERS)
_ANY_WITH_PREFIX = (
    BEFORE + "(?:" + "|".join(each.removeprefix(BEFORE) for each in _PREFILTERS if each.startswith(BEFORE)) + ")"
)
"""All needs of one beginning at once: a scan of them takes as long as that of one, and most lines have none."""
_ANY = r"[0-9@]|:[0-9A-Fa-f]{0,4}:|[A-Z]{6}"
_DIGITS = r"^\s*\d(?: ?\d){8,18}\s*$"
_MIN_ID = 100_000_000


class PersonalData(NamedTuple):
    """One kind of personal data in a column: how many of its unique values hold it, of how many looked at.

    `wholes` of them are nothing else. `like` is the form of one of them, with no letter or digit of its own.
    """

    column: str
    kind: str
    values: int
    wholes: int
    looked_at: int
    like: str

    @property
    def is_the_column(self) -> bool:
        """Whether most values are personal data and nothing else."""
        return self.wholes >= HALF * self.looked_at


def find_personal_data(table: pl.DataFrame, *, but: Collection[str] = ()) -> list[PersonalData]:
    """What every column of texts or whole numbers holds, but for those named; 100,000 values of each at most."""
    return [found for column in table.columns if column not in but for found in find_in_column(table[column])]


def find_in_column(column: pl.Series) -> list[PersonalData]:
    """Every kind of personal data in one column."""
    if not _is_searched(column):
        return []
    values = unique_values(column)
    counts, wholes, like = Counter[str](), Counter[str](), dict[str, str]()
    for kind, text, is_whole in _hits(values):
        counts[kind] += 1
        wholes[kind] += is_whole
        if kind not in like:
            like[kind] = mask_value(text)
    return [
        PersonalData(column.name, kind, counts[kind], wholes[kind], len(values), like[kind]) for kind in sorted(counts)
    ]


def _is_searched(column: pl.Series) -> bool:
    """Whether a column is of texts, or of whole numbers as long as an id."""
    if column.dtype.is_integer():
        return not column.is_empty() and bool((column.max() or 0) >= _MIN_ID)  # type: ignore[operator]
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def unique_values(column: pl.Series) -> pl.Series:
    """The unique values of a column as texts; of very many 100,000 at most."""
    values = column.drop_nulls().unique(maintain_order=True).cast(pl.String)
    return values.gather_every(-(-len(values) // MAX_VALUES)) if len(values) > MAX_VALUES else values


def _hits(values: pl.Series) -> Iterator[tuple[str, str, bool]]:
    """A kind, the text that is of it, and whether that is the whole value: once for each kind of a value."""
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
    """Values of digits alone: one in ten has a right check digit by chance, so that most of them must have it."""
    if len(values) < MIN_BARE:
        return
    kinds = [(kind_of_value(text, (*IN_TEXT, *BARE)), text) for text in values]
    for kind, count in Counter(kind for kind, _ in kinds if kind).items():
        if count >= HALF * len(values):
            yield from ((kind, text, True) for each, text in kinds if each == kind)


def _candidate_lines(values: pl.Series) -> Iterator[tuple[int, str, int, tuple[PersonalPattern, ...]]]:
    """The lines that may hold something: the number of their value, how long that is, and the forms worth asking.

    Nothing that is looked for goes over the end of a line.
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


def _prefilter_matches(texts: pl.Series) -> NDArray[np.bool_]:
    """Which of the needs each text meets: bool [n, needs]."""
    may = np.zeros((len(texts), len(_PREFILTERS)), dtype=np.bool_)
    alike = texts.str.contains(_ANY_WITH_PREFIX).to_numpy()
    some, rows = texts.filter(alike), np.flatnonzero(alike)
    for place, need in enumerate(_PREFILTERS):
        if _SHARES_PREFIX[place]:
            may[rows, place] = some.str.contains(need).to_numpy()
        else:
            may[:, place] = texts.str.contains(need).to_numpy()
    return may


@lru_cache(maxsize=4096)
def _patterns_for(needs: bytes) -> tuple[PersonalPattern, ...]:
    met = {need for need, is_met in zip(_PREFILTERS, needs, strict=True) if is_met}
    return tuple(form for form in IN_TEXT if form.needs in met)
