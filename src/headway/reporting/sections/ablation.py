"""Value of each feature: the error without its values, and of a model retrained without it."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting, tables

_MASKED = ("ablation.masked.brier.drop", "ablation.masked.mse.drop", "ablation.masked.log_loss.drop")
_RETRAINED = ("ablation.retrained.brier.drop", "ablation.retrained.mse.drop", "ablation.retrained.log_loss.drop")
MOST = 20
"""Features that are drawn: the most needed ones, and all that are harmful."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on feature ablation; None where the audit did not run."""
    masked, retrained = winner_measurements(report, *_MASKED), winner_measurements(report, *_RETRAINED)
    if not masked or report.winner is None:
        return None
    masked = tuple(sorted(masked, key=lambda measurement: -measurement.value))
    return Section(
        title="What each feature is worth",
        place=40,
        prefixes=("ablation.",),
        lead="Each feature was given the values of other rows, so that it says nothing of its own. Where that did not "
        "settle its worth, the model was trained anew without it, with several seeds.",
        conclusions=tuple(_means(report, masked)),
        table=tables.tabulate_ablation(report.winner.evidence.measurements, "ablation"),
        picture=lambda: _picture(masked, retrained, _named(report, "ablation.harmful")),
    )


def _means(report: ReportData, masked: tuple[Measurement, ...]) -> list[str]:
    needed = [measurement for measurement in masked if measurement in meaning.shown_above(masked)]
    lines = []
    if needed:
        error = meaning.describe_interval(needed[0])
        lines.append(f"It needs {needed[0].slice} most: without it, its error grows by {error}.")
    harmful = _named(report, "ablation.harmful")
    better = f"It is shown to be better without {meaning.join_names(harmful)}: leave it out, and train anew."
    lines.append(better if harmful else "No feature is shown to do harm.")
    if useless := _named(report, "ablation.useless"):
        lines.append(f"Its error hardly changes without {meaning.join_names(useless)}: what that costs can be saved.")
    lines += [
        f"{measurement.slice} may do harm, and that is not decided: {measurement.method}."
        for measurement in winner_measurements(report, "ablation.unsettled")
        if measurement.slice
    ]
    return lines


def _named(report: ReportData, name: str) -> list[str]:
    return [measurement.slice for measurement in winner_measurements(report, name) if measurement.slice]


def _picture(masked: tuple[Measurement, ...], retrained: tuple[Measurement, ...], harmful: list[str]) -> RenderedChart:
    heads = {"With the values of other rows": masked, "Trained without it": retrained}
    panels = [
        IntervalPanel(title=head, axis="how much the error grows", spans=_spans(found, harmful))
        for head, found in heads.items()
        if found
    ]
    needed = len(meaning.shown_above(masked))
    title = f"{needed} of {len(masked)} features are shown to be needed"
    more = (f"The {MOST} most needed of {len(masked)} are drawn, and those that do harm.",)
    return render_chart(
        intervals_chart(panels),
        name="ablation",
        title=title,
        alt=f"{title}; the first is {masked[0].slice} with {formatting.format_measurement(masked[0])}. {SEE_TABLE}",
        reading=(
            "Further right, the model needs it more. A line that reaches 0 may be worth nothing; one wholly left of it "
            "does harm, and has a cross.",
            *(more if len(masked) > MOST else ()),
        ),
    )


def _spans(found: tuple[Measurement, ...], harmful: list[str]) -> tuple[IntervalRow, ...]:
    return tuple(
        IntervalRow(name=measurement.slice, seen=measurement, style="fail" if measurement.slice in harmful else "live")
        for number, measurement in enumerate(found)
        if number < MOST or measurement.slice in harmful
    )
