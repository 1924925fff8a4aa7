"""Timeline of the live releases: quality by period, the live release, and a numbered mark for each event."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from string import ascii_uppercase
from typing import Any

import altair as alt

from headway.core.measure import lower_is_better
from headway.core.record import Record
from headway.monitoring.monitor import ESTIMATE_NOT_POSSIBLE
from headway.monitoring.performance_estimation import ESTIMATED_MEASURES
from headway.reporting import report_data
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    encode_series,
    index_x,
    interval_range,
    interval_row,
    panel_title,
    period_axis,
    render_chart,
    rows_chart,
    text_width,
    value_axis,
    wrap_parts,
)
from headway.reporting.colours import LIGHT
from headway.reporting.events import list_events
from headway.reporting.report_data import Event, EventKind, ReportData, ReportPeriod
from headway.reporting.section import shown_above
from headway.reporting.text import formatting, words

BADGE, STEP = 20, 27
"""Pixels of a mark, and those from one to the next above it."""

NAMES: dict[EventKind, str] = {
    "drift": "drift",
    "worse": "degradation",
    "recovered": "recovered",
    "rolled back": "rolled back",
    "ticket": "ticket opened",
    "retrained": "retrained",
    "live": "went live",
    "other": "other",
}
_PATHS: dict[EventKind, str] = {
    "drift": "M0,-1.3L1.3,0.9L-1.3,0.9Z",
    "worse": "M0,1.3L1.3,-0.9L-1.3,-0.9Z",
    "recovered": "M-0.4,-1.2L0.4,-1.2L0.4,-0.4L1.2,-0.4L1.2,0.4L0.4,0.4L0.4,1.2L-0.4,1.2L-0.4,0.4L-1.2,0.4L-1.2,-0.4"
    "L-0.4,-0.4Z",
    "rolled back": "M-0.95,-0.95L0.95,-0.95L0.95,0.95L-0.95,0.95Z",
    "ticket": "M0,-1.3L1.3,0L0,1.3L-1.3,0Z",
    "retrained": "M1.05,0A1.05,1.05,0,1,1,-1.05,0A1.05,1.05,0,1,1,1.05,0Z",
    "live": "M0,-1.2L1.15,-0.35L0.75,1L-0.75,1L-1.15,-0.35Z",
    "other": "M-0.6,-1L0.6,-1L1.15,0L0.6,1L-0.6,1L-1.15,0Z",
}
_COLOURS: dict[EventKind, str] = {
    "drift": LIGHT["undecided"],
    "worse": LIGHT["fail"],
    "recovered": LIGHT["pass"],
    "rolled back": LIGHT["fail"],
    "ticket": LIGHT["undecided"],
    "retrained": LIGHT["live"],
    "live": LIGHT["pass"],
    "other": LIGHT["muted"],
}


def numbered_events(events: Sequence[Event]) -> list[tuple[int, Event]]:
    """Return the events with the numbers that marks and list share, from 1."""
    return list(enumerate(events, 1))


def event_badge(kind: EventKind) -> str:
    """Return the mark of an event kind as SVG text, hidden from screen readers."""
    return (
        '<svg class="badge" aria-hidden="true" width="34" height="34" viewBox="-17 -17 34 34">'
        f'<path d="{_PATHS[kind]}" transform="scale(12)" vector-effect="non-scaling-stroke" '
        f'fill="{LIGHT["paper"]}" stroke="{_COLOURS[kind]}" stroke-width="2"/></svg>'
    )


def event_marks(
    events: Sequence[Event],
    over: Sequence[ReportPeriod],
    size: ChartSize,
    *,
    links: Sequence[str] = (),
    interactive: bool = False,
) -> list[alt.LayerChart]:
    """Return a panel of marks over the periods; events outside all periods appear in the list only."""
    rows = _stack(events, over, size.plot / len(over))
    if not rows:
        return []
    for row in rows:
        row["href"] = links[int(str(row["number"])) - 1] if links else None
    height = STEP * (1 + max(int(str(row["level"])) for row in rows)) + 4
    series = encode_series(
        [kind for kind in NAMES if any(row["kind"] == kind for row in rows)],
        legend=alt.Legend(
            title=None,
            symbolSize=110,
            columns=3 if size.narrow else 0,
            labelExpr=f"{json.dumps(NAMES)}[datum.label]",
        ),
        field="kind",
        shape=_PATHS,
        stroke=_COLOURS,
    )
    y = alt.Y("y:Q").scale(domain=(0, height), nice=False).axis(None)
    tips = [alt.Tooltip("what:N", title="Event"), alt.Tooltip("when:N", title="When")]
    base = rows_chart(rows).encode(x=index_x("at", len(over)), y=y, tooltip=tips)
    badges = base.mark_point(size=BADGE**2, strokeWidth=2, fill=LIGHT["paper"], opacity=1).encode(**series)
    badges = badges.encode(href="href:N") if links else badges
    numbers = base.mark_text(fontSize=11, fontWeight="bold", baseline="middle", dy=1).encode(text="number:N")
    numbers = numbers.encode(href="href:N") if interactive else numbers  # in a picture it would be a second link
    title = panel_title("Events", size=size, has_axis=False)
    return [alt.layer(badges, numbers).properties(width=size.plot, height=height, title=title)]


def _stack(events: Sequence[Event], over: Sequence[ReportPeriod], width: float) -> list[Row]:
    """Stack each mark as low as it fits next to those before it; `width` is that of a period in pixels."""
    rows: list[Row] = []
    levels: defaultdict[int, list[float]] = defaultdict(list)
    for number, event in numbered_events(events):
        at = report_data.axis_position(over, event.at)
        if at is None:
            continue
        level = next(n for n in count() if all(abs(at - other) * width >= STEP for other in levels[n]))
        levels[level].append(at)
        row: Row = {"number": str(number), "kind": event.kind, "at": at, "level": level, "y": STEP * (level + 0.5)}
        rows.append({**row, "what": event.what, "when": formatting.period_name(event.at)})
    return rows


BAND_LINE, MAX_LINES = 14, 2


class LiveSpan(Record, frozen=True, kw_only=True):
    """Neighbouring periods with the same release, from `start` to `end` on an axis where each period is 1 wide."""

    name: str
    live: bool
    start: int
    end: int
    first: str
    last: str


def live_spans(report: ReportData, found: Sequence[ReportPeriod]) -> list[LiveSpan]:
    """Return which release was live in which periods, and before that what the periods were used for."""
    spans = []
    for (name, live), run in groupby(enumerate(found), key=lambda pair: _live_name(report, pair[1])):
        run_periods = list(run)
        (start, first), (end, last) = run_periods[0], run_periods[-1]
        if name:
            spans.append(LiveSpan(name=name, live=live, start=start, end=end + 1, first=first.label, last=last.label))
    return spans


def _live_name(report: ReportData, period: ReportPeriod) -> tuple[str, bool]:
    if period.watch is not None:
        names = report.year.names if report.year else {}
        return names.get(period.watch.release, "live"), True
    return report_data.describe_use(report, period.label), False


def live_band(spans: Sequence[LiveSpan], n_periods: int, size: ChartSize) -> list[alt.LayerChart]:
    """Return the band of live releases, labelled by name where it fits, else by letters that its title explains."""
    if not spans:
        return []
    named = [(span, _fold(span.name, (span.end - span.start) * size.plot / n_periods)) for span in spans]
    letters = dict(zip(dict.fromkeys(span.name for span, text in named if not text), ascii_uppercase, strict=False))
    height = BAND_LINE * max(text.count("\n") + 1 for _, text in named) + 8
    rows: list[Row] = [
        {"from": span.start, "to": span.end, "mid": (span.start + span.end) / 2, "live": span.live}
        | {"message": text or letters.get(span.name, ""), "y": (height - BAND_LINE * text.count("\n")) / 2}
        for span, text in named
    ]
    base = rows_chart(rows)
    fill = encode_series([False, True], legend=None, field="live", fill={False: LIGHT["paper"], True: LIGHT["shade"]})
    boxes = base.mark_rect(stroke=LIGHT["muted"], strokeWidth=1).encode(x=index_x("from", n_periods), x2="to:Q", **fill)
    names = base.mark_text(lineBreak="\n", lineHeight=BAND_LINE, fontSize=11, baseline="middle").encode(
        x="mid:Q", y=alt.Y("y:Q").scale(domain=(height, 0), nice=False).axis(None), text="message:N"
    )
    title = panel_title(
        "Live release", *(f"{letter}: {name}" for name, letter in letters.items()), size=size, has_axis=False
    )
    return [alt.layer(boxes, names).properties(width=size.plot, height=height, title=title)]


def _fold(name: str, width: float) -> str:
    """Return a name in at most MAX_LINES lines of `width` pixels; empty where it does not fit."""
    lines = wrap_parts(name.split(), width - 6, between=" ", font_size=11)
    fits = len(lines) <= MAX_LINES and all(text_width(line, 11) < width for line in lines)
    return "\n".join(lines) if fits else ""


MEASURED, BEFORE, ESTIMATED = "measured while live", "measured before it was live", "estimated before labels arrived"
NO_ESTIMATE, NOT_OVER = "no estimate", "not over"
_STROKES = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], ESTIMATED: LIGHT["live"]}
_FILLS = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], ESTIMATED: LIGHT["paper"]}
_SERIES = {MEASURED: "circle", BEFORE: "square", ESTIMATED: "diamond"}


def draw_timeline(
    report: ReportData, *, complete: bool = False, links: Sequence[str] = (), interactive: bool = False
) -> RenderedChart | None:
    """Draw two measures over the periods with live releases and events; return None for fewer than two periods.

    With `complete`, cost and drift as well. `links` are the addresses that the mark of each event opens, in their
    order; an empty one opens nothing.
    """
    found = report_data.list_periods(report)
    measures = report_data.charted_measures(report, complete=complete)
    if len(found) < 2 or not measures:
        return None
    return render_chart(
        lambda size: _chart(report, found, measures, size, links=links),
        name="year",
        title=_title(report, found, report_data.charted_measures(report) or measures),
        alt=_alt(report, found, measures),
        reading=_reading(report, found, measures),
        interactive=(
            (lambda size: _chart(report, found, measures, size, links=links, interactive=True)) if interactive else None
        ),
    )


def timeline_conclusions(report: ReportData) -> tuple[str, ...]:
    """Return what the intervals of the periods support: where the limit is exceeded, or how large the error may be."""
    found = report_data.list_periods(report)
    measures = report_data.charted_measures(report)
    known = {period.label: seen for period in _live(found) for name in measures[-1:] if (seen := period.find(name))}
    if not known:
        return ()
    measure, limit = measures[-1], quality_limit(report, measures[-1])
    name = words.measure_name(measure)
    highest, worst = max(known.items(), key=lambda pair: pair[1].high)
    if limit is None or not lower_is_better(measure):
        return (f"In {formatting.period_name(highest)} its {name} was {formatting.describe_interval(worst)}.",)
    beyond = shown_above(tuple(known.values()), limit)
    named = [formatting.period_name(label) for label, seen in known.items() if seen in beyond]
    if named:
        return (f"In {formatting.join_names(named)} its {name} is shown to be above the limit of {limit:g}.",)
    reach = (
        "it stayed within the limit"
        if worst.high <= limit
        else f"the intervals reach up to {formatting.format_number(worst.high)}"
    )
    return (f"In none of {len(known)} periods is its {name} shown to be above the limit of {limit:g}; {reach}.",)


def quality_limit(report: ReportData, measure: str) -> float | None:
    """Return the upper limit on a measure: that of retraining if a release is live, else that of the release policy."""
    if report.year and measure in report.year.limits:
        return report.year.limits[measure]
    rule_results = report.winner.verdict.rule_results if report.winner else ()
    return next((rule_result.rule.at_most for rule_result in rule_results if rule_result.rule.measure == measure), None)


def _live(found: Sequence[ReportPeriod]) -> list[ReportPeriod]:
    """Return the periods with a live release, or all periods where there was none."""
    return [period for period in found if period.watch] or list(found)


def _title(report: ReportData, found: Sequence[ReportPeriod], measures: Sequence[str]) -> str:
    measure = measures[-1]
    known = [(period.label, seen) for period in _live(found) if (seen := period.find(measure))]
    if not known:
        return "Quality by period"
    sign = 1 if lower_is_better(measure) else -1
    label, worst = max(known, key=lambda pair: sign * pair[1].value)
    limit = quality_limit(report, measure)
    over = f", the whole interval above the limit of {limit:g}" if limit is not None and worst.low > limit else ""
    return (
        f"{words.measure_title(measure)} was worst in {formatting.period_name(label)}: "
        f"{formatting.format_measurement(worst)}{over}"
    )


def _alt(report: ReportData, found: Sequence[ReportPeriod], measures: Sequence[str]) -> str:
    parts = []
    for measure in measures:
        known = [
            f"{formatting.format_measurement(seen)} in {formatting.period_name(period.label)}"
            for period in found
            if (seen := period.find(measure))
        ]
        if known:
            parts.append(f"{words.measure_title(measure)}: {' to '.join(dict.fromkeys((known[0], known[-1])))}.")
    parts += [
        f"{span.name} from {formatting.period_name(span.first)} to {formatting.period_name(span.last)}."
        for span in live_spans(report, found)
    ]
    events = [
        f"{number} {event.what}, {formatting.period_name(event.at)}"
        for number, event in numbered_events(list_events(report))
    ]
    parts += [f"Events: {'; '.join(events)}."] if events else []
    return " ".join((*parts, SEE_TABLE))


def _reading(report: ReportData, found: Sequence[ReportPeriod], measures: Sequence[str]) -> tuple[str, ...]:
    lines = [
        f"{words.measure_title(measure)}: {words.measure_meaning(measure)}"
        for measure in measures
        if words.measure_meaning(measure)
    ]
    lines.append("Vertical lines are 95 % intervals. Where two overlap widely, no difference is shown.")
    if any(period.estimate(measure) for period in found for measure in measures):
        lines.append("Open diamonds with dashed lines were estimated before the labels arrived.")
    if any(_is_missing(period, measure) for period in found for measure in measures):
        lines.append(f"“{NO_ESTIMATE}” marks a period without labels whose quality cannot be estimated.")
    if any(period.watch for period in found):
        lines.append("The band shows the live release.")
    if list_events(report):
        lines.append("Each numbered event is described below.")
    return tuple(lines)


def _chart(
    report: ReportData,
    found: Sequence[ReportPeriod],
    measures: Sequence[str],
    size: ChartSize,
    *,
    links: Sequence[str] = (),
    interactive: bool = False,
) -> alt.TopLevelMixin:
    events = list_events(report)
    above = [
        *event_marks(events, found, size, links=links, interactive=interactive),
        *live_band(live_spans(report, found), len(found), size),
    ]
    panels = [_panel(report, found, measure, size, among=measures) for measure in measures]
    drawn = alt.vconcat(*above, *panels, spacing=12)
    return drawn.resolve_scale(shape="independent", stroke="independent", fill="independent")


def _panel(
    report: ReportData, found: Sequence[ReportPeriod], measure: str, size: ChartSize, *, among: Sequence[str]
) -> alt.LayerChart:
    rows, limit, height = _rows(found, measure), quality_limit(report, measure), 112 if size.narrow else 132
    axis = period_axis([period.label for period in found], size, shown=measure == among[-1])
    series = encode_series(
        [name for name in _SERIES if any(row["series"] == name for row in rows)],
        legend=alt.Legend(title=None, symbolSize=80, columns=int(size.narrow)) if measure == among[0] else None,
        shape=_SERIES,
        fill=_FILLS,
        stroke=_STROKES,
    )
    x = index_x("at", len(found), axis)
    y = alt.Y("value:Q").scale(zero=False).axis(value_axis(*interval_range(rows, limit)))
    layers = [
        *_changes(report, found),
        *_limit(limit, found),
        *_missing(found, measure, height),
        *_measured(rows, x, y, series),
    ]
    return alt.layer(*layers).properties(width=size.plot, height=height, title=_heading(measure, limit, size))


def _measured(rows: Sequence[Row], x: alt.X, y: alt.Y, series: dict[str, Any]) -> Iterator[alt.Chart]:
    """Yield intervals (dashed for estimates), lines within one release, and points."""
    estimated = [row for row in rows if row["series"] == ESTIMATED]
    measured = [row for row in rows if row["series"] != ESTIMATED]
    for some, dash in ((measured, [1, 0]), (estimated, [3, 2])):
        if not some:
            continue
        intervals = rows_chart(some).mark_rule(strokeWidth=1.5, strokeDash=dash)
        yield intervals.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", stroke=series["stroke"])
    if measured:
        line = rows_chart(measured).mark_line(strokeWidth=1.5, opacity=0.6)
        yield line.encode(x=x, y=y, detail="run:N", stroke=series["stroke"])
    tips = [
        alt.Tooltip(f"{field}:N", title=title)
        for field, title in (("period", "Period"), ("text", "Value"), ("series", "How it is known"))
    ]
    points = rows_chart(rows).mark_point(size=60, opacity=1, strokeWidth=1.5)
    yield points.encode(x=x, y=y, tooltip=tips, **series)


def _heading(measure: str, limit: float | None, size: ChartSize) -> alt.TitleParams:
    better = "lower" if lower_is_better(measure) else "higher"
    limited = [f"dashed: limit {limit:g}"] if limit is not None else []
    return panel_title(f"{words.measure_title(measure)}: {better} is better", *limited, size=size)


def _rows(found: Sequence[ReportPeriod], measure: str) -> list[Row]:
    """Return the data of a measure; the estimate of a period is drawn before the measured value."""
    rows: list[Row] = []
    for index, period in enumerate(found):
        estimate, measured = period.estimate(measure), period.find(measure)
        series = MEASURED if period.watch else BEFORE
        run = f"{series} {period.watch.release if period.watch else ''}"
        known: dict[str, Any] = {"run": run, "period": formatting.period_name(period.label)}
        if estimate is not None:
            text = formatting.typeset(formatting.format_measurement(estimate))
            rows.append(interval_row(estimate, at=index + 0.3, series=ESTIMATED, text=text, **known))
        if measured is not None:
            at, text = (
                index + (0.6 if period.watch else 0.5),
                formatting.typeset(formatting.format_measurement(measured)),
            )
            rows.append(interval_row(measured, at=at, series=series, text=text, **known))
    return rows


def _is_missing(period: ReportPeriod, measure: str) -> bool:
    """Return whether a monitored period has no value of a measure, or had none before its labels arrived."""
    if period.watch is None or period.estimate(measure):
        return False
    no_estimate = measure in ESTIMATED_MEASURES and any(
        part.code == ESTIMATE_NOT_POSSIBLE for part in period.watch.unknown
    )
    return no_estimate or period.find(measure) is None


def _missing(found: Sequence[ReportPeriod], measure: str, height: int) -> list[alt.Chart]:
    """Return the vertical text that replaces a missing value."""
    rows: list[Row] = [
        {
            "at": index + (0.27 if period.find(measure) else 0.5),
            "message": NO_ESTIMATE if period.watch and period.watch.is_complete else NOT_OVER,
        }
        for index, period in enumerate(found)
        if _is_missing(period, measure)
    ]
    text = rows_chart(rows).mark_text(color=LIGHT["muted"], angle=270, fontSize=11)
    return [text.encode(x="at:Q", y=alt.YValue(height / 2), text="message:N")] if rows else []


def _changes(report: ReportData, found: Sequence[ReportPeriod]) -> list[alt.Chart]:
    """Return a line wherever another release went live."""
    rows: list[Row] = [{"at": span.start} for span in live_spans(report, found) if span.live and span.start]
    return [rows_chart(rows).mark_rule(color=LIGHT["muted"], strokeWidth=1).encode(x="at:Q")] if rows else []


def _limit(limit: float | None, found: Sequence[ReportPeriod]) -> list[alt.Chart]:
    """Return the limit over the periods that it applies to."""
    if limit is None:
        return []
    start = next((index for index, period in enumerate(found) if period.watch), 0)
    line = rows_chart([{"y": limit, "from": start, "to": len(found)}])
    rule = line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5)
    return [rule.encode(x="from:Q", x2="to:Q", y="y:Q")]
