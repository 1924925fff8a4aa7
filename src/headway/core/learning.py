"""Learning curve: a model's error after some rounds of its training, and what it shows."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

CurveAnswer = Literal["flat", "learning", "memorises", "worsens", "undecided", "not drawn"]


class Round(Record, frozen=True, kw_only=True):
    """One round: measures on held-out and on training rows, `seconds` after training began (None: not timed).

    `ahead` and `learned_ahead` are the error of this round minus that of the last, paired by group: above 0, training
    still improved the model.
    """

    number: int
    held_out: tuple[Measurement, ...]
    learned: tuple[Measurement, ...] = ()
    ahead: Measurement | None = None
    learned_ahead: Measurement | None = None
    seconds: float | None = None

    def error(self, name: str, *, learned: bool = False) -> Measurement | None:
        """Return the measure of that name, on held-out or on training rows, or None."""
        return next(
            (measurement for measurement in (self.learned if learned else self.held_out) if measurement.name == name),
            None,
        )


class Reading(Record, frozen=True, kw_only=True):
    """What the simultaneous 95 % intervals of a curve show.

    It holds from round `since` on; `low` and `high` bound the change of the error from there to the last round (above
    0: it grew). `why` is the reason for a missing answer.
    """

    answer: CurveAnswer
    since: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""


class LearningCurve(StoredRecord, frozen=True, kw_only=True):
    """The rounds of one training, oldest first, with digests of the held-out and training rows, and of the recipe.

    `error` names the measure that is read. `spent` is the time of the evaluations in seconds, which `seconds` excludes.
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
