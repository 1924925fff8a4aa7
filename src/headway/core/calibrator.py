"""Calibrator: what is done to a score after the model and before the threshold."""

from __future__ import annotations

from headway.core.record import Record


class Calibrator(Record, frozen=True, kw_only=True):
    """How a probability p is set right before it is answered; as it is made here, it leaves p as the model says.

    Without `knots` the log-odds up * ln p - down * ln(1 - p) + shift are answered. With m knots, which are scores, p is
    looked up in `values`: m of them are joined by lines; 2m + 1 are steps, below, at and above each knot. `kind` names
    how it was fitted, on `n_rows` labelled rows of `n_groups` groups; `at` is the time from which it holds.
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
        """Refuse with ValueError what would turn the order of scores, or answer what is no probability."""
        if self.up < 0 or self.down < 0:
            raise ValueError("a calibrator's `up` and `down` must be at least 0")
        if len(self.values) not in ({len(self.knots), 2 * len(self.knots) + 1} if self.knots else {0}):
            raise ValueError(f"a calibrator of {len(self.knots)} knots has {len(self.values)} values")
        for each in (self.knots, self.values):
            if list(each) != sorted(each) or not all(0 <= value <= 1 for value in each):
                raise ValueError("a calibrator's `knots` and `values` must ascend in [0, 1]")

    def __bool__(self) -> bool:
        """Whether it changes anything.

        >>> bool(Calibrator()), bool(Calibrator(shift=0.1))
        (False, True)
        """
        return bool(self.knots) or (self.shift, self.up, self.down) != (0.0, 1.0, 1.0)

    def __str__(self) -> str:
        """What it does, in words."""
        if not self:
            return "nothing"
        if self.knots:
            return f"{self.kind} of {len(self.knots)} scores"
        if (self.up, self.down) == (1.0, 1.0):
            return f"log-odds shifted by {self.shift:+.3g}"
        return f"{self.kind}: {self.up:.3g} ln p - {self.down:.3g} ln(1 - p) {self.shift:+.3g}"
