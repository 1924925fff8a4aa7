"""Feature report: what each feature of the views of a release costs, is worth, how old it is and how it drifts."""

from __future__ import annotations

from typing import Literal

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

Proposal = Literal["", "harmful", "useless", "too dear", "undecided"]


class FeatureCost(Record, frozen=True, kw_only=True):
    """What looking a view up costs; the features of a view are read together, so it is one figure for all of them.

    `lookup_us` is the CPU time per row that leaving the view out of the lookup saves; None if it could not be measured.
    `size_bytes` is that of its `n_entities` rows in the online store. `worth` is the increase of the error if all
    inputs that need the view are missing; `proposal` and `reason` are as those of a feature, and `too dear` if the
    look-up takes more time than that is worth.
    """

    view: str
    lookup_us: Measurement | None = None
    n_entities: int = 0
    size_bytes: int = 0
    worth: Measurement | None = None
    proposal: Proposal = ""
    reason: str = ""


class FeatureWorth(Record, frozen=True, kw_only=True):
    """One feature of a view.

    Attributes
    ----------
    worth : Measurement, optional
        Increase of the error if the feature is missing in every row, by group.
    missing, stale : Measurement, optional
        Share of logged rows without a value, and with one that is older than the TTL of the view.
    age_s : tuple of float
        Median and 99th percentile of the age of the values at their requests, seconds; empty without logged rows.
    drift : Measurement, optional
        Of the last period that was monitored.
    proposal : str
        Why it might be removed: without it the model is better (`harmful`) or no worse (`useless`); `undecided` if the
        rows do not show which. Empty if the model is worse without it, or its worth was not measured.
    reason : str
        The figures behind the proposal, or what would decide.
    """

    view: str
    name: str
    worth: Measurement | None = None
    missing: Measurement | None = None
    stale: Measurement | None = None
    age_s: tuple[float, ...] = ()
    drift: Measurement | None = None
    proposal: Proposal = ""
    reason: str = ""


class FeatureReport(StoredRecord, frozen=True, kw_only=True):
    """Cost and worth of the features of a release, of `n_logged` rows of its log; `unknown` says what is not known."""

    name: str
    release: str
    at: str
    n_logged: int
    costs: tuple[FeatureCost, ...] = ()
    features: tuple[FeatureWorth, ...] = ()
    unknown: tuple[str, ...] = ()
