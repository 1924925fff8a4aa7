"""Measures of the nearest flip of a decision."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="evasion.distance",
        title="Distance of the nearest flip found",
        explanation="Median over rows, in interquartile ranges times the cost of each column.",
    ),
    Measure(
        name="evasion.success",
        is_share=True,
        title="Rows with a flip",
        explanation="Share of rows for which the search found a flip at any distance.",
    ),
    Measure(name="evasion.queries", title="Decisions asked until the nearest flip", explanation="Median over rows."),
    Measure(
        name="evasion.certified",
        title="Decisions proven to hold",
        explanation="Share of rows whose decision no change below the radius flips, in interquartile ranges.",
    ),
)
