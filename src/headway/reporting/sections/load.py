"""Load test of a server: one client, steady rate, bursts and ramp; start time, batches and memory."""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, draw_intervals, measurements_with_prefix
from headway.reporting.text import formatting, tables

_PREFIX = "load."
_SHAPES = {
    "load.alone": "one client",
    "load": "a steady rate",
    "load.bursts": "bursts",
    "load.ramp": "a growing rate",
}
_SIZES = {
    "load.rows_per_s": "The throughput over HTTP, in batches, is {}.",
    "load.start_s": "A new server process gives its first right answer after {}.",
    "load.memory_mb": "All processes of the server use {} of memory.",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on the load test; None where the audit did not run."""
    found = {
        measurement.name: measurement
        for measurement in measurements_with_prefix(report, _PREFIX)
        if not measurement.slice
    }
    if not found:
        return None
    times = _times(found)
    return Section(
        title="Load test",
        order=13,
        prefixes=(_PREFIX,),
        lead="Clients sent requests over HTTP without waiting for each other, and every answer was compared.",
        conclusions=tuple(_conclusions(found)),
        table=tables.tabulate_against_baseline(tuple(found.values()), None, "intervals of time"),
        picture=lambda: _picture(times) if len(times) > 1 else None,
    )


def _conclusions(found: Mapping[str, Measurement]) -> list[str]:
    known = {name: measurement for name, measurement in found.items() if formatting.has_interval(measurement)}
    lines = [
        f"With {shape}, 99 % of the requests are answered within {formatting.format_number(known[name].high)} ms."
        for prefix, shape in _SHAPES.items()
        if (name := f"{prefix}.p99_ms") in known
    ]
    if failed := found.get("load.failed"):
        count = f"{failed.value:,.0f}" if failed.value else "None"
        lines.append(f"{count} of {failed.n_rows:,} requests failed or got a wrong answer.")
    sizes = (
        message.format(formatting.describe_interval(known[name])) for name, message in _SIZES.items() if name in known
    )
    return [*lines, *sizes]


def _times(found: Mapping[str, Measurement]) -> tuple[IntervalRow, ...]:
    return tuple(
        IntervalRow(name=f"{shape}, {share}", seen=measurement)
        for prefix, shape in _SHAPES.items()
        for end, share in ((".p50_ms", "median"), (".p99_ms", "99th percentile"))
        if (measurement := found.get(f"{prefix}{end}")) and measurement.low > 0 and formatting.has_interval(measurement)
    )


def _picture(times: tuple[IntervalRow, ...]) -> RenderedChart:
    slowest = max(times, key=lambda time: time.seen.high)
    return draw_intervals(
        "load",
        f"Longest request time: {slowest.name}, {formatting.format_measurement(slowest.seen)}",
        [IntervalPanel(axis="milliseconds (log scale)", spans=times, marks=(), log=True)],
        reading=("Each line is the median or the 99th percentile of the request time.",),
    )
