"""Labels looked after: what is suspected, what annotators agree on, and what somebody set right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord


class Correction(StoredRecord, frozen=True, kw_only=True):
    """A label that somebody set right: of the rows of the source with this content (a digest), from old to new.

    Labels are as the opened table has them: numbers of classes, or of a regression. `place` is the row's number, from
    1, when it was corrected: for people, rows are known by their content.
    """

    row: str
    place: int
    old: float | None
    new: float
    who: str
    why: str
    at: str


class Suspect(Record, frozen=True, kw_only=True):
    """A row, numbered from 1 in the opened table, whose label may be wrong: with which chance, and what is likelier."""

    row: int
    given: str
    likely: str
    chance: float
    group: str = ""


class Suspects(StoredRecord, frozen=True, kw_only=True):
    """Labels that may be wrong in one dataset, the likeliest first, and how many there are in all and by class.

    `turned` has for each class the shares of its rows that are labelled as each class.
    """

    name: str
    dataset: str
    count: Measurement
    by_class: tuple[Measurement, ...]
    classes: tuple[str, ...]
    turned: tuple[tuple[float, ...], ...]
    rows: tuple[Suspect, ...]
    at: str = ""


class Agreement(StoredRecord, frozen=True, kw_only=True):
    """How far annotators agree beyond chance, each measure with its interval; `source` says whose labels."""

    name: str
    source: str
    annotators: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    at: str = ""

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name over all annotators, or None."""
        return next((each for each in self.measurements if each.name == name and not each.slice), None)


class LabelRequest(Record, frozen=True, kw_only=True):
    """A request whose label would teach most: its key, when it came, and how torn the model is, in [0, 1]."""

    key: str
    at_us: int
    doubt: float


class Delays(Record, frozen=True, kw_only=True):
    """How long labels take: of how many requests how many have one, the delay by which shares of them had come.

    A quantile that was not reached yet is the largest number there is. `late` is the share of requests without a label
    when it was declared to be there; None where nothing is declared, or none is old enough.
    """

    n_requests: int
    n_labeled: int
    declared_s: float
    quantiles: tuple[Measurement, ...]
    late: Measurement | None = None


def _no_agreement() -> Agreement | None:
    return None


def _no_delays() -> Delays | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeling:
    """What is known of how labels came about: the last agreement that was measured, and their delays."""

    agreement: Callable[[], Agreement | None] = _no_agreement
    delays: Callable[[], Delays | None] = _no_delays
