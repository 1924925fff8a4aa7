"""Targets of several labels a row: strings such as `billing|delivery`, lists of names, and indicator matrices.

A row without a label is `|` or an empty list; a missing value, such as an empty cell of a CSV file, is an unknown
target.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from headway.core.arrays import Floats
from headway.core.errors import DataError
from headway.core.label_sets import SEPARATOR, join_labels, split_labels

MIN_LABELS = 2


def known_labels(column: pl.Series) -> list[str]:
    """Return the labels that occur in a column, the most frequent first."""
    names = pl.Series("label", [name for value in _values(column) if value is not None for name in value], pl.String)
    return names.value_counts(sort=True, name="n").sort("n", "label", descending=[True, False])["label"].to_list()


def encode_label_sets(column: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Return each set of labels as one string with the names in the order of `classes`, null where missing.

    Parameters
    ----------
    column : Series
        Strings with `|` between names, or lists of names.
    classes : sequence of str
        All labels.

    Raises
    ------
    DataError
        If a value is neither, or names an unknown label.
    """
    require_label_names(classes)
    ranks = {name: rank for rank, name in enumerate(classes)}
    found: list[str | None] = []
    for number, value in enumerate(_values(column), start=1):
        unknown = next((name for name in value or () if name not in ranks), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, classes, 1)
            raise DataError(
                f"target '{column.name}' holds the label '{unknown}', which is not among its classes",
                where=f"row {number}; classes: {', '.join(classes)}",
                hint=f"'{near[0]}' in place of it" if near else "add it to [data] classes, at the end",
            )
        found.append(None if value is None else join_labels(sorted(set(value), key=ranks.__getitem__)))
    return pl.Series(column.name, found, pl.String)


def require_label_names(classes: Sequence[str]) -> None:
    """Raise DataError for fewer than two labels, and for a name that contains the separator."""
    if len(classes) < MIN_LABELS:
        raise DataError(
            f"task 'multilabel' needs two labels or more, and {len(classes)} are declared",
            where="[data] classes",
            hint='classes = ["billing", "delivery"]; one label of yes and no is task = "binary"',
        )
    wrong = next((name for name in classes if SEPARATOR in name or name != name.strip() or not name), None)
    if wrong is not None:
        raise DataError(
            f"{wrong!r} cannot be the name of a label: '{SEPARATOR}' separates labels",
            where="[data] classes",
            hint=f"rename it, without '{SEPARATOR}' and without blanks around it",
        )


def indicator_matrix(column: pl.Series, classes: Sequence[str]) -> Floats:
    """Return 1 for each label of each row, else 0, float64 (n, k), of a column that `encode_label_sets` wrote."""
    ranks = {name: rank for rank, name in enumerate(classes)}
    found = np.zeros((len(column), len(classes)))
    for row, value in enumerate(column.to_list()):
        for name in split_labels(value):
            found[row, ranks[name]] = 1.0
    return found


def _values(column: pl.Series) -> Iterable[list[str] | None]:
    """Yield the labels of each row; None where missing."""
    if column.dtype in (pl.List, pl.Array):
        return (None if value is None else [str(name) for name in value] for value in column.to_list())
    if column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return (None if value is None else split_labels(value) for value in column.cast(pl.String).to_list())
    raise DataError(
        f"target '{column.name}' is {column.dtype}, and task 'multilabel' reads strings or lists of names",
        hint="strings such as 'billing|delivery', or a list of names for each row; "
        "of columns of 0 and 1: table.dot(table.columns + '|').str.rstrip('|').replace('', '|') in pandas",
    )
