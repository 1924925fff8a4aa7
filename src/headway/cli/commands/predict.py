"""Score a file of any size with a release: parquet, csv or Arrow, on all cores, taken up again after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.scoring import Given, carry_out, summary
from headway.cli.exit_codes import FAIL, PASS
from headway.cli.output import show

NOTHING = Given()


def plugin(
    reference: str,
    source: Path,
    out: Path,
    *,
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> int:
    """Score a file. Exit 0 every row answered, 1 rows refused (answered by null, told in OUT.refused.csv).

    Killed at any moment, the same command goes on from where it was; what has another release, file or option than it
    was begun with is never mixed in.

    Example: headway predict flight-delays@live flights.parquet scores.parquet --project headway-demo --keep key

    Parameters
    ----------
    reference
        NAME@POINTER or NAME@DIGEST.
    source
        A .parquet, .csv or .arrow file that holds every column which the model reads.
    out
        The answer, in row order: .parquet, .csv or .arrow.
    json
        Print one JSON object.
    """
    receipt = carry_out(reference, source, out, given)
    show(receipt, summary(receipt, out), json=json)
    return FAIL if receipt.refused else PASS
