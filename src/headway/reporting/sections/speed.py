"""Speed next to the baseline: one row, batches, and their cost."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Evidence, Machine, Measurement
from headway.evaluation.measure import BUSY
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import formatting

_TIMED = (*formatting.TIMED, "start.")
_FASTER = {"latency.speedup": "one row", "throughput.speedup": "batches"}


def plugin(report: ReportData) -> Section | None:
    """Return the section on speed of the winner and the baseline; None where it was not timed."""
    if report.winner is None:
        return None
    looks = [*(judged.evidence for judged in report.frontier if report.is_winner(judged)), report.winner.evidence]
    held = [measurement for evidence in looks for measurement in evidence.measurements if _timed(measurement)]
    if not held:
        return None
    found = {name: seen for name in dict.fromkeys(look.name for look in held) if (seen := report.of_winner(name))}
    came = report.origin.evidence if report.origin else None
    faster = {name: found[name] for name in _FASTER if name in found and report.winner.variant.steps}
    return Section(
        title="How fast it answers",
        place=10,
        prefixes=_TIMED,
        lead=f"{_machine(looks[0].machine)} It and the model as it came were timed in turns, side by side, so that "
        "what slowed the machine slowed both.",
        conclusions=(*_means(found, came), *_busy(looks[0])),
        table=details.tabulate_against_baseline(tuple(found.values()), came, report.groups),
        picture=lambda: _picture(faster) if faster else None,
    )


def _timed(seen: Measurement) -> bool:
    return seen.name.startswith(_TIMED) and not seen.slice


def _busy(evidence: Evidence) -> list[str]:
    busy = any(finding.code == BUSY for finding in evidence.findings)
    return ["The machine had other work while it was timed: take these figures with care."] if busy else []


def _machine(machine: Machine) -> str:
    return f"Measured on {machine.cpu}, {machine.cores} core{'s' if machine.cores > 1 else ''}."


def _means(found: dict[str, Measurement], came: Evidence | None) -> list[str]:
    lines = []
    if one := found.get("latency.one_row"):
        was = came.find(one.name) if came else None
        beside = (
            f"; the model as it came takes {meaning.describe_interval(was)}"
            if was and formatting.has_interval(was)
            else ""
        )
        lines.append(f"One row is answered in {meaning.describe_interval(one)}{beside}.")
    for name, what in _FASTER.items():
        if (seen := found.get(name)) and formatting.has_interval(seen):
            lines.append(_faster("For one row" if what == "one row" else "In batches", seen))
    if cost := found.get("cost.per_million.one_row") or found.get("cost.cpu_s.one_row"):
        what = "cost" if cost.unit != "s" else "take a core"
        lines.append(f"A million rows, one by one, {what} {meaning.describe_interval(cost)}.")
    if start := found.get("start.seconds"):
        lines.append(f"A process that is begun gives its first answer after {meaning.describe_interval(start)}.")
    if memory := found.get("start.memory_mb"):
        lines.append(f"It holds {meaning.describe_interval(memory)} of memory then.")
    return lines


def _faster(what: str, seen: Measurement) -> str:
    if seen.low > 1:
        return f"{what} it is {meaning.describe_interval(replace(seen, unit=''))} times as fast."
    if seen.high < 1:
        return f"{what} it is slower than the model as it came."
    return f"{what} no difference of speed is shown."


def _picture(faster: dict[str, Measurement]) -> RenderedChart:
    told = " and ".join(f"{formatting.format_measurement(seen)} for {_FASTER[name]}" for name, seen in faster.items())
    panel = IntervalPanel(
        axis="times as fast as the model as it came",
        spans=tuple(IntervalRow(name=_FASTER[name], seen=seen) for name, seen in faster.items()),
        marks=(ReferenceLine(at=1.0, message="as it came"),),
        log=True,
    )
    return render_chart(
        intervals_chart([panel]),
        name="speed",
        title=f"Faster: {told}",
        alt=f"Faster: {told}. {SEE_TABLE}",
        reading=("Right of the upright line is faster, left of it slower. Equal distances are equal ratios.",),
    )
