"""Execute batches on a model: gather rows, validate them, predict; a request that fails does not fail the others.

Nothing here replies to a caller. It may run on any thread; results are delivered on the thread of the event loop.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from headway.core.errors import HeadwayError, RowRefused
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.validation import InputValidator, Violation
from headway.serving.loading import LoadedModel
from headway.serving.protocol.errors import ContractViolation
from headway.storage import traffic

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

_SHOWN_VIOLATIONS, _LISTED_VIOLATIONS = 3, 1_000  # of a call: in the message of a rejection, and in its response
_log = logging.getLogger(__name__)
T = TypeVar("T")


class InferCall(Protocol):
    """One decoded request: `rows` float64 [n, d], its `key`, and the name of the API key that sent it ("" for none).

    `started_ns` and `deadline_ns` are times of `time.perf_counter_ns`; a deadline of 0 never passes. `caller` is the
    API key or the machine that it came from; it is valid while the call is submitted.
    """

    rows: Floats
    key: str
    api_key: str
    started_ns: int
    deadline_ns: int

    @property
    def caller(self) -> str:
        """Name of the API key of the request, or its address."""
        ...

    def read_for(self, model: LoadedModel) -> Floats:
        """Return the rows as another model reads them; raises DataError if the request lacks a column."""
        ...

    def answer(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> None:
        """Take the outputs of a model in row-major order, the values that violate its contract, and its answers."""
        ...

    def prepare(
        self,
        model: LoadedModel,
        values: Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> Callable[[], object]:
        """Encode many outputs, on any thread; the function that is returned sends them, on the thread of the loop."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the error of the request."""
        ...


