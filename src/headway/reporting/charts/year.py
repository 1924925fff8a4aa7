"""The year: how good what was live was, period by period, and the moments at which something was found or done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt

from headway.reporting import meaning, periods
from headway.reporting.charts.drawing import (
    SEE_TABLE,
    ChartSize,
    RenderedChart,
    axis_format,
    inline_data,
    render_chart,
    wrap_parts,
)
from headway.reporting.charts.live import live_band, live_spans
from headway.reporting.charts.marks import event_marks, numbered_events
from headway.reporting.charts.spans import periods_axis
from headway.reporting.moments import list_events
from headway.reporting.palette import LIGHT
from headway.reporting.periods import Period
from headway.reporting.story import ReportData
from headway.reporting.text import numbers, words

Row = dict[str, object]
MEASURED, BEFORE, GUESSED = "measured while live", "measured before it was live", "estimated before labels came"
CANNOT_SAY, NOT_OVER = "cannot say", "not over"
_ESTIMABLE = ("roc_auc", "brier")
_STROKES = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], GUESSED: LIGHT["live"]}
_FILLS = {MEASURED: LIGHT["live"], BEFORE: LIGHT["came"], GUESSED: LIGHT["paper"]}
_SERIES = {MEASURED: "circle", BEFORE: "square", GUESSED: "diamond"}


def draw_timeline(story: ReportData) -> RenderedChart | None:
    """Two measures over the periods of a story, with what was live and what happened; None for fewer than two."""
    found = periods.list_periods(story)
    measures = periods.charted_measures(story)
    if len(found) < 2 or not measures:
        return None
    return render_chart(
        lambda size: _chart(story, found, measures, size),
        name="year",
        title=_title(story, found, measures),
        alt=_alt(story, found, measures),
        reading=_reading(story, found, measures),
    )


def timeline_conclusions(story: ReportData) -> tuple[str, ...]:
    """What the periods show, by their intervals: where the limit is passed for sure, or whether anything changed."""
    found = periods.list_periods(story)
    measures = periods.charted_measures(story)
    known = {period.label: seen for period in _live(found) for name in measures[-1:] if (seen := period.find(name))}
    if not known:
        return ()
    measure, limit = measures[-1], quality_limit(story, measures[-1])
    name = words.measure_name(measure)
    if limit is None or measure not in words.LOWER_IS_BETTER:
        label, worst = max(known.items(), key=lambda pair: pair[1].high)
        return (f"In {periods.period_name(label)} its {name} was {meaning.describe_interval(worst)}.",)
    beyond = meaning.shown_above(tuple(known.values()), limit)
    named = [periods.period_name(label) for label, seen in known.items() if seen in beyond]
    if named:
        return (f"In {meaning.join_names(named)} its {name} is shown to be above {limit:g}, which is the limit.",)
    most = max(seen.high for seen in known.values())
    sure = (
        "and it stayed within the limit"
        if most <= limit
        else f"but the data leave open up to {numbers.format_number(most)}"
    )
    return (f"In none of {len(known)} periods is its {name} shown to be above the limit of {limit:g}, {sure}.",)


def quality_limit(story: ReportData, measure: str) -> float | None:
    """The upper limit on a measure by itself: of retraining while something is live, else of the release policy."""
    if story.year and measure in story.year.limits:
        return story.year.limits[measure]
    rule_results = story.winner.verdict.rule_results if story.winner else ()
    return next((rule_result.rule.at_most for rule_result in rule_results if rule_result.rule.measure == measure), None)


def _live(found: Sequence[Period]) -> list[Period]:
    """The periods in which something was live; all of them where nothing was."""
    return [period for period in found if period.watch] or list(found)


def _title(story: ReportData, found: Sequence[Period], measures: Sequence[str]) -> str:
    measure = measures[-1]
    known = [(period.label, seen) for period in _live(found) if (seen := period.find(measure))]
    if not known:
        return "Quality, period by period"
    sign = 1 if measure in words.LOWER_IS_BETTER else -1
    label, worst = max(known, key=lambda pair: sign * pair[1].value)
    limit = quality_limit(story, measure)
    over = f", all of it above the limit of {limit:g}" if limit is not None and worst.low > limit else ""
    if measure == "ece":
        off = f"by {numbers.format_measurement(worst)} on average{over}"
        return f"The probabilities were furthest off in {periods.period_name(label)}: {off}"
    return f"{words.measure_title(measure)} was worst in {periods.period_name(label)}: {numbers.format_measurement(worst)}{over}"


def _alt(story: ReportData, found: Sequence[Period], measures: Sequence[str]) -> str:
    parts = []
    for measure in measures:
        known = [
            f"{numbers.format_measurement(seen)} in {periods.period_name(period.label)}"
            for period in found
            if (seen := period.find(measure))
        ]
        if known:
            parts.append(f"{words.measure_title(measure)}: {' to '.join(dict.fromkeys((known[0], known[-1])))}.")
    parts += [
        f"{run.name} from {periods.period_name(run.first)} to {periods.period_name(run.last)}."
        for run in live_spans(story, found)
    ]
    marked = [
        f"{number} {each.what}, {periods.period_name(each.at)}" for number, each in numbered_events(list_events(story))
    ]
    parts += [f"Marks: {'; '.join(marked)}."] if marked else []
    return " ".join((*parts, SEE_TABLE))


def _reading(story: ReportData, found: Sequence[Period], measures: Sequence[str]) -> tuple[str, ...]:
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
    if list_events(story):
        lines.append("Each numbered mark is told below.")
    return tuple(lines)


def _chart(story: ReportData, found: Sequence[Period], measures: Sequence[str], size: ChartSize) -> alt.TopLevelMixin:
    over = [*event_marks(list_events(story), found, size), *live_band(live_spans(story, found), len(found), size)]
    panels = [_panel(story, found, measure, size, among=measures) for measure in measures]
    drawn = alt.vconcat(*over, *panels, spacing=12)
    return drawn.resolve_scale(shape="independent", stroke="independent", fill="independent")


def _panel(
    story: ReportData, found: Sequence[Period], measure: str, size: ChartSize, *, among: Sequence[str]
) -> alt.LayerChart:
    rows, limit, height = _rows(found, measure), quality_limit(story, measure), 112 if size.narrow else 132
    axis = periods_axis([period.label for period in found], size, shown=measure == among[-1])
    x = alt.X("at:Q").scale(domain=(0, len(found)), nice=False).axis(axis)
    y = alt.Y("value:Q").scale(zero=False).axis(title=None, format=_format(rows, limit), tickCount=4)
    look = _look(rows, alt.Legend(title=None, symbolSize=80, columns=int(size.narrow)) if measure == among[0] else None)
    layers = [
        *_changes(story, found),
        *_limit(limit, found),
        *_silence(found, measure, height),
        *_drawn(rows, x, y, look),
    ]
    return alt.layer(*layers).properties(width=size.plot, height=height, title=_heading(measure, limit, size))


def _drawn(rows: Sequence[Row], x: alt.X, y: alt.Y, look: dict[str, object]) -> Iterator[alt.Chart]:
    """Intervals, those of estimates dashed; lines between what was measured of one release; points."""
    guessed = [row for row in rows if row["series"] == GUESSED]
    seen = [row for row in rows if row["series"] != GUESSED]
    for some, dash in ((seen, [1, 0]), (guessed, [3, 2])):
        bars = alt.Chart(inline_data(some)).mark_rule(strokeWidth=1.5, strokeDash=dash)
        yield bars.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", stroke=look["stroke"])
    line = alt.Chart(inline_data(seen)).mark_line(strokeWidth=1.5, opacity=0.6)
    yield line.encode(x=x, y=y, detail="run:N", stroke=look["stroke"])
    yield alt.Chart(inline_data(rows)).mark_point(size=60, opacity=1, strokeWidth=1.5).encode(x=x, y=y, **look)


def _look(rows: Sequence[Row], key: alt.Legend | None) -> dict[str, object]:
    """Shape, fill and stroke by what a row is, in one legend."""
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
    """What is drawn of a measure; the estimate of a period stands before what was measured, since it came before."""
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
    """Whether a watched period says nothing of a measure, or said nothing of it before its labels came."""
    if period.watch is None or period.estimate(measure):
        return False
    asked = measure in _ESTIMABLE and any("without labels" in part.message for part in period.watch.unknown)
    return asked or period.find(measure) is None


def _silence(found: Sequence[Period], measure: str, height: int) -> list[alt.Chart]:
    """The words that stand where nothing can be drawn: upright, in the place of what is not there."""
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


def _changes(story: ReportData, found: Sequence[Period]) -> list[alt.Chart]:
    """A line where another release became live."""
    at: list[Row] = [{"at": run.start} for run in live_spans(story, found) if run.live and run.start]
    line = alt.Chart(inline_data(at)).mark_rule(color=LIGHT["muted"], strokeWidth=1)
    return [line.encode(x="at:Q")] if at else []


def _limit(limit: float | None, found: Sequence[Period]) -> list[alt.Chart]:
    """The limit, over the periods to which it applies."""
    if limit is None:
        return []
    start = next((index for index, period in enumerate(found) if period.watch), 0)
    line = alt.Chart(inline_data([{"y": limit, "from": start, "to": len(found)}]))
    rule = line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5)
    return [rule.encode(x="from:Q", x2="to:Q", y="y:Q")]


def _format(rows: Sequence[Row], limit: float | None) -> str:
    ends = [float(str(row[key])) for row in rows for key in ("low", "high")] + ([limit] if limit is not None else [])
    return axis_format(min(ends, default=0.0), max(ends, default=1.0), ticks=4)
