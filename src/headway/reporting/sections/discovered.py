"""Slices found by a search over combinations of columns, measured on the other half of the rows."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements, with_enough_rows
from headway.reporting.text import formatting, words

_EXCESS = ("discovered.brier.excess", "discovered.mse.excess")
_LOSS = ("discovered.brier.drop", "discovered.mse.drop")
_HEADS = {
    "excess": "How much more it errs there than on all other rows",
    "drop": "How much more it errs there than the model as it came",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on discovered slices; None where the search for them did not run."""
    every = winner_measurements(report, *_EXCESS, *_LOSS)
    found = with_enough_rows(report, every)
    if not every:
        return None
    return Section(
        title="Parts of the rows that nobody named",
        place=25,
        prefixes=("discovered.",),
        lead=f"All combinations of two or three columns{_compared(report)} were looked at on one half of the "
        f"{report.groups}; the worst of them are measured here on the other half, so that the figures are not "
        "those of the luckiest find.",
        conclusions=(*_means(found), *details.count_small_parts(report, len(every) - len(found))),
        table=details.tabulate_parts(found, report.groups),
        picture=lambda: _picture(report, found) if found else None,
    )


def _compared(report: ReportData) -> str:
    counted = winner_measurements(report, "discovered.compared")
    return f" ({counted[0].value:,.0f} of them large enough)" if counted else ""


def _means(found: tuple[Measurement, ...]) -> list[str]:
    excess, loss = (
        tuple(measurement for measurement in found if measurement.name in names) for names in (_EXCESS, _LOSS)
    )
    lines = []
    if worse := meaning.shown_above(excess):
        lines.append(
            f"The model is shown to err more than elsewhere where {_each(worse)}. Who decides on such rows should know."
        )
    elif excess:
        lines.append("No combination is shown to be one on which the model errs more than elsewhere.")
    if harmed := meaning.shown_above(loss):
        lines.append(f"It is shown to be worse than the model as it came where {_each(harmed)}.")
    elif loss and all(map(formatting.has_interval, loss)):
        least_sure = max(loss, key=lambda measurement: measurement.high)
        lines.append(
            "No combination is shown to be harmed by the change of form; for the least sure the loss could be "
            f"{formatting.format_number(least_sure.high)}."
            if least_sure.high > formatting.ROUNDING
            else "On none of them is anything lost against the model as it came."
        )
    return lines


def _each(found: list[Measurement]) -> str:
    return "; where ".join(
        f"{measurement.slice} (by {meaning.describe_interval(measurement)} in {words.measure_symbol(measurement.name.removesuffix('.excess'))})"
        for measurement in found
    )


def _picture(report: ReportData, found: tuple[Measurement, ...]) -> RenderedChart:
    kinds = {kind: tuple(measurement for measurement in found if measurement.name.endswith(kind)) for kind in _HEADS}
    panels = [
        IntervalPanel(
            title=_HEADS[kind],
            axis=words.measure_title(same[0].name),
            spans=_spans(same),
            notes=f"rows / {report.groups}",
        )
        for kind, same in kinds.items()
        if same
    ]
    worst = max(kinds["excess"] or found, key=lambda kind: kind.low if formatting.has_interval(kind) else -1.0)
    title = (
        f"Where it errs most: {worst.slice}, {words.measure_name(worst.name)} {formatting.format_measurement(worst)}"
    )
    return render_chart(
        intervals_chart(panels),
        name="discovered",
        title=title,
        alt=f"{len(found)} combinations of columns. {title}. {SEE_TABLE}",
        reading=(
            "Each line is a part of the rows that a combination of columns cuts out; further right is worse.",
            "A cross marks what is shown to be above 0, of all those that were looked at together.",
        ),
    )


def _spans(found: tuple[Measurement, ...]) -> tuple[IntervalRow, ...]:
    shown = meaning.shown_above(found)
    return tuple(
        IntervalRow(
            name=measurement.slice,
            seen=measurement,
            note=f"{measurement.n_rows:,} / {measurement.n_groups:,}",
            style="fail" if measurement in shown else "live",
        )
        for measurement in found
    )
