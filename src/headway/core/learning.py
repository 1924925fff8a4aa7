"""A learning curve: what a model erred after each of some rounds of its training, and what that bears out."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

CurveAnswer = Literal["flat", "learning", "memorises", "worsens", "undecided", "not drawn"]


class Round(Record, frozen=True, kw_only=True):
    """One look: measures on rows held out and on rows learned from, `seconds` after training began (None: not timed).

    `ahead` and `learned_ahead` are the error of this round less that of the last, paired by group: above 0, training
    went on to better.
    """

    number: int
    held_out: tuple[Measurement, ...]
    learned: tuple[Measurement, ...] = ()
    ahead: Measurement | None = None
    learned_ahead: Measurement | None = None
    seconds: float | None = None

    def error(self, name: str, *, learned: bool = False) -> Measurement | None:
        """The measure of that name, on rows held out or on rows learned from."""
        return next((each for each in (self.learned if learned else self.held_out) if each.name == name), None)


class Reading(Record, frozen=True, kw_only=True):
    """What the intervals of a curve bear out, all of them at once in 95 % of cases.

    `since` is the round it is true from; `low` and `high` hold by how much the error then changed until the last round
    (above 0: it grew). `why` says why nothing was drawn.
    """

    answer: CurveAnswer
    since: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""


class LearningCurve(StoredRecord, frozen=True, kw_only=True):
    """The looks at one training, oldest first, with digests of the rows held out and learned from, and of the recipe.

    `error` names the measure that is read. `spent` are the seconds that the looks took, which `seconds` leaves out.
    """

    former_kinds: ClassVar[tuple[str, ...]] = ("learningcurve",)

    library: str
    error: str
    rounds: tuple[Round, ...]
    reading: Reading
    held_out: str
    learned: str = ""
    recipe: str = ""
    seconds: float
    spent: float
