"""Counters in memory shared by the processes of a server: each writes its own row, and a reader sums over all rows.

The memory is created before the fork, and exists as long as any of them lives: the counts of a process outlive it, and
the process that replaces it continues in the same row.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headway.core.contracts import Ints

_CELL_BYTES = 8
_NAME_CELLS = 25  # 200 bytes: NAME@sha256:DIGEST has at most 136


class SharedTable:
    """A table int64 [rows, width] of zeros; create it before forking.

    >>> shared = SharedTable(2, 3)
    >>> shared.row(1)[2] += 5
    >>> shared.total().tolist()
    [0, 0, 5]
    """

    def __init__(self, rows: int, width: int) -> None:
        memory = mmap.mmap(-1, rows * width * _CELL_BYTES)
        self.table: Ints = np.frombuffer(memory, dtype=np.int64).reshape(rows, width)

    def row(self, number: int) -> Ints:
        """Return a row int64 [width], for the one process that writes it."""
        row: Ints = self.table[number]
        return row

    def total(self) -> Ints:
        """Return the sum over all rows, int64 [width]."""
        total: Ints = self.table.sum(axis=0)
        return total


class NamedCounters:
    """Counters int64 [width] by name; each process adds the names that it needs to its own row."""

    def __init__(self, rows: int, width: int, *, max_names: int = 64) -> None:
        table = SharedTable(rows, max_names * (_NAME_CELLS + width)).table
        self._records = table.reshape(rows, max_names, _NAME_CELLS + width)
        self._known: dict[tuple[int, str], Ints] = {}

    def of(self, row: int, name: str) -> Ints:
        """Return the counters of a name in a row, zeros for a new name; raises IndexError if there is no space."""
        counters = self._known.get((row, name))
        if counters is None:
            counters = self._known[row, name] = self._add(row, name)
        return counters

    def by_name(self) -> dict[str, Ints]:
        """Return the counters of each name in all rows that have it, int64 [n, width]."""
        rows: dict[str, list[Ints]] = {}
        for _, name, counters in self.entries():
            rows.setdefault(name, []).append(counters)
        return {name: np.stack(counters) for name, counters in rows.items()}

    def entries(self) -> Iterator[tuple[int, str, Ints]]:
        """Yield row, name and counters of every entry."""
        for row, records in enumerate(self._records):
            for record in records[records[:, 0] != 0]:
                yield row, record[:_NAME_CELLS].tobytes().rstrip(b"\0").decode(), record[_NAME_CELLS:]

    def _add(self, row: int, name: str) -> Ints:
        cells = np.frombuffer(name.encode().ljust(_NAME_CELLS * _CELL_BYTES, b"\0"), dtype=np.int64)
        for record in self._records[row]:
            if not record[0]:
                record[1:_NAME_CELLS] = cells[1:]
                record[0] = cells[0]  # last: from now on the name is visible, and complete
            if (record[:_NAME_CELLS] == cells).all():
                counters: Ints = record[_NAME_CELLS:]
                return counters
        raise IndexError(f"no space for '{name}' among {len(self._records[row])} names")


class CounterMap(MutableMapping[str, int]):
    """One number by name in a row; a name with 0 can be read, and is not listed."""

    def __init__(self, counters: NamedCounters, row: int) -> None:
        self._counters = counters
        self._row = row

    def __getitem__(self, name: str) -> int:
        return int(self._counters.of(self._row, name)[0])

    def __setitem__(self, name: str, number: int) -> None:
        self._counters.of(self._row, name)[0] = number

    def __delitem__(self, name: str) -> None:
        self[name] = 0

    def __iter__(self) -> Iterator[str]:
        return (name for row, name, counters in self._counters.entries() if row == self._row and counters[0])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def total(self) -> dict[str, int]:
        """Return the sums by name over all rows."""
        return {name: int(counters.sum()) for name, counters in self._counters.by_name().items() if counters.any()}


class FlagMap(MutableMapping[str, bool]):
    """One flag by name in a row, stored like the numbers of `CounterMap`: 1 for False and 2 for True."""

    def __init__(self, counters: NamedCounters, row: int) -> None:
        self._counters = counters
        self._own = CounterMap(counters, row)

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

    def any_row(self) -> dict[str, bool]:
        """Return for each name whether the flag is set in any row."""
        return {
            name: bool((counters == 2).any()) for name, counters in self._counters.by_name().items() if counters.any()
        }
