"""Pareto front of the search: time for one row against the loss of quality, with labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import altair as alt
from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.verdict import EvaluatedVariant, Rule
from headway.reporting.charts.theme import (
    ANSWERS,
    LIGHT,
    SEE_TABLE,
    SHAPES,
    ChartSize,
    RenderedChart,
    axis_format,
    inline_data,
    render_chart,
)
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import baseline_answer

LABEL_LETTER, LABEL_LINE = 6.4, 14.0
"""Pixels that a letter of 12 px takes on average, and those of a line."""
CLOSE = 14.0
"""A label nearer than that to its point needs no line to it."""


class LabelBox(NamedTuple):
    """A rectangle in pixels: centre and half sizes."""

    x: float
    y: float
    half_width: float
    half_height: float

    def meets(self, other: LabelBox) -> bool:
        """Return whether the two rectangles overlap."""
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )

    def inside(self, width: float, height: float) -> bool:
        """Return whether the rectangle lies inside a plot of this size, from (0, 0)."""
        return (
            self.half_width <= self.x <= width - self.half_width
            and self.half_height <= self.y <= height - self.half_height
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    plot: tuple[float, float],
    taken: Sequence[LabelBox] = (),
) -> list[tuple[float, float]]:
    """Return the centre of each label in pixels, near its point.

    Greedy, in the given order: among places on rings of growing radius, take the first that covers no point, label or
    `taken` box, preferring one whose line to the point crosses no other label or line. A label without a free place stays
    next to its point. `plot` is width and height.
    """
    solid = [LabelBox(x, y, 8.0, 8.0) for x, y in points] + list(taken)
    labels: list[LabelBox] = []
    lines: list[LabelBox] = []
    for point, text in zip(points, texts, strict=True):
        half_width = len(text) * LABEL_LETTER / 2
        places = [LabelBox(x, y, half_width + 2, LABEL_LINE / 2) for x, y in _around(*point, half_width)]
        free = [box for box in places if box.inside(*plot) and not _overlaps_any(box, solid)]
        clear = (
            box
            for box in free
            if not _overlaps_any(box, lines) and not any(_overlaps_any(dot, labels) for dot in _line_dots(point, box))
        )
        chosen = next(clear, (free or places)[0])
        labels.append(chosen)
        solid.append(chosen)
        lines += _line_dots(point, chosen)
    return [(box.x, box.y) for box in labels]


def _overlaps_any(box: LabelBox, others: Sequence[LabelBox]) -> bool:
    return any(box.meets(other) for other in others)


def _line_dots(point: tuple[float, float], box: LabelBox) -> list[LabelBox]:
    """Return the line from a point to its label as dots, without its ends."""
    shares = [step / 12 for step in range(2, 11)]
    dots = [LabelBox(point[0] + (box.x - point[0]) * s, point[1] + (box.y - point[1]) * s, 1.0, 1.0) for s in shares]
    return [dot for dot in dots if not dot.meets(box)]


def line_end(centre: tuple[float, float], text: str, point: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from a point to its label ends: at the label's edge, or at the point where they are close."""
    dx, dy = centre[0] - point[0], centre[1] - point[1]
    reach = max(abs(dx) / (len(text) * LABEL_LETTER / 2 + 2), abs(dy) / (LABEL_LINE / 2))
    length = math.hypot(dx, dy) * (1 - 1 / max(reach, 1.0))
    if length < CLOSE:
        return point
    share = 1 - 1 / reach
    return point[0] + dx * share, point[1] + dy * share


def _around(x: float, y: float, half_width: float) -> Iterator[tuple[float, float]]:
    """Yield candidate centres of a label: right, left, above, below and between, then further out."""
    for gap in (11.0, 18.0, 28.0, 40.0, 54.0, 70.0, 90.0):
        for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            angle = turn * math.pi / 8
            yield x + math.cos(angle) * (gap + half_width), y - math.sin(angle) * (gap + LABEL_LINE / 2)


TICK = 38
"""Pixels that the label of a time needs, with the gap to the next."""


