"""What is observed of a request, and where it is tallied: shares, losses, paired or between two sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import DataError
from headway.evaluation.statistics.betting import Floats, Ints

Keys = NDArray[np.uint64]
Bools = NDArray[np.bool_]

_NEAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is observed: a value in [low, high], tallied at the points of a lattice of `cells` equal cells.

    With `share`, the chance that a key is the release's, a value y counts +y/share for the release and -y/(1 - share)
    for live: the mean of that is the release's mean less live's (Horvitz and Thompson 1952).
    """

    low: float = 0.0
    high: float = 1.0
    cells: int = 1
    share: float = 0.0

    @property
    def lattice(self) -> Floats:
        """The values that are told apart, [cells + 1]."""
        return np.linspace(self.low, self.high, self.cells + 1)

    @property
    def points(self) -> Floats:
        """What a tally counts: the lattice; with `share` what it counts for live, then what for the release."""
        if not self.share:
            return self.lattice
        return np.concatenate([-self.lattice / (1 - self.share), self.lattice / self.share])

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the mean can be."""
        return (self.low - self.high, self.high - self.low) if self.share else (self.low, self.high)

    @property
    def rounding(self) -> float:
        """How far the lattice may move the mean: half a cell, of both sides; nothing where all values are whole."""
        width = (self.high - self.low) / self.cells
        return 0.0 if width == 1 else width if self.share else width / 2


ONE_SHARE = Form()
ONE_LOSS = Form(cells=4096)
PAIRED_SHARE = Form(low=-1.0, cells=2)
PAIRED_LOSS = Form(low=-1.0, cells=4096)


def difference(share: float) -> Form:
    """Shares of two sides that answer different keys, release less live; a key is the release's with chance `share`.

    Raises DataError where one side answers all.
    """
    if not 0 < share < 1:
        raise DataError(f"release and live can be compared where both answer callers, not at a share of {share:g}")
    return Form(share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Requests in the order in which they were answered: hash of the key [n], value [n], and whose it was [n].

    `canary` is needed where sides that answer different keys are compared.
    """

    keys: Keys
    values: Floats
    canary: Bools | None = None


def codes_of(form: Form, seen: Observations) -> Ints:
    """The point of each observation, int64 [n] into `form.points`; raises DataError for a value of another form."""
    cells = (np.asarray(seen.values, dtype=np.float64) - form.low) / (form.high - form.low) * form.cells
    inside = (cells >= -_NEAR) & (cells <= form.cells + _NEAR)
    if form.rounding == 0:
        inside &= np.abs(cells - np.rint(cells)) <= _NEAR
    if not inside.all():
        row, kind = int(np.argmin(inside)), "numbers" if form.rounding else "whole numbers"
        expected = f"{kind} from {form.low:g} to {form.high:g}"
        raise DataError(f"expected {expected}, met {float(seen.values[row])!r}", where=f"row {row}")
    codes = np.rint(cells).astype(np.int64)
    if not form.share:
        return codes
    if seen.canary is None:
        raise DataError("a difference needs to know which side answered each request", hint="canary = [n] booleans")
    return codes + len(form.lattice) * seen.canary
