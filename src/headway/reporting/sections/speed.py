"""Speed next to the baseline: one row, batches, and their cost."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Evidence, Machine, Measurement
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, draw_intervals
from headway.reporting.text import formatting, tables
from headway.reporting.text.speeds import describe_speeds

_TIMED = (*formatting.TIMED, "start.")
_COSTS = (
    ("cost.per_million.one_row", "cost {}"),
    ("cost.cpu_s.one_row", "take {} of CPU time"),
    ("cost.energy_j.one_row", "use {} of energy"),
)
_SPEEDUPS = {"latency.speedup": "one row", "throughput.speedup": "batches"}


def plugin(report: ReportData) -> Section | None:
    """Return the section on speed of the winner and the baseline; None where it was not timed."""
    if report.winner is None:
        return None
    timed = [*(judged.evidence for judged in report.frontier if report.is_winner(judged)), report.winner.evidence]
    names = dict.fromkeys(
        measurement.name
        for evidence in timed
        for measurement in evidence.measurements
        if measurement.name.startswith(_TIMED) and not measurement.slice
    )
    if not names:
        return None
    found = {name: seen for name in names if (seen := report.of_winner(name))}
    baseline = report.baseline.evidence if report.baseline else None
    speedups = {name: found[name] for name in _SPEEDUPS if name in found and report.winner.variant.steps}
    return Section(
        title="Speed",
        order=10,
        prefixes=_TIMED,
        lead=f"{_machine(timed[0].machine)} This variant and the baseline were timed in turns, the baseline on its "
        "best number of threads.",
        conclusions=(*_conclusions(found, baseline), *(f"{line[:1].upper()}{line[1:]}." for line in _lines(report))),
        table=tables.tabulate_against_baseline(tuple(found.values()), baseline, report.groups),
        picture=lambda: _picture(speedups) if speedups else None,
    )


def _lines(report: ReportData) -> list[str]:
    """Return each ratio with the baseline's call, or why there is none, for a variant that is not the baseline."""
    winner = report.winner
    return describe_speeds(report.winner_evidence()) if winner and winner.variant.steps else []


def _machine(machine: Machine) -> str:
    return f"Measured on {machine.cpu}, {machine.cores} core{'s' if machine.cores > 1 else ''}."


def _conclusions(found: dict[str, Measurement], baseline: Evidence | None) -> list[str]:
    lines = []
    if one := found.get("latency.one_row"):
        before = baseline.find(one.name) if baseline else None
        known = before is not None and formatting.has_interval(before)
        compared = f"; the baseline takes {formatting.describe_interval(before)}" if before and known else ""
        lines.append(f"One row takes {formatting.describe_interval(one)}{compared}.")
    for name, unit in _SPEEDUPS.items():
        if (seen := found.get(name)) and formatting.has_interval(seen):
            lines.append(_speedup("For one row" if unit == "one row" else "In batches", seen))
    if costs := [text.format(formatting.describe_interval(seen)) for name, text in _COSTS if (seen := found.get(name))]:
        lines.append(f"A million rows, one by one, {formatting.join_names(costs)}.")
    if start := found.get("start.seconds"):
        lines.append(f"A new process gives its first prediction after {formatting.describe_interval(start)}.")
    if memory := found.get("start.memory_mb"):
        lines.append(f"It then uses {formatting.describe_interval(memory)} of memory.")
    return lines


def _speedup(rows: str, seen: Measurement) -> str:
    if seen.low > 1:
        return f"{rows}, it is {formatting.describe_interval(replace(seen, unit=''))} times as fast as the baseline."
    return f"{rows}, it is slower than the baseline." if seen.high < 1 else f"{rows}, no difference in speed is shown."


def _picture(speedups: dict[str, Measurement]) -> RenderedChart:
    panel = IntervalPanel(
        axis="times as fast as the baseline",
        spans=tuple(IntervalRow(name=_SPEEDUPS[name], seen=seen) for name, seen in speedups.items()),
        marks=(ReferenceLine(at=1.0, message="baseline"),),
        log=True,
    )
    values = (f"{formatting.format_measurement(seen)} for {_SPEEDUPS[name]}" for name, seen in speedups.items())
    return draw_intervals(
        "speed",
        f"Speedup: {' and '.join(values)}",
        [panel],
        reading=("Right of the vertical line is faster, left of it slower. Equal distances are equal ratios.",),
    )
