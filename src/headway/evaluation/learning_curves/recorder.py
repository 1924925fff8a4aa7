"""Looks at a training while it goes on: when one is due, what it saw, and what it took."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.learning import LearningCurve, Reading, Round
from headway.core.record import digest_of
from headway.evaluation.learning_curves.part import Part
from headway.evaluation.learning_curves.reading import read
from headway.evaluation.statistics.intervals import Floats

STEP = 1.15
"""From one look to the next the rounds grow by this much, so that n of them need about log n looks."""


class Recorder:
    """What was seen on rows held out and, if given, on rows learned from; nobody is told of `test`.

    Each `every` rounds, or ever rarer without. Where answers cannot be judged it says why and looks no more: training
    goes on. `recipe` is the digest of what the library was told, unless it was given.
    """

    def __init__(self, held_out: Part, learned: Part | None = None, *, every: int | None = None) -> None:
        self.held_out, self.learned, self.every = held_out, learned, every
        self.digests = {"held_out": "", "learned": "", "recipe": ""}
        self.library = self._why = ""
        self.spent = self._until = 0.0
        self._next = every or 1
        self._rounds: list[Round] = []
        self._sums: list[tuple[Floats, Floats | None]] = []
        self.begin()

    def begin(self) -> None:
        """Training begins now."""
        self._began = perf_counter()

    def told(self, library: str, recipe: object) -> None:
        """Which library trains, and what it was told: the digest of its text, where no recipe was given."""
        self.library = library
        self.digests["recipe"] = self.digests["recipe"] or digest_of(repr(recipe).encode())

    @property
    def now(self) -> float:
        """Seconds of training so far, without those that looks took."""
        return perf_counter() - self._began - self.spent

    @property
    def last(self) -> int:
        """The round that was looked at last; 0 before the first."""
        return self._rounds[-1].number if self._rounds else 0

    def due(self, number: int, *, final: bool = False) -> bool:
        """Whether a round (from 1) is to be looked at; the final one always is, and none twice."""
        return not self._why and number > self.last and (final or number >= self._next)

    def look(self, number: int, answer: Callable[[Any], Any], *, seconds: float | None = None) -> None:
        """Let the model, as it is after so many rounds, answer; `seconds` are those at that round, else now's."""
        at, began = self.now if seconds is None else seconds, perf_counter()
        try:
            self._look(number, answer, None if math.isnan(at) else at)
        except NotApplicable as error:
            self._why = str(error)
        self.spent += perf_counter() - began
        self._until = max(self._until, 0.0 if math.isnan(at) else at)
        self._next = number + self.every if self.every else max(number + 1, math.ceil(number * STEP))

    def _look(self, number: int, answer: Callable[[Any], Any], seconds: float | None) -> None:
        found, sums = self.held_out.look(answer(self.held_out.rows))
        own, own_sums = self.learned.look(answer(self.learned.rows)) if self.learned else ((), None)
        self._rounds.append(Round(number=number, held_out=found, learned=own, seconds=seconds))
        self._sums.append((sums, own_sums))

    def record(self) -> LearningCurve:
        """The curve as it is now, with every round beside the last."""
        rounds = tuple(self._beside_last(place) for place in range(len(self._rounds)))
        reading = read(rounds, self.held_out.error)
        if self._why or not rounds:
            reading = Reading(answer="not drawn", why=self._why or "no round was looked at")
        return LearningCurve(
            library=self.library,
            error=self.held_out.error,
            rounds=rounds,
            reading=reading,
            seconds=self._until,
            spent=self.spent,
            **self.digests,
        )

    def _beside_last(self, place: int) -> Round:
        if place == len(self._rounds) - 1:
            return self._rounds[place]
        (sums, own), (last, last_own) = self._sums[place], self._sums[-1]
        own_ahead = None
        if self.learned is not None and own is not None and last_own is not None:
            own_ahead = self.learned.between(own - last_own)
        return replace(
            self._rounds[place],
            ahead=self.held_out.between(sums - last),
            learned_ahead=own_ahead,
        )
