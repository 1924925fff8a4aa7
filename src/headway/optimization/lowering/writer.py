"""Steps of a tape as they are written down: each makes a span of its own, and at the end spans share the file of a row.

Operands are spans of the file, or numbers in a pool: constants of a network that steps read as they read the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable
from headway.engines.compiled.program import IN_FILE, IN_POOL, MAX_FLOATS, ONE_NUMBER, OPERATIONS, VECTOR_SIZE, Program

Array = NDArray[Any]

MAX_NUMBERS = 4 << 20  # of the pool: 16 MB, which no cache near a core holds
_BY_NUMBER = OPERATIONS.index("copy")  # operations before it go number by number, and may write where they read


class Span(NamedTuple):
    """Numbers of the file: the register they belong to, and where they begin in it."""

    register: int
    offset: int = 0


class Pooled(NamedTuple):
    """Numbers of the pool; `one` says that it is one number, for as many as are wanted."""

    at: int
    one: bool = False


Operand = Span | Pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    operation: str
    out: Span
    count: int
    operands: tuple[Operand, ...]
    sizes: tuple[int, int]

    @property
    def spans(self) -> list[Span]:
        return [each for each in self.operands if isinstance(each, Span)]


@dataclass(slots=True)
class ProgramWriter:
    """Register 0 is the row itself."""

    width: int
    _registers: list[int] = field(default_factory=list)
    _steps: list[_Step] = field(default_factory=list)
    _pool: list[Array] = field(default_factory=list)
    _pooled: dict[bytes, int] = field(default_factory=dict)
    _places: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.register(self.width)

    def register(self, size: int) -> Span:
        """Room for so many numbers."""
        self._registers.append(size)
        return Span(len(self._registers) - 1)

    def do(self, operation: str, out: Span, count: int, *operands: Operand, sizes: tuple[int, int] = (0, 0)) -> Span:
        """Note a step; `sizes` are the two last of its eight numbers, where these are no kinds of operands."""
        self._steps.append(_Step(operation=operation, out=out, count=count, operands=operands, sizes=sizes))
        return out

    def pool(self, numbers: Array) -> Pooled:
        """Constants float32, kept once, in whole vectors."""
        flat = np.ascontiguousarray(numbers, np.float32).ravel()
        whole = np.zeros(_round_up(len(flat)), np.float32)
        whole[: len(flat)] = flat
        return Pooled(self._keep(whole))

    def one(self, number: float) -> Pooled:
        """One number as a constant."""
        return Pooled(self._keep(np.full(VECTOR_SIZE, number, np.float32)), one=True)

    def take(self, count: int, out: Span, source: Span, places: Array) -> Span:
        """Note a step that writes the numbers at these places after the start of a span."""
        at = sum(map(len, self._places))
        self._places.append(places.astype(np.int32))
        return self.do("take", out, count, source, Pooled(at), sizes=(0, int(places.max()) + 1))

    def written(self, answer: Span, outputs: int) -> Program:
        """The tape, its spans laid into one file; raises NotApplicable where that is too large."""
        starts, size = self._laid_out(answer)
        if size > MAX_FLOATS:
            raise NotApplicable(f"a row would need {size:,} numbers on its way, at most {MAX_FLOATS:,} are kept near")
        used = [step for step in self._steps if step.out.register in starts]
        return Program(
            width=self.width,
            outputs=outputs,
            answer=starts[answer.register] + answer.offset,
            size=size,
            steps=np.array([_numbers(step, starts) for step in used], np.int32).reshape(-1, 8),
            pool=np.concatenate([np.zeros(0, np.float32), *self._pool]),
            places=np.concatenate([np.zeros(0, np.int32), *self._places]),
        )

    def _keep(self, numbers: Array) -> int:
        content = numbers.tobytes()
        if content not in self._pooled:
            at = sum(map(len, self._pool))
            if at + len(numbers) > MAX_NUMBERS:
                raise NotApplicable(
                    f"it has more than {MAX_NUMBERS:,} weights, and libraries are faster from there on",
                    hint="openvino",
                )
            self._pooled[content] = at
            self._pool.append(numbers)
        return self._pooled[content]

    def _laid_out(self, answer: Span) -> tuple[Mapping[int, int], int]:
        """Where each register that is used begins in the file, and the size of that."""
        last = self._last_uses(answer)
        starts = {0: 0}
        taken = {0: (0, _round_up(self.width))}
        end = _round_up(self.width)
        for number, step in enumerate(self._steps):
            out = step.out.register
            if out not in last:
                continue
            if out not in starts:
                size = _round_up(self._registers[out])
                starts[out] = self._same_place(step, number, last, starts) or _first_gap(taken.values(), size)
                taken[out] = (starts[out], starts[out] + size)
                end = max(end, taken[out][1])
            taken = {each: place for each, place in taken.items() if last.get(each, -1) > number}
        return starts, end + VECTOR_SIZE  # a span within a register is read to its next whole vector

    def _last_uses(self, answer: Span) -> dict[int, int]:
        """Of each register that the answer needs, the last step that reads it."""
        last = {answer.register: len(self._steps)}
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            if step.out.register in last:
                for span in step.spans:
                    last.setdefault(span.register, number)
        return last

    def _same_place(self, step: _Step, number: int, last: Mapping[int, int], starts: Mapping[int, int]) -> int:
        """Where a number may be written over one that is read for the last time, or 0: the row is not written over."""
        spans = step.spans
        size = _round_up(self._registers[step.out.register])
        for span in spans:
            alone = all(other == span or other.register != span.register for other in spans)
            dies = last[span.register] == number and span.register != 0 and alone
            same = span.offset == step.out.offset == 0 and _round_up(self._registers[span.register]) == size
            if dies and same and OPERATIONS.index(step.operation) < _BY_NUMBER:
                return starts[span.register]
        return 0


def _round_up(size: int) -> int:
    return -(-max(size, 1) // VECTOR_SIZE) * VECTOR_SIZE


def _first_gap(taken: Any, size: int) -> int:
    """The first place where so many numbers are free."""
    at = 0
    for start, end in sorted(taken):
        if start - at >= size:
            break
        at = max(at, end)
    return at


def _numbers(step: _Step, starts: Mapping[int, int]) -> list[int]:
    """The eight numbers of a step."""
    places = [each.at if isinstance(each, Pooled) else starts[each.register] + each.offset for each in step.operands]
    kinds = [(ONE_NUMBER if each.one else IN_POOL) if isinstance(each, Pooled) else IN_FILE for each in step.operands]
    operation = OPERATIONS.index(step.operation)
    by_kind = sum(kind << 2 * place for place, kind in enumerate(kinds))
    first = by_kind if operation <= _BY_NUMBER else step.sizes[0]
    a, b, c = [*places, 0, 0, 0][:3]
    return [operation, starts[step.out.register] + step.out.offset, step.count, a, b, c, first, step.sizes[1]]
