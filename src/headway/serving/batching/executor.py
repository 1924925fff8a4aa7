"""What a release says to calls: rows gathered, held to the contract, put to the engine; a call that fails fails alone.

Nothing here answers anyone: it may run on any thread, and who settles what was said does so on the loop's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from headway.core.errors import HeadwayError
from headway.serving.batching.refusals import ContractViolation
from headway.serving.batching.validation import Violation
from headway.serving.loading import LoadedModel
from headway.serving.routing.traffic_split import LIVE, Arm

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_log = logging.getLogger(__name__)
_TOLD = 3
T = TypeVar("T")


class Call(Protocol):
    """One request, decoded: `rows` float64 [n, d] and its key.

    When it had come, and from when on it need not be asked (0: never), are times of `time.perf_counter_ns`.
    """

    rows: Floats
    key: str
    started_ns: int
    deadline_ns: int

    def read_for(self, release: LoadedModel) -> Floats:
        """The rows as another release asks for them; raises DataError where the request does not bring them."""
        ...

    def answer(self, release: LoadedModel, values: list[float], outside: Sequence[Violation] = ()) -> None:
        """Take the answers of a release to the rows, in row-major order, and which values were outside its contract."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the reason why there is no answer."""
        ...


Violations = Mapping[Call, Sequence[Violation]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Calls with their numbers in the log."""

    calls: Sequence[Call]
    numbers: Ints

    def part(self, places: Sequence[int]) -> Batch:
        """The calls at these places."""
        return Batch(calls=[self.calls[place] for place in places], numbers=self.numbers[list(places)])

    def halves(self) -> tuple[Batch, Batch]:
        """The first calls and the others."""
        half = len(self.calls) // 2
        return (
            Batch(calls=self.calls[:half], numbers=self.numbers[:half]),
            Batch(calls=self.calls[half:], numbers=self.numbers[half:]),
        )


@dataclass(slots=True, kw_only=True, eq=False)
class EngineResult:
    """What a release said to a batch: answers, or to a batch of one call its error. `marks` are breaches by call."""

    batch: Batch
    ended_ns: int
    began_ns: int = 0
    rows: Floats | None = None
    answers: Floats | None = None
    seen: tuple[Ints, ...] = ()
    error: Exception | None = None
    marks: Violations = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """How every release of a server answers: rows of one engine call, what a breach leads to, digits of an answer."""

    batch_rows: int
    contract: str = "off"
    round_digits: int = -1


@dataclass(frozen=True, slots=True)
class _Gathered:
    """The rows of a batch as the model reads them, and when their gathering began."""

    batch: Batch
    rows: Floats
    seen: tuple[Ints, ...]
    began_ns: int

    def part(self, batch: Batch, places: slice | Ints) -> _Gathered:
        return _Gathered(batch, self.rows[places], tuple(each[places] for each in self.seen), self.began_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """An outcome of a release that has a side, and whether the callers are to hear it.

    `canary_failed` where it is the error of a canary, in whose place live answers.
    """

    release: LoadedModel
    outcome: EngineResult
    side: Arm
    heard: bool
    canary_failed: bool = False

    @classmethod
    def of_defect(cls, release: LoadedModel, call: Call, error: Exception) -> BatchResult:
        """What a caller is told where we failed ourselves."""
        batch = Batch(calls=[call], numbers=np.zeros(1, dtype=np.int64))
        outcome = EngineResult(batch=batch, ended_ns=time.perf_counter_ns(), error=error)
        return cls(release=release, outcome=outcome, side=LIVE, heard=True)


class BatchExecutor:
    """Lets releases answer, by the habits of a server."""

    def __init__(self, habits: ExecutorSettings) -> None:
        self._habits = habits

    def outcomes(self, release: LoadedModel, batch: Batch, *, anew: bool = False) -> Iterator[EngineResult]:
        """What a release says to a batch, in as few engine calls as the limit allows.

        `anew` reads what the calls bring once more, for a release that asks for other columns.
        """
        gathered = run_or_error(lambda: _gathered(release, batch, anew=anew))
        if isinstance(gathered, Exception):
            if len(batch.calls) == 1:
                yield _failed(release, batch, gathered)
                return
            for half in batch.halves():
                yield from self.outcomes(release, half, anew=anew)
            return
        if release.validator is None or self._habits.contract == "off":
            yield from self._answers(release, gathered, {})
            return
        breaches = release.validator(gathered.rows)
        marks = _by_call(gathered, breaches) if breaches else {}
        if not marks or self._habits.contract != "reject":
            yield from self._answers(release, gathered, marks)
        else:
            yield from self._inside(release, gathered, marks)

    def _inside(self, release: LoadedModel, gathered: _Gathered, marks: Violations) -> Iterator[EngineResult]:
        """Refuse the calls that are outside of the contract, and answer the others."""
        batch, starts = gathered.batch, _starts(gathered)
        kept = [place for place, call in enumerate(batch.calls) if call not in marks]
        for place, call in enumerate(batch.calls):
            if call in marks:
                own = gathered.part(batch.part([place]), slice(int(starts[place]), int(starts[place + 1])))
                yield _refused(own, marks[call])
        if kept:
            whole = np.isin(np.repeat(np.arange(len(batch.calls)), np.diff(starts)), kept).nonzero()[0]
            yield from self._answers(release, gathered.part(batch.part(kept), whole), {})

    def _answers(self, release: LoadedModel, gathered: _Gathered, marks: Violations) -> Iterator[EngineResult]:
        """What the engine says to rows; halves a batch that fails, so that a call fails alone."""
        batch = gathered.batch
        answers = run_or_error(lambda: self._predict(release, gathered.rows))
        if isinstance(answers, Exception):
            if len(batch.calls) == 1:
                yield _failed(release, batch, self._blamed(release, gathered.rows, answers))
                return
            middle = int(_starts(gathered)[len(batch.calls) // 2])
            for half, places in zip(batch.halves(), (slice(middle), slice(middle, None)), strict=True):
                yield from self._answers(release, gathered.part(half, places), marks)
            return
        yield EngineResult(
            batch=batch,
            began_ns=gathered.began_ns,
            ended_ns=time.perf_counter_ns(),
            rows=gathered.rows,
            answers=answers,
            seen=gathered.seen,
            marks=marks,
        )

    def _predict(self, release: LoadedModel, rows: Floats) -> Floats:
        answers = release.calibrated(self._engine(release, rows))
        if self._habits.round_digits >= 0:
            answers = answers.round(self._habits.round_digits)
        return answers

    def _engine(self, release: LoadedModel, rows: Floats) -> Floats:
        most = self._habits.batch_rows
        if len(rows) <= most:
            answers = release.engine.predict(rows)
        else:
            parts = [release.engine.predict(rows[start : start + most]) for start in range(0, len(rows), most)]
            answers = np.concatenate(parts)
        if answers.ndim != 2 or len(answers) != len(rows):
            raise RuntimeError(f"{release.name}: {len(rows)} rows gave answers of shape {answers.shape}")
        return answers

    def _blamed(self, release: LoadedModel, rows: Floats, error: Exception) -> Exception:
        """The error of a request, with the first of its rows that fails by itself."""
        if len(rows) == 1:
            return error
        start, end = 0, len(rows)
        while end - start > 1:
            middle = (start + end) // 2
            first = self._error(release, rows[start:middle])
            later = first or self._error(release, rows[middle:end])
            if later is None:
                return error  # together alone: no row is at fault
            start, end, error = (start, middle, first) if first else (middle, end, later)
        if isinstance(error, HeadwayError):
            error.where = f"row {start}{', ' if error.where else ''}{error.where}"
        else:
            error.add_note(f"on row {start} of {len(rows)}")
        return error

    def _error(self, release: LoadedModel, rows: Floats) -> Exception | None:
        said = run_or_error(lambda: self._engine(release, rows))
        return said if isinstance(said, Exception) else None


def run_or_error(work: Callable[[], T]) -> T | Exception:
    """What a plug-in gives, or whatever it failed with: one request must not take others down."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the plug-in call; who is told of it logs the traceback
        return error


def _gathered(release: LoadedModel, batch: Batch, *, anew: bool) -> _Gathered:
    calls = batch.calls
    parts = [call.read_for(release) for call in calls] if anew else [call.rows for call in calls]
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    began = time.perf_counter_ns()
    if not release.views.names:
        return _Gathered(batch, rows, (), began)
    keys = [call.key for call, part in zip(calls, parts, strict=True) for _ in range(len(part))]
    return _Gathered(batch, *release.views.get_online_features(rows, keys), began)


def _starts(gathered: _Gathered) -> Ints:
    """Where the rows of each call begin, and where all end."""
    return np.cumsum([0, *(len(call.rows) for call in gathered.batch.calls)])


def _by_call(gathered: _Gathered, breaches: Sequence[Violation]) -> Violations:
    """The breaches of each call, their rows counted from its own first."""
    starts = _starts(gathered)
    marks: dict[Call, list[Violation]] = {}
    for breach in breaches:
        place = int(np.searchsorted(starts, breach.row, side="right")) - 1
        own = breach._replace(row=breach.row - int(starts[place]))
        marks.setdefault(gathered.batch.calls[place], []).append(own)
    return marks


def _refused(gathered: _Gathered, breaches: Sequence[Violation]) -> EngineResult:
    said = "; ".join(map(str, breaches[:_TOLD]))
    more = f"; and {len(breaches) - _TOLD} more" if len(breaches) > _TOLD else ""
    error = ContractViolation(f"outside the contract: {said}{more}")
    return EngineResult(
        batch=gathered.batch,
        ended_ns=time.perf_counter_ns(),
        rows=gathered.rows,
        seen=gathered.seen,
        error=error,
        marks={gathered.batch.calls[0]: breaches},
    )


def _failed(release: LoadedModel, batch: Batch, error: Exception) -> EngineResult:
    if not isinstance(error, HeadwayError):
        _log.error("the engine of %s failed on a request", release.name, exc_info=error)
    return EngineResult(batch=batch, ended_ns=time.perf_counter_ns(), error=error)
