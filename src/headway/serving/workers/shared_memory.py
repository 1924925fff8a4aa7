"""Counts in memory that the processes of a fleet share: each writes a row of its own, whoever asks sums over all.

The memory is made before the fork, and is there as long as any of them lives: what a process counted outlives it, and
the one that takes its place goes on in the same row.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_CELL_BYTES = 8
_NAME_CELLS = 25  # 200 bytes: NAME@sha256:DIGEST is at most 136


class SharedTable:
    """A table int64 [rows, width] of zeros; make it before the fork.

    >>> shared = Shared(2, 3)
    >>> shared.row(1)[2] += 5
    >>> shared.total().tolist()
    [0, 0, 5]
    """

    def __init__(self, rows: int, width: int) -> None:
        memory = mmap.mmap(-1, rows * width * _CELL_BYTES)
        self.table: Ints = np.frombuffer(memory, dtype=np.int64).reshape(rows, width)

    def row(self, number: int) -> Ints:
        """A row int64 [width], for the one process that writes it."""
        found: Ints = self.table[number]
        return found

    def total(self) -> Ints:
        """The sums of the columns over all rows, int64 [width]."""
        found: Ints = self.table.sum(axis=0)
        return found


class NamedCounters:
    """Counts int64 [width] under names, of which each process places those that it meets in a row of its own."""

    def __init__(self, rows: int, width: int, *, most: int = 64) -> None:
        self._records = SharedTable(rows, most * (_NAME_CELLS + width)).table.reshape(rows, most, _NAME_CELLS + width)
        self._known: dict[tuple[int, str], Ints] = {}

    def of(self, row: int, name: str) -> Ints:
        """The counts of a name in a row, zeros where it was not met; raises IndexError where there is no room."""
        found = self._known.get((row, name))
        if found is None:
            found = self._known[row, name] = self._placed(row, name)
        return found

    def found(self) -> dict[str, Ints]:
        """Each name with its counts in all rows that met it, int64 [n, width]."""
        found: dict[str, list[Ints]] = {}
        for _, name, counts in self._all():
            found.setdefault(name, []).append(counts)
        return {name: np.stack(each) for name, each in found.items()}

    def _all(self) -> Iterator[tuple[int, str, Ints]]:
        for row, records in enumerate(self._records):
            for record in records[records[:, 0] != 0]:
                yield row, record[:_NAME_CELLS].tobytes().rstrip(b"\0").decode(), record[_NAME_CELLS:]

    def _placed(self, row: int, name: str) -> Ints:
        cells = np.frombuffer(name.encode().ljust(_NAME_CELLS * _CELL_BYTES, b"\0"), dtype=np.int64)
        for record in self._records[row]:
            if not record[0]:
                record[1:_NAME_CELLS] = cells[1:]
                record[0] = cells[0]  # last: from here on the name is there, and whole
            if (record[:_NAME_CELLS] == cells).all():
                counts: Ints = record[_NAME_CELLS:]
                return counts
        raise IndexError(f"no room for '{name}' among {len(self._records[row])} names")


class CounterMap(MutableMapping[str, int]):
    """One number by name in a row; what is 0 is as if it were not there, and can be read."""

    def __init__(self, board: NamedCounters, row: int) -> None:
        self._board = board
        self._row = row

    def __getitem__(self, name: str) -> int:
        return int(self._board.of(self._row, name)[0])

    def __setitem__(self, name: str, number: int) -> None:
        self._board.of(self._row, name)[0] = number

    def __delitem__(self, name: str) -> None:
        self[name] = 0

    def __iter__(self) -> Iterator[str]:
        return (name for row, name, counts in self._board._all() if row == self._row and counts[0])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def total(self) -> dict[str, int]:
        """The sums by name over all rows."""
        return {name: int(counts.sum()) for name, counts in self._board.found().items() if counts.any()}


class FlagMap(MutableMapping[str, bool]):
    """One truth by name in a row, as `CounterMap` holds it: 1 for no and 2 for yes."""

    def __init__(self, board: NamedCounters, row: int) -> None:
        self._board = board
        self._own = CounterMap(board, row)

    def __getitem__(self, name: str) -> bool:
        if not self._own[name]:
            raise KeyError(name)
        return self._own[name] == 2

    def __setitem__(self, name: str, value: bool) -> None:
        self._own[name] = 1 + value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def anywhere(self) -> dict[str, bool]:
        """By name, whether any row says yes."""
        return {name: bool((counts == 2).any()) for name, counts in self._board.found().items() if counts.any()}
