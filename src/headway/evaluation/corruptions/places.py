"""Values that belong elsewhere: to another column, or to the group before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from headway.core.variant import Field
from headway.evaluation.corruptions.fault import Fault, Inputs, Ints, with_columns
from headway.evaluation.statistics.intervals import Floats


def swapped(inputs: Inputs) -> Iterator[Fault]:
    """Each column in the place of the one of its type that is most like it, and that in its place.

    Two columns of numbers are alike by the share of values that lie within the range of the other.
    """
    rows, fields = inputs.rows, inputs.fields
    alike = [columns for columns in (inputs.texts, inputs.numbers) if len(columns) > 1]
    pairs = {tuple(sorted((at, _nearest(at, columns, rows)))) for columns in alike for at in columns}
    for one, other in sorted(pairs):
        what = f"{fields[one].name} <-> {fields[other].name}"
        yield Fault(kind="swapped", what=what, rows=partial(_swap, rows, (one, other), fields))


def stale(inputs: Inputs) -> Iterator[Fault]:
    """Each part as it was at the same place of the group before; nothing where rows have no time."""
    before = _place_before(inputs.groups)
    for name, columns in inputs.parts.items() if inputs.ordered else ():
        yield Fault(kind="stale", what=name, rows=partial(_as_before, inputs.rows, columns, before))


def _nearest(at: int, columns: Sequence[int], rows: Floats) -> int:
    """The other column that is most like this one; of several as like, the one that stands nearest."""
    others = [each for each in columns if each != at]
    return max(others, key=lambda each: (_likeness(rows[:, at], rows[:, each]), -abs(each - at)))


def _likeness(one: Floats, other: Floats) -> float:
    return min(_share_within(one, other), _share_within(other, one))


def _share_within(values: Floats, others: Floats) -> float:
    return float(((values >= np.nanmin(others)) & (values <= np.nanmax(others))).mean()) if others.size else 0.0


def _swap(rows: Floats, pair: tuple[int, int], fields: tuple[Field, ...]) -> Floats:
    one, other = pair
    altered = rows.copy()
    altered[:, one] = _as_read(rows[:, other], fields[other], fields[one])
    altered[:, other] = _as_read(rows[:, one], fields[one], fields[other])
    return altered


def _as_read(values: Floats, was: Field, now: Field) -> Floats:
    """Values of one column as another reads them: a number as it is, a text by its rank there, or as unseen."""
    if was.datatype != "BYTES":
        return values
    strange = float(len(now.categories)) if now.unseen == "other" else np.nan
    ranks = {text: float(rank) for rank, text in enumerate(now.categories)}
    table = np.array([*(ranks.get(text, strange) for text in was.categories), strange])
    known = np.isfinite(values)
    read = np.full(len(values), np.nan)
    read[known] = table[np.minimum(values[known].astype(np.int64), len(table) - 1)]
    return read


def _as_before(rows: Floats, columns: Sequence[int], before: Ints) -> Floats:
    return with_columns(rows, columns, rows[np.ix_(before, np.asarray(columns))])


def _place_before(groups: Ints) -> Ints:
    """For each row, the row at the same place of the group before, int64 [n]; a row of the first group is its own.

    >>> _place_before(np.array([0, 0, 1, 1, 1, 1])).tolist()
    [0, 1, 0, 0, 1, 1]
    """
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    before = np.arange(len(groups))
    for last, now in zip(range(len(starts) - 1), range(1, len(starts)), strict=True):
        place = np.arange(sizes[now]) * sizes[last] // sizes[now]
        before[order[starts[now] : starts[now] + sizes[now]]] = order[starts[last] + place]
    return before
