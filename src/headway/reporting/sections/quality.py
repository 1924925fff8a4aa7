"""Quality on unseen rows: every measure, next to the baseline."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.measure import quality_measures
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, measurements_with_prefix, winner_measurement
from headway.reporting.text import formatting, tables, words


def plugin(report: ReportData) -> Section | None:
    """Return the measures of quality over all judged rows; None where none was measured."""
    prefixes = (*quality_measures(), "base_rate")
    found = [
        measurement
        for measurement in measurements_with_prefix(report, *prefixes)
        if not measurement.slice and not measurement.name.startswith(formatting.TIMED)
    ]
    if not found or report.winner is None:
        return None
    return Section(
        title="Model quality",
        order=11,
        prefixes=prefixes,
        lead=f"Measured on the rows of “{report.winner.evidence.period}”.",
        conclusions=tuple(_conclusions(report, found)),
        table=tables.tabulate_against_baseline(found, report.baseline_evidence, report.groups),
    )


def _conclusions(report: ReportData, found: list[Measurement]) -> list[str]:
    lines = [text for seen in found if formatting.has_interval(seen) and (text := _sentence(seen))]
    lost = winner_measurement(report, "roc_auc.drop")
    if lost and formatting.has_interval(lost) and report.winner and report.winner.variant.steps:
        lines.append(_against_baseline(lost))
    return lines or ["There are too few groups of dependent rows for an interval."]


def _sentence(seen: Measurement) -> str:
    if seen.name == "roc_auc":
        return (
            f"It ranks {formatting.describe_percentage(seen)} pairs of a positive and a negative correctly (AUC); 50 "
            "is chance."
        )
    if seen.name in ("rmse", "mae"):
        return f"The {words.measure_name(seen.name)} is {formatting.describe_interval(seen)}."
    return ""


def _against_baseline(lost: Measurement) -> str:
    if lost.low == lost.high == 0:
        return "It ranks exactly like the baseline."
    if lost.low > 0:
        return "It is shown to rank worse than the baseline."
    if lost.high < 0:
        return "It is shown to rank better than the baseline."
    return (
        f"It is not shown to rank worse than the baseline; the loss is at most {formatting.format_number(lost.high)}."
    )
