"""D040: The labels of rows that share two values contradict what either value predicts on its own."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.out_of_fold import ADDITIVE, SCREENING_ROWS, out_of_fold
from headway.data.poisoning.label_flips import MIN_FLIPPED, code_columns, flipped_cells

CODES = ("D040",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a finding per cell of two columns, with a lower bound on the share of flipped labels.

    The bound holds for all cells together, and standard errors are widened to the dispersion between cells. Not
    found are labels flipped for all rows of a value, labels near 50 %, and cells with rows in fewer than 20
    groups.
    """
    dataset = survey.dataset
    oof = out_of_fold(dataset, rows=SCREENING_ROWS, shape=ADDITIVE)
    columns = code_columns(dataset.table[oof.rows], dataset.features)
    return [
        Finding(
            code="D040",
            severity="warn",
            message=f"at least {cell.low:.0%} (about {cell.turned:.0%}) of the labels of the {cell.rows:,} rows with"
            f" {cell.name} contradict what either value predicts on its own",
            where=cell.name,
            measured=cell.low,
            limit=MIN_FLIPPED,
            hint="find out where these rows came from, and remove them until their labels are verified",
        )
        for cell in flipped_cells(oof, columns)
    ]
