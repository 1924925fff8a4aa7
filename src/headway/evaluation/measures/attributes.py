"""Measures of what answers say about a sensitive column."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="privacy.attribute.advantage",
        title="A sensitive column guessed right more often",
        explanation=(
            "Share of rows with the answer of the model, minus the share without it; the rest of the row is known."
        ),
    ),
    Measure(
        name="privacy.attribute.known",
        title="A sensitive column guessed right",
        explanation="Share of rows, from the rest of the row alone.",
    ),
)