class VariantPoint(Record, frozen=True, kw_only=True):
    """A variant as a point: its number in the table, its label, its time and its loss."""

    label: str
    judged: EvaluatedVariant
    time: Measurement
    loss: Measurement
    released: bool


class _Plot(Record, frozen=True, kw_only=True):
    """The size of the plot in pixels and the ends of its axes."""

    width: int
    height: int
    times: tuple[float, float]
    losses: tuple[float, float]

    def pixel(self, time: float, loss: float) -> tuple[float, float]:
        """Return the pixel of a time and a loss."""
        left, right = map(math.log, self.times)
        low, high = self.losses
        x = (math.log(time) - left) / (right - left) * self.width
        return x, (high - loss) / (high - low) * self.height

    def value(self, x: float, y: float) -> tuple[float, float]:
        """Return the time and the loss at a pixel."""
        left, right = map(math.log, self.times)
        low, high = self.losses
        return math.exp(left + x / self.width * (right - left)), high - y / self.height * (high - low)


def _plot(points: Sequence[VariantPoint], limit: float | None, size: ChartSize) -> _Plot:
    times = [point.time.value for point in points]
    ends = [0.0, *([limit] if limit is not None else []), *(point.loss.value for point in points)]
    ends += [
        end for point in points if formatting.has_interval(point.loss) for end in (point.loss.low, point.loss.high)
    ]
    room = (max(ends) - min(ends)) * 0.08 or 0.001
    return _Plot(
        width=size.plot,
        height=300 if size.narrow else 340,
        times=(min(times) / 1.25, max(times) * 1.25),
        losses=(min(ends) - room, max(ends) + room),
    )


def _rows(points: Sequence[VariantPoint], limit: float | None, plot: _Plot) -> list[dict[str, object]]:
    pixels = [plot.pixel(point.time.value, point.loss.value) for point in points]
    places = place_labels(
        pixels, [point.label for point in points], plot=(plot.width, plot.height), taken=_taken(points, limit, plot)
    )
    rows: list[dict[str, object]] = []
    for point, centre, pixel in zip(points, places, pixels, strict=True):
        label_time, label_loss = plot.value(*centre)
        tip_time, tip_loss = plot.value(*line_end(centre, point.label, pixel))
        rows.append(
            {
                "time": point.time.value,
                "loss": point.loss.value,
                "low": point.loss.low if formatting.has_interval(point.loss) else point.loss.value,
                "high": point.loss.high if formatting.has_interval(point.loss) else point.loss.value,
                "verdict": baseline_answer(point.judged.verdict),
                "label": point.label,
                "at_time": label_time,
                "at_loss": label_loss,
                "released": point.released,
                "tip_time": tip_time,
                "tip_loss": tip_loss,
            }
        )
    return rows


def _taken(points: Sequence[VariantPoint], limit: float | None, plot: _Plot) -> list[LabelBox]:
    """Return what a label may not cover: the intervals, the line at 0 and the limit."""
    whiskers = [_whisker(point, plot) for point in points if formatting.has_interval(point.loss)]
    lines = [plot.pixel(plot.times[0], loss)[1] for loss in (0.0, limit) if loss is not None]
    return [*whiskers, *(LabelBox(plot.width / 2, y, plot.width / 2, 1.0) for y in lines)]


def _whisker(point: VariantPoint, plot: _Plot) -> LabelBox:
    x, top = plot.pixel(point.time.value, point.loss.high)
    _, bottom = plot.pixel(point.time.value, point.loss.low)
    return LabelBox(x, (top + bottom) / 2, 2.0, (bottom - top) / 2)


