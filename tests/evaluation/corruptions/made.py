"""Six rows of a temperature, a flag, and two texts that share one of their words."""

from __future__ import annotations

import numpy as np

from headway.core.variant import Field
from headway.evaluation.corruptions.fault import Inputs


def inputs(*, times: int = 1, unseen: str = "missing", ordered: bool = True) -> Inputs:
    """The rows so many times over, in three groups."""
    rows = np.array([[0, 0, 0, 1], [10, 1, 1, 1], [20, 0, 0, 0], [30, 1, 1, 0], [40, 0, 0, 1], [100, 1, 1, 0]], float)
    return Inputs(
        rows=np.tile(rows, (times, 1)),
        groups=np.repeat([0, 1, 2], 2 * times),
        fields=(
            Field(name="temp"),
            Field(name="flag"),
            Field(name="from", datatype="BYTES", categories=("ewr", "jfk"), unseen=unseen),
            Field(name="to", datatype="BYTES", categories=("jfk", "lax"), unseen="other"),
        ),
        parts={"from + to": [2, 3], "temp": [0], "flag": [1]},
        ordered=ordered,
    )
