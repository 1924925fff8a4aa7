"""Several labels a row as one string, such as `billing|delivery`, and the decision for each label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from headway.core.variant import LIBRARY_THRESHOLD

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

SEPARATOR = "|"
"""The separator of `Series.str.get_dummies` of pandas. Alone, it is a row without a label."""


def join_labels(names: Iterable[str]) -> str:
    """Return a set of labels as one string; `|` for none.

    >>> join_labels(["billing", "delivery"]), join_labels([])
    ('billing|delivery', '|')
    """
    return SEPARATOR.join(names) or SEPARATOR


def split_labels(value: str) -> list[str]:
    """Return the labels of a string, without blanks around them.

    >>> split_labels("billing | delivery"), split_labels("|")
    (['billing', 'delivery'], [])
    """
    return [name for part in value.split(SEPARATOR) if (name := part.strip())]


def decide_labels(scores: Floats) -> Ints:
    """Return 1 for each label with a probability of at least one half, else 0, int64 (n, k)."""
    return (scores >= LIBRARY_THRESHOLD).astype("int64")


def name_labels(indicator: Floats | Ints, names: Sequence[str]) -> list[str]:
    """Return the labels of each row of an indicator matrix (n, k) as one string."""
    return [
        join_labels(name for name, is_label in zip(names, row, strict=True) if is_label) for row in indicator.tolist()
    ]
