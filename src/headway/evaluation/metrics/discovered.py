"""Slice finder: the worst slices among all combinations of up to three columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec.structs import replace as named

from headway.core.arrays import Bools
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.student import student_quantile
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import compute_row_errors
from headway.evaluation.slice_finder import bin_columns, find_slices, min_slice_rows, search_half
from headway.evaluation.statistics.intervals import exact_measurement
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean, subset_minus_rest

ALPHA = 0.05
CONFIRMED = "one-sided bounds above 0, t, Bonferroni"


def plugin(subject: Comparison) -> list[Measurement]:
    """Search for slices on one half of the groups, and measure them on the other half.

    - `discovered.brier.excess` of up to five slices: how much larger the error is there than elsewhere (`mse` for a
      regression).
    - `discovered.brier.drop` of up to five slices: how much larger it is than the baseline's.
    - `discovered.compared`: slices that were large enough.
    - `discovered.confirmed`: slices with an excess that is significantly above 0.

    Raises
    ------
    NotApplicable
        If there are no two halves, or no slice is large enough.
    """
    errors = compute_row_errors(subject)
    finding = search_half(errors.blocks)
    if finding.all():
        raise NotApplicable(
            "all rows are of one group: no other half to confirm slices on", hint='[data] groups = "a_column"'
        )
    columns = bin_columns(subject, min_slice_rows(finding))
    if not columns:
        raise NotApplicable("no column has two levels")
    found = find_slices(columns, (errors.variant, errors.increase), finding, errors.blocks.weights)
    if not found.compared:
        raise NotApplicable(f"no slice has {min_slice_rows(finding)} of the {finding.sum()} rows of the search half")
    by_name = {column.name: column for column in columns}
    by_error, by_loss = ([(part.label(by_name), part.rows(by_name)) for part in parts] for parts in found.parts)
    lost = RowStatistic(
        name=f"discovered.{errors.name}.drop",
        values=errors.increase,
        among=~finding,
        bounds=errors.bounds,
        blocks=errors.blocks,
    )
    erred = replace(
        lost, name=f"discovered.{errors.name}.excess", values=errors.variant, bounds=(0.0, errors.bounds[1])
    )
    excess = _measured(by_error, erred, subset_minus_rest)
    return [
        *excess,
        *_measured(by_loss, lost, subset_mean),
        exact_measurement(
            "discovered.compared", found.compared, n_rows=int(finding.sum()), method="combinations of levels"
        ),
        exact_measurement("discovered.confirmed", _confirmed(excess), n_rows=int((~finding).sum()), method=CONFIRMED),
    ]


def _measured(
    parts: Sequence[tuple[str, Bools]], statistic: RowStatistic, measure: Callable[[RowStatistic, Bools], Measurement]
) -> list[Measurement]:
    """Measure each slice by its name, except those that the other half lacks, or consists of."""
    there = [(label, rows) for label, rows in parts if 0 < (statistic.among & rows).sum() < statistic.among.sum()]
    return [named(measure(statistic, rows), slice=label) for label, rows in there]


def _confirmed(excess: Sequence[Measurement]) -> int:
    """Count one-sided bounds above 0, all of which hold at once in 95 % of cases (Bonferroni)."""
    shared = 1 - ALPHA / max(len(excess), 1)
    known = [
        (measurement.value, measurement.se, measurement.dof)
        for measurement in excess
        if measurement.se is not None and measurement.dof is not None
    ]
    return sum(value > student_quantile(shared, dof) * se for value, se, dof in known)
