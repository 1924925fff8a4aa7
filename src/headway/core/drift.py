"""Drift: what a detector said of two periods, one alarm for all features together."""

from __future__ import annotations

from headway.core.evidence import Finding, Measurement
from headway.core.record import Record


class Drift(Record, frozen=True, kw_only=True):
    """One alarm, and the features that carry it; `alarm` is false in 95 of 100 pairs of periods without change.

    Measurements: `drift.p` of all features (slice empty), and by feature (slice = its name) `drift.p`, corrected for
    the number of features, and `drift.distance` in [0, 1]. Without an alarm there is no finding.
    """

    alarm: bool
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...] = ()
