"""Measures of training rows that are rebuilt from answers."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="privacy.inversion.error",
        title="Error of a rebuilt training row",
        explanation="Compared with a guess by the typical value of each column: 1 does not help, 0 is exact.",
    ),
    Measure(
        name="privacy.inversion.trees",
        title="Error of a row rebuilt with the file of the model",
        explanation="The same for a caller who holds the trees, and sees between which thresholds each value lies.",
    ),
)