def scatter_chart(points: Sequence[VariantPoint], limit: float | None, size: ChartSize) -> alt.LayerChart:
    """Return the points with intervals and labels; the area beyond the limit is shaded."""
    plot = _plot(points, limit, size)
    rows = inline_data(_rows(points, limit, plot))
    measure = points[0].loss.name
    x = (
        alt.X("time:Q")
        .scale(type="log", domain=plot.times, nice=False)
        .axis(_time_axis(plot, "µs" if points[0].time.unit == "us" else points[0].time.unit))
    )
    y = alt.Y("loss:Q").scale(domain=plot.losses, nice=False, zero=False).axis(_loss_axis(plot))
    base = alt.Chart(rows).encode(x=x)
    answers = [answer for answer in ANSWERS if any(baseline_answer(point.judged.verdict) == answer for point in points)]
    colour = _colour(answers)
    layers = [
        *_limits(plot, limit),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_rule(color=LIGHT["muted"], strokeWidth=0.75).encode(y=y, x2="tip_time:Q", y2="tip_loss:Q"),
        base.transform_filter("datum.released").mark_point(shape="circle", size=420, strokeWidth=2, color=LIGHT["live"])
        .encode(y=y),
        base.mark_point(size=95, strokeWidth=2, filled=True, opacity=1).encode(
            y=y, color=colour, shape=_shape(answers)
        ),
        alt.Chart(rows).mark_text().encode(
            x="at_time:Q", y="at_loss:Q", text="label:N",
            color=alt.condition("datum.released", alt.value(LIGHT["live"]), alt.value(LIGHT["ink"])),
        ),
    ]  # fmt: skip
    title = f"{words.measure_title(measure)} (above 0 is worse)"
    return alt.layer(*layers).properties(width=plot.width, height=plot.height, title=title)


def _limits(plot: _Plot, limit: float | None) -> list[alt.Chart]:
    zero = alt.Chart(inline_data([{"y": 0.0}])).mark_rule(color=LIGHT["muted"], strokeWidth=1).encode(y="y:Q")
    if limit is None:
        return [zero]
    area = inline_data([{"from": limit, "to": plot.losses[1]}])
    line = inline_data([{"y": limit, "x": plot.times[1], "message": f"limit {limit:g}"}])
    return [
        alt.Chart(area).mark_rect(color=LIGHT["danger"]).encode(y=alt.Y("from:Q"), y2="to:Q"),
        zero,
        alt.Chart(line).mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5).encode(y="y:Q"),
        alt.Chart(line)
        .mark_text(align="right", dx=-4, dy=-8, color=LIGHT["fail"])
        .encode(y="y:Q", x="x:Q", text="message:N"),
    ]


def _colour(answers: Sequence[str]) -> alt.Color:
    legend = alt.Legend(title="Verdict against the model as it came:", titleOrient="top")
    scale = alt.Scale(domain=list(answers), range=[LIGHT[answer] for answer in answers])
    return alt.Color("verdict:N", scale=scale, legend=legend)


def _shape(answers: Sequence[str]) -> alt.Shape:
    shapes = {str(answer): shape for answer, shape in SHAPES.items()}
    return alt.Shape("verdict:N", scale=alt.Scale(domain=list(answers), range=[shapes[answer] for answer in answers]))