Violations = Mapping[InferCall, Sequence[Violation]]
Counts = Counter[tuple[str, str]]
_LISTED = {"reject": _SHOWN_VIOLATIONS, "mark": _LISTED_VIOLATIONS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Calls with their request numbers in the prediction log, and the rate at which it keeps them (0: not kept)."""

    calls: Sequence[InferCall]
    numbers: Ints
    rate: float = 1.0

    def select(self, indices: Sequence[int]) -> Batch:
        """Return the calls at these indices."""
        calls = [self.calls[index] for index in indices]
        return Batch(calls=calls, numbers=self.numbers[list(indices)], rate=self.rate)

    def halves(self) -> tuple[Batch, Batch]:
        """Return the first half of the calls and the second."""
        half = len(self.calls) // 2
        return (
            Batch(calls=self.calls[:half], numbers=self.numbers[:half], rate=self.rate),
            Batch(calls=self.calls[half:], numbers=self.numbers[half:], rate=self.rate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Which arm of a traffic split produced a result, as the prediction log records it.

    `answered` is 1 if callers received the result, `paired` is 1 if the other arm ran on the same calls as well.
    `other_ns` is the time that the other arm took for the same batch; it does not count as this arm's latency.
    """

    role: int
    answered: int
    paired: int
    stage: int = traffic.ALONE
    other_ns: int = 0


LIVE = Arm(role=traffic.LIVE, answered=1, paired=0)


@dataclass(slots=True, kw_only=True, eq=False)
class BatchResult:
    """Outputs of a model for a batch, or the error of a batch of one call.

    Callers receive it if `arm.answered`. `canary_failed` marks the error of a canary that the live model answers for.
    `outside` counts violations of the contract by column and kind; of these `violations` holds those to be listed.
    `selective` has the answers of a release with an answer plan. `prepared` sends the answers, if there are so many
    outputs that they were encoded where they were computed.
    """

    model: LoadedModel
    batch: Batch
    arm: Arm = LIVE
    ended_ns: int
    began_ns: int = 0
    rows: Floats | None = None
    answers: Floats | None = None
    selective: RowAnswers | None = None
    seen: tuple[Ints, ...] = ()
    texts: tuple[list[str | None], ...] = ()
    error: Exception | None = None
    canary_failed: bool = False
    outside: Mapping[InferCall, Counts] = field(default_factory=dict)
    violations: Violations = field(default_factory=dict)
    prepared: Sequence[Callable[[], object]] = ()

    @classmethod
    def of_defect(cls, model: LoadedModel, call: InferCall, error: Exception) -> BatchResult:
        """Return the result for one caller of a batch that failed because of a defect of the server."""
        batch = Batch(calls=[call], numbers=np.zeros(1, dtype=np.int64))
        return cls(model=model, batch=batch, ended_ns=time.perf_counter_ns(), error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """Rows of one engine call, the action on a contract violation, and the decimals of an output (-1: all)."""

    batch_rows: int
    contract: str = "off"
    round_digits: int = -1


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a batch as the model reads them, what was looked up for them, and when gathering them began."""

    batch: Batch
    rows: Floats
    seen: tuple[Ints, ...]
    began_ns: int
    texts: tuple[list[str | None], ...] = ()

    def starts(self) -> Ints:
        """Return the index of the first row of each call, and the number of rows."""
        return np.cumsum([0, *(len(call.rows) for call in self.batch.calls)])

    def select(self, batch: Batch, rows: slice | Ints) -> _Rows:
        seen = tuple(times[rows] for times in self.seen)
        return _Rows(batch, self.rows[rows], seen, self.began_ns, tuple(_take(values, rows) for values in self.texts))

    def halves(self) -> tuple[_Rows, _Rows]:
        first, second = self.batch.halves()
        middle = int(self.starts()[len(first.calls)])
        return self.select(first, slice(middle)), self.select(second, slice(middle, None))


class BatchExecutor:
    """Runs batches on models."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings

    def run(self, model: LoadedModel, batch: Batch, arm: Arm = LIVE, *, reread: bool = False) -> Iterator[BatchResult]:
        """Yield the results of a batch, in as few engine calls as the row limit allows.

        A batch that fails is halved until only the calls at fault fail. `reread` decodes the requests again, for a
        model that reads other columns than the one they were decoded for.
        """
        try:
            gathered, refused = _gather(model, batch, reread=reread)
        except Exception as error:  # noqa: BLE001 - a call or a feature table: one request must not fail the others
            if len(batch.calls) == 1:
                yield _failed(model, batch, arm, error)
                return
            for half in batch.halves():
                yield from self.run(model, half, arm, reread=reread)
            return
        if refused:
            failed, rest = _split_off(gathered, _errors_by_call(gathered, refused))
            yield from (_refused(model, part, arm, error) for part, error in failed)
            if rest is None:
                return
            gathered = rest
        outside: Mapping[InferCall, Counts] = {}
        violations: Violations = {}
        if model.validator is not None and self._settings.contract != "off":
            cells = model.validator.find(gathered.rows)
            if len(cells):
                outside = _count_by_call(model.validator, gathered, cells)
                limit = _LISTED.get(self._settings.contract, 0)
                violations = _list_by_call(model.validator, gathered, cells, limit) if limit else {}
        parts = [gathered]
        if violations and self._settings.contract == "reject":
            rejected, parts = _reject(model, gathered, arm, violations, outside)
            yield from rejected
            outside, violations = {}, {}
        while parts:
            part = parts.pop()
            try:
                answers, selective = self._predict(model, part.rows)
            except Exception as error:  # noqa: BLE001 - the engine plug-in: one request must not fail the others
                if len(part.batch.calls) == 1:
                    yield _failed(model, part.batch, arm, self._locate(model, part.rows, error))
                else:
                    parts += reversed(part.halves())
                continue
            yield BatchResult(
                model=model,
                batch=part.batch,
                arm=arm,
                began_ns=part.began_ns,
                ended_ns=time.perf_counter_ns(),
                rows=part.rows,
                answers=answers,
                selective=selective,
                seen=part.seen,
                texts=part.texts,
                outside=outside,
                violations=violations,
            )

    def _predict(self, model: LoadedModel, rows: Floats) -> tuple[Floats, RowAnswers | None]:
        model.refusals(rows)
        limit = self._settings.batch_rows
        if len(rows) <= limit:
            answers = model.engine.predict(rows)
        else:
            parts = [model.engine.predict(rows[start : start + limit]) for start in range(0, len(rows), limit)]
            answers = np.concatenate(parts)
        if answers.ndim != 2 or len(answers) != len(rows):
            raise RuntimeError(f"{model.name}: the engine returned shape {answers.shape} for {len(rows)} rows")
        answers = model.calibrate(answers)
        selective = model.selective.decide(answers) if model.selective else None
        if self._settings.round_digits >= 0:
            answers = answers.round(self._settings.round_digits)
        return answers, selective

    def _locate(self, model: LoadedModel, rows: Floats, error: Exception) -> Exception:
        """Return the error of a request with the index of the first row that fails by itself, found by bisection."""
        if len(rows) == 1 or isinstance(error, RowRefused):
            return error
        start, end = 0, len(rows)
        while end - start > 1:
            middle = (start + end) // 2
            first = self._error(model, rows[start:middle])
            later = first or self._error(model, rows[middle:end])
            if later is None:
                return error  # the rows fail only together: no single row is at fault
            start, end, error = (start, middle, first) if first else (middle, end, later)
        if isinstance(error, HeadwayError):
            error.where = f"row {start}{', ' if error.where else ''}{error.where}"
        else:
            error.add_note(f"on row {start} of {len(rows)}")
        return error

    def _error(self, model: LoadedModel, rows: Floats) -> Exception | None:
        try:
            self._predict(model, rows)
        except Exception as error:  # noqa: BLE001 - the engine plug-in, as above
            return error
        return None


def _gather(model: LoadedModel, batch: Batch, *, reread: bool) -> tuple[_Rows, Mapping[int, RowRefused]]:
    """Return the rows of a batch as the model reads them, and the error of each row that a feature refuses."""
    calls = batch.calls
    parts = [call.read_for(model) for call in calls] if reread else [call.rows for call in calls]
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    began = time.perf_counter_ns()
    if not model.features.is_needed:
        return _Rows(batch, rows, (), began, model.features.model_texts(rows)), {}
    keys = [call.key for call, part in zip(calls, parts, strict=True) for _ in range(len(part))]
    found = model.features.get_online_features(rows, keys)
    texts = (*found.texts, *model.features.model_texts(found.rows))
    return _Rows(batch, found.rows, found.seen, began, texts), found.refused


def _take(values: list[str | None], rows: slice | Ints) -> list[str | None]:
    return values[rows] if isinstance(rows, slice) else [values[row] for row in rows.tolist()]


def _errors_by_call(gathered: _Rows, refused: Mapping[int, RowRefused]) -> dict[InferCall, Exception]:
    """Return the first error of each call with a refused row, which names the row by its index in the call."""
    starts, found = gathered.starts(), dict[InferCall, Exception]()
    for row in sorted(refused):
        index = int(np.searchsorted(starts, row, side="right")) - 1
        error = refused[row]
        error.where = f"row {row - int(starts[index])}{error.where.removeprefix(f'row {row}')}"
        found.setdefault(gathered.batch.calls[index], error)
    return found


def _refused(model: LoadedModel, part: _Rows, arm: Arm, error: Exception) -> BatchResult:
    return BatchResult(
        model=model,
        batch=part.batch,
        arm=arm,
        ended_ns=time.perf_counter_ns(),
        rows=part.rows,
        seen=part.seen,
        texts=part.texts,
        error=error,
    )


def _count_by_call(validator: InputValidator, gathered: _Rows, cells: Ints) -> Mapping[InferCall, Counts]:
    counts: dict[InferCall, Counts] = {}
    indices = np.searchsorted(gathered.starts(), cells[:, 0], side="right") - 1
    for index, column, kind, n in validator.count(gathered.rows, cells, indices):
        counts.setdefault(gathered.batch.calls[index], Counter())[column, kind] = n
    return counts


def _list_by_call(validator: InputValidator, gathered: _Rows, cells: Ints, limit: int) -> Violations:
    """Describe the first violations of each call; their row indices count from the first row of the call."""
    starts = gathered.starts()
    first = np.searchsorted(cells[:, 0], starts)
    listed: dict[InferCall, list[Violation]] = {}
    for index in np.flatnonzero(np.diff(first)).tolist():
        start = int(starts[index])
        found = validator.describe(gathered.rows, cells[first[index] : min(first[index] + limit, first[index + 1])])
        listed[gathered.batch.calls[index]] = [violation._replace(row=violation.row - start) for violation in found]
    return listed


def _reject(
    model: LoadedModel, gathered: _Rows, arm: Arm, violations: Violations, outside: Mapping[InferCall, Counts]
) -> tuple[list[BatchResult], list[_Rows]]:
    """Return an error for each call that violates the contract, and the rows of the other calls, if there are any."""
    found, rest = _split_off(gathered, violations)
    rejected = [_rejected(model, part, arm, listed, outside[part.batch.calls[0]]) for part, listed in found]
    return rejected, [] if rest is None else [rest]


def _split_off(gathered: _Rows, chosen: Mapping[InferCall, T]) -> tuple[list[tuple[_Rows, T]], _Rows | None]:
    """Return the rows of each chosen call with its value, and those of the other calls, if there are any."""
    batch, starts = gathered.batch, gathered.starts()
    found = []
    for index, call in enumerate(batch.calls):
        if call in chosen:
            part = gathered.select(batch.select([index]), slice(int(starts[index]), int(starts[index + 1])))
            found.append((part, chosen[call]))
    others = [index for index, call in enumerate(batch.calls) if call not in chosen]
    if not others:
        return found, None
    rows = np.isin(np.repeat(np.arange(len(batch.calls)), np.diff(starts)), others).nonzero()[0]
    return found, gathered.select(batch.select(others), rows)


def _rejected(
    model: LoadedModel, part: _Rows, arm: Arm, violations: Sequence[Violation], outside: Counts
) -> BatchResult:
    shown, others = "; ".join(map(str, violations)), outside.total() - len(violations)
    more = f"; and {others} more" if others else ""
    error = ContractViolation(f"outside the contract: {shown}{more}")
    return replace(_refused(model, part, arm, error), outside={part.batch.calls[0]: outside})


def _failed(model: LoadedModel, batch: Batch, arm: Arm, error: Exception) -> BatchResult:
    if not isinstance(error, HeadwayError):
        _log.error("the engine of %s failed on a request", model.name, exc_info=error)
    return BatchResult(model=model, batch=batch, arm=arm, ended_ns=time.perf_counter_ns(), error=error)
