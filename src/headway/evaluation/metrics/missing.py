"""Rows with a missing value, column by column: drop in quality and changed decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import compute_row_errors, decision_churn
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure `missing.brier.drop` and `missing.decision_churn` (classifiers) or `missing.mse.drop` (regressions).

    Slices are `rows without COLUMN`; columns that are missing in the same rows form one, `rows without seats, engines`.
    Small slices are reported too, with their rows and groups. Raises NotApplicable if no value is missing.
    """
    parts = dict(_parts(subject))
    if not parts:
        raise NotApplicable("no value is missing")
    errors = compute_row_errors(subject)
    all_rows = np.ones(errors.blocks.n_rows, dtype=np.bool_)
    name = f"{errors.name}.drop"
    statistics = [
        RowStatistic(name=name, values=errors.increase, among=all_rows, bounds=errors.bounds, blocks=errors.blocks)
    ]
    statistics += [] if subject.variant.task == "regression" else [decision_churn(subject, errors.blocks)]
    lacking = [replace(statistic, name=f"missing.{statistic.name}") for statistic in statistics]
    return [named(subset_mean(statistic, rows), slice=label) for statistic in lacking for label, rows in parts.items()]


def _parts(subject: Comparison) -> Iterator[tuple[str, Bools]]:
    """Yield the rows that lack a value, bool (n,), by the columns in which they do."""
    lacking: dict[bytes, list[str]] = {}
    for name, column in zip(subject.names, subject.rows.T, strict=True):
        rows = np.isnan(column)
        if rows.any():
            lacking.setdefault(np.packbits(rows).tobytes(), []).append(name)
    count = len(subject.rows)
    for packed, names in lacking.items():
        rows = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(np.bool_)
        yield f"rows without {', '.join(names)}", rows
