"""Quality on unseen rows: every measure, next to the baseline."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting, words

_NAMES = (
    *words.QUALITY,
    *("average_precision", "accuracy", "top3_accuracy", "f1", "macro_f1", "mean_error", "r2", "ndcg10", "mrr", "map"),
    *("base_rate", "cost", "recall", "precision", "false_positive_rate"),
)


def plugin(report: ReportData) -> Section | None:
    """Return the measures of quality over all judged rows; None where none was measured."""
    held = report.winner.evidence.measurements if report.winner else ()
    whole = (measurement for measurement in held if measurement.name.startswith(_NAMES) and not measurement.slice)
    found = tuple(measurement for measurement in whole if not measurement.name.startswith(formatting.TIMED))
    if not found or report.winner is None:
        return None
    return Section(
        title="How good it is",
        place=11,
        prefixes=_NAMES,
        lead=f"Measured on the rows of “{report.winner.evidence.period}”.",
        conclusions=tuple(_means(report, found)),
        table=details.tabulate_against_baseline(found, report.as_it_came, report.groups),
    )


def _means(report: ReportData, found: tuple[Measurement, ...]) -> list[str]:
    lines = [text for measurement in found if formatting.has_interval(measurement) and (text := _said(measurement))]
    lost = winner_measurements(report, "roc_auc.drop")
    if lost and formatting.has_interval(lost[0]) and report.winner and report.winner.variant.steps:
        lines.append(_against(lost[0]))
    return lines or ["On so few rows that share fate nothing can be said for sure."]


def _said(seen: Measurement) -> str:
    if seen.name == "roc_auc":
        pairs = meaning.describe_interval(seen, scale=100.0)
        return f"Of 100 pairs of a case that happens and one that does not, it ranks {pairs} right; 50 would be chance."
    if seen.name in ("rmse", "mae"):
        return f"It is off by {meaning.describe_interval(seen)} ({words.measure_name(seen.name)})."
    return ""


def _against(lost: Measurement) -> str:
    if lost.low == lost.high == 0:
        return "It ranks as the model as it came does."
    if lost.low > 0:
        return "It is shown to rank worse than the model as it came."
    if lost.high < 0:
        return "It is shown to rank better than the model as it came."
    most = formatting.format_number(lost.high)
    return f"That it ranks worse than the model as it came is not shown; if it does, then by {most} at most."
