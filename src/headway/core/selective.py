"""Selective answering: the certificate of a threshold above which a model answers alone."""

from __future__ import annotations

import math

from headway.core.evidence import Measurement
from headway.core.record import Record


class SelectiveCertificate(Record, frozen=True, kw_only=True):
    """The lowest threshold that is certified, infinite if none is.

    `coverage` is the share of held-out rows with at least this confidence. `risk` is the share of errors among them,
    and its `high` a bound that holds at the level. `groups_needed` is about how many groups, or rows without groups,
    would certify the first threshold that failed; None if none failed, or more data would not help.
    """

    threshold: float
    coverage: Measurement
    risk: Measurement
    limit: float
    groups_needed: int | None = None

    @property
    def is_certified(self) -> bool:
        """True if rows may be answered."""
        return math.isfinite(self.threshold)