def _time_axis(plot: _Plot, unit: str) -> alt.Axis:
    low, high = plot.times
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = (
        [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
    )
    ticks = next((choice for choice in choices if _spaced(choice, plot)), [])
    return alt.Axis(title=f"Time for one row, {unit} (log scale)", values=ticks, format=",~g")


def _spaced(ticks: Sequence[float], plot: _Plot) -> bool:
    """Return whether the labels of these ticks stand clear of each other."""
    at = [plot.pixel(tick, 0.0)[0] for tick in ticks]
    return all(after - before > TICK for before, after in pairwise(at))


def _loss_axis(plot: _Plot) -> alt.Axis:
    return alt.Axis(title=None, format=axis_format(*plot.losses, ticks=6), tickCount=6)


SPEED = "latency.one_row"


def draw_pareto(report: ReportData) -> RenderedChart | None:
    """Draw the Pareto front; return None unless two variants have both a time for one row and a loss."""
    measure = charted_loss(report)
    points = _variant_points(report, measure)
    if len(points) < 2:
        return None
    limit = _limit(points[0].judged, measure)
    return render_chart(
        lambda size: scatter_chart(points, limit, size),
        name="frontier",
        title=_pareto_title(report, points),
        alt=_pareto_alt(points, measure),
        reading=_pareto_reading(report, measure, limit),
    )


def pareto_conclusions(report: ReportData) -> tuple[str, ...]:
    """Return what the intervals of the search support, in sentences."""
    speedup = report.of_winner("latency.speedup")
    if report.winner is None or speedup is None or not formatting.has_interval(speedup):
        return ()
    if not report.winner.variant.steps:
        return ("No other form of the model was both faster and shown to do no harm: it stays as it came.",)
    harm = {
        "pass": "and is shown to do no harm beyond the limits of the policy",
        "fail": "but it breaks a limit of the policy",
        "undecided": "but the data cannot tell whether it keeps within the limits of the policy",
    }[baseline_answer(report.winner.verdict)]
    if speedup.low <= 1:
        return (f"The {report.word} form is not shown to be faster, {harm}.",)
    return (f"The {report.word} form answers one row {_times(speedup)} times as fast, {harm}.",)


def _times(speedup: Measurement) -> str:
    return formatting.describe_interval(replace(speedup, unit=""))


def charted_loss(report: ReportData) -> str:
    """Return the loss on the vertical axis: the first that a rule limits and evidence holds, else the first in evidence."""
    if not report.frontier:
        return ""
    ruled = [rule_result.rule.measure for rule_result in report.frontier[0].verdict.rule_results]
    held = [measurement.name for measurement in report.frontier[0].evidence.measurements if not measurement.slice]
    losses = [name for name in (*ruled, *held) if name.endswith(".drop") and name in held]
    return losses[0] if losses else ""


def _variant_points(report: ReportData, measure: str) -> list[VariantPoint]:
    points = []
    for index, judged in enumerate(report.frontier, start=1):
        time, loss = judged.evidence.find(SPEED), judged.evidence.find(measure)
        if time is not None and loss is not None and time.value > 0 and math.isfinite(loss.value):
            released = report.is_winner(judged)
            word = f" {report.word}" if released else "" if judged.variant.steps else " as it came"
            points.append(VariantPoint(label=f"{index}{word}", judged=judged, time=time, loss=loss, released=released))
    return sorted(points, key=lambda point: -len(point.label))


def _limit(judged: EvaluatedVariant, measure: str) -> float | None:
    rules = [rule_result.rule for rule_result in judged.verdict.rule_results if rule_result.rule.measure == measure]
    return rules[0].at_most if rules else None


def _pareto_title(report: ReportData, points: list[VariantPoint]) -> str:
    passing = sum(baseline_answer(point.judged.verdict) == "pass" for point in points)
    inside = f"{passing} of {len(points)} variants are shown to do no harm beyond the limits"
    speedup = report.of_winner("latency.speedup")
    if report.winner is None or speedup is None:
        return inside
    if not report.winner.variant.steps:
        return f"{inside}; the model stays as it came"
    return f"{inside}; the {report.word} one answers one row {formatting.format_ratio(speedup)} as fast"


def _pareto_alt(points: list[VariantPoint], measure: str) -> str:
    named = "; ".join(
        f"variant {point.label}, {formatting.format_measurement(point.time)}, {formatting.format_measurement(point.loss)}, "
        f"{words.ANSWERS[baseline_answer(point.judged.verdict)]}"
        for point in points
        if " " in point.label
    )
    told = f": {named}" if named else ""
    return f"{len(points)} variants by time for one row and {words.measure_name(measure)}{told}. {SEE_TABLE}"


def _pareto_reading(report: ReportData, measure: str, limit: float | None) -> tuple[str, ...]:
    lines = [
        "Each mark is a variant; its number is its line in the table below. Further left is faster, further down is "
        "better. Colour and shape tell what the rules say that compare with the model as it came.",
        f"{words.measure_title(measure)}: {words.measure_meaning(measure)}",
        f"Vertical lines are 95 % intervals: what many more {report.groups} like these would show lies along the line, "
        "but for one time in twenty.",
    ]
    if limit is not None:
        rule = Rule(measure=measure, at_most=limit)
        lines.append(f"The shaded part lies beyond the limit of the policy ({words.rule_limit(rule)}).")
    return tuple(lines)
