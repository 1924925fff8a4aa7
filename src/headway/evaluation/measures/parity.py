"""Measures of what a variant changes in the answers of its baseline."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="max_change",
        title="Largest change of a probability",
        explanation="The largest change of any single row.",
        violation="It changes a single probability by more than allowed",
    ),
    Measure(
        name="decision_churn",
        title="Decisions changed",
        explanation="Share of rows whose decision differs from that of the baseline.",
        violation="It changes more decisions than allowed",
        is_share=True,
    ),
    Measure(
        name="decision_churn.near",
        title="Decisions changed near the threshold",
        explanation="Of the tenth of the rows whose baseline score is nearest to the threshold.",
    ),
    Measure(name="change.p50", title="Change of a prediction, median"),
    Measure(name="change.p90", title="Change of a prediction, 90th percentile"),
    Measure(name="change.p99", title="Change of a prediction, 99th percentile"),
    Measure(name="change.p999", title="Change of a prediction, 99.9th percentile"),
)
