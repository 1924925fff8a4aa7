"""D040: rows that share two values and whose labels stand against both, as if somebody had turned them."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.labels.out_of_fold import ADDITIVE, SCREENING_ROWS, out_of_fold
from headway.data.poisoning.label_flips import MIN_FLIPPED, code_columns, flipped_cells


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each such cell of two columns, with the least share of its labels that looks turned.

    The bound holds for all cells at once, and errors are widened to what cells show among each other. Not seen is what
    a whole column says (it may be true), and cells whose labels are near a toss-up or lie in fewer than 20 groups.
    """
    dataset = survey.dataset
    oof = out_of_fold(dataset, rows=SCREENING_ROWS, shape=ADDITIVE)
    columns = code_columns(dataset.table[oof.rows], dataset.features)
    return [
        Finding(
            code="D040",
            severity="warn",
            message=f"at least {each.low:.0%} (about {each.turned:.0%}) of the labels of the {each.rows:,} rows with"
            f" {each.name} stand against what either says on its own",
            where=each.name,
            measured=each.low,
            limit=MIN_FLIPPED,
            hint="look where these rows came from, and leave them out until somebody vouches for their labels",
        )
        for each in flipped_cells(oof, columns)
    ]
