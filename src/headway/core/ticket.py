"""Ticket: a proposal to train anew, with its reasons and its price."""

from __future__ import annotations

from typing import Literal

from headway.core.evidence import Measurement
from headway.core.record import StoredRecord

Reason = Literal["rows", "calibration"]


class Ticket(StoredRecord, frozen=True, kw_only=True):
    """Opened where the policy says that the live release should be trained anew; acted on by a person or by itself.

    `evidence` holds the digests of what it was read from. `expected_loss` is what the release costs a month more than
    when it was judged, in the unit of `[model] costs`; `price_s` is what a training takes, with all its seeds, in
    seconds, None where none was measured. `pays` compares the two and is None where one of them is not known.
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
