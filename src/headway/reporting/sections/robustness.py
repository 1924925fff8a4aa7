"""Robustness: the cost of corrupted inputs (missing, noisy, stale, swapped, unseen, other units) and of single months."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details, periods
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import formatting, words

_BEGINS, _EXCESS, _LOSS = "robustness.", ".excess", ".drop"
MOST = 5
"""Alterations of a kind that are drawn: those that cost most."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on corrupted inputs; None where the audit did not run."""
    held = report.winner.evidence.measurements if report.winner else ()
    found = tuple(measurement for measurement in held if measurement.name.startswith(_BEGINS) and measurement.slice)
    if not found:
        return None
    excess, lost = (
        tuple(measurement for measurement in found if measurement.name.endswith(end)) for end in (_EXCESS, _LOSS)
    )
    return Section(
        title="When inputs go wrong",
        place=35,
        prefixes=(_BEGINS,),
        lead="The inputs were spoilt on purpose, one kind of fault after the other, and put to this form and to the "
        "model as it came.",
        conclusions=(*_cost(excess), *_beside(lost)),
        table=details.tabulate_parts(found, report.groups, first="What befell the rows"),
        picture=lambda: _picture(excess) if excess else None,
    )


def _cost(excess: tuple[Measurement, ...]) -> list[str]:
    """Return the corruption that is shown to cost most, of all that were tried."""
    shown = sorted(meaning.shown_above(excess), key=lambda measurement: -measurement.low)
    if not shown:
        return ["No fault that was tried is shown to make it err more."] if excess else []
    worst = shown[0]
    more = f"{len(shown)} of {len(excess)} faults are shown to make it err more"
    return [f"{more}; the worst is {_said(worst)}: its error grows by {meaning.describe_interval(worst)}."]


def _beside(lost: tuple[Measurement, ...]) -> list[str]:
    worse = [_said(measurement) for measurement in meaning.shown_above(lost)]
    if worse:
        return [f"It is shown to stand it worse than the model as it came: {meaning.join_names(worse)}."]
    known = [measurement for measurement in lost if formatting.has_interval(measurement)]
    if not known:
        return []
    most = max(known, key=lambda measurement: measurement.high)
    if most.high < formatting.ROUNDING:
        return ["It stands every fault exactly as the model as it came does."]
    return [
        "On no fault is it shown to err more than the model as it came; for the least sure "
        f"({_said(most)}) it could be {formatting.format_number(most.high)}."
    ]


def _kind(seen: Measurement) -> str:
    return seen.name.removeprefix(_BEGINS).partition(".")[0]


def _said(seen: Measurement) -> str:
    kind = words.CORRUPTIONS.get(_kind(seen), _kind(seen))
    return f"{periods.period_name(seen.slice.removeprefix('month='))}, {kind[:1].lower()}{kind[1:]}"


def _picture(excess: tuple[Measurement, ...]) -> RenderedChart:
    shown = meaning.shown_above(excess)
    by_kind = {
        kind: [measurement for measurement in excess if _kind(measurement) == kind]
        for kind in dict.fromkeys(map(_kind, excess))
    }
    panels = [
        IntervalPanel(
            title=words.CORRUPTIONS.get(kind, kind), axis="how much the error grows", spans=_spans(found, shown)
        )
        for kind, found in by_kind.items()
    ]
    title = f"{len(shown)} of {len(excess)} faults of the inputs are shown to cost something"
    return render_chart(
        intervals_chart(panels),
        name="robustness",
        title=title,
        alt=f"{title}, of {len(panels)} kinds. {SEE_TABLE}",
        reading=(
            "Each line is a fault of the inputs; further right, the model errs more. Each kind has an axis of its own.",
            f"Of each kind the {MOST} that cost most are drawn.",
            "A cross marks what is shown to be above 0, of all that were looked at together.",
        ),
    )


def _spans(found: list[Measurement], shown: list[Measurement]) -> tuple[IntervalRow, ...]:
    worst = sorted(found, key=lambda measurement: -measurement.value)[:MOST]
    names = (periods.period_name(measurement.slice.removeprefix("month=")) for measurement in worst)
    return tuple(
        IntervalRow(name=name, seen=measurement, style="fail" if measurement in shown else "live")
        for name, measurement in zip(names, worst, strict=True)
    )
