"""Parity with the baseline: each relative rule as a share of the limit in the policy."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.verdict import RuleResult
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    draw_intervals,
    measurements_with_prefix,
    shown_above,
    winner_measurement,
    winner_measurements,
    with_enough_rows,
)
from headway.reporting.text import formatting, tables, words

_PREFIXES = ("max_change", "decision_churn", "change.", "cosine.drop", "probability_shift", "missing.")
_MISSING = ("missing.brier.drop", "missing.mse.drop")


def plugin(report: ReportData) -> Section | None:
    """Return the section on parity; None where nothing was compared or the winner is the baseline."""
    found = measurements_with_prefix(report, *_PREFIXES)
    if not found or report.winner is None or not report.winner.variant.steps:
        return None
    rule_results = tuple(rule_result for rule_result in report.winner.verdict.rule_results if _drawable(rule_result))
    large = with_enough_rows(report, found)
    # The largest change is a fact of any number of rows.
    shown = [
        measurement for measurement in found if not measurement.slice or measurement.se is None or measurement in large
    ]
    return Section(
        title="Parity with the baseline",
        order=15,
        prefixes=_PREFIXES,
        lead="The baseline and this variant predicted the same rows, and every prediction was compared.",
        conclusions=tuple(_conclusions(report)),
        table=tables.tabulate_parts(shown, report.groups),
        picture=lambda: _picture(rule_results) if len(rule_results) > 1 else None,
    )


def _drawable(rule_result: RuleResult) -> bool:
    return bool(rule_result.rule.relative and rule_result.rule.at_most and rule_result.measurement)


def _conclusions(report: ReportData) -> list[str]:
    lines = []
    if largest := winner_measurement(report, "max_change"):
        lines.append(
            f"No prediction of {largest.n_rows:,} rows differs from that of the baseline beyond rounding."
            if largest.value < formatting.ROUNDING
            else f"No prediction of {largest.n_rows:,} rows changes by more than "
            f"{formatting.format_number(largest.value)}."
        )
    churn = winner_measurement(report, "decision_churn")
    if churn and formatting.has_interval(churn):
        lines.append(_churn(churn))
    lines += [
        f"Near the threshold, {formatting.describe_percentage(near)} decisions change."
        for near in winner_measurements(report, "decision_churn.near")
        if formatting.has_interval(near) and near.high > 0
    ]
    if harmed := shown_above(with_enough_rows(report, winner_measurements(report, *_MISSING))):
        names = formatting.join_names([measurement.slice for measurement in harmed])
        lines.append(f"It is shown to be worse than the baseline on {names}.")
    return lines


def _churn(churn: Measurement) -> str:
    if churn.high == 0:
        return f"None of {churn.n_rows:,} decisions changes."
    return f"{formatting.describe_percentage(churn)} decisions change."


def _picture(rule_results: tuple[RuleResult, ...]) -> RenderedChart:
    panel = IntervalPanel(
        axis="% of the limit",
        spans=tuple(span for rule_result in rule_results if (span := _span(rule_result))),
        marks=(ReferenceLine(at=0.0), ReferenceLine(at=100.0, message="limit", limit=True)),
        scale=100.0,
    )
    passed = sum(rule_result.answer == "pass" for rule_result in rule_results)
    return draw_intervals(
        "parity",
        f"{passed} of {len(rule_results)} limits compared with the baseline are shown to be met",
        [panel],
        reading=(
            "Each line is a rule of the policy: the loss as a share of its limit. Below 0 is better than the baseline; "
            "above 100 % the rule is broken.",
            "A rule passes if its whole line lies left of the limit.",
        ),
    )


def _span(rule_result: RuleResult) -> IntervalRow | None:
    """Return the loss as a share of the limit."""
    seen, limit = rule_result.measurement, rule_result.rule.at_most
    if seen is None or not limit or not formatting.has_interval(seen):
        return None
    return IntervalRow(
        name=words.measure_title(rule_result.rule.measure),
        seen=replace(seen, value=seen.value / limit, low=seen.low / limit, high=seen.high / limit),
        style="fail" if rule_result.answer == "fail" else "live",
    )
