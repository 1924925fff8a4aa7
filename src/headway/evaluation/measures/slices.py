"""Measures of the worst slice."""

from __future__ import annotations

from headway.core.measure import Measure, MeasurePrefix

plugin = (
    MeasurePrefix(
        prefix="worst_slice.",
        title="Worst slice: ",
        explanation="On the slice where it is worst.",
        violation="On one slice it is worse than the baseline",
    ),
    Measure(name="worst_slice.decision_churn", violation="On one slice it changes more decisions than allowed"),
)
