"""Measures of speed."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="latency.one_row",
        title="Latency of one row",
        explanation="From a row in memory to its prediction, in microseconds.",
        lower_is_better=True,
    ),
    Measure(
        name="latency.speedup",
        title="Speedup for one row",
        explanation="Latency of the baseline divided by that of this variant.",
    ),
    Measure(
        name="latency.as_called",
        title="Latency of one row, as you call it",
        explanation="With the conversion of the row, in microseconds.",
        lower_is_better=True,
    ),
    Measure(
        name="latency.as_called.speedup",
        title="Speedup as you call it",
        explanation="Your own object's call divided by that of this variant.",
    ),
    Measure(name="throughput.batch", title="Throughput in batches", explanation="Rows per second."),
    Measure(
        name="throughput.speedup",
        title="Speedup in batches",
        explanation="Throughput of this variant divided by that of the baseline.",
    ),
)
