"""Quality by month: how good the released variant and the model as it came were, period by period."""

from __future__ import annotations

import json
import math

import altair as alt

from headway.face import numbers, words
from headway.face.report import periods
from headway.face.report.palette import LIGHT
from headway.face.report.pictures.drawing import TABLE, Picture, Size, fixed, picture, values
from headway.face.report.pictures.series import CAME, Row, colour, dash, shape
from headway.face.report.story import Story

_SPANS = {
    "train": "the model learned from “train”, and looks better there than it is",
    "choose": "variants were compared on “choose”",
    "test": "the winner was judged on “test”",
    "live": "“live” came after the release",
}


def draw(story: Story) -> Picture | None:
    """Up to three measures over the months of a story; None for fewer than two months."""
    labels = periods.labels(story)
    measures = periods.shown(story)
    if len(labels) < 2 or not measures:
        return None
    return picture(
        lambda size: _chart(story, measures, size),
        name="months",
        title=_title(story, measures),
        alt=_alt(story, labels, measures),
        reading=_reading(story, measures),
    )


def limit_on(story: Story, measure: str) -> float | None:
    """The policy's upper limit on a measure by itself."""
    rulings = story.winner.verdict.rulings if story.winner else ()
    return next((each.rule.at_most for each in rulings if each.rule.measure == measure), None)


def _title(story: Story, measures: list[str]) -> str:
    measure = "ece" if "ece" in measures else measures[0]
    found = [(label, periods.of_month(story, label, measure)) for label in periods.labels(story)]
    known = [(label, each) for label, each in found if each is not None and math.isfinite(each.value)]
    if not known:
        return "Quality, month by month"
    sign = 1 if measure in words.LOWER_IS_BETTER else -1
    label, worst = max(known, key=lambda pair: sign * pair[1].value)
    limit = limit_on(story, measure)
    clear = limit is not None and numbers.has_interval(worst) and worst.low > limit
    over = f", all of it above the limit of {limit:g}" if clear else ""
    return f"{words.title(measure)} was worst in {periods.name_of(label)}: {numbers.measured(worst)}{over}"


def _alt(story: Story, labels: list[str], measures: list[str]) -> str:
    parts = []
    for measure in measures:
        found = [(label, periods.of_month(story, label, measure)) for label in labels]
        known = [f"{numbers.measured(each)} in {periods.name_of(label)}" for label, each in found if each]
        if known:
            ends = " to ".join(dict.fromkeys((known[0], known[-1])))
            parts.append(f"{words.title(measure)} of the {story.word} variant: {ends}.")
    return " ".join((*parts, TABLE))


def _reading(story: Story, measures: list[str]) -> tuple[str, ...]:
    lines = [f"{words.title(measure)}: {words.meaning(measure)}" for measure in measures if words.meaning(measure)]
    lines.append(
        "Vertical lines are 95 % intervals. Where two of them overlap widely, the months do not differ for sure."
    )
    named = [_SPANS[span.name] for span in story.spans if span.name in _SPANS]
    if named:
        lines.append(f"Bands: {'; '.join(named)}.")
    return tuple(lines)


def _chart(story: Story, measures: list[str], size: Size) -> alt.TopLevelMixin:
    panels = [
        _panel(story, measure, size, first=measure == measures[0], last=measure == measures[-1]) for measure in measures
    ]
    return alt.vconcat(*panels, spacing=12)


def _panel(story: Story, measure: str, size: Size, *, first: bool, last: bool) -> alt.LayerChart:
    labels = periods.labels(story)
    rows = _rows(story, labels, measure)
    limit = limit_on(story, measure)
    x = alt.X("at:Q").scale(domain=(0, len(labels)), nice=False).axis(_months_axis(labels, size, shown=last))
    y = alt.Y("value:Q").scale(zero=False).axis(title=None, format=_format(rows, limit), tickCount=4)
    base = alt.Chart(values(rows)).encode(x=x, color=colour(rows, legend=first))
    layers = [
        *_shading(story, labels, named=first),
        *_limit(limit),
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, strokeDash=dash(rows)),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=y, shape=shape(rows, legend=first)),
    ]
    return alt.layer(*layers).properties(
        width=size.plot, height=112 if size.narrow else 120, title=words.title(measure)
    )


def _format(rows: list[Row], limit: float | None) -> str:
    ends = [float(str(row[key])) for row in rows for key in ("low", "high")] + ([limit] if limit is not None else [])
    return fixed(min(ends, default=0.0), max(ends, default=1.0), ticks=4)


def _rows(story: Story, labels: list[str], measure: str) -> list[Row]:
    rows: list[Row] = []
    for live, series, shift in ((True, story.word, 0.58), (False, CAME, 0.42)):
        for index, label in enumerate(labels):
            found = periods.of_month(story, label, measure, live=live)
            if found is not None and math.isfinite(found.value):
                known = numbers.has_interval(found)
                rows.append(
                    {
                        "at": index + shift,
                        "series": series,
                        "value": found.value,
                        "low": found.low if known else found.value,
                        "high": found.high if known else found.value,
                    }
                )
    return rows


def _shading(story: Story, labels: list[str], *, named: bool) -> list[alt.Chart]:
    """A band behind the months of each period of the split, every other one shaded, named on the first panel."""
    spans: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        spans.setdefault(periods.span_of(story, label), []).append(index)
    bands = [
        {"from": min(at), "to": max(at) + 1, "mid": (min(at) + max(at) + 1) / 2, "name": name}
        for name, at in spans.items()
        if name
    ]
    charts = [alt.Chart(values(bands[::2])).mark_rect(color=LIGHT["shade"]).encode(x=alt.X("from:Q"), x2="to:Q")]
    if named:
        names = alt.Chart(values(bands)).mark_text(color=LIGHT["muted"], baseline="bottom")
        charts.append(names.encode(x="mid:Q", y=alt.value(-3), text="name:N"))
    return charts if bands else []


def _limit(limit: float | None) -> list[alt.Chart]:
    if limit is None:
        return []
    line = alt.Chart(values([{"y": limit, "x": 0, "says": f"limit {limit:g}"}]))
    return [
        line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5).encode(y="y:Q"),
        line.mark_text(color=LIGHT["fail"], align="left", dx=4, dy=-7).encode(x="x:Q", y="y:Q", text="says:N"),
    ]


def _months_axis(labels: list[str], size: Size, *, shown: bool) -> alt.Axis:
    short = [_short(label) for label in labels]
    years = sorted({label[:4] for label in labels})
    title = " to ".join(dict.fromkeys((years[0], years[-1]))) if all(year.isdigit() for year in years) else None
    return alt.Axis(
        title=title if shown else None,
        values=[index + 0.5 for index in range(len(labels))],
        labelExpr=f"{json.dumps(short)}[floor(datum.value)]",
        labels=shown,
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )


def _short(label: str) -> str:
    name = periods.name_of(label)
    return name[:3] if name != label else label
