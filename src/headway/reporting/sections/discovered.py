"""Slices found by a search over combinations of columns, measured on the other half of the rows."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    CROSS,
    Section,
    count_small_slices,
    draw_intervals,
    interval_rows,
    shown_above,
    winner_measurements,
    with_enough_rows,
)
from headway.reporting.text import formatting, tables, words

_EXCESS = ("discovered.brier.excess", "discovered.mse.excess")
_LOSS = ("discovered.brier.drop", "discovered.mse.drop")
_HEADS = {"excess": "Error minus that on all other rows", "drop": "Error minus that of the baseline on the same rows"}


def plugin(report: ReportData) -> Section | None:
    """Return the section on discovered slices; None where the search for them did not run."""
    measured = winner_measurements(report, *_EXCESS, *_LOSS)
    found = with_enough_rows(report, measured)
    if not measured:
        return None
    return Section(
        title="Discovered slices",
        order=25,
        prefixes=("discovered.",),
        lead=f"All combinations of two or three columns{_compared(report)} were compared on one half of the "
        f"{report.groups}. The worst are measured here on the other half, so that the figures are not optimistic.",
        conclusions=(*_conclusions(found), *count_small_slices(report, len(measured) - len(found))),
        table=tables.tabulate_parts(found, report.groups),
        picture=lambda: _picture(report, found) if found else None,
    )


def _compared(report: ReportData) -> str:
    counted = winner_measurements(report, "discovered.compared")
    return f" ({counted[0].value:,.0f} with enough rows)" if counted else ""


def _conclusions(found: tuple[Measurement, ...]) -> list[str]:
    excess, loss = ([measurement for measurement in found if measurement.name in names] for names in (_EXCESS, _LOSS))
    lines = []
    if worse := shown_above(excess):
        lines.append(f"The error is shown to be larger than elsewhere where {_listed(worse)}.")
    elif excess:
        lines.append("On no slice is the error shown to be larger than elsewhere.")
    if harmed := shown_above(loss):
        lines.append(f"The model is shown to be worse than the baseline where {_listed(harmed)}.")
    elif loss and all(map(formatting.has_interval, loss)):
        bound = max(measurement.high for measurement in loss)
        lines.append(
            f"No slice is shown to be worse than with the baseline; a loss of up to {formatting.format_number(bound)} "
            "is not excluded."
            if bound > formatting.ROUNDING
            else "No slice loses anything compared with the baseline."
        )
    return lines


def _listed(found: list[Measurement]) -> str:
    return "; where ".join(
        f"{measurement.slice} (by {formatting.describe_interval(measurement)} in "
        f"{words.measure_symbol(measurement.name.removesuffix('.excess'))})"
        for measurement in found
    )


def _picture(report: ReportData, found: tuple[Measurement, ...]) -> RenderedChart:
    kinds = {kind: [measurement for measurement in found if measurement.name.endswith(kind)] for kind in _HEADS}
    panels = [
        IntervalPanel(
            title=_HEADS[kind],
            axis=words.measure_title(same[0].name),
            spans=interval_rows(same, shown_above(same), counts=True),
            notes=f"rows / {report.groups}",
        )
        for kind, same in kinds.items()
        if same
    ]
    worst = max(kinds["excess"] or found, key=lambda kind: kind.low if formatting.has_interval(kind) else -1.0)
    return draw_intervals(
        "discovered",
        f"Largest error: {worst.slice}, {words.measure_name(worst.name)} {formatting.format_measurement(worst)}",
        panels,
        alt=f"; {len(found)} slices",
        reading=("Each line is a slice defined by a combination of columns; further right is worse.", CROSS),
    )
