"""Calibrator: the function between a model's score and the decision threshold."""

from __future__ import annotations

from headway.core.record import Record


class Calibrator(Record, frozen=True, kw_only=True):
    """Calibration of a probability p; without arguments it is the identity.

    Without `knots` the result has log-odds up * ln p - down * ln(1 - p) + shift. With m knots, which are scores, p is
    looked up in `values`: m values are interpolated linearly; 2m + 1 values are steps below, at and above each knot.
    `kind` names the method it was fitted with, on `n_rows` labeled rows of `n_groups` groups; `at` is the time from
    which it applies.
    """

    kind: str = "shift"
    shift: float = 0.0
    up: float = 1.0
    down: float = 1.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    n_rows: int = 0
    n_groups: int = 0
    at: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a calibrator that would reverse the order of scores or leave [0, 1]."""
        if self.up < 0 or self.down < 0:
            raise ValueError("a calibrator's `up` and `down` must be at least 0")
        if len(self.values) not in ({len(self.knots), 2 * len(self.knots) + 1} if self.knots else {0}):
            raise ValueError(f"a calibrator of {len(self.knots)} knots has {len(self.values)} values")
        for numbers in (self.knots, self.values):
            if list(numbers) != sorted(numbers) or not all(0 <= value <= 1 for value in numbers):
                raise ValueError("a calibrator's `knots` and `values` must ascend in [0, 1]")

    def __bool__(self) -> bool:
        """Return True if it changes anything.

        >>> bool(Calibrator()), bool(Calibrator(shift=0.1))
        (False, True)
        """
        return bool(self.knots) or (self.shift, self.up, self.down) != (0.0, 1.0, 1.0)

    def __str__(self) -> str:
        """Describe what it does."""
        if not self:
            return "nothing"
        if self.knots:
            return f"{self.kind} of {len(self.knots)} scores"
        if (self.up, self.down) == (1.0, 1.0):
            return f"log-odds shifted by {self.shift:+.3g}"
        return f"{self.kind}: {self.up:.3g} ln p - {self.down:.3g} ln(1 - p) {self.shift:+.3g}"
