"""The data plane: releases by name, and one engine call a release for all that was decoded in one turn of the loop.

While a rollout runs, a second release answers beside the live one: none of its errors reaches a caller. The plane knows
neither HTTP nor JSON: a call brings rows, and is given its values or its error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headway.core.errors import HeadwayError
from headway.release.assign import assign
from headway.serve.load import Loaded
from headway.serve.log import Entry, PredictionLog
from headway.serve.metrics import Metrics
from headway.serve.seat import ALONE, AT_LIVE, BESIDE, BESIDE_LIVE, OF_CANARY, Seat, Side

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_log = logging.getLogger(__name__)


class Call(Protocol):
    """One request, decoded: `rows` float64 [n, d], its key, and when it had come by `time.perf_counter_ns`."""

    rows: Floats
    key: str
    started_ns: int

    def read_for(self, release: Loaded) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        ...

    def answer(self, release: Loaded, values: list[float]) -> None:
        """Take the answers of a release to the rows, in row-major order."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the reason why there is no answer."""
        ...


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a release said to calls, at their `places` among those asked: answers, or of one call its error."""

    calls: Sequence[Call]
    places: slice
    ended_ns: int
    began_ns: int = 0
    rows: Floats | None = None
    answers: Floats | None = None
    seen: tuple[Ints, ...] = ()
    error: Exception | None = None


class Plane:
    """Answers calls in batches; `soon` runs a function once the loop has read all that had come (`loop.call_soon`)."""

    def __init__(
        self,
        loaded: Iterable[Loaded],
        *,
        soon: Callable[[Callable[[], None]], object],
        max_batch_rows: int,
        metrics: Metrics | None = None,
        log: PredictionLog | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.engine_ns = (0, 0)  # when the engine was called that answered last, and when it had answered
        self._log = log
        self._seats: dict[str, Seat] = {}
        self._soon = soon
        self._max_batch_rows = max_batch_rows
        self._queue: dict[Loaded, list[Call]] = {}
        for release in loaded:
            self.swap(release)

    @property
    def max_batch_rows(self) -> int:
        """The most rows of one engine call."""
        return self._max_batch_rows

    @property
    def releases(self) -> dict[str, Loaded]:
        """What is live now, by name."""
        return {name: seat.live for name, seat in self._seats.items()}

    def find(self, name: str) -> Loaded | None:
        """The release that is live for a name."""
        seat = self._seats.get(name)
        return seat.live if seat else None

    def swap(self, release: Loaded) -> None:
        """Let this release alone answer to its name; see `take`."""
        self.take(Seat(live=release))

    def take(self, seat: Seat) -> None:
        """Let this seat answer to its name from the next request on; what was decoded before goes to the old one."""
        self._seats[seat.live.name] = seat
        self.metrics.of(seat.live.name)

    def leave(self, name: str) -> None:
        """Let nothing answer to a name from the next request on."""
        self._seats.pop(name, None)

    def submit(self, release: Loaded, call: Call) -> None:
        """Queue a call for the end of this turn of the loop."""
        if not self._queue:
            self._soon(self._flush)
        waiting = self._queue.get(release)
        if waiting is None:
            self._queue[release] = [call]
        else:
            waiting.append(call)

    def _flush(self) -> None:
        queue, self._queue = self._queue, {}
        for release, calls in queue.items():
            seat = self._seats.get(release.name)
            if seat is None or seat.canary is None or seat.live is not release:
                self._serve(release, calls, ALONE, self._numbers(calls))
            elif seat.share:
                self._canary(seat, seat.canary, calls)
            else:
                self._shadow(seat, seat.canary, calls)

    def _shadow(self, seat: Seat, canary: Loaded, calls: Sequence[Call]) -> None:
        """Live answers, and then the canary reads and answers the same for the log alone."""
        numbers, began = self._numbers(calls), time.perf_counter_ns()
        self._serve(seat.live, calls, seat.side(AT_LIVE), numbers)
        took = time.perf_counter_ns() - began
        for outcome in self._outcomes(canary, calls, anew=seat.reads_anew):
            self._note(canary, outcome, seat.side(BESIDE, took_ns=took), numbers)

    def _canary(self, seat: Seat, canary: Loaded, calls: Sequence[Call]) -> None:
        """Each caller gets the answer of the side that its key is of; calls of the canary's keys go to both."""
        its_own = [bool(call.key) and assign(call.key, seat.salt, seat.share) for call in calls]
        others = [call for call, its in zip(calls, its_own, strict=True) if not its]
        mine = [call for call, its in zip(calls, its_own, strict=True) if its]
        began = time.perf_counter_ns()
        if others:
            self._serve(seat.live, others, seat.side(ALONE), self._numbers(others))
        if mine:
            self._both(seat, canary, mine, began)

    def _both(self, seat: Seat, canary: Loaded, calls: Sequence[Call], began: int) -> None:
        """The canary answers; where it fails live does, which answers the same calls for the log as well."""
        numbers, held = self._numbers(calls), list[int]()
        before = time.perf_counter_ns() - began
        for outcome in self._outcomes(canary, calls, anew=seat.reads_anew):
            side = BESIDE if outcome.error else OF_CANARY
            self._note(canary, outcome, seat.side(side, took_ns=before), numbers)
            if outcome.error:
                self.metrics.canary_errors[canary.name] += 1
                held.append(outcome.places.start)
            else:
                self._answer(canary, outcome)
        took = time.perf_counter_ns() - began
        if held:
            self._serve(seat.live, [calls[place] for place in held], seat.side(AT_LIVE, took_ns=took), numbers[held])
        rest = [place for place in range(len(calls)) if place not in set(held)]
        if rest:
            self._beside_live(seat, [calls[place] for place in rest], numbers[rest], took)

    def _beside_live(self, seat: Seat, calls: Sequence[Call], numbers: Ints, took_ns: int) -> None:
        for outcome in self._outcomes(seat.live, calls):
            self._note(seat.live, outcome, seat.side(BESIDE_LIVE, took_ns=took_ns), numbers)

    def _serve(self, release: Loaded, calls: Sequence[Call], side: Side, numbers: Ints) -> None:
        """Let a release answer calls, and note it."""
        for outcome in self._outcomes(release, calls):
            self._note(release, outcome, side, numbers)  # first: no answer is out before it is in the log
            self._answer(release, outcome)

    def _answer(self, release: Loaded, outcome: Outcome) -> None:
        calls, answers = outcome.calls, outcome.answers
        counts = self.metrics.of(release.name)
        if answers is None:
            counts.fail(calls[0].started_ns, ended_ns=outcome.ended_ns)
            calls[0].fail(outcome.error or RuntimeError("no answer"))
            return
        self.engine_ns = times = (outcome.began_ns, outcome.ended_ns)
        values, k, start = answers.ravel().tolist(), answers.shape[1], 0
        for call in calls:
            end = start + len(call.rows) * k
            call.answer(release, values[start:end])
            start = end
        started = [call.started_ns for call in calls]
        counts.add(started, engine_ns=times, ended_ns=time.perf_counter_ns(), rows=len(answers))

    def _numbers(self, calls: Sequence[Call]) -> Ints:
        return self._log.number(len(calls)) if self._log else np.empty(len(calls), dtype=np.int64)

    def _note(self, release: Loaded, outcome: Outcome, side: Side, numbers: Ints) -> None:
        if self._log is None:
            return
        calls, ended = outcome.calls, outcome.ended_ns - side.took_ns
        entry = Entry(
            release=release,
            at_us=time.time_ns() // 1000,
            requests=numbers[outcome.places],
            keys=[call.key for call in calls],
            sizes=_sizes(outcome),
            latency_ns=ended - np.array([call.started_ns for call in calls], dtype=np.int64),
            role=side.role,
            answered=side.answered,
            stage=side.stage,
            paired=side.paired,
            rows=outcome.rows,
            answers=outcome.answers,
            seen=outcome.seen,
        )
        self._log.add(entry)

    def _outcomes(
        self, release: Loaded, calls: Sequence[Call], *, start: int = 0, anew: bool = False
    ) -> Iterator[Outcome]:
        """What a release says to calls, in as few engine calls as the limit allows; halves one that fails.

        So that a call fails alone. `start` is the place of the first call; `anew` reads what the calls bring once more.
        """
        places = slice(start, start + len(calls))
        try:
            outcome = self._predict(release, calls, places=places, anew=anew)
        except Exception as error:  # noqa: BLE001 - the plug-in call; the traceback is logged
            outcome = Outcome(calls=calls, places=places, ended_ns=time.perf_counter_ns(), error=error)
        if outcome.error is None:
            yield outcome
        elif len(calls) > 1:
            half = len(calls) // 2
            yield from self._outcomes(release, calls[:half], start=start, anew=anew)
            yield from self._outcomes(release, calls[half:], start=start + half, anew=anew)
        else:
            if not isinstance(outcome.error, HeadwayError):
                _log.error("the engine of %s failed on a request", release.name, exc_info=outcome.error)
            yield outcome

    def _predict(self, release: Loaded, calls: Sequence[Call], *, places: slice, anew: bool) -> Outcome:
        parts = [call.read_for(release) for call in calls] if anew else [call.rows for call in calls]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        seen: tuple[Ints, ...] = ()
        began = time.perf_counter_ns()
        if release.views.names:
            keys = [call.key for call, part in zip(calls, parts, strict=True) for _ in range(len(part))]
            rows, seen = release.views.look_up(rows, keys)
        answers = self._engine(release, rows)
        if release.calibrator.shift:
            answers = release.calibrator(answers)
        ended = time.perf_counter_ns()
        return Outcome(
            calls=calls, places=places, began_ns=began, ended_ns=ended, rows=rows, answers=answers, seen=seen
        )

    def _engine(self, release: Loaded, rows: Floats) -> Floats:
        most = self._max_batch_rows
        parts = [release.engine.predict(rows[start : start + most]) for start in range(0, len(rows), most)]
        answers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if answers.ndim != 2 or len(answers) != len(rows):
            raise RuntimeError(f"{release.name}: {len(rows)} rows gave answers of shape {answers.shape}")
        return answers


def _sizes(outcome: Outcome) -> list[int]:
    """The rows of each call."""
    calls = outcome.calls
    if outcome.rows is not None and len(outcome.rows) == len(calls):
        return [1] * len(calls)
    return [len(call.rows) for call in calls]
