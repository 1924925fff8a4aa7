"""Drift: a detector's answer on two periods, with one alarm for all features together."""

from __future__ import annotations

from headway.core.evidence import Finding, Measurement
from headway.core.record import Record


class Drift(Record, frozen=True, kw_only=True):
    """One alarm, and the features that carry it; without a change it is raised by the chance that was asked for.

    Measurements: `drift.p` of all features (slice empty), and by feature (slice = its name) `drift.p`, corrected for
    the number of features, and `drift.distance` in [0, 1]. Without an alarm there is no finding.
    """

    alarm: bool
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...] = ()
