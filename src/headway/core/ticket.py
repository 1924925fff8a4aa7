"""Ticket: a proposal to retrain, with its reasons and its cost."""

from __future__ import annotations

from typing import Literal

from headway.core.evidence import Measurement
from headway.core.record import StoredRecord

Reason = Literal["rows", "calibration"]


class Ticket(StoredRecord, frozen=True, kw_only=True):
    """A proposal to retrain the live release, opened by the policy; a person or headway itself acts on it.

    `evidence` holds the digests of the evidence behind it. `expected_loss` is the cost per month above that at release,
    in the unit of `[model] costs`. `price_s` is the duration of a retraining with all its seeds in seconds, None if none
    was measured. `pays` compares the two, None if one of them is unknown.
    """

    name: str
    release: str
    reasons: tuple[Reason, ...]
    why: str
    evidence: tuple[str, ...] = ()
    expected_loss: Measurement | None = None
    price_s: float | None = None
    pays: bool | None = None
    acts: bool = False
    at: str = ""
