"""Value of each component of the winner: steps, stages, layers, views and calibrator, each left out in turn."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting, tables

_ERRORS = ("components.brier.drop", "components.mse.drop")
_RATIOS = {
    "components.latency.speedup": "Time of one row without it, over that with it",
    "components.throughput.speedup": "Time of batches without it, over that with it",
}
_WORDS = {
    "components.harmful": "Better left out, for something is worse with it and nothing better: {}.",
    "components.nothing": "Of no use, for nothing that counts changes without it: {}.",
    "components.unsettled": "It cannot be told what this is worth: {}.",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on components; None where the audit did not run."""
    held = report.winner.evidence.measurements if report.winner else ()
    found = tuple(
        measurement for measurement in held if measurement.name.startswith("components.") and measurement.slice
    )
    if not found:
        return None
    told = tuple(measurement for measurement in found if measurement.name not in _WORDS)
    return Section(
        title="What each part is worth",
        place=42,
        prefixes=("components.",),
        lead="What is to be released was made again without each of its parts, and measured beside the whole.",
        conclusions=tuple(_means(report, told)),
        table=tables.tabulate_ablation(held, "components"),
        picture=lambda: _picture(report) if told else None,
    )


def _means(report: ReportData, told: tuple[Measurement, ...]) -> list[str]:
    """Return which components are worth keeping and which are not."""
    named = {
        word: [measurement.slice for measurement in winner_measurements(report, word) if measurement.slice]
        for word in _WORDS
    }
    others = {name for names in named.values() for name in names}
    worth = [name for name in dict.fromkeys(measurement.slice for measurement in told) if name not in others]
    lines = [f"Shown to be worth its place: {meaning.join_names(worth)}."] if worth else []
    return [*lines, *(_WORDS[word].format(meaning.join_names(names)) for word, names in named.items() if names)]


def _picture(report: ReportData) -> RenderedChart:
    errors = winner_measurements(report, *_ERRORS)
    panels = (
        [IntervalPanel(title="How much more it errs without it", axis="error", spans=_spans(errors))] if errors else []
    )
    for name, title in _RATIOS.items():
        found = tuple(
            measurement
            for measurement in winner_measurements(report, name)
            if formatting.has_interval(measurement) and measurement.low > 0
        )
        if found:
            panels.append(
                IntervalPanel(title=title, axis="times", spans=_spans(found), marks=(ReferenceLine(at=1.0),), log=True)
            )
    parts = len({measurement.slice for measurement in errors})
    title = f"{len(meaning.shown_above(errors))} of {parts} parts are shown to make the answers better"
    return render_chart(
        intervals_chart(panels),
        name="components",
        title=title,
        alt=f"{title}. {SEE_TABLE}",
        reading=(
            "Each line is what changes when one part is left out. Right of the upright line the whole is better with "
            "it: it errs less, or is faster.",
        ),
    )


def _spans(found: tuple[Measurement, ...]) -> tuple[IntervalRow, ...]:
    return tuple(IntervalRow(name=measurement.slice, seen=measurement) for measurement in found)
