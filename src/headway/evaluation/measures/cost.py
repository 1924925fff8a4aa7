"""Measures of the cost and energy of answers."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="cost.per_million.one_row",
        title="Cost of a million rows, one by one",
        explanation="Of the model alone, at the declared price.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.per_million.batch",
        title="Cost of a million rows, in batches",
        explanation="Of the model alone, at the declared price.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.cpu_s.one_row",
        title="CPU seconds of a million rows, one by one",
        explanation="CPU time of all threads.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.cpu_s.batch",
        title="CPU seconds of a million rows, in batches",
        explanation="CPU time of all threads.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.energy_j.one_row",
        title="Energy of a million rows, one by one",
        explanation="Of the processor's packages, idle power included.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.energy_j.batch",
        title="Energy of a million rows, in batches",
        explanation="Of the processor's packages, idle power included.",
        lower_is_better=True,
    ),
    Measure(
        name="cost.cpu_s.one_row.speedup", title="CPU time of the baseline divided by that of this variant, one row"
    ),
    Measure(
        name="cost.cpu_s.batch.speedup", title="CPU time of the baseline divided by that of this variant, in batches"
    ),
    Measure(
        name="cost.cpu_s.as_called.speedup",
        title="CPU time of the baseline divided by that of this variant, as you call it",
    ),
)
