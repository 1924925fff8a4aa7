"""What rows that lack a value lost against the model as it came, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools
from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.quality.row_errors import compute_row_errors, decision_churn
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean


def plugin(subject: Comparison) -> list[Measurement]:
    """`missing.brier.drop` and `missing.decision_churn` of a classifier, `missing.mse.drop` of a regression; paired.

    A slice is `rows without COLUMN`; columns that the same rows lack are one, `rows without seats, engines`. Each comes
    with its rows and groups, small or not. Raises NotApplicable where no row lacks a value.
    """
    parts = dict(_parts(subject))
    if not parts:
        raise NotApplicable("no row lacks a value")
    errors = compute_row_errors(subject)
    every = np.ones(errors.blocks.n_rows, dtype=np.bool_)
    name = f"{errors.name}.drop"
    asked = [RowStatistic(name=name, values=errors.lost, among=every, bounds=errors.bounds, blocks=errors.blocks)]
    asked += [] if subject.variant.task == "regression" else [decision_churn(subject, errors.blocks)]
    lacking = [replace(each, name=f"missing.{each.name}") for each in asked]
    return [named(subset_mean(each, rows), slice=said) for each in lacking for said, rows in parts.items()]


def _parts(subject: Comparison) -> Iterator[tuple[str, Bools]]:
    """The rows that lack a value, by the columns in which they do; bool [n] each, with at least one row."""
    lacking: dict[bytes, list[str]] = {}
    for name, column in zip(subject.variant.signature.names, subject.rows.T, strict=True):
        rows = np.isnan(column)
        if rows.any():
            lacking.setdefault(np.packbits(rows).tobytes(), []).append(name)
    count = len(subject.rows)
    for packed, names in lacking.items():
        rows = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(np.bool_)
        yield f"rows without {', '.join(names)}", rows
