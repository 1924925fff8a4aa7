"""Measures of a release against the one that is live."""

from __future__ import annotations

from headway.core.measure import Measure, MeasurePrefix

plugin = (
    MeasurePrefix(prefix="live.", title="Against the live release: ", violation="It is worse than the live release"),
    Measure(name="slow_requests"),
    Measure(name="slower_than_live", violation="It takes longer to answer than the live release"),
)
