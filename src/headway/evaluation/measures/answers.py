"""Measures of selective answering."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="answer.coverage",
        title="Rows that the model answers",
        explanation="Share of the rows whose confidence reaches the threshold.",
    ),
    Measure(
        name="answer.risk",
        title="Wrong answers",
        explanation=(
            "Share of the answered rows that are wrong; the upper end is the bound of an exact test on held-out rows."
        ),
    ),
    Measure(
        name="answer.groups_needed",
        title="Held-out rows or groups for a certificate",
        explanation="Estimated from the rows of validation.",
    ),
    Measure(
        name="answer.cost_per_thousand",
        title="Cost of the other stages",
        explanation="For a thousand rows, in the currency of [cost].",
    ),
    Measure(name="answer.curve_coverage", title="Rows answered at another threshold"),
    Measure(name="answer.curve_risk", title="Wrong answers at another threshold"),
)
