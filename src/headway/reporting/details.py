"""Tables of the numbers behind each chart of the report."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Evidence, Measurement
from headway.reporting import periods
from headway.reporting.periods import Period
from headway.reporting.report_data import ReportData, Stage
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Cell, Column, Line, Table, measurement_cell

_YEAR = ("roc_auc", "ece", "brier")


def tabulate_months(report: ReportData) -> Table:
    """Tabulate the measures by month, for the winner and, where measured, the baseline."""
    series = _series(report)
    titles = [f"{words.measure_symbol(measure)}, {report.word if live else 'as it came'}" for measure, live in series]
    rows = tuple(
        (
            _month(report, label),
            *(
                measurement_cell(periods.month_measurement(report, label, measure, live=live))
                for measure, live in series
            ),
        )
        for label in periods.month_labels(report)
    )
    return Table(columns=tuple(Column(title=title) for title in ("Month", *titles)), rows=rows)


def tabulate_windows(report: ReportData) -> Table:
    """Tabulate each period: the live release, rows, measured and estimated quality, and drift."""
    measures = [
        name
        for name in _YEAR
        if any(period.find(name) or period.estimate(name) for period in periods.list_periods(report))
    ]
    guessed = [name for name in measures if any(period.estimate(name) for period in periods.list_periods(report))]
    rows = tuple(
        (
            (Line(text=periods.period_name(period.label)),),
            *_watched(report, period),
            *(_said(period.find(name)) for name in measures),
            *(_said(period.estimate(name)) if period.watch else () for name in guessed),
        )
        for period in periods.list_periods(report)
    )
    titles = ("Period", "Live", "Rows", "Inputs", *map(words.measure_symbol, measures))
    before = (f"{words.measure_symbol(name)} before labels" for name in guessed)
    return Table(columns=tuple(Column(title=title) for title in (*titles, *before)), rows=rows)


def _watched(report: ReportData, period: Period) -> tuple[Cell, Cell, Cell]:
    """Return three cells: the live release (or the period's use before), the rows with known outcome, and drift."""
    seen = period.watch
    if seen is None:
        count = max((measurement.n_rows for measurement in period.measured), default=0)
        return (Line(text=periods.describe_use(report, period.label), style="quiet"),), (Line(text=f"{count:,}"),), ()
    name = report.year.names.get(seen.release, "") if report.year else ""
    live = (Line(text=name or "live"), Line(text=formatting.short_digest(seen.release), style="quiet"))
    rows = (Line(text=f"{seen.n_rows:,}"), Line(text=f"{seen.n_labeled:,} known", style="quiet"))
    if seen.drift is None:
        return live, rows, (Line(text="cannot say" if seen.is_complete else "not over yet", style="quiet"),)
    p = next(
        measurement.value
        for measurement in seen.drift.measurements
        if measurement.name == "drift.p" and not measurement.slice
    )
    moved = Line(text="changed", style="undecided") if seen.drift.alarm else Line(text="no change shown")
    return live, rows, (moved, Line(text=f"p {p:.2g}", style="quiet"))


def _said(found: Measurement | None) -> Cell:
    return measurement_cell(found) if found else (Line(text="cannot say", style="quiet"),)


def tabulate_reliability(evidence: Evidence) -> Table:
    """Tabulate the reliability curve: predicted probability and observed share with its interval."""
    rows = tuple(
        (
            (Line(text=seen.slice.removeprefix("bin ")),),
            _bare(evidence.find("reliability.predicted", seen.slice)),
            _bare(seen),
            (Line(text=f"{seen.n_rows:,}"),),
        )
        for seen in evidence.measurements
        if seen.name == "reliability"
    )
    titles = ("Bin", "Said, on average", "Observed", "Rows")
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def tabulate_slices(found: tuple[Measurement, ...], groups: str) -> Table:
    """Tabulate the loss of each slice with its rows and groups."""
    rows = tuple(
        (
            (Line(text=measurement.slice),),
            _bare(measurement),
            (Line(text=f"{measurement.n_rows:,}"),),
            (Line(text=f"{measurement.n_groups:,}"),),
        )
        for measurement in found
    )
    titles = ("Slice", words.measure_title(found[0].name) if found else "Loss", "Rows", groups.capitalize())
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _bare(found: Measurement | None) -> Cell:
    """Return the cell of a measurement whose slice its row already names."""
    return measurement_cell(replace(found, slice="") if found else None)


def tabulate_parts(found: Sequence[Measurement], groups: str, *, first: str = "Part") -> Table:
    """Tabulate measurements by part, with rows and groups; the part of all rows is called `all`."""
    rows = tuple(
        (
            (Line(text=measurement.slice or "all"),),
            (Line(text=words.measure_title(measurement.name)),),
            measurement_cell(replace(measurement, slice=""), groups=groups),
        )
        for measurement in found
    )
    return Table(columns=tuple(Column(title=title) for title in (first, "Measure", "Measured")), rows=rows)


def tabulate_against_baseline(found: Sequence[Measurement], came: Evidence | None, groups: str) -> Table:
    """Tabulate measurements of the winner next to those of the baseline where there are any."""
    looks = [] if came is None else [came]
    rows = tuple(
        (
            (
                Line(text=words.measure_title(measurement.name), style="strong"),
                Line(text=measurement.name, style="quiet"),
            ),
            measurement_cell(measurement, groups=groups),
            *(measurement_cell(look.find(measurement.name), groups=groups) for look in looks),
        )
        for measurement in found
    )
    titles = ("Measure", "This model", "As it came")[: 2 + len(looks)]
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def count_small_parts(report: ReportData, count: int) -> list[str]:
    """Return a sentence on parts with too few rows or groups to judge; empty where there are none."""
    least = f"fewer than {report.slice_rows:,} rows or {report.slice_groups} {report.groups}"
    rest = "one more rests" if count == 1 else f"{count} more rest"
    return [f"{rest[:1].upper()}{rest[1:]} on {least}, and cannot be judged."] if count else []


def tabulate_stages(found: tuple[Stage, ...]) -> Table:
    """Tabulate the time of each stage, and the total."""
    total = Stage(name="all", seconds=sum(stage.seconds for stage in found))
    rows = tuple(
        ((Line(text=stage.name),), (Line(text=formatting.format_number(stage.seconds)),)) for stage in (*found, total)
    )
    return Table(columns=(Column(title="Stage", folds=True), Column(title="Seconds")), rows=rows, chosen=len(rows) - 1)


def _series(report: ReportData) -> list[tuple[str, bool]]:
    """Return measure and side (True is the winner) of each column that has a number."""
    sides = [(measure, live) for measure in periods.monthly_measures(report) for live in (True, False)]
    labels = periods.month_labels(report)
    return [
        side
        for side in sides
        if any(periods.month_measurement(report, label, side[0], live=side[1]) for label in labels)
    ]


def _month(report: ReportData, label: str) -> Cell:
    name = Line(text=periods.period_name(label))
    span = periods.split_period_of(report, label)
    return (name, Line(text=span, style="quiet")) if span else (name,)
