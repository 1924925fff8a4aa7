"""Measures of prediction sets and intervals."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="conformal.coverage",
        title="Coverage",
        explanation="Share of rows whose prediction set holds the true value.",
    ),
    Measure(
        name="conformal.size",
        title="Size of a prediction set",
        explanation="Mean number of classes in a set; 1 is certain.",
    ),
    Measure(name="conformal.width", title="Width of an interval", explanation="Mean distance of its ends."),
    Measure(
        name="conformal.endless", title="Unbounded intervals", explanation="Because the previous ones missed too often."
    ),
)
