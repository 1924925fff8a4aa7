"""What a learning curve bears out: every sentence rests on intervals that hold at once, never on points."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Measurement
from headway.core.learning import Reading, Round
from headway.evaluation.statistics.intervals import FEWEST_GROUPS, LEVEL, student_quantile

MARGIN = 0.01
"""A curve is flat from where stopping is shown to cost less than this share of the last error."""
TAIL = 0.8
"""What is said of the last rounds is said from this share of all of them on."""


def read(rounds: Sequence[Round], error: str) -> Reading:
    """What the looks say of more rounds, and of fewer; undecided where the intervals leave it open."""
    if len(rounds) < 3:
        return Reading(answer="undecided", why=f"{len(rounds)} looks are too few for a curve")
    *before, last = rounds
    ends = {each.number: _ends(each.ahead, len(before)) for each in before if each.ahead}
    if any(each.ahead is None or each.ahead.se is None for each in before):
        groups = last.held_out[0].n_groups
        return Reading(answer="undecided", why=f"{groups} groups are too few: {FEWEST_GROUPS} at least")
    measured = last.error(error)
    margin = MARGIN * abs(measured.value) if measured else 0.0
    return _worse(before, ends) or _flat(ends, margin, last.number) or _tail(ends, last.number)


def _worse(before: Sequence[Round], ends: dict[int, tuple[float, float]]) -> Reading | None:
    """The held-out error has grown since some round, the best of those by which that is shown."""
    shown = [each for each in before if each.ahead and ends[each.number][1] < 0]
    if not shown:
        return None
    best = min(shown, key=lambda each: each.ahead.value if each.ahead else 0.0)
    low, high = ends[best.number]
    fell = best.learned_ahead is not None and _ends(best.learned_ahead, len(before))[0] > 0
    return Reading(answer="memorises" if fell else "worsens", since=best.number, low=-high, high=-low)


def _flat(ends: dict[int, tuple[float, float]], margin: float, last: int) -> Reading | None:
    """From some round before the tail on, no round is shown to be more than the margin behind the last."""
    since = last
    for number in sorted(ends, reverse=True):
        if ends[number][1] > margin:
            break
        since = number
    if since > TAIL * last:
        return None
    low, high = ends[since]
    return Reading(answer="flat", since=since, low=-high, high=-low)


def _tail(ends: dict[int, tuple[float, float]], last: int) -> Reading:
    """Over the last rounds the error is shown to have fallen, or nothing is."""
    since = max((number for number in ends if number <= TAIL * last), default=min(ends))
    low, high = ends[since]
    return Reading(answer="learning" if low > 0 else "undecided", since=since, low=-high, high=-low)


def _ends(seen: Measurement, among: int) -> tuple[float, float]:
    """The interval of one of many that are to hold at once (Bonferroni, Student t)."""
    if seen.se is None or seen.dof is None:
        return seen.low, seen.high
    reach = student_quantile(1 - (1 - LEVEL) / (2 * among), seen.dof) * seen.se
    return seen.value - reach, seen.value + reach
