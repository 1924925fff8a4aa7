"""Whether sets that should hold the true class in 90 % do so, day after day, and how large they must be for it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Ground, SliceColumn, Subject
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evidence.conformal import Drifting, online_limits, sets, strangeness
from headway.evidence.intervals import SHARE
from headway.evidence.parts import Asked, Bools, of_part
from headway.evidence.tables import Floats, binary_answers

PLAN = Drifting()
_FEWEST = 7


def plugin(subject: Subject, ground: Ground) -> list[Measurement]:
    """`conformal.coverage` and `conformal.size` (classes in a set) of online sets, and both by month.

    Limits come from the groups before, as if labels came a group late; the first 8 groups teach alone. Raises
    NotApplicable where the task is not binary, or there are no more groups than those.
    """
    answers = binary_answers(subject)
    asked = answers.groups >= _FEWEST + PLAN.delay
    if not asked.any():
        raise NotApplicable(f"sets are asked from group {_FEWEST + PLAN.delay + 1} on, there are {answers.n_groups}")
    values = strangeness(answers.scores, answers.labels)
    limits = online_limits(values, answers.groups, PLAN)
    sizes = sets(answers.scores, limits).sum(axis=1).astype(np.float64)
    measured: dict[str, tuple[Floats, tuple[float, float]]] = {
        "conformal.coverage": ((values <= limits).astype(np.float64), SHARE),
        "conformal.size": (sizes, (0.0, 2.0)),
    }
    found = []
    for name, (each, bounds) in measured.items():
        what = Asked(name=name, values=each, among=asked, bounds=bounds, blocks=answers)
        for said, inside in _parts(asked, ground.months):
            found.append(replace(of_part(what, inside), slice=said))
    return found


def _parts(asked: Bools, months: SliceColumn | None) -> Iterator[tuple[str, Bools]]:
    """All rows, then those of each month that has rows which are asked."""
    yield "", np.ones_like(asked)
    if months is None:
        return
    for code in np.unique(months.codes[asked]).tolist():
        yield f"month={months.values[code]}", months.codes == code
