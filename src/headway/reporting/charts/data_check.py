"""Charts of the data check: rows, target, missing values, distribution shifts and findings over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import altair as alt
from msgspec.structs import replace

from headway.core.assessment import Assessment, Shift, TimeBucket
from headway.core.evidence import Measurement
from headway.reporting.charts.theme import (
    LETTER,
    LIGHT,
    SEE_TABLE,
    ChartSize,
    RenderedChart,
    axis_format,
    inline_data,
    panel_title,
    periods_axis,
    render_chart,
    wrap_parts,
)
from headway.reporting.text import formatting
from headway.reporting.text.tables import Column, Line, Table, measurement_cell


def buckets_of(found: Assessment) -> tuple[TimeBucket, ...]:
    """Return the time buckets of an assessment, or the parts of the split where rows have no time."""
    return found.time_buckets or found.parts


def bucket_name(stretch: TimeBucket) -> str:
    """Return the name of a bucket: `September 2013`, or the part of the split."""
    return formatting.period_name(stretch.name) if formatting.is_dated(stretch.name) else stretch.name


def format_share(value: float) -> str:
    """Format a share as a percentage: `12.3 %`."""
    return f"{value:.1%}".replace("%", " %")


def buckets_axis(stretches: Sequence[TimeBucket], size: ChartSize, *, shown: bool = True) -> alt.Axis:
    """Return an axis with one labelled place per bucket."""
    return periods_axis([stretch.name for stretch in stretches], size, shown=shown)


BAND = 26


def draw_rows(found: Assessment) -> RenderedChart | None:
    """Draw the number of rows over time; return None where rows have no time."""
    if len(found.time_buckets) < 2:
        return None
    least = min(found.time_buckets, key=lambda stretch: stretch.n_rows)
    most = max(found.time_buckets, key=lambda stretch: stretch.n_rows)
    message = f"{found.n_rows:,} rows: from {least.n_rows:,} in {bucket_name(least)} to {most.n_rows:,} in {bucket_name(most)}"
    parts = "; ".join(f"{part.name} {part.n_rows:,} rows" for part in found.parts) or "no periods"
    return render_chart(
        lambda size: _rows_chart(found, size),
        name="timeline",
        title=message,
        alt=f"{message}. The split: {parts}. {SEE_TABLE}",
        reading=(
            "Bars count rows. The band says which rows a model learns from (train), is chosen by (validation) and is "
            "judged on (test); live is what came after.",
            "A gap or a sudden fall is a feed that stopped. Periods in another order would let the "
            "future choose for the past.",
        ),
    )


def _rows_chart(found: Assessment, size: ChartSize) -> alt.VConcatChart:
    stretches = found.time_buckets
    x = alt.X("from:Q").scale(domain=(0, len(stretches)), nice=False)
    bars = (
        alt.Chart(
            inline_data(
                [{"from": at + 0.1, "to": at + 0.9, "rows": stretch.n_rows} for at, stretch in enumerate(stretches)]
            )
        )
        .mark_bar(color=LIGHT["live"])
        .encode(
            x=x.axis(buckets_axis(stretches, size)),
            x2="to:Q",
            y=alt.Y("rows:Q").scale(zero=True).axis(title=None, format="~s", tickCount=4),
            y2=alt.Y2Datum(0),
        )
        .properties(width=size.plot, height=150, title="Rows")
    )
    band = _split_band(found, size)
    return alt.vconcat(*band, bars, spacing=8)


def _split_band(found: Assessment, size: ChartSize) -> list[alt.LayerChart]:
    """Return the periods of the split as boxes over the same axis."""
    rows = [_split_box(part, found.time_buckets) for part in found.parts if part.since]
    if not rows:
        return []
    wide = size.plot / len(found.time_buckets)
    boxes = [{**row, "message": row["name"] if _fits(row, wide) else ""} for row in rows]
    base = alt.Chart(inline_data(boxes)).encode(
        x=alt.X("from:Q").scale(domain=(0, len(found.time_buckets)), nice=False).axis(None), x2="to:Q"
    )
    shown = base.mark_rect(fill=LIGHT["shade"], stroke=LIGHT["muted"], strokeWidth=1)
    text = alt.Chart(inline_data(boxes)).mark_text(fontSize=12).encode(x=alt.X("mid:Q"), text="message:N")
    return [alt.layer(shown, text).properties(width=size.plot, height=BAND, title=panel_title(["The split"]))]


def _fits(row: dict[str, object], wide: float) -> bool:
    return (float(str(row["to"])) - float(str(row["from"]))) * wide > len(str(row["name"])) * LETTER + 8


def _split_box(part: TimeBucket, stretches: tuple[TimeBucket, ...]) -> dict[str, object]:
    since, until = _axis_position(part.since, stretches), _axis_position(part.until, stretches)
    return {"name": part.name, "from": since, "to": until, "mid": (since + until) / 2}


def _axis_position(event: str, stretches: tuple[TimeBucket, ...]) -> float:
    """Return the position of a time among the buckets: 2.5 is the middle of the third."""
    at = datetime.fromisoformat(event)
    for place, stretch in enumerate(stretches):
        first, last = datetime.fromisoformat(stretch.since), datetime.fromisoformat(stretch.until)
        if at <= last:
            return place + max(0.0, (at - first) / max(last - first, datetime.resolution))
    return float(len(stretches))


COLOURS = ("live", "came", "undecided", "pass")
SHAPES = ("circle", "square", "triangle-up", "diamond")
MEAN = "mean"


def draw_target(found: Assessment) -> RenderedChart | None:
    """Draw the mean of the target over time; return None where it is known in fewer than two buckets."""
    known = [stretch for stretch in buckets_of(found) if stretch.target]
    if len(known) < 2:
        return None
    first = known[0].target[0].slice
    conclusions = [(stretch, _label_measurement(stretch.target, first)) for stretch in known]
    told = [(each, mean) for each, mean in conclusions if mean]
    (low, least), (high, most) = (end(told, key=lambda pair: pair[1].value) for end in (min, max))
    what = f"share of '{first}'" if first else "target's mean"
    ends = f"{formatting.format_measurement(least)} in {bucket_name(low)} and {formatting.format_measurement(most)} in {bucket_name(high)}"
    message = f"The {what} lies between {ends}"
    return render_chart(
        lambda size: _target_chart(found, size),
        name="target",
        title=message,
        alt=f"{message}. {SEE_TABLE}",
        reading=(
            "Points are means of the rows whose outcome is known; vertical lines are 95 % intervals by group.",
            "Where two intervals overlap widely, the target did not move for sure. Where it did, a model that "
            "learned from the rows of one says too much or too little of the other.",
        ),
    )


def _label_measurement(target: tuple[Measurement, ...], label: str) -> Measurement | None:
    return next((measurement for measurement in target if measurement.slice == label), None)


def _target_chart(found: Assessment, size: ChartSize) -> alt.LayerChart:
    stretches = buckets_of(found)
    names = list(dict.fromkeys(measurement.slice or MEAN for stretch in stretches for measurement in stretch.target))
    rows = [
        _target_row(place + 0.5 + 0.12 * (names.index(measurement.slice or MEAN) - (len(names) - 1) / 2), measurement)
        for place, stretch in enumerate(stretches)
        for measurement in stretch.target
    ]
    ends = [float(str(row[end])) for row in rows for end in ("low", "high")]
    x = alt.X("at:Q").scale(domain=(0, len(stretches)), nice=False).axis(buckets_axis(stretches, size))
    y = (
        alt.Y("value:Q")
        .scale(zero=False)
        .axis(title=None, format=axis_format(min(ends), max(ends), ticks=4), tickCount=4)
    )
    legend = alt.Legend(title=None) if len(names) > 1 else None
    colour = alt.Color("series:N", legend=legend).scale(
        domain=names, range=[LIGHT[each] for each in COLOURS[: len(names)]]
    )
    shape = alt.Shape("series:N", legend=legend).scale(domain=names, range=list(SHAPES[: len(names)]))
    base = alt.Chart(inline_data(rows))
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    points = base.mark_point(size=60, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    what, by = ("Mean of the target" if len(names) == 1 else "Share of each class"), "part of the split"
    title = panel_title(wrap_parts([f"{what} by {'time' if found.time_buckets else by}"], size.width))
    return alt.layer(bars, points).properties(width=size.plot, height=180 if size.narrow else 220, title=title)


def _target_row(at: float, each: Measurement) -> dict[str, object]:
    low, high = (each.low, each.high) if formatting.has_interval(each) else (each.value, each.value)
    return {"at": at, "series": each.slice or MEAN, "value": each.value, "low": low, "high": high}


MOST_COLUMNS, LEAST = 20, 0.001
MISSING_ROW_PX = 22


def columns_with_missing(found: Assessment) -> list[str]:
    """Return the columns with the most missing values, worst first; columns below 0.1 % are left out."""
    most: dict[str, float] = {}
    for stretch in buckets_of(found):
        for name, part in stretch.missing.items():
            most[name] = max(most.get(name, 0.0), part)
    worst = sorted(most, key=lambda name: -most[name])
    return [name for name in worst if most[name] >= LEAST][:MOST_COLUMNS]


def draw_missing(found: Assessment) -> RenderedChart | None:
    """Draw the share of missing values by column and time; return None where no column exceeds 0.1 %."""
    columns, stretches = columns_with_missing(found), buckets_of(found)
    if not columns or not stretches:
        return None
    worst = max(stretches, key=lambda stretch: stretch.missing[columns[0]])
    message = (
        f"'{columns[0]}' lacks the most: {format_share(worst.missing[columns[0]])} of the rows in {bucket_name(worst)}"
    )
    return render_chart(
        lambda size: _missing_chart(found, columns, size),
        name="missing",
        title=message,
        alt=f"Share of missing values by column and time. {message}. {SEE_TABLE}",
        reading=(
            "The darker a square, the more rows of that time lack a value of that column; an empty one lacks none.",
            "A square that is darker than its neighbours is a feed that broke. A row that is dark throughout is a "
            "column that is mostly absent.",
        ),
    )


def _missing_chart(found: Assessment, columns: list[str], size: ChartSize) -> alt.Chart:
    stretches = buckets_of(found)
    rows: list[dict[str, object]] = [
        {"from": place + 0.04, "to": place + 0.96, "column": name, "share": stretch.missing[name]}
        for place, stretch in enumerate(stretches)
        for name in columns
    ]
    room = 96 if size.narrow else 150
    y = (
        alt.Y("column:N")
        .sort(columns)
        .axis(title=None, labelLimit=room - 8, minExtent=room, maxExtent=room, grid=False)
    )
    x = alt.X("from:Q").scale(domain=(0, len(stretches)), nice=False).axis(buckets_axis(stretches, size))
    tone = alt.FillOpacity("share:Q").scale(type="sqrt", domain=[0, 1], range=[0.0, 1.0]).legend(None)
    base = alt.Chart(inline_data(rows)).mark_rect(color=LIGHT["live"], stroke=LIGHT["line"], strokeWidth=1)
    return base.encode(x=x, x2="to:Q", y=y, fillOpacity=tone).properties(
        width=size.plot - room + 46, height=MISSING_ROW_PX * len(columns)
    )


BEFORE, NOW = "before", "now"
SHIFT_ROW_PX = 20


def draw_shifts(found: Assessment) -> RenderedChart | None:
    """Draw the columns whose distribution moved; return None where none is shown to have moved."""
    shifts = found.tested.shifts
    if not shifts:
        return None
    moved = shifts[0]
    most = max(range(len(moved.bins)), key=lambda bin: abs(moved.now[bin] - moved.before[bin]))
    was, now = format_share(moved.before[most]), format_share(moved.now[most])
    message = f"'{moved.column}' moved most surely: {moved.bins[most]} was {was} of the rows and is {now}"
    return render_chart(
        lambda size: _shifts_chart(shifts, size),
        name="shifts",
        title=message,
        alt=f"{message}. Shown are {', '.join(shift.column for shift in shifts)}. {SEE_TABLE}",
        reading=(
            "A line of each column is one bin of its values; squares are the rows when the assessment was opened, "
            "circles those since. The longer the line between them, the more moved there.",
            "Columns are shown that moved by themselves, with a chance of error that counts all columns.",
        ),
    )


def _shifts_chart(shifts: tuple[Shift, ...], size: ChartSize) -> alt.VConcatChart:
    panels = [_shift_panel(shift, size, legend=not place) for place, shift in enumerate(shifts)]
    return alt.vconcat(*panels, spacing=14)


def _shift_panel(shift: Shift, size: ChartSize, *, legend: bool) -> alt.LayerChart:
    room = 104 if size.narrow else 150
    rows: list[dict[str, object]] = [
        {"bin": bin, "from": before, "to": now}
        for bin, before, now in zip(shift.bins, shift.before, shift.now, strict=True)
    ]
    points = [
        {"bin": row["bin"], "series": name, "share": row[end]}
        for row in rows
        for name, end in ((BEFORE, "from"), (NOW, "to"))
    ]
    y = alt.Y("bin:N").sort(list(shift.bins)).axis(title=None, labelLimit=room - 8, minExtent=room, maxExtent=room)
    x = (
        alt.X("share:Q")
        .scale(zero=False)
        .axis(title=None, format=".0%", tickCount=3 if size.narrow else 5, labelOverlap=True, grid=True)
    )
    key = alt.Legend(title=None) if legend else None
    colour = alt.Color("series:N", legend=key).scale(domain=[BEFORE, NOW], range=[LIGHT["came"], LIGHT["live"]])
    shape = alt.Shape("series:N", legend=key).scale(domain=[BEFORE, NOW], range=["square", "circle"])
    line = alt.Chart(inline_data(rows)).mark_rule(color=LIGHT["muted"], strokeWidth=1.5)
    dots = alt.Chart(inline_data(points)).mark_point(size=60, filled=True, opacity=1)
    title = panel_title(wrap_parts([f"{shift.column}: share of rows", f"p {shift.p:.2g}"], size.width))
    return alt.layer(
        line.encode(x=alt.X("from:Q").scale(zero=False), x2="to:Q", y=y),
        dots.encode(x=x, y=y, color=colour, shape=shape),
    ).properties(width=size.plot - room + 46, height=SHIFT_ROW_PX * len(shift.bins), title=title)


SEVERITY_COLORS = {"stop": "fail", "undecided": "undecided", "warn": "live", "note": "came"}
LAST_ASSESSMENTS = 12
TREND_ROW_PX = 40


def draw_trend(kept: Sequence[Assessment]) -> RenderedChart | None:
    """Draw the findings of the last twelve assessments; return None where there is only one."""
    if len(kept) < 2:
        return None
    first, last = kept[-LAST_ASSESSMENTS:][0], kept[-1]
    ends = ", ".join(f"{name} {first.count(name)} to {last.count(name)}" for name in SEVERITY_COLORS)
    moved = [
        f"{first.count(name)} {name} became {last.count(name)}"
        for name in SEVERITY_COLORS
        if first.count(name) != last.count(name)
    ]
    message = f"Since {first.at[:10]} {', '.join(moved)}" if moved else f"As many findings as on {first.at[:10]}"
    return render_chart(
        lambda size: _trend_chart(kept[-LAST_ASSESSMENTS:], size),
        name="trend",
        title=message,
        alt=f"{message}: {ends}. {SEE_TABLE}",
        reading=(
            "A column is one check of the data, the latest on the right; the number is how many findings there were. A "
            "new number below is a new assessment: the source, the columns, the values or the settings had changed.",
            "A stop forbids training. What is undecided waits for a person's word.",
        ),
    )


def _trend_chart(kept: Sequence[Assessment], size: ChartSize) -> alt.LayerChart:
    rows: list[dict[str, object]] = [
        {"at": place + 0.5, "severity": name, "count": assessment.count(name), "message": str(assessment.count(name))}
        for place, assessment in enumerate(kept)
        for name in SEVERITY_COLORS
    ]
    shown = list(SEVERITY_COLORS)
    y = alt.Y("severity:N").sort(shown).axis(title=None, minExtent=70, maxExtent=70, labelFontSize=12)
    x = alt.X("at:Q").scale(domain=(0, len(kept)), nice=False).axis(_assessments_axis(kept, size))
    tone = alt.Stroke("severity:N", legend=None).scale(
        domain=shown, range=[LIGHT[each] for each in SEVERITY_COLORS.values()]
    )
    base = alt.Chart(inline_data(rows))
    some = alt.Chart(inline_data([row for row in rows if row["count"]]))
    rings = some.mark_point(size=560, strokeWidth=2.5, fillOpacity=0).encode(x=x, y=y, stroke=tone)
    text = base.mark_text(fontSize=12).encode(x=x, y=y, text="message:N")
    return alt.layer(rings, text).properties(width=size.plot - 24, height=TREND_ROW_PX * len(shown))


def _assessments_axis(kept: Sequence[Assessment], size: ChartSize) -> alt.Axis:
    labels = [f"No. {assessment.number}" for assessment in kept]
    return alt.Axis(
        title=f"Assessments from {kept[0].at[:10]} to {kept[-1].at[:10]}",
        values=[place + 0.5 for place in range(len(kept))],
        labelExpr=f"{json.dumps(labels)}[floor(datum.value)]",
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )


SHOWN = 8


def tabulate_charts(now: Assessment) -> dict[str, Table]:
    """Return the numbers behind each chart, by its name."""
    return {
        "timeline": _tabulate_rows(now),
        "target": _tabulate_target(now),
        "missing": _tabulate_missing(now),
        "shifts": _tabulate_shifts(now),
    }


def _tabulate_rows(now: Assessment) -> Table:
    rows = tuple(
        (
            *_bucket_cells(stretch),
            (Line(text=stretch.since[:16].replace("T", " ")),),
            (Line(text=stretch.until[:16].replace("T", " ")),),
        )
        for stretch in (*now.parts, *now.time_buckets)
    )
    return Table(columns=_columns("Rows of", "Rows", "Groups", "First", "Last"), rows=rows)


def _tabulate_target(now: Assessment) -> Table:
    labels = list(dict.fromkeys(measurement.slice for stretch in buckets_of(now) for measurement in stretch.target))
    rows = tuple(
        (
            *_bucket_cells(stretch),
            *(
                measurement_cell(
                    next(
                        (
                            replace(measurement, slice="")
                            for measurement in stretch.target
                            if measurement.slice == label
                        ),
                        None,
                    )
                )
                for label in labels
            ),
        )
        for stretch in buckets_of(now)
    )
    return Table(
        columns=_columns("Rows of", "Rows", "Groups", *(label or "Mean of the target" for label in labels)), rows=rows
    )


def _tabulate_missing(now: Assessment) -> Table:
    columns = columns_with_missing(now)[:SHOWN]
    rows = tuple(
        (*_bucket_cells(stretch), *((Line(text=format_share(stretch.missing[name])),) for name in columns))
        for stretch in buckets_of(now)
    )
    return Table(columns=_columns("Rows of", "Rows", "Groups", *columns), rows=rows)


def _tabulate_shifts(now: Assessment) -> Table:
    rows = tuple(
        (
            (Line(text=shift.column, style="strong"), Line(text=f"p {shift.p:.2g}", style="quiet")),
            (Line(text=bin),),
            (Line(text=format_share(before)),),
            (Line(text=format_share(after)),),
        )
        for shift in now.tested.shifts
        for bin, before, after in zip(shift.bins, shift.before, shift.now, strict=True)
    )
    return Table(columns=_columns("Column", "Values", "Before", "Now"), rows=rows)


def _bucket_cells(stretch: TimeBucket) -> tuple[tuple[Line, ...], ...]:
    groups = f"{stretch.n_groups:,}" if stretch.n_groups else "none"
    return ((Line(text=bucket_name(stretch)),), (Line(text=f"{stretch.n_rows:,}"),), (Line(text=groups),))


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title=title, folds=title == "Values") for title in titles)
