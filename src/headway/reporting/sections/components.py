"""Value of each component of the winner: steps, stages, layers, views and calibrator, each left out in turn."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel, ReferenceLine
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    draw_intervals,
    interval_rows,
    measurements_with_prefix,
    shown_above,
    winner_measurements,
)
from headway.reporting.text import formatting, tables

_ERRORS = ("components.brier.drop", "components.mse.drop")
_RATIOS = {
    "components.latency.speedup": "Latency of one row, without divided by with it",
    "components.throughput.speedup": "Time of a batch, without divided by with it",
}
_CONCLUSIONS = {
    "components.harmful": "Harmful (something is worse with it, nothing is better): {}.",
    "components.nothing": "Useless (nothing that counts changes without it): {}.",
    "components.unsettled": "Undecided: {}.",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on components; None where the audit did not run."""
    found = [measurement for measurement in measurements_with_prefix(report, "components.") if measurement.slice]
    if not found:
        return None
    measured = [measurement for measurement in found if measurement.name not in _CONCLUSIONS]
    return Section(
        title="Component ablation",
        order=42,
        prefixes=("components.",),
        lead="The variant was rebuilt without each of its components and compared with the complete one.",
        conclusions=tuple(_conclusions(report, measured)),
        table=tables.tabulate_ablation(found, "components"),
        picture=lambda: _picture(report) if measured else None,
    )


def _conclusions(report: ReportData, measured: list[Measurement]) -> list[str]:
    """Return which components are worth keeping and which are not."""
    named = {
        name: [measurement.slice for measurement in winner_measurements(report, name) if measurement.slice]
        for name in _CONCLUSIONS
    }
    others = {name for names in named.values() for name in names}
    useful = [name for name in dict.fromkeys(measurement.slice for measurement in measured) if name not in others]
    lines = [f"Shown to be useful: {formatting.join_names(useful)}."] if useful else []
    return [
        *lines,
        *(_CONCLUSIONS[name].format(formatting.join_names(names)) for name, names in named.items() if names),
    ]


def _picture(report: ReportData) -> RenderedChart:
    errors = winner_measurements(report, *_ERRORS)
    panels = (
        [IntervalPanel(title="Increase of the error without it", axis="error", spans=interval_rows(errors))]
        if errors
        else []
    )
    for name, title in _RATIOS.items():
        found = [
            measurement
            for measurement in winner_measurements(report, name)
            if formatting.has_interval(measurement) and measurement.low > 0
        ]
        if found:
            spans, marks = interval_rows(found), (ReferenceLine(at=1.0),)
            panels.append(IntervalPanel(title=title, axis="ratio", spans=spans, marks=marks, log=True))
    count = len({measurement.slice for measurement in errors})
    return draw_intervals(
        "components",
        f"{len(shown_above(errors))} of {count} components are shown to reduce the error",
        panels,
        reading=(
            "Each line is the change when one component is left out. Right of the vertical line, the model is better "
            "with the component: its error is smaller, or it is faster.",
        ),
    )
