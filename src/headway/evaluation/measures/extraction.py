"""Measures of a copy that a caller makes from answers."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="extraction.agreement",
        title="Agreement of the best copy",
        explanation=(
            "Share of rows on which a copy decides as the model, by rows sent and by what callers see of an answer."
        ),
    ),
    Measure(
        name="extraction.queries_95",
        title="Rows sent until a copy agrees on 95 of 100",
        explanation="An interval without an upper end: not reached.",
    ),
    Measure(
        name="extraction.queries_99",
        title="Rows sent until a copy agrees on 99 of 100",
        explanation="An interval without an upper end: not reached.",
    ),
    Measure(
        name="extraction.hours_95",
        title="Time until a copy agrees on 95 of 100",
        explanation="At the limit of requests per API key.",
    ),
)
