"""Drop in quality of each slice against the baseline."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.quality.row_errors import RowErrors, compute_row_errors
from headway.evaluation.statistics.intervals import Sample, ratio_of_sums, t_interval
from headway.evaluation.statistics.tables import Blocks, tally, weighted


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure the paired `brier.drop` (classifiers) or `mse.drop` (regressions) of each slice `column=value`.

    Small slices are reported too, with their rows and groups. Raises NotApplicable if no slice column is declared.
    """
    if not subject.slices:
        raise NotApplicable("no slice columns are declared", where="headway.toml [data]", hint='slices = ["a_column"]')
    errors = compute_row_errors(subject)
    return [measurement for name, column in subject.slices.items() for measurement in _column(name, column, errors)]


def _column(name: str, column: SliceColumn, errors: RowErrors) -> list[Measurement]:
    blocks = errors.blocks
    shape = (len(column.values), blocks.n_blocks)
    cells = column.codes * blocks.n_blocks + blocks.blocks
    sums = tally(cells, shape[0] * shape[1], weighted(errors.increase, blocks.weights)).reshape(shape)
    rows = tally(cells, shape[0] * shape[1], blocks.weights).reshape(shape)
    counts = tally(column.codes, len(column.values))
    present = np.flatnonzero(counts)
    groups = _groups_of(column, blocks)
    found = []
    for index, estimate in zip(present, ratio_of_sums(sums[present], rows[present]), strict=True):
        sample = Sample(n_rows=int(counts[index]), n_groups=int(groups[index]), bounds=errors.bounds)
        measured = t_interval(f"{errors.name}.drop", estimate, sample)
        found.append(replace(measured, slice=f"{name}={column.values[index]}"))
    return found


def _groups_of(column: SliceColumn, blocks: Blocks) -> Floats:
    """Count the groups with a row in each slice."""
    pairs = np.unique(column.codes * blocks.n_groups + blocks.groups)
    return tally(pairs // blocks.n_groups, len(column.values))
