"""Measures of the model without one of its components."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="components.brier.drop",
        title="Increase of the error without it",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="components.mse.drop",
        title="Increase of the error without it",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="components.latency.speedup",
        title="Latency of one row without it",
        explanation="Without the component, divided by with it; above 1 the component saves time.",
    ),
    Measure(
        name="components.latency.p99.speedup",
        title="99th percentile of the latency without it",
        explanation="Without the component, divided by with it; above 1 the component saves time.",
    ),
    Measure(
        name="components.throughput.speedup",
        title="Time of a batch without it",
        explanation="Without the component, divided by with it; above 1 the component saves time.",
    ),
    Measure(
        name="components.cost.one_row.ratio",
        title="CPU time of one row without it",
        explanation="Without the component, divided by with it; above 1 the component saves time.",
    ),
    Measure(
        name="components.cost.batch.ratio",
        title="CPU time of a batch without it",
        explanation="Without the component, divided by with it; above 1 the component saves time.",
    ),
    Measure(
        name="components.harmful",
        title="Harmful components",
        explanation="Something is worse with them, and nothing is better.",
    ),
    Measure(
        name="components.nothing",
        title="Useless components",
        explanation="Without them no error, time or cost changes noticeably.",
    ),
    Measure(
        name="components.unsettled",
        title="Undecided components",
        explanation="More groups, rounds or time could decide.",
    ),
)
