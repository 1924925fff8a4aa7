"""Calibrator: what is done to a score after the model and before the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from headway.core.record import Record

if TYPE_CHECKING:
    from headway.core.contracts import Floats


class Calibrator(Record, frozen=True, kw_only=True):
    """What is added to the log-odds of every probability before it is answered; 0 leaves it as the model says.

    It was fitted on `n_rows` labelled rows of `n_groups` groups; `at` is the time from which it holds.
    """

    shift: float = 0.0
    n_rows: int = 0
    n_groups: int = 0
    at: str = ""

    def __call__(self, scores: Floats) -> Floats:
        """The probabilities [...] in [0, 1] after the shift; their order stays, and 0 and 1 stay 0 and 1.

        >>> round(Calibrator(shift=math.log(2))(0.5), 6)
        0.666667
        """
        odds = math.exp(self.shift)
        return scores * odds / (1 - scores + scores * odds)
