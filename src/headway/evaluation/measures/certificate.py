"""Measures of what no change of a row can flip."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="certificate.distance",
        title="Distance below which no change flips a decision",
        explanation="Median over rows; proven.",
    ),
    Measure(
        name="certificate.exact",
        title="Rows whose proven distance is exact",
        explanation="For the others it is a lower bound.",
    ),
)
