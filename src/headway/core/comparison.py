"""Point-by-point comparison of two models on the same labeled rows."""

from __future__ import annotations

from headway.core.evidence import Finding, Measurement
from headway.core.record import Record


class ComparedModel(Record, frozen=True, kw_only=True):
    """A model that is compared: a variant of a search, or a release, which has its own threshold and calibrator.

    `measurements` are its own on the rows of the comparison, and `timings` those of speed, cost and privacy in its
    evidence.
    """

    name: str
    digest: str
    is_release: bool
    threshold: float
    measurements: tuple[Measurement, ...] = ()
    timings: tuple[Measurement, ...] = ()

    def find(self, name: str, slice: str = "") -> Measurement | None:
        """Return the measurement of that name and slice, or the timing, or None."""
        known = (*self.measurements, *self.timings)
        return next((found for found in known if found.name == name and found.slice == slice), None)


class Flips(Record, frozen=True, kw_only=True):
    """Rows of a slice (empty: of all rows) that the two models decide differently.

    The first model is right and the second wrong on `n_first_right` of them, the second is right and the first wrong on
    `n_second_right`; with more than two classes both may be wrong. `n_first_positive` counts those that the first
    decides to be positive; 0 for more than two classes. `share` is that of the rows, with its interval.
    """

    slice: str
    n_rows: int
    n_flips: int
    n_first_right: int
    n_second_right: int
    n_first_positive: int = 0
    share: Measurement | None = None


class ExampleRow(Record, frozen=True, kw_only=True):
    """A row that the two models decide differently: its columns, its label and both scores. It is personal data."""

    columns: dict[str, str]
    label: str
    first: float
    second: float


class CallTimes(Record, frozen=True, kw_only=True):
    """Times of calls of one row, in turns, in microseconds: by the upper ends of bins, which grow by a constant factor.

    `busy` gives the reason why there are none.
    """

    edges: tuple[float, ...] = ()
    first: tuple[int, ...] = ()
    second: tuple[int, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    busy: str = ""


class PointComparison(Record, frozen=True, kw_only=True):
    """Two models on the same labeled rows of a period.

    `differences` are paired: a `.drop` above 0 means that the first model is worse. `findings` name what could not be
    compared, and `cautions` why a difference may flatter one of the two. `flips` begins with all rows.
    """

    period: str
    task: str
    n_rows: int
    n_groups: int
    first: ComparedModel
    second: ComparedModel
    differences: tuple[Measurement, ...] = ()
    flips: tuple[Flips, ...] = ()
    times: CallTimes = CallTimes()
    examples: tuple[ExampleRow, ...] = ()
    findings: tuple[Finding, ...] = ()
    cautions: tuple[str, ...] = ()

    def difference(self, name: str, slice: str = "") -> Measurement | None:
        """Return the difference of that name and slice, or None."""
        return next((found for found in self.differences if found.name == name and found.slice == slice), None)
