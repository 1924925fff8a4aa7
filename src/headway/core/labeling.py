"""Label quality: suspected errors, agreement of annotators, corrections and delays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord


class Correction(StoredRecord, frozen=True, kw_only=True):
    """A corrected label, from old to new, for the rows of the source with this content (a digest).

    Labels are coded as in the opened table: class codes, or numbers of a regression. `row_number` counts
    from 1 at the time of the correction, for people; rows are identified by their content.
    """

    former_names: ClassVar[Mapping[str, str]] = {"place": "row_number"}

    row: str
    row_number: int
    old: float | None
    new: float
    who: str
    why: str
    at: str


class Confirmation(StoredRecord, frozen=True, kw_only=True):
    """A label that a person found right though it was suspected, for the rows of the source with this content."""

    version: ClassVar[int] = 1

    row: str
    row_number: int
    label: float | None
    who: str
    why: str
    at: str


def describe_review(review: Correction | Confirmation) -> str:
    """Return what became of the label of a row, as a sentence without its end."""
    if isinstance(review, Confirmation):
        label = "no label" if review.label is None else f"the label {review.label:g}"
        return f"row {review.row_number:,}: {label} confirmed by {review.who}"
    old = "no label" if review.old is None else f"{review.old:g}"
    return f"row {review.row_number:,}: label {old} corrected to {review.new:g} by {review.who}"


class Suspect(Record, frozen=True, kw_only=True):
    """A row whose label may be wrong: its number from 1 in the opened table, the probability, and a likelier label.

    `digest` is that of the row's content in the source; records of earlier versions have none.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "given": "given_label",
        "likely": "likely_label",
        "chance": "probability",
    }

    row: int
    given_label: str
    likely_label: str
    probability: float
    group: str = ""
    digest: str = ""


class Suspects(StoredRecord, frozen=True, kw_only=True):
    """Labels of one dataset that may be wrong, the likeliest first, with their estimated number in total and by class.

    Row i of `transition_matrix` holds the shares of the rows of true class i that are labeled as each class.
    """

    former_names: ClassVar[Mapping[str, str]] = {"turned": "transition_matrix"}

    name: str
    dataset: str
    count: Measurement
    by_class: tuple[Measurement, ...]
    classes: tuple[str, ...]
    transition_matrix: tuple[tuple[float, ...], ...]
    rows: tuple[Suspect, ...]
    at: str = ""


class Agreement(StoredRecord, frozen=True, kw_only=True):
    """Agreement of annotators beyond chance, each measure with its interval; `source` names the labels."""

    name: str
    source: str
    annotators: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    at: str = ""

    def find(self, name: str) -> Measurement | None:
        """Return the measurement of that name over all annotators, or None."""
        return next(
            (measurement for measurement in self.measurements if measurement.name == name and not measurement.slice),
            None,
        )


class LabelRequest(Record, frozen=True, kw_only=True):
    """A request whose label would be most informative: its key, its time, and the model's uncertainty in [0, 1].

    `inputs` are the values that the model read, as text, and `scores` its probability of each class. `reason` is that
    of a message which was handed on.
    """

    key: str
    at_us: int
    doubt: float
    inputs: dict[str, str] = {}
    scores: tuple[float, ...] = ()
    reason: str = ""


class Delays(Record, frozen=True, kw_only=True):
    """Delays of labels: how many requests have one, and quantiles of the delay.

    A quantile that was not reached yet is the largest float. `late` is the share of requests without a label after the
    declared delay; None if none is declared, or no request is old enough.
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
    """What is known about the labels: the last measured agreement, and their delays."""

    agreement: Callable[[], Agreement | None] = _no_agreement
    delays: Callable[[], Delays | None] = _no_delays
