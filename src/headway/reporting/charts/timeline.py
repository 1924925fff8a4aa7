"""Timeline of the live releases: quality by period, what was live, and numbered marks for each event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from string import ascii_uppercase

import altair as alt

from headway.core.record import Record
from headway.reporting import report_data
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
from headway.reporting.events import list_events
from headway.reporting.report_data import Event, EventKind, Period, ReportData
from headway.reporting.section import shown_above
from headway.reporting.text import formatting, words

BADGE, STEP = 20, 27
"""Pixels of a mark, and those from one to the next where they lie one over the other."""

NAMES: dict[EventKind, str] = {
    "drift": "drift found",
    "worse": "found worse",
    "rolled back": "rolled back",
    "ticket": "ticket opened",
    "retrained": "retrained",
    "live": "made live",
    "other": "other",
}
_PATHS: dict[EventKind, str] = {
    "drift": "M0,-1.3L1.3,0.9L-1.3,0.9Z",
    "worse": "M0,1.3L1.3,-0.9L-1.3,-0.9Z",
    "rolled back": "M-0.95,-0.95L0.95,-0.95L0.95,0.95L-0.95,0.95Z",
    "ticket": "M0,-1.3L1.3,0L0,1.3L-1.3,0Z",
    "retrained": "M1.05,0A1.05,1.05,0,1,1,-1.05,0A1.05,1.05,0,1,1,1.05,0Z",
    "live": "M0,-1.2L1.15,-0.35L0.75,1L-0.75,1L-1.15,-0.35Z",
    "other": "M-0.6,-1L0.6,-1L1.15,0L0.6,1L-0.6,1L-1.15,0Z",
}
_COLOURS: dict[EventKind, str] = {
    "drift": LIGHT["undecided"],
    "worse": LIGHT["fail"],
    "rolled back": LIGHT["fail"],
    "ticket": LIGHT["undecided"],
    "retrained": LIGHT["live"],
    "live": LIGHT["pass"],
    "other": LIGHT["muted"],
}


def numbered_events(found: Sequence[Event]) -> list[tuple[int, Event]]:
    """Return the events with the numbers that marks and list share, from 1."""
    return list(enumerate(found, 1))


def event_badge(kind: EventKind) -> str:
    """Return the mark of an event kind as SVG text, hidden from screen readers."""
    return (
        '<svg class="badge" aria-hidden="true" width="34" height="34" viewBox="-17 -17 34 34">'
        f'<path d="{_PATHS[kind]}" transform="scale(12)" vector-effect="non-scaling-stroke" '
        f'fill="{LIGHT["paper"]}" stroke="{_COLOURS[kind]}" stroke-width="2"/></svg>'
    )


def event_marks(found: Sequence[Event], over: Sequence[Period], size: ChartSize) -> list[alt.LayerChart]:
    """Return a lane of marks over the periods; events outside all periods appear in the list only."""
    placed = [(number, each, report_data.axis_position(over, each.at)) for number, each in numbered_events(found)]
    rows = _levelled([(number, each, at) for number, each, at in placed if at is not None], size.plot / len(over))
    if not rows:
        return []
    height = STEP * (1 + max(int(str(row["level"])) for row in rows)) + 4
    x = alt.X("at:Q").scale(domain=(0, len(over)), nice=False).axis(None)
    y = alt.Y("y:Q").scale(domain=(0, height), nice=False).axis(None)
    kinds = [kind for kind in NAMES if any(row["kind"] == NAMES[kind] for row in rows)]
    names, key = (
        [NAMES[kind] for kind in kinds],
        alt.Legend(title=None, symbolSize=110, columns=3 if size.narrow else 0),
    )
    shape = alt.Shape("kind:N", legend=key).scale(domain=names, range=[_PATHS[kind] for kind in kinds])
    stroke = alt.Stroke("kind:N", legend=key).scale(domain=names, range=[_COLOURS[kind] for kind in kinds])
    base = alt.Chart(inline_data(rows)).encode(x=x, y=y)
    badges = base.mark_point(size=BADGE**2, strokeWidth=2, fill=LIGHT["paper"], opacity=1)
    texts = base.mark_text(fontSize=11, fontWeight="bold", baseline="middle", dy=1)
    layers = (badges.encode(shape=shape, stroke=stroke), texts.encode(text="number:N"))
    return [alt.layer(*layers).properties(width=size.plot, height=height, title=panel_title(["What happened"]))]


def _levelled(found: Sequence[tuple[int, Event, float]], width: float) -> list[dict[str, object]]:
    """Stack each mark as low as it fits next to those before it; `width` is that of a period in pixels."""
    rows: list[dict[str, object]] = []
    taken: dict[int, list[float]] = {}
    for number, each, at in found:
        level = next(n for n in range(len(found)) if all(abs(at - other) * width >= STEP for other in taken.get(n, [])))
        taken.setdefault(level, []).append(at)
        rows.append(
            {"number": str(number), "kind": NAMES[each.kind], "at": at, "level": level, "y": STEP * (level + 0.5)}
        )
    return rows


BAND_LINE, MOST_LINES = 14, 2


class LiveSpan(Record, frozen=True, kw_only=True):
    """Neighbouring periods with the same release, from `start` to `end` on an axis where each period is 1 wide."""

    name: str
    live: bool
    start: int
    end: int
    first: str
    last: str


def live_spans(report: ReportData, found: Sequence[Period]) -> list[LiveSpan]:
    """Return which release was live in which periods, and before that what the periods were used for."""
    made = []
    for (name, live), run in groupby(enumerate(found), key=lambda pair: _live_name(report, pair[1])):
        seen = list(run)
        (start, first), (end, last) = seen[0], seen[-1]
        if name:
            made.append(LiveSpan(name=name, live=live, start=start, end=end + 1, first=first.label, last=last.label))
    return made


def _live_name(report: ReportData, period: Period) -> tuple[str, bool]:
    if period.watch is not None:
        names = report.year.names if report.year else {}
        return names.get(period.watch.release, "live"), True
    return report_data.describe_use(report, period.label), False


def live_band(found: Sequence[LiveSpan], count: int, size: ChartSize) -> list[alt.LayerChart]:
    """Return the band of live releases, labelled by name where it fits, else by letters that its title explains."""
    if not found:
        return []
    named = [(run, _folded(run.name, (run.end - run.start) * size.plot / count)) for run in found]
    letters = dict(zip(dict.fromkeys(run.name for run, text in named if not text), ascii_uppercase, strict=False))
    height = BAND_LINE * max(text.count("\n") + 1 for _, text in named) + 8
    rows: list[dict[str, object]] = [
        {"from": run.start, "to": run.end, "mid": (run.start + run.end) / 2, "live": run.live}
        | {"message": text or letters.get(run.name, ""), "y": (height - BAND_LINE * text.count("\n")) / 2}
        for run, text in named
    ]
    base = alt.Chart(inline_data(rows)).encode(x=alt.X("from:Q").scale(domain=(0, count), nice=False).axis(None))
    tone = alt.Fill("live:N", legend=None).scale(domain=[False, True], range=[LIGHT["paper"], LIGHT["shade"]])
    y = alt.Y("y:Q").scale(domain=(height, 0), nice=False).axis(None)
    boxes = base.mark_rect(stroke=LIGHT["muted"], strokeWidth=1).encode(x2="to:Q", fill=tone)
    names = alt.Chart(inline_data(rows)).mark_text(lineBreak="\n", lineHeight=BAND_LINE, fontSize=11, baseline="middle")
    told = names.encode(x="mid:Q", y=y, text="message:N")
    heading = [f"{letter}: {name}" for name, letter in letters.items()]
    title = panel_title(wrap_parts(["What was live", *heading], size.width))
    return [alt.layer(boxes, told).properties(width=size.plot, height=height, title=title)]


def _folded(name: str, width: float) -> str:
    """Return a name in at most MOST_LINES lines of `width` pixels; empty where it does not fit."""
    lines = wrap_parts(name.split(), width - 6, between=" ")
    fits = len(lines) <= MOST_LINES and all(len(line) * LETTER <= width - 4 for line in lines)
    return "\n".join(lines) if fits else ""


Row = dict[str, object]
MEASURED, BEFORE, GUESSED = "measured while live", "measured before it was live", "estimated before labels came"
CANNOT_SAY, NOT_OVER = "cannot say", "not over"
_ESTIMABLE = ("roc_auc", "brier")
_STROKES = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], GUESSED: LIGHT["live"]}
_FILLS = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], GUESSED: LIGHT["paper"]}
_SERIES = {MEASURED: "circle", BEFORE: "square", GUESSED: "diamond"}


def draw_timeline(report: ReportData) -> RenderedChart | None:
    """Draw two measures over the periods with live releases and events; return None for fewer than two periods."""
    found = report_data.list_periods(report)
    measures = report_data.charted_measures(report)
    if len(found) < 2 or not measures:
        return None
    return render_chart(
        lambda size: _chart(report, found, measures, size),
        name="year",
        title=_title(report, found, measures),
        alt=_alt(report, found, measures),
        reading=_reading(report, found, measures),
    )


def timeline_conclusions(report: ReportData) -> tuple[str, ...]:
    """Return what the intervals of the periods support: where the limit is exceeded, or how large the error could be."""
    found = report_data.list_periods(report)
    measures = report_data.charted_measures(report)
    known = {period.label: seen for period in _live(found) for name in measures[-1:] if (seen := period.find(name))}
    if not known:
        return ()
    measure, limit = measures[-1], quality_limit(report, measures[-1])
    name = words.measure_name(measure)
    if limit is None or measure not in words.LOWER_IS_BETTER:
        label, worst = max(known.items(), key=lambda pair: pair[1].high)
        return (f"In {formatting.period_name(label)} its {name} was {formatting.describe_interval(worst)}.",)
    beyond = shown_above(tuple(known.values()), limit)
    named = [formatting.period_name(label) for label, seen in known.items() if seen in beyond]
    if named:
        return (f"In {formatting.join_names(named)} its {name} is shown to be above {limit:g}, which is the limit.",)
    most = max(seen.high for seen in known.values())
    sure = (
        "and it stayed within the limit"
        if most <= limit
        else f"but the data leave open up to {formatting.format_number(most)}"
    )
    return (f"In none of {len(known)} periods is its {name} shown to be above the limit of {limit:g}, {sure}.",)


def quality_limit(report: ReportData, measure: str) -> float | None:
    """Return the upper limit on a measure: that of retraining once a release is live, else that of the release policy."""
    if report.year and measure in report.year.limits:
        return report.year.limits[measure]
    rule_results = report.winner.verdict.rule_results if report.winner else ()
    return next((rule_result.rule.at_most for rule_result in rule_results if rule_result.rule.measure == measure), None)


def _live(found: Sequence[Period]) -> list[Period]:
    """Return the periods with a live release, or all periods where there was none."""
    return [period for period in found if period.watch] or list(found)


def _title(report: ReportData, found: Sequence[Period], measures: Sequence[str]) -> str:
    measure = measures[-1]
    known = [(period.label, seen) for period in _live(found) if (seen := period.find(measure))]
    if not known:
        return "Quality, period by period"
    sign = 1 if measure in words.LOWER_IS_BETTER else -1
    label, worst = max(known, key=lambda pair: sign * pair[1].value)
    limit = quality_limit(report, measure)
    over = f", all of it above the limit of {limit:g}" if limit is not None and worst.low > limit else ""
    if measure == "ece":
        off = f"by {formatting.format_measurement(worst)} on average{over}"
        return f"The probabilities were furthest off in {formatting.period_name(label)}: {off}"
    return f"{words.measure_title(measure)} was worst in {formatting.period_name(label)}: {formatting.format_measurement(worst)}{over}"


def _alt(report: ReportData, found: Sequence[Period], measures: Sequence[str]) -> str:
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
        f"{run.name} from {formatting.period_name(run.first)} to {formatting.period_name(run.last)}."
        for run in live_spans(report, found)
    ]
    marked = [
        f"{number} {each.what}, {formatting.period_name(each.at)}"
        for number, each in numbered_events(list_events(report))
    ]
    parts += [f"Marks: {'; '.join(marked)}."] if marked else []
    return " ".join((*parts, SEE_TABLE))


def _reading(report: ReportData, found: Sequence[Period], measures: Sequence[str]) -> tuple[str, ...]:
    lines = [
        f"{words.measure_title(measure)}: {words.measure_meaning(measure)}"
        for measure in measures
        if words.measure_meaning(measure)
    ]
    lines.append(
        "Vertical lines are 95 % intervals. Where two of them overlap widely, the periods do not differ for sure."
    )
    if any(period.estimate(measure) for period in found for measure in measures):
        lines.append("Open diamonds with dashed lines were estimated before the labels came.")
    if any(_silent(period, measure) for period in found for measure in measures):
        lines.append(f"“{CANNOT_SAY}” stands where no honest estimate could be given.")
    if any(period.watch for period in found):
        lines.append("The band tells what was live.")
    if list_events(report):
        lines.append("Each numbered mark is told below.")
    return tuple(lines)


def _chart(report: ReportData, found: Sequence[Period], measures: Sequence[str], size: ChartSize) -> alt.TopLevelMixin:
    over = [*event_marks(list_events(report), found, size), *live_band(live_spans(report, found), len(found), size)]
    panels = [_panel(report, found, measure, size, among=measures) for measure in measures]
    drawn = alt.vconcat(*over, *panels, spacing=12)
    return drawn.resolve_scale(shape="independent", stroke="independent", fill="independent")


def _panel(
    report: ReportData, found: Sequence[Period], measure: str, size: ChartSize, *, among: Sequence[str]
) -> alt.LayerChart:
    rows, limit, height = _rows(found, measure), quality_limit(report, measure), 112 if size.narrow else 132
    axis = periods_axis([period.label for period in found], size, shown=measure == among[-1])
    x = alt.X("at:Q").scale(domain=(0, len(found)), nice=False).axis(axis)
    y = alt.Y("value:Q").scale(zero=False).axis(title=None, format=_format(rows, limit), tickCount=4)
    look = _look(rows, alt.Legend(title=None, symbolSize=80, columns=int(size.narrow)) if measure == among[0] else None)
    layers = [
        *_changes(report, found),
        *_limit(limit, found),
        *_silence(found, measure, height),
        *_drawn(rows, x, y, look),
    ]
    return alt.layer(*layers).properties(width=size.plot, height=height, title=_heading(measure, limit, size))


def _drawn(rows: Sequence[Row], x: alt.X, y: alt.Y, look: dict[str, object]) -> Iterator[alt.Chart]:
    """Yield intervals (dashed for estimates), lines within one release, and points."""
    guessed = [row for row in rows if row["series"] == GUESSED]
    seen = [row for row in rows if row["series"] != GUESSED]
    for some, dash in ((seen, [1, 0]), (guessed, [3, 2])):
        bars = alt.Chart(inline_data(some)).mark_rule(strokeWidth=1.5, strokeDash=dash)
        yield bars.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", stroke=look["stroke"])
    line = alt.Chart(inline_data(seen)).mark_line(strokeWidth=1.5, opacity=0.6)
    yield line.encode(x=x, y=y, detail="run:N", stroke=look["stroke"])
    yield alt.Chart(inline_data(rows)).mark_point(size=60, opacity=1, strokeWidth=1.5).encode(x=x, y=y, **look)


def _look(rows: Sequence[Row], key: alt.Legend | None) -> dict[str, object]:
    """Return shape, fill and stroke by kind of row, in one legend."""
    names = [name for name in _SERIES if any(row["series"] == name for row in rows)]
    channels = ((alt.Shape, _SERIES), (alt.Fill, _FILLS), (alt.Stroke, _STROKES))
    return {
        of.__name__.lower(): of("series:N", legend=key).scale(domain=names, range=[look[name] for name in names])
        for of, look in channels
    }


def _heading(measure: str, limit: float | None, size: ChartSize) -> list[str]:
    better = "lower" if measure in words.LOWER_IS_BETTER else "higher"
    limited = [f"dashed: limit {limit:g}"] if limit is not None else []
    return wrap_parts([f"{words.measure_title(measure)}: {better} is better", *limited], size.width)


def _rows(found: Sequence[Period], measure: str) -> list[Row]:
    """Return the data of a measure; the estimate of a period is drawn before the measured value."""
    rows: list[Row] = []
    for index, period in enumerate(found):
        guess, seen = period.estimate(measure), period.find(measure)
        series = MEASURED if period.watch else BEFORE
        run = period.watch.release if period.watch else ""
        for shift, name, one in ((0.3, GUESSED, guess), (0.6 if period.watch else 0.5, series, seen)):
            if one is not None:
                row = {"at": index + shift, "series": name, "value": one.value, "low": one.low, "high": one.high}
                rows.append({**row, "run": f"{series} {run}"})
    return rows


def _silent(period: Period, measure: str) -> bool:
    """Return whether a monitored period has no value of a measure, or had none before its labels arrived."""
    if period.watch is None or period.estimate(measure):
        return False
    asked = measure in _ESTIMABLE and any("without labels" in part.message for part in period.watch.unknown)
    return asked or period.find(measure) is None


def _silence(found: Sequence[Period], measure: str, height: int) -> list[alt.Chart]:
    """Return the vertical text that replaces a missing value."""
    rows = [
        {
            "at": index + (0.27 if period.find(measure) else 0.5),
            "message": CANNOT_SAY if period.watch and period.watch.is_complete else NOT_OVER,
        }
        for index, period in enumerate(found)
        if _silent(period, measure)
    ]
    text = alt.Chart(inline_data(rows)).mark_text(color=LIGHT["muted"], angle=270, fontSize=11)
    return [text.encode(x="at:Q", y=alt.YValue(height / 2), text="message:N")] if rows else []


def _changes(report: ReportData, found: Sequence[Period]) -> list[alt.Chart]:
    """Return a line wherever another release went live."""
    at: list[Row] = [{"at": run.start} for run in live_spans(report, found) if run.live and run.start]
    line = alt.Chart(inline_data(at)).mark_rule(color=LIGHT["muted"], strokeWidth=1)
    return [line.encode(x="at:Q")] if at else []


def _limit(limit: float | None, found: Sequence[Period]) -> list[alt.Chart]:
    """Return the limit over the periods that it applies to."""
    if limit is None:
        return []
    start = next((index for index, period in enumerate(found) if period.watch), 0)
    line = alt.Chart(inline_data([{"y": limit, "from": start, "to": len(found)}]))
    rule = line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5)
    return [rule.encode(x="from:Q", x2="to:Q", y="y:Q")]


def _format(rows: Sequence[Row], limit: float | None) -> str:
    ends = [float(str(row[key])) for row in rows for key in ("low", "high")] + ([limit] if limit is not None else [])
    return axis_format(min(ends, default=0.0), max(ends, default=1.0), ticks=4)
