"""Measures of decisions."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="cost",
        title="Cost of a decision",
        explanation="Mean cost of a row, with the declared costs of false positives and false negatives.",
        symbol="cost",
        lower_is_better=True,
        is_quality=True,
    ),
    Measure(
        name="threshold",
        title="Decision threshold",
        explanation="Rows with this probability or a higher one are predicted positive.",
    ),
)
