"""Load test of a server: one caller, steady rate, bursts and ramp; start time, batches and memory."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import formatting

_SHAPES = {
    "load.alone": "one caller alone",
    "load": "a steady rate",
    "load.bursts": "bursts",
    "load.ramp": "a rate that grows",
}
_HALF, _SLOW = ".p50_ms", ".p99_ms"


def plugin(report: ReportData) -> Section | None:
    """Return the section on the load test; None where the audit did not run."""
    held = report.winner.evidence.measurements if report.winner else ()
    found = {
        measurement.name: measurement
        for measurement in held
        if measurement.name.startswith("load.") and not measurement.slice
    }
    if not found:
        return None
    return Section(
        title="Under load",
        place=13,
        prefixes=("load.",),
        lead="A server of it was asked over HTTP by callers who do not wait for each other; every answer was compared.",
        conclusions=tuple(_means(found)),
        table=details.tabulate_against_baseline(tuple(found.values()), None, "stretches"),
        picture=lambda: _picture(found) if len(_times(found)) > 1 else None,
    )


def _means(found: dict[str, Measurement]) -> list[str]:
    lines = []
    for shape, message in _SHAPES.items():
        slow = found.get(f"{shape}{_SLOW}")
        if slow and formatting.has_interval(slow):
            lines.append(
                f"With {message}, 99 of 100 requests are answered within {formatting.format_number(slow.high)} ms."
            )
    if failed := found.get("load.failed"):
        none = f"Not one of {failed.n_rows:,} requests failed or was answered wrong."
        some = f"{failed.value:,.0f} of {failed.n_rows:,} requests failed or were answered wrong."
        lines.append(some if failed.value else none)
    return [*lines, *_sizes(found)]


def _sizes(found: dict[str, Measurement]) -> list[str]:
    said = {
        "load.rows_per_s": "In batches it answers {} as it is served.",
        "load.start_s": "A server that is begun gives its first right answer after {}.",
        "load.memory_mb": "All its processes hold {} together.",
    }
    known = {name: found[name] for name in said if name in found and formatting.has_interval(found[name])}
    return [said[name].format(meaning.describe_interval(measurement)) for name, measurement in known.items()]


def _times(found: dict[str, Measurement]) -> list[tuple[str, Measurement]]:
    named = [
        (f"{message}, {share}", found.get(f"{shape}{end}"))
        for shape, message in _SHAPES.items()
        for end, share in ((_HALF, "half"), (_SLOW, "99 of 100"))
    ]
    return [
        (name, measurement)
        for name, measurement in named
        if measurement is not None and measurement.low > 0 and formatting.has_interval(measurement)
    ]


def _picture(found: dict[str, Measurement]) -> RenderedChart:
    spans = tuple(IntervalRow(name=name, seen=measurement) for name, measurement in _times(found))
    slowest = max(spans, key=lambda time: time.seen.high)
    title = f"The slowest: {slowest.name} of the requests within {formatting.format_measurement(slowest.seen)}"
    return render_chart(
        intervals_chart([IntervalPanel(axis="milliseconds (log scale)", spans=spans, marks=(), log=True)]),
        name="load",
        title=title,
        alt=f"Times of requests. {title}. {SEE_TABLE}",
        reading=("Each line is the time within which half, or 99 of 100, of the requests are answered.",),
    )
