"""Parity with the baseline: each relative rule as a share of the limit in the policy."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.verdict import RuleResult
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, ReferenceLine, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, with_enough_rows
from headway.reporting.text import formatting, words

_READS = ("max_change", "decision_churn", "change.", "cosine.drop", "probability_shift", "missing.")
_LACKING = ("missing.brier.drop", "missing.mse.drop")


def plugin(report: ReportData) -> Section | None:
    """Return the section on parity; None where nothing was compared or the winner is the baseline."""
    held = report.winner.evidence.measurements if report.winner else ()
    found = tuple(measurement for measurement in held if measurement.name.startswith(_READS))
    if not found or report.winner is None or not report.winner.variant.steps:
        return None
    rule_results = tuple(rule_result for rule_result in report.winner.verdict.rule_results if _drawable(rule_result))
    return Section(
        title="Beside the model as it came",
        place=15,
        prefixes=_READS,
        lead="The same rows were put to the model as it came and to this form of it, and every answer was compared.",
        conclusions=tuple(_means(report, found)),
        table=details.tabulate_parts(_told(report, found), report.groups, first="Over"),
        picture=lambda: _picture(rule_results) if len(rule_results) > 1 else None,
    )


def _drawable(rule_result: RuleResult) -> bool:
    return bool(rule_result.rule.relative and rule_result.rule.at_most and rule_result.measurement)


def _told(report: ReportData, found: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """Return the measurements over all rows, and of parts that are large enough; a largest change is a fact of any size."""
    large = with_enough_rows(report, found)
    return tuple(
        measurement for measurement in found if not measurement.slice or measurement.se is None or measurement in large
    )


def _means(report: ReportData, found: tuple[Measurement, ...]) -> list[str]:
    largest = next(
        (measurement for measurement in found if measurement.name == "max_change" and not measurement.slice), None
    )
    lines = []
    if largest is not None:
        rows = f"Over {largest.n_rows:,} rows no answer"
        same = largest.value < formatting.ROUNDING
        lines.append(
            f"{rows} differs from that of the model as it came, but for the rounding of a computer."
            if same
            else f"{rows} moved by more than {formatting.format_number(largest.value)}."
        )
    flipped = next(
        (measurement for measurement in found if measurement.name == "decision_churn" and not measurement.slice), None
    )
    if flipped is not None and formatting.has_interval(flipped):
        lines.append(_flipped(flipped))
    near = [
        measurement
        for measurement in found
        if measurement.name == "decision_churn.near" and formatting.has_interval(measurement)
    ]
    lines += [
        f"Of those nearest to the threshold, {meaning.describe_percentage(measurement)} do."
        for measurement in near
        if measurement.high > 0
    ]
    lost = with_enough_rows(report, tuple(measurement for measurement in found if measurement.name in _LACKING))
    if harmed := meaning.shown_above(lost):
        lines.append(f"It is shown to lose on {meaning.join_names([measurement.slice for measurement in harmed])}.")
    return lines


def _flipped(seen: Measurement) -> str:
    if seen.high == 0:
        return f"Not one of {seen.n_rows:,} decisions became another."
    return f"Of 100 decisions, {meaning.describe_interval(seen, scale=100.0)} become another than they were with it."


def _picture(rule_results: tuple[RuleResult, ...]) -> RenderedChart:
    spans = tuple(span for rule_result in rule_results if (span := _span(rule_result)))
    inside = sum(rule_result.answer == "pass" for rule_result in rule_results)
    title = f"{inside} of {len(rule_results)} limits on what may be lost are shown to be kept"
    panel = IntervalPanel(
        axis="part of what is allowed, %",
        spans=spans,
        marks=(ReferenceLine(at=0.0), ReferenceLine(at=100.0, message="limit", limit=True)),
        scale=100.0,
    )
    return render_chart(
        intervals_chart([panel]),
        name="parity",
        title=title,
        alt=f"{title}. {SEE_TABLE}",
        reading=(
            "Each line is a rule of the policy: what was lost, as a part of what it allows. Below 0 is better than the "
            "model as it came; beyond 100 % the rule is broken.",
            "A rule is met where its whole line lies left of the limit.",
        ),
    )


def _span(rule_result: RuleResult) -> IntervalRow | None:
    """Return the loss as a share of the limit."""
    seen, limit = rule_result.measurement, rule_result.rule.at_most
    if seen is None or not limit or not formatting.has_interval(seen):
        return None
    part = replace(seen, value=seen.value / limit, low=seen.low / limit, high=seen.high / limit)
    return IntervalRow(
        name=words.measure_title(rule_result.rule.measure),
        seen=part,
        style="fail" if rule_result.answer == "fail" else "live",
    )
