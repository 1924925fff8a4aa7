"""Measures of slices that a search found."""

from __future__ import annotations

from headway.core.measure import Measure, MeasurePrefix

plugin = (
    MeasurePrefix(prefix="discovered.", title="Discovered slice: "),
    Measure(
        name="discovered.compared", title="Slices compared", explanation="Combinations of columns with enough rows."
    ),
    Measure(
        name="discovered.confirmed",
        title="Slices confirmed to be worse",
        explanation="Found on one half of the rows, confirmed on the other.",
    ),
)
