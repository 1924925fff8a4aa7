"""What an attacker may make of each column: within its bounds and reach, in the decimals seen, of the texts seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Comparison
from headway.core.sections.attack import AttackSection
from headway.evaluation.statistics.intervals import Floats

Bools = NDArray[np.bool_]
MOST_DECIMALS, FLAG = 6, 2
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """A column that may change, of a row float64 [d] the one `at`.

    Numbers stay from `least` to `most`, move by at most `furthest`, and keep the `decimals` seen, where they are few;
    `scale` is their interquartile range. Texts and flags move `among` the values seen, however far. What is missing
    stays so, and nothing goes missing.
    """

    at: int
    name: str
    least: float
    most: float
    scale: float
    furthest: float
    decimals: int | None = None
    among: Floats | None = None

    def within(self, was: Floats, wanted: Floats) -> Floats:
        """What is allowed that is nearest to what is wanted, both [n]; where nothing is, it stays as it was."""
        if self.among is not None:
            return np.where(np.isin(wanted, self.among) & np.isfinite(was), wanted, was)
        low, high = self._ends(was)
        near = np.clip(wanted if self.decimals is None else np.round(wanted, self.decimals), low, high)
        allowed = (low <= high) & (near >= self.least) & (near <= self.most)
        return np.where(allowed, near, was)

    def steps(self, was: Floats, count: int) -> Floats:
        """At most `count` values over all that each of `was` [n] may become, [n, count]."""
        if self.among is not None:
            some = self.among[np.unique(np.linspace(0, len(self.among) - 1, count).astype(np.int64))]
            return np.stack([self.within(was, np.full_like(was, value)) for value in some], axis=1)
        low, high = self._ends(was)
        return np.stack([self.within(was, low + (high - low) * share) for share in np.linspace(0, 1, count)], axis=1)

    def far(self, was: Floats, draws: Floats) -> Floats:
        """One end of what each of `was` [n] may become, or any text or flag, by draws [n] in [0, 1)."""
        if self.among is not None:
            return self.within(was, self.among[(draws * len(self.among)).astype(np.int64)])
        low, high = self._ends(was)
        return self.within(was, np.where(draws < 0.5, low, high))

    def moved(self, was: Floats, now: Floats) -> Floats:
        """How far numbers were moved, in interquartile ranges, [n]; of texts and flags 0."""
        if self.among is not None:
            return np.zeros_like(was)
        return np.where(np.isfinite(was), np.abs(now - was) / self.scale, 0.0)

    def _ends(self, was: Floats) -> tuple[Floats, Floats]:
        low, high = np.maximum(was - self.furthest, self.least), np.minimum(was + self.furthest, self.most)
        if self.decimals is None:
            return low, high
        units = 10.0**self.decimals
        return np.ceil(low * units - _ROUNDING) / units, np.floor(high * units + _ROUNDING) / units


def columns_of(subject: Comparison, limits: AttackSection) -> list[Column]:
    """The columns that may change: not those that are fixed, nor those of which one value alone is known."""
    fields = subject.variant.signature.inputs
    found = (_column(at, subject, limits) for at, field in enumerate(fields) if field.name not in limits.fixed)
    return [each for each in found if each is not None]


def _column(at: int, subject: Comparison, limits: AttackSection) -> Column | None:
    field, values = subject.variant.signature.inputs[at], subject.rows[:, at]
    seen = np.unique(values[np.isfinite(values)])
    texts = field.datatype == "BYTES"
    seen = seen[seen < len(field.categories)] if texts else seen
    if not len(seen):
        return None
    least, most = limits.bounds.get(field.name, (float(seen[0]), float(seen[-1])))
    scale = _scale(values, most - least)
    few = texts or len(seen) == FLAG
    among = seen[(seen >= least) & (seen <= most)] if few else None
    if least == most or (among is not None and len(among) < FLAG):
        return None
    return Column(
        at=at,
        name=field.name,
        least=least,
        most=most,
        scale=scale,
        furthest=limits.reach * scale,
        decimals=None if few else _decimals(seen),
        among=among,
    )


def _scale(values: Floats, width: float) -> float:
    """The interquartile range; where half of the values are one, the standard deviation, or the width of the bounds."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, (0.25, 0.75))
    return float(high - low) or float(known.std()) or width


def _decimals(seen: Floats) -> int | None:
    """The fewest decimals in which all values seen can be written; None where these are more than six.

    >>> _decimals(np.array([1.0, 2.5, 3.25])), _decimals(np.array([3.0, 60.0])), _decimals(np.array([1 / 3]))
    (2, 0, None)
    """
    for count in range(MOST_DECIMALS + 1):
        if np.array_equal(np.round(seen, count), seen):
            return count
    return None
