"""The marks of a frontier: time against loss, with intervals, labels that lie on nothing, and the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import altair as alt

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.verdict import EvaluatedVariant
from headway.reporting.charts.drawing import ChartSize, axis_format, inline_data
from headway.reporting.charts.placement import LabelBox, line_end, place_labels
from headway.reporting.palette import ANSWERS, LIGHT, SHAPES
from headway.reporting.text import numbers, words
from headway.reporting.text.sheets import baseline_answer

TICK = 38
"""Pixels that the label of a time needs, with the gap to the next."""


class VariantPoint(Record, frozen=True, kw_only=True):
    """A variant as a dot: its number in the table, the label beside it, its time and its loss."""

    label: str
    judged: EvaluatedVariant
    time: Measurement
    loss: Measurement
    released: bool


class _Plot(Record, frozen=True, kw_only=True):
    """The plot's size in pixels and the ends of its axes."""

    width: int
    height: int
    times: tuple[float, float]
    losses: tuple[float, float]

    def pixel(self, time: float, loss: float) -> tuple[float, float]:
        """Where a time and a loss stand."""
        left, right = map(math.log, self.times)
        low, high = self.losses
        x = (math.log(time) - left) / (right - left) * self.width
        return x, (high - loss) / (high - low) * self.height

    def value(self, x: float, y: float) -> tuple[float, float]:
        """The time and the loss that stand at a pixel."""
        left, right = map(math.log, self.times)
        low, high = self.losses
        return math.exp(left + x / self.width * (right - left)), high - y / self.height * (high - low)


def _plot(points: Sequence[VariantPoint], limit: float | None, size: ChartSize) -> _Plot:
    times = [point.time.value for point in points]
    ends = [0.0, *([limit] if limit is not None else []), *(point.loss.value for point in points)]
    ends += [end for point in points if numbers.has_interval(point.loss) for end in (point.loss.low, point.loss.high)]
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
                "low": point.loss.low if numbers.has_interval(point.loss) else point.loss.value,
                "high": point.loss.high if numbers.has_interval(point.loss) else point.loss.value,
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
    """What a label may not cover: the intervals, the line of no loss, and that of the limit."""
    whiskers = [_whisker(point, plot) for point in points if numbers.has_interval(point.loss)]
    lines = [plot.pixel(plot.times[0], loss)[1] for loss in (0.0, limit) if loss is not None]
    return [*whiskers, *(LabelBox(plot.width / 2, y, plot.width / 2, 1.0) for y in lines)]


def _whisker(point: VariantPoint, plot: _Plot) -> LabelBox:
    x, top = plot.pixel(point.time.value, point.loss.high)
    _, bottom = plot.pixel(point.time.value, point.loss.low)
    return LabelBox(x, (top + bottom) / 2, 2.0, (bottom - top) / 2)


def scatter_chart(points: Sequence[VariantPoint], limit: float | None, size: ChartSize) -> alt.LayerChart:
    """The marks of all points with intervals and labels; what lies beyond the limit is shaded."""
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
    """Whether the labels of these times stand clear of each other."""
    at = [plot.pixel(tick, 0.0)[0] for tick in ticks]
    return all(after - before > TICK for before, after in pairwise(at))


def _loss_axis(plot: _Plot) -> alt.Axis:
    return alt.Axis(title=None, format=axis_format(*plot.losses, ticks=6), tickCount=6)
