"""Charts of the data check: rows, target, missing values, distribution shifts and findings over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import altair as alt
from msgspec.structs import replace

from headway.core.assessment import Assessment, Shift, TimeBucket
from headway.core.evidence import Measurement
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    count_axis,
    encode_series,
    index_axis,
    index_x,
    interval_range,
    interval_row,
    panel_title,
    period_axis,
    render_chart,
    rows_chart,
    text_width,
    value_axis,
)
from headway.reporting.colours import LIGHT
from headway.reporting.text import formatting
from headway.reporting.text.tables import Cell, Column, Line, Table, measurement_cell

NAME_PX, NARROW_NAME_PX = 150, 104
"""Pixels for names of columns and of their bins left of the plot."""


def buckets_of(found: Assessment) -> tuple[TimeBucket, ...]:
    """Return the time buckets of an assessment, or the parts of the split where rows have no time."""
    return found.time_buckets or found.parts


def bucket_name(bucket: TimeBucket) -> str:
    """Return the name of a bucket: `September 2013`, or the part of the split."""
    return formatting.period_name(bucket.name) if formatting.is_dated(bucket.name) else bucket.name


def format_share(value: float) -> str:
    """Format a share as a percentage: `12.3 %`."""
    return f"{value:.1%}".replace("%", " %")


def _bucket_axis(buckets: Sequence[TimeBucket], size: ChartSize) -> alt.Axis:
    return period_axis([bucket.name for bucket in buckets], size)


def _name_y(field: str, names: Sequence[str], size: ChartSize) -> alt.Y:
    """Return a y channel with one name per row, in this order."""
    width = NARROW_NAME_PX if size.narrow else NAME_PX
    axis = alt.Axis(title=None, labelLimit=width - 8, minExtent=width, maxExtent=width, grid=False)
    return alt.Y(f"{field}:N", axis=axis, sort=list(names))


def _plot_width(size: ChartSize) -> int:
    return size.width - (NARROW_NAME_PX if size.narrow else NAME_PX) - 12


def draw_rows(found: Assessment) -> RenderedChart | None:
    """Draw the number of rows over time; return None where rows have no time."""
    buckets = found.time_buckets
    if len(buckets) < 2:
        return None
    low, high = (end(buckets, key=lambda bucket: bucket.n_rows) for end in (min, max))
    message = (
        f"{found.n_rows:,} rows: from {low.n_rows:,} in {bucket_name(low)} to {high.n_rows:,} in {bucket_name(high)}"
    )
    parts = "; ".join(f"{part.name} {part.n_rows:,} rows" for part in found.parts) or "no periods"
    return render_chart(
        lambda size: _rows_chart(found, size),
        name="timeline",
        title=message,
        alt=f"{message}. The split: {parts}. {SEE_TABLE}",
        reading=(
            "Bars count rows. The band shows the split: the model is trained on train, selected on validation and "
            "evaluated on test; live is what came after.",
            "A gap or a sudden drop is a feed that stopped. If the periods are in another order, the future selects "
            "a model for the past.",
        ),
    )


def _rows_chart(found: Assessment, size: ChartSize) -> alt.VConcatChart:
    buckets = found.time_buckets
    rows: list[Row] = [{"from": at + 0.1, "to": at + 0.9, "rows": bucket.n_rows} for at, bucket in enumerate(buckets)]
    bars = (
        rows_chart(rows)
        .mark_bar(color=LIGHT["live"])
        .encode(
            x=index_x("from", len(buckets), _bucket_axis(buckets, size)),
            x2="to:Q",
            y=alt.Y("rows:Q").scale(zero=True).axis(count_axis(ticks=4)),
            y2=alt.Y2Datum(0),
        )
        .properties(width=size.plot, height=150, title="Rows")
    )
    return alt.vconcat(*_split_band(found, size), bars, spacing=8)


def _split_band(found: Assessment, size: ChartSize) -> list[alt.LayerChart]:
    """Return the periods of the split as boxes over the same axis, named where the name fits."""
    rows: list[Row] = []
    for part in found.parts:
        if part.since:
            since, until = (
                _axis_position(part.since, found.time_buckets),
                _axis_position(part.until, found.time_buckets),
            )
            fits = (until - since) * size.plot / len(found.time_buckets) > text_width(part.name) + 8
            message = part.name if fits else ""
            rows.append({"from": since, "to": until, "mid": (since + until) / 2, "message": message})
    if not rows:
        return []
    boxes = rows_chart(rows).mark_rect(fill=LIGHT["shade"], stroke=LIGHT["muted"], strokeWidth=1)
    names = rows_chart(rows).mark_text(fontSize=12).encode(x=alt.X("mid:Q"), text="message:N")
    band = alt.layer(boxes.encode(x=index_x("from", len(found.time_buckets)), x2="to:Q"), names)
    return [band.properties(width=size.plot, height=26, title=panel_title("The split", size=size, has_axis=False))]


def _axis_position(event: str, buckets: tuple[TimeBucket, ...]) -> float:
    """Return the position of a time among the buckets: 2.5 is the middle of the third."""
    at = datetime.fromisoformat(event)
    for index, bucket in enumerate(buckets):
        first, last = datetime.fromisoformat(bucket.since), datetime.fromisoformat(bucket.until)
        if at <= last:
            return index + max(0.0, (at - first) / max(last - first, datetime.resolution))
    return float(len(buckets))


COLOURS = ("live", "came", "undecided", "pass")
SHAPES = ("circle", "square", "triangle-up", "diamond")
MEAN = "mean"


def draw_target(found: Assessment) -> RenderedChart | None:
    """Draw the mean of the target over time; return None where it is known in fewer than two buckets."""
    known = [bucket for bucket in buckets_of(found) if bucket.target]
    if len(known) < 2:
        return None
    first = known[0].target[0].slice
    means = [(bucket, mean) for bucket in known if (mean := _find_label(bucket.target, first))]
    low, high = (end(means, key=lambda pair: pair[1].value) for end in (min, max))
    what = f"share of '{first}'" if first else "mean of the target"
    ends = (f"{formatting.format_measurement(mean)} in {bucket_name(bucket)}" for bucket, mean in (low, high))
    message = f"The {what} lies between {' and '.join(ends)}"
    return render_chart(
        lambda size: _target_chart(found, size),
        name="target",
        title=message,
        alt=f"{message}. {SEE_TABLE}",
        reading=(
            "Points are means of the labeled rows; vertical lines are 95 % intervals by group.",
            "Where two intervals overlap widely, no change of the target is shown. Where it changed, a model trained "
            "on the rows of one period predicts too much or too little in the other.",
        ),
    )


def _find_label(target: tuple[Measurement, ...], label: str) -> Measurement | None:
    return next((measurement for measurement in target if measurement.slice == label), None)


def _target_chart(found: Assessment, size: ChartSize) -> alt.LayerChart:
    buckets = buckets_of(found)
    names = list(dict.fromkeys(measurement.slice or MEAN for bucket in buckets for measurement in bucket.target))
    shifts = {name: 0.12 * (number - (len(names) - 1) / 2) for number, name in enumerate(names)}
    rows = [
        interval_row(measurement, at=index + 0.5 + shifts[measurement.slice or MEAN], series=measurement.slice or MEAN)
        for index, bucket in enumerate(buckets)
        for measurement in bucket.target
    ]
    series = encode_series(
        names,
        legend=alt.Legend(title=None) if len(names) > 1 else None,
        color=dict(zip(names, (LIGHT[colour] for colour in COLOURS), strict=False)),
        shape=dict(zip(names, SHAPES, strict=False)),
    )
    x = index_x("at", len(buckets), _bucket_axis(buckets, size))
    y = alt.Y("value:Q").scale(zero=False).axis(value_axis(*interval_range(rows)))
    base = rows_chart(rows).encode(x=x, y=y)
    intervals = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q").title(None), y2="high:Q", color=series["color"])
    points = base.mark_point(size=60, filled=True, opacity=1).encode(**series)
    what = "Mean of the target" if len(names) == 1 else "Share of each class"
    title = panel_title(f"{what} by {'time' if found.time_buckets else 'part of the split'}", size=size)
    return alt.layer(intervals, points).properties(width=size.plot, height=180 if size.narrow else 220, title=title)


MAX_COLUMNS, MIN_SHARE = 20, 0.001
MISSING_ROW_PX = 22


def columns_with_missing(found: Assessment) -> list[str]:
    """Return the columns with the most missing values, worst first; columns below 0.1 % are left out."""
    highest: dict[str, float] = {}
    for bucket in buckets_of(found):
        for name, share in bucket.missing.items():
            highest[name] = max(highest.get(name, 0.0), share)
    worst = sorted(highest, key=lambda name: -highest[name])
    return [name for name in worst if highest[name] >= MIN_SHARE][:MAX_COLUMNS]


def draw_missing(found: Assessment) -> RenderedChart | None:
    """Draw the share of missing values by column and time; return None where no column exceeds 0.1 %."""
    columns, buckets = columns_with_missing(found), buckets_of(found)
    if not columns or not buckets:
        return None
    worst = max(buckets, key=lambda bucket: bucket.missing[columns[0]])
    share = format_share(worst.missing[columns[0]])
    message = f"'{columns[0]}' has the most missing values: {share} of the rows in {bucket_name(worst)}"
    return render_chart(
        lambda size: _missing_chart(found, columns, size),
        name="missing",
        title=message,
        alt=f"Share of missing values by column and time. {message}. {SEE_TABLE}",
        reading=(
            "The stronger the colour of a cell, the larger the share of missing values of that column at that time; an "
            "empty cell has none.",
            "A cell stronger than its neighbours is a feed that broke. A strong row is a column that is mostly "
            "missing.",
        ),
    )


def _missing_chart(found: Assessment, columns: list[str], size: ChartSize) -> alt.Chart:
    buckets = buckets_of(found)
    rows: list[Row] = [
        {"from": index + 0.04, "to": index + 0.96, "column": name, "share": bucket.missing[name]}
        for index, bucket in enumerate(buckets)
        for name in columns
    ]
    opacity = alt.FillOpacity("share:Q").scale(type="sqrt", domain=[0, 1], range=[0.0, 1.0]).legend(None)
    cells = rows_chart(rows).mark_rect(color=LIGHT["live"], stroke=LIGHT["line"], strokeWidth=1)
    x = index_x("from", len(buckets), _bucket_axis(buckets, size))
    return cells.encode(x=x, x2="to:Q", y=_name_y("column", columns, size), fillOpacity=opacity).properties(
        width=_plot_width(size), height=MISSING_ROW_PX * len(columns)
    )


BEFORE, NOW = "before", "now"
SHIFT_ROW_PX = 20


def draw_shifts(found: Assessment) -> RenderedChart | None:
    """Draw the columns whose distribution moved; return None where none is shown to have moved."""
    shifts = found.tested.shifts
    if not shifts:
        return None
    first = shifts[0]
    name, before, now = max(
        zip(first.bins, first.before, first.now, strict=True), key=lambda shares: abs(shares[2] - shares[1])
    )
    message = (
        f"'{first.column}' shifted most clearly: {name} was {format_share(before)} of the rows and is "
        f"{format_share(now)}"
    )
    return render_chart(
        lambda size: alt.vconcat(*(_shift_panel(shift, size, legend=shift is first) for shift in shifts), spacing=14),
        name="shifts",
        title=message,
        alt=f"{message}. Shown are {', '.join(shift.column for shift in shifts)}. {SEE_TABLE}",
        reading=(
            "Each line is one bin of a column's values. Squares are the rows of the time when the assessment was "
            "opened, circles those since. The longer the line between them, the larger the shift.",
            "Shown are the columns whose shift is significant by itself, corrected for the number of columns.",
        ),
    )


def _shift_panel(shift: Shift, size: ChartSize, *, legend: bool) -> alt.LayerChart:
    shares = list(zip(shift.bins, shift.before, shift.now, strict=True))
    lines: list[Row] = [{"bin": bin, "share": before, "to": now} for bin, before, now in shares]
    points: list[Row] = [
        {"bin": bin, "series": name, "share": share}
        for bin, before, now in shares
        for name, share in ((BEFORE, before), (NOW, now))
    ]
    axis = alt.Axis(title=None, format=".0%", tickCount=3 if size.narrow else 5, labelOverlap=True, grid=True)
    x, y = alt.X("share:Q", axis=axis).scale(zero=False, nice=False, padding=12), _name_y("bin", shift.bins, size)
    series = encode_series(
        (BEFORE, NOW),
        legend=alt.Legend(title=None) if legend else None,
        color={BEFORE: LIGHT["came"], NOW: LIGHT["live"]},
        shape={BEFORE: "square", NOW: "circle"},
    )
    title = panel_title(f"{shift.column}: share of rows", f"p {shift.p:.2g}", size=size)
    return alt.layer(
        rows_chart(lines).mark_rule(color=LIGHT["muted"], strokeWidth=1.5).encode(x=x, x2="to:Q", y=y),
        rows_chart(points).mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, **series),
    ).properties(width=_plot_width(size), height=SHIFT_ROW_PX * len(shift.bins), title=title)


SEVERITY_COLORS = {
    severity: LIGHT[colour]
    for severity, colour in {"stop": "fail", "undecided": "undecided", "warn": "live", "note": "came"}.items()
}
LAST_ASSESSMENTS = 12
TREND_ROW_PX = 40


def draw_trend(history: Sequence[Assessment]) -> RenderedChart | None:
    """Draw the findings of the last twelve assessments; return None where there is only one."""
    if len(history) < 2:
        return None
    recent = history[-LAST_ASSESSMENTS:]
    first, last = recent[0], recent[-1]
    counts = {name: (first.count(name), last.count(name)) for name in SEVERITY_COLORS}
    ends = ", ".join(f"{name} {before} to {after}" for name, (before, after) in counts.items())
    changed = [f"{name} from {before} to {after}" for name, (before, after) in counts.items() if before != after]
    message = f"Findings since {first.at[:10]}: {', '.join(changed) or 'as many as then'}"
    return render_chart(
        lambda size: _trend_chart(recent, size),
        name="trend",
        title=message,
        alt=f"{message}: {ends}. {SEE_TABLE}",
        reading=(
            "Each column is one check of the data, the latest on the right, with the number of findings. A new number "
            "below is a new assessment: the source, the columns, the values or the settings had changed.",
            "A stop forbids training. Undecided findings wait for a person's decision.",
        ),
    )


def _trend_chart(history: Sequence[Assessment], size: ChartSize) -> alt.LayerChart:
    rows: list[Row] = [
        {"at": index + 0.5, "severity": name, "count": assessment.count(name)}
        for index, assessment in enumerate(history)
        for name in SEVERITY_COLORS
    ]
    title = f"Assessments from {history[0].at[:10]} to {history[-1].at[:10]}"
    axis = index_axis([f"No. {assessment.number}" for assessment in history], size, title=title)
    y = alt.Y("severity:N").sort(list(SEVERITY_COLORS)).axis(title=None, minExtent=70, maxExtent=70)
    base = rows_chart(rows).encode(x=index_x("at", len(history), axis), y=y)
    series = encode_series(list(SEVERITY_COLORS), legend=None, field="severity", stroke=SEVERITY_COLORS)
    rings = base.transform_filter("datum.count > 0").mark_point(size=560, strokeWidth=2.5, fillOpacity=0)
    return alt.layer(rings.encode(**series), base.mark_text().encode(text="count:Q")).properties(
        width=size.plot - 24, height=TREND_ROW_PX * len(SEVERITY_COLORS)
    )


MISSING_COLUMNS = 8
"""Columns with missing values in the table."""


def tabulate_charts(now: Assessment) -> dict[str, Table]:
    """Return the numbers behind each chart, by its name."""
    buckets, spans = buckets_of(now), (*now.parts, *now.time_buckets)
    labels = list(dict.fromkeys(measurement.slice for bucket in buckets for measurement in bucket.target))
    target = {label or "Mean of the target": [_target_cell(bucket, label) for bucket in buckets] for label in labels}
    missing = {
        name: [_text(format_share(bucket.missing[name])) for bucket in buckets]
        for name in columns_with_missing(now)[:MISSING_COLUMNS]
    }
    times = {
        "First": [_text(span.since[:16].replace("T", " ")) for span in spans],
        "Last": [_text(span.until[:16].replace("T", " ")) for span in spans],
    }
    return {
        "timeline": _tabulate_buckets(spans, times),
        "target": _tabulate_buckets(buckets, target),
        "missing": _tabulate_buckets(buckets, missing),
        "shifts": _tabulate_shifts(now),
    }


def _tabulate_buckets(buckets: Sequence[TimeBucket], columns: Mapping[str, Sequence[Cell]]) -> Table:
    """Return one row per bucket: its name, rows and groups, and the cells of `columns`."""
    rows = tuple(
        (
            _text(bucket_name(bucket)),
            _text(f"{bucket.n_rows:,}"),
            _text(f"{bucket.n_groups:,}" if bucket.n_groups else "none"),
            *(cells[index] for cells in columns.values()),
        )
        for index, bucket in enumerate(buckets)
    )
    return Table(columns=tuple(Column(title=title) for title in ("Rows of", "Rows", "Groups", *columns)), rows=rows)


def _target_cell(bucket: TimeBucket, label: str) -> Cell:
    found = _find_label(bucket.target, label)
    return measurement_cell(replace(found, slice="") if found else None)


def _tabulate_shifts(now: Assessment) -> Table:
    rows = tuple(
        (
            (Line(text=shift.column, style="strong"), Line(text=f"p {shift.p:.2g}", style="quiet")),
            _text(bin),
            _text(format_share(before)),
            _text(format_share(after)),
        )
        for shift in now.tested.shifts
        for bin, before, after in zip(shift.bins, shift.before, shift.now, strict=True)
    )
    titles = ("Column", "Values", "Before", "Now")
    return Table(columns=tuple(Column(title=title, folds=title == "Values") for title in titles), rows=rows)


def _text(text: str) -> Cell:
    return (Line(text=text),)
