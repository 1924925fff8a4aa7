"""Two periods with a known truth: days shift every feature, and may lean on the day before."""

from __future__ import annotations

import numpy as np

from headway.core.variant import Field, Signature
from headway.data.context import Window, Windows


def days(
    rng: np.random.Generator, *, count: int = 60, rows: int = 40, features: int = 4, lean: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows float64 [n, features] and their days; `lean` correlates a day's shift with that of the day before."""
    shift = rng.normal(size=(count, features))
    for day in range(1, count):
        shift[day] = lean * shift[day - 1] + np.sqrt(1 - lean**2) * shift[day]
    day = np.repeat(np.arange(count), rows)
    return rng.normal(size=(len(day), features)) + shift[day], day


def windows_of(rows: np.ndarray, day: np.ndarray, first: np.ndarray, *, run: int = 7) -> Windows:
    """Rows parted by `first` bool [n]; features are x0, x1, ..."""
    before, after = (Window(rows=rows[part], groups=day[part]) for part in (first, ~first))
    fields = tuple(Field(name=f"x{number}") for number in range(rows.shape[1]))
    return Windows(before=before, after=after, signature=Signature(inputs=fields), run=run)


def in_order(rows: np.ndarray, day: np.ndarray, *, run: int = 7) -> Windows:
    """The first half of the days against the second."""
    return windows_of(rows, day, day < (day.max() + 1) // 2, run=run)
