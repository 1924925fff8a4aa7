"""Measures of rows with a missing value."""

from __future__ import annotations

from headway.core.measure import Measure, MeasurePrefix

plugin = (
    MeasurePrefix(
        prefix="missing.",
        title="Rows with a missing value: ",
        violation="On rows with a missing value it differs from the baseline",
    ),
    Measure(name="missing.decision_churn", title="Decisions changed where a value is missing"),
    Measure(name="missing.brier.drop", title="Loss in Brier where a value is missing"),
    Measure(name="missing.mse.drop", title="Loss in squared error where a value is missing"),
)
