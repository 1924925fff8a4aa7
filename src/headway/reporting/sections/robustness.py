"""Robustness: the cost of corrupted inputs (missing, noisy, stale, swapped, unseen, other units) and single months."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.evaluation.measures.robustness import CORRUPTIONS
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import CROSS, Section, draw_intervals, measurements_with_prefix, shown_above
from headway.reporting.text import formatting, tables

_PREFIX, _EXCESS, _LOSS = "robustness.", ".excess", ".drop"
MAX_ROWS = 5
"""Corruptions of a kind that are drawn: those that cost most."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on corrupted inputs; None where the audit did not run."""
    found = [measurement for measurement in measurements_with_prefix(report, _PREFIX) if measurement.slice]
    if not found:
        return None
    excess, lost = (
        [measurement for measurement in found if measurement.name.endswith(end)] for end in (_EXCESS, _LOSS)
    )
    return Section(
        title="Robustness to corrupted inputs",
        order=35,
        prefixes=(_PREFIX,),
        lead="The inputs were corrupted, one kind of corruption at a time, for this variant and for the baseline.",
        conclusions=(*_cost(excess), *_against_baseline(lost)),
        table=tables.tabulate_parts(found, report.groups, first="Corruption"),
        picture=lambda: _picture(excess) if excess else None,
    )


def _cost(excess: list[Measurement]) -> list[str]:
    """Return the corruption that is shown to cost most, of all that were tried."""
    shown = sorted(shown_above(excess), key=lambda measurement: -measurement.low)
    if not shown:
        return ["No corruption is shown to increase the error."] if excess else []
    worst = shown[0]
    return [
        f"{len(shown)} of {len(excess)} corruptions are shown to increase the error; the worst is {_named(worst)}: the "
        f"error increases by {formatting.describe_interval(worst)}."
    ]


def _against_baseline(lost: list[Measurement]) -> list[str]:
    if worse := [_named(measurement) for measurement in shown_above(lost)]:
        return [f"It is shown to be less robust than the baseline to: {formatting.join_names(worse)}."]
    known = [measurement for measurement in lost if formatting.has_interval(measurement)]
    if not known:
        return []
    largest = max(known, key=lambda measurement: measurement.high)
    if largest.high < formatting.ROUNDING:
        return ["It is exactly as robust as the baseline to every corruption."]
    return [
        "It is not shown to be less robust than the baseline to any corruption; a loss of up to "
        f"{formatting.format_number(largest.high)} ({_named(largest)}) is not excluded."
    ]


def _kind(seen: Measurement) -> str:
    return seen.name.removeprefix(_PREFIX).partition(".")[0]


def _column(seen: Measurement) -> str:
    return formatting.period_name(seen.slice.removeprefix("month="))


def _named(seen: Measurement) -> str:
    kind = CORRUPTIONS.get(_kind(seen), _kind(seen))
    return f"{_column(seen)}, {kind[:1].lower()}{kind[1:]}"


def _picture(excess: list[Measurement]) -> RenderedChart:
    shown = shown_above(excess)
    panels = []
    for kind in dict.fromkeys(map(_kind, excess)):
        worst = sorted(
            (measurement for measurement in excess if _kind(measurement) == kind),
            key=lambda measurement: -measurement.value,
        )
        spans = tuple(
            IntervalRow(name=_column(measurement), seen=measurement, style="fail" if measurement in shown else "live")
            for measurement in worst[:MAX_ROWS]
        )
        panels.append(IntervalPanel(title=CORRUPTIONS.get(kind, kind), axis="increase of the error", spans=spans))
    return draw_intervals(
        "robustness",
        f"{len(shown)} of {len(excess)} corruptions of the inputs are shown to increase the error",
        panels,
        alt=f", of {len(panels)} kinds",
        reading=(
            "Each line is a corruption; further right, the error increases more. Each kind has its own axis.",
            f"Of each kind, the {MAX_ROWS} that cost most are drawn.",
            CROSS,
        ),
    )
