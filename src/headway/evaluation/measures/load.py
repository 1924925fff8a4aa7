"""Measures of a server under load."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(name="request.p50", title="Median request time"),
    Measure(name="request.p99", title="99th percentile of the request time"),
    Measure(name="load.alone.p50_ms", title="Request time with one client, median"),
    Measure(name="load.p50_ms", title="Request time at a steady rate, median"),
    Measure(name="load.bursts.p50_ms", title="Request time in bursts, median"),
    Measure(name="load.ramp.p50_ms", title="Request time at a growing rate, median"),
    Measure(name="load.alone.p99_ms", title="Request time with one client, 99th percentile"),
    Measure(name="load.p99_ms", title="Request time at a steady rate, 99th percentile"),
    Measure(name="load.bursts.p99_ms", title="Request time in bursts, 99th percentile"),
    Measure(name="load.ramp.p99_ms", title="Request time at a growing rate, 99th percentile"),
    Measure(
        name="load.start_s",
        title="Start of the server",
        explanation="From the start of a process to its first right answer over HTTP.",
    ),
    Measure(
        name="load.rows_per_s", title="Throughput of the server, in batches", explanation="Rows per second over HTTP."
    ),
    Measure(name="load.memory_mb", title="Memory of the server", explanation="Of all its processes."),
    Measure(name="load.memory_without_model_mb", title="Memory of the server without the model file"),
    Measure(name="load.failed", title="Failed requests", explanation="Requests without a right answer."),
)
