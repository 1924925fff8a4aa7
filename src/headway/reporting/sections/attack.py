"""Attacks on decisions: how often a small change flips one, through which columns, how far, and what is proven."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    CROSS,
    Section,
    draw_intervals,
    interval_rows,
    measurements_with_prefix,
    shown_above,
    winner_measurement,
    winner_measurements,
)
from headway.reporting.text import formatting, tables

_PREFIXES = ("attack.", "evasion.", "certificate.")
_RADIUS = "radius 0.05"
"""Slice of the share that a sentence describes: a twentieth of an interquartile range, the default radius."""
MAX_ROWS = 8
"""Columns that are drawn: those that flip most decisions by themselves."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on attacks; None where no such audit ran."""
    found = measurements_with_prefix(report, *_PREFIXES)
    if not found:
        return None
    columns = sorted(winner_measurements(report, "attack.column.success"), key=lambda measurement: -measurement.value)
    return Section(
        title="Adversarial robustness",
        order=36,
        prefixes=_PREFIXES,
        lead="For rows of every group, the audits searched for a small change that flips the decision, or proved that "
        "there is none. The attacker sees decisions only. Columns declared fixed were not changed, and bounds were "
        "respected.",
        conclusions=(
            *fooled(report),
            *_change(report),
            *_weakest(columns),
            *_nearest(report),
            *_proven(report),
            *_against_baseline(report),
        ),
        table=tables.tabulate_parts(found, report.groups),
        picture=lambda: _picture(columns) if columns else None,
    )


def fooled(report: ReportData) -> tuple[str, ...]:
    """Return the share of decisions that an attack flips, and the share that it is proven none can flip."""
    return (*_flipped(report), *_certified(report))


def _flipped(report: ReportData) -> list[str]:
    success = winner_measurement(report, "attack.success")
    if success is None:
        return []
    if success.high < formatting.ROUNDING:
        return [f"No decision of {success.n_rows:,} rows was flipped. This does not show that none can be."]
    if not formatting.has_interval(success):
        return ["The share of decisions that can be flipped cannot be estimated: there are too few groups."]
    share = formatting.describe_percentage(success)
    return [f"The attack flips {share} decisions. A longer attack may flip more, never fewer."]


def _certified(report: ReportData) -> list[str]:
    """Describe the share of rows that no small change of their numbers can flip."""
    shares = winner_measurements(report, "evasion.certified")
    share = next((one for one in shares if one.slice == _RADIUS and formatting.has_interval(one)), None)
    if share is None:
        return []
    return [
        f"For {formatting.describe_percentage(share)} rows it is proven that no attack can flip the decision while "
        "each number moves by less than a twentieth of its usual spread (0.05 interquartile ranges)."
    ]


def _proven(report: ReportData) -> list[str]:
    distance, exact = (winner_measurement(report, f"certificate.{name}") for name in ("distance", "exact"))
    if distance is None or not formatting.has_interval(distance):
        return []
    bound = "" if exact is not None and exact.value == 1 else "at least "
    far = formatting.describe_interval(distance)
    return [f"Half of the rows keep their decision until a number moves by {bound}{far} interquartile ranges."]


def _nearest(report: ReportData) -> list[str]:
    distance = winner_measurement(report, "evasion.distance")
    if distance is None or not formatting.has_interval(distance):
        return []
    far = formatting.describe_interval(distance)
    return [f"For half of the rows a change was found that flips the decision, at a distance of at most {far}."]


def _change(report: ReportData) -> list[str]:
    columns, reach = winner_measurement(report, "attack.columns"), winner_measurement(report, "attack.reach")
    if columns is None or reach is None:
        return []
    change = "one column" if columns.value < 2 else f"{formatting.format_number(columns.value)} columns"
    moved = f"its largest change of a number is {formatting.describe_interval(reach)} interquartile ranges"
    return [f"The median flip changes {change}; {moved}."]


def _weakest(columns: list[Measurement]) -> list[str]:
    return [
        f"The weakest column is {worst.slice}: changed alone, it flips {formatting.describe_percentage(worst)} "
        "decisions."
        for worst in shown_above(columns)[:1]
    ]


def _against_baseline(report: ReportData) -> list[str]:
    lost = winner_measurement(report, "attack.success.drop")
    if lost is None or not formatting.has_interval(lost):
        return []
    if max(abs(lost.low), lost.high) < formatting.ROUNDING:
        return ["It is exactly as robust as the baseline."]
    if lost.low > 0:
        share = formatting.describe_percentage(lost)
        return [f"It is shown to be less robust than the baseline, by {share} decisions."]
    if lost.high < 0:
        return ["It is shown to be more robust than the baseline."]
    bound = formatting.format_number(lost.high * 100)
    return [f"It is not shown to be less robust than the baseline; the difference is at most {bound} of 100 decisions."]


def _picture(columns: list[Measurement]) -> RenderedChart:
    shown = shown_above(columns)
    spans = interval_rows(columns[:MAX_ROWS], shown)
    return draw_intervals(
        "attack",
        f"{len(shown)} of {len(columns)} columns are shown to flip decisions when changed alone",
        [IntervalPanel(axis="share of decisions flipped by this column alone", spans=spans)],
        reading=(
            "Each line is a column; further right, changing it alone flips more decisions.",
            f"Drawn are the {MAX_ROWS} columns that flip most.",
            CROSS,
        ),
    )
