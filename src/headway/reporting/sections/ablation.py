"""Value of each feature: the error without its values, and of a model retrained without it."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, draw_intervals, shown_above, winner_measurements
from headway.reporting.text import formatting, tables

MASKED = ("ablation.masked.brier.drop", "ablation.masked.mse.drop", "ablation.masked.log_loss.drop")
RETRAINED = ("ablation.retrained.brier.drop", "ablation.retrained.mse.drop", "ablation.retrained.log_loss.drop")
MAX_ROWS = 20
"""Features that are drawn: the most important ones, and all that are harmful."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on feature ablation; None where the audit did not run."""
    masked, retrained = winner_measurements(report, *MASKED), winner_measurements(report, *RETRAINED)
    if not masked or report.winner is None:
        return None
    masked = tuple(sorted(masked, key=lambda measurement: -measurement.value))
    return Section(
        title="Feature ablation",
        order=40,
        prefixes=("ablation.",),
        lead="Each feature was masked with its values from other rows. Where that did not decide whether the feature "
        "is useful, the model was retrained without it, with several seeds.",
        conclusions=tuple(_conclusions(report, masked)),
        table=tables.tabulate_ablation(report.winner.evidence.measurements, "ablation"),
        picture=lambda: _picture(masked, retrained, _named(report, "ablation.harmful")),
    )


def _conclusions(report: ReportData, masked: tuple[Measurement, ...]) -> list[str]:
    important = [measurement for measurement in masked if measurement in shown_above(masked)]
    lines = []
    if important:
        error = formatting.describe_interval(important[0])
        lines.append(f"{important[0].slice} matters most: without it, the error increases by {error}.")
    harmful = _named(report, "ablation.harmful")
    better = f"The model is shown to be better without {formatting.join_names(harmful)}: remove it and retrain."
    lines.append(better if harmful else "No feature is shown to be harmful.")
    if useless := _named(report, "ablation.useless"):
        lines.append(
            f"The error hardly changes without {formatting.join_names(useless)}: the cost of these features can be "
            "saved."
        )
    lines += [
        f"{measurement.slice} may be harmful; this is undecided: {measurement.method}."
        for measurement in winner_measurements(report, "ablation.unsettled")
        if measurement.slice
    ]
    return lines


def _named(report: ReportData, name: str) -> list[str]:
    return [measurement.slice for measurement in winner_measurements(report, name) if measurement.slice]


def _picture(masked: tuple[Measurement, ...], retrained: tuple[Measurement, ...], harmful: list[str]) -> RenderedChart:
    heads = {"Masked with values of other rows": masked, "Retrained without the feature": retrained}
    panels = [
        IntervalPanel(title=head, axis="increase of the error", spans=_spans(found, harmful))
        for head, found in heads.items()
        if found
    ]
    more = (f"Drawn are the {MAX_ROWS} most important of {len(masked)} features, and the harmful ones.",)
    return draw_intervals(
        "ablation",
        f"{len(shown_above(masked))} of {len(masked)} features are shown to be useful",
        panels,
        alt=f"; the first is {masked[0].slice} with {formatting.format_measurement(masked[0])}",
        reading=(
            "Further right, the feature is more important. A line that reaches 0 may be useless. A line left of 0 is "
            "harmful and has a cross.",
            *(more if len(masked) > MAX_ROWS else ()),
        ),
    )


def _spans(found: tuple[Measurement, ...], harmful: list[str]) -> tuple[IntervalRow, ...]:
    return tuple(
        IntervalRow(name=measurement.slice, seen=measurement, style="fail" if measurement.slice in harmful else "live")
        for number, measurement in enumerate(found)
        if number < MAX_ROWS or measurement.slice in harmful
    )
