"""Pareto front of the search: time for one row against the share of the tightest limit, with labels that fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import altair as alt
from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.verdict import EvaluatedVariant, Rule
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    ANSWERS,
    SEE_TABLE,
    SHAPES,
    ChartSize,
    Row,
    encode_series,
    interval_range,
    interval_row,
    log_ticks,
    render_chart,
    rows_chart,
    text_width,
    value_axis,
)
from headway.reporting.colours import LIGHT
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import baseline_answer

LABEL_LINE, CLOSE = 14.0, 14.0
"""Pixels of a line of a label; and the distance below which a label needs no line to its point."""
Point = tuple[float, float]


class LabelBox(NamedTuple):
    """A rectangle in pixels: centre and half sizes."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlaps(self, others: Sequence[LabelBox]) -> bool:
        """Return whether the rectangle overlaps one of the others."""
        return any(
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
            for other in others
        )

    def inside(self, width: float, height: float) -> bool:
        """Return whether the rectangle lies inside a plot of this size, from (0, 0)."""
        return (
            self.half_width <= self.x <= width - self.half_width
            and self.half_height <= self.y <= height - self.half_height
        )


def place_labels(
    points: Sequence[Point], texts: Sequence[str], *, plot: tuple[float, float], occupied: Sequence[LabelBox] = ()
) -> list[Point]:
    """Return the centre of each label in pixels, near its point. Vega-Lite has no such layout.

    Greedy, in the given order: among candidates on rings of growing radius, take the first that covers no point, label
    or `occupied` box, preferring one whose line to the point crosses no other label or line. A label without a free
    candidate stays next to its point. `plot` is width and height. A text may have several lines.
    """
    obstacles = [LabelBox(x, y, 8.0, 8.0) for x, y in points] + list(occupied)
    labels: list[LabelBox] = []
    lines: list[LabelBox] = []
    for point, text in zip(points, texts, strict=True):
        half = label_half(text)
        candidates = [LabelBox(x, y, half[0] + 2, half[1]) for x, y in _around(*point, *half)]
        free = [box for box in candidates if box.inside(*plot) and not box.overlaps(obstacles)]
        clear = (
            box
            for box in free
            if not box.overlaps(lines) and not any(dot.overlaps(labels) for dot in _line_dots(point, box))
        )
        chosen = next(clear, (free or candidates)[0])
        labels.append(chosen)
        obstacles.append(chosen)
        lines += _line_dots(point, chosen)
    return [(box.x, box.y) for box in labels]


def label_half(text: str) -> Point:
    """Return half of the width and of the height of a label, in pixels."""
    lines = text.split("\n")
    return max(map(text_width, lines)) / 2, len(lines) * LABEL_LINE / 2


def _line_dots(point: Point, box: LabelBox) -> list[LabelBox]:
    """Return the line from a point to its label as dots, without its ends."""
    shares = [step / 12 for step in range(2, 11)]
    dots = [LabelBox(point[0] + (box.x - point[0]) * s, point[1] + (box.y - point[1]) * s, 1.0, 1.0) for s in shares]
    return [dot for dot in dots if not dot.overlaps([box])]


def line_end(centre: Point, text: str, point: Point) -> Point:
    """Return where the line from a point to its label ends: at the label's edge, or at the point if they are close."""
    dx, dy = centre[0] - point[0], centre[1] - point[1]
    half_width, half_height = label_half(text)
    reach = max(abs(dx) / (half_width + 2), abs(dy) / half_height, 1.0)
    share = 1 - 1 / reach
    return (point[0] + dx * share, point[1] + dy * share) if math.hypot(dx, dy) * share >= CLOSE else point


def _around(x: float, y: float, half_width: float, half_height: float) -> Iterator[Point]:
    """Yield candidate centres of a label: right, left, above, below and between, then further out."""
    for gap in (11.0, 18.0, 28.0, 40.0, 54.0, 70.0, 90.0):
        for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            angle = turn * math.pi / 8
            yield x + math.cos(angle) * (gap + half_width), y - math.sin(angle) * (gap + half_height)


LIMIT_USED = "limit_used"
FULL, EDGE = 100.0, 300.0
"""Percent of a limit that is the limit itself; and percent from which a variant is drawn at the edge."""


class VariantPoint(Record, frozen=True, kw_only=True):
    """A variant as a point: its number in the table, its label, its time, and its share of the tightest limit.

    `loss` is that share in percent (`LIMIT_USED`), or a loss where no rule has a limit to share.
    """

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

    def pixel(self, time: float, loss: float) -> Point:
        """Return the pixel of a time and a loss."""
        left, right = map(math.log, self.times)
        low, high = self.losses
        return (math.log(time) - left) / (right - left) * self.width, (high - loss) / (high - low) * self.height


def _plot(points: Sequence[VariantPoint], limit: float | None, size: ChartSize) -> _Plot:
    times = [point.time.value for point in points]
    low, high = interval_range([interval_row(point.loss) for point in points], 0.0, limit)
    margin = (high - low) * 0.08 or 0.001
    return _Plot(
        width=size.plot,
        height=300 if size.narrow else 340,
        times=(min(times) / 1.25, max(times) * 1.25),
        losses=(low - margin, high + margin),
    )


def _rows(points: Sequence[VariantPoint], limit: float | None, plot: _Plot) -> list[Row]:
    """Return the points, with the pixels of labels and of the lines that lead to them."""
    pixels = [plot.pixel(point.time.value, point.loss.value) for point in points]
    centres = place_labels(
        pixels,
        [point.label for point in points],
        plot=(plot.width, plot.height),
        occupied=_occupied(points, limit, plot),
    )
    ends = [line_end(centre, point.label, pixel) for centre, point, pixel in zip(centres, points, pixels, strict=True)]
    return [
        interval_row(
            point.loss,
            time=point.time.value,
            verdict=baseline_answer(point.judged.verdict),
            label=point.label,
            released=point.released,
            **_in_words(point),
            **dict(zip(("x", "y", "label_x", "label_y", "end_x", "end_y"), (*pixel, *centre, *end), strict=True)),
        )
        for point, pixel, centre, end in zip(points, pixels, centres, ends, strict=True)
    ]


def _in_words(point: VariantPoint) -> dict[str, Any]:
    """Return what a tooltip shows of a variant; `number` is its row in the table."""
    return {
        "number": point.label.split()[0],
        "variant": point.judged.variant.name,
        "time_text": formatting.typeset(formatting.format_measurement(point.time)),
        "loss_text": formatting.typeset(formatting.format_measurement(point.loss)),
        "verdict_text": words.ANSWERS[baseline_answer(point.judged.verdict)],
    }


def _occupied(points: Sequence[VariantPoint], limit: float | None, plot: _Plot) -> list[LabelBox]:
    """Return what a label may not cover: the intervals, the line at 0 and the limit."""
    boxes = []
    for point in points:
        if formatting.has_interval(point.loss):
            x, top = plot.pixel(point.time.value, point.loss.high)
            _, bottom = plot.pixel(point.time.value, point.loss.low)
            boxes.append(LabelBox(x, (top + bottom) / 2, 2.0, (bottom - top) / 2))
    lines = [plot.pixel(plot.times[0], loss)[1] for loss in (0.0, limit) if loss is not None]
    return [*boxes, *(LabelBox(plot.width / 2, y, plot.width / 2, 1.0) for y in lines)]


MARKED = "marked"
"""Parameter of the interactive chart: the number of the variant that a person chose, or an empty string."""
ZOOM = "zoom"


def scatter_chart(
    points: Sequence[VariantPoint], limit: float | None, size: ChartSize, *, interactive: bool = False
) -> alt.LayerChart:
    """Return the points with intervals and labels; the area beyond the limit is shaded.

    An interactive chart has tooltips, can be moved and zoomed, and dims all variants but the one that is `MARKED`.
    """
    plot = _plot(points, limit, size)
    rows = _rows(points, limit, plot)
    unit = "µs" if points[0].time.unit == "us" else points[0].time.unit
    kind = "CPU time" if points[0].time.name == CPU_TIME else "Time"
    ticks = log_ticks(*plot.times, plot.width)
    x = (
        alt.X("time:Q")
        .scale(type="log", domain=plot.times, nice=False)
        .axis(title=f"{kind} for one row, {unit} (log scale)", values=ticks, format=",~g")
    )
    y = alt.Y("value:Q").scale(domain=plot.losses, nice=False, zero=False).axis(value_axis(*plot.losses, ticks=6))
    series = encode_series(
        [answer for answer in ANSWERS if any(row["verdict"] == answer for row in rows)],
        legend=alt.Legend(title=[*LEGEND] if size.narrow else " ".join(LEGEND), titleOrient="top"),
        field="verdict",
        color=LIGHT,
        shape=SHAPES,
    )
    base = rows_chart(rows).encode(x=x, y=y)
    if interactive:
        used = points[0].loss.name == LIMIT_USED
        return _interactive(base, series, plot, limit, used=used).properties(title=_y_title(points[0].loss))
    in_pixels = rows_chart(rows)
    layers = [
        *_limit_layers(plot, limit),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=alt.Y("low:Q"), y2="high:Q", color=series["color"]),
        in_pixels.mark_rule(color=LIGHT["muted"], strokeWidth=0.75)
        .encode(x=pixel_x("x"), y=pixel_y("y"), x2="end_x:Q", y2="end_y:Q"),
        base.transform_filter("datum.released")
        .mark_point(shape="circle", size=420, strokeWidth=2, color=LIGHT["live"]),
        base.mark_point(size=95, strokeWidth=2, filled=True, opacity=1).encode(**series),
        in_pixels.mark_text().encode(
            x=pixel_x("label_x"), y=pixel_y("label_y"), text="label:N",
            color=alt.condition("datum.released", alt.value(LIGHT["live"]), alt.value(LIGHT["ink"])),
        ),
    ]  # fmt: skip
    title = _y_title(points[0].loss)
    return alt.layer(*layers).properties(width=plot.width, height=plot.height, title=title)


def _y_title(loss: Measurement) -> str:
    if loss.name == LIMIT_USED:
        return "Share of the tightest limit used, %"
    return f"{words.measure_title(loss.name)} (above 0 is worse)"


def _interactive(
    base: alt.Chart, series: dict[str, Any], plot: _Plot, limit: float | None, *, used: bool
) -> alt.LayerChart:
    """Return the layers that keep their places when the axes move: a label stays as far from its point as it was."""
    tips = [
        alt.Tooltip(f"{field}:N", title=title)
        for field, title in (
            ("number", "Number"),
            ("variant", "Variant"),
            ("time_text", "Time for one row"),
            ("loss_text", "Limit used" if used else "Loss"),
            ("verdict_text", "Verdict"),
        )
    ]
    zoom = alt.selection_interval(
        name=ZOOM,
        bind="scales",
        zoom="wheel![event.ctrlKey || event.metaKey]",
        translate="[mousedown, window:mouseup] > window:mousemove!",
    )
    is_dim = f"{MARKED} && datum.number != {MARKED}"
    opacity = alt.condition(is_dim, alt.value(0.2), alt.value(1))
    away = {"dx": alt.expr("datum.label_x - datum.x"), "dy": alt.expr("datum.label_y - datum.y")}
    return (
        alt.layer(
            *_limit_layers(plot, limit, clip=True),
            base.mark_rule(strokeWidth=1.5, clip=True).encode(
                y=alt.Y("low:Q"), y2="high:Q", color=series["color"], opacity=opacity
            ),
            base.mark_rule(
                color=LIGHT["muted"],
                strokeWidth=0.75,
                clip=True,
                x2Offset=alt.expr("datum.end_x - datum.x"),
                y2Offset=alt.expr("datum.end_y - datum.y"),
            ).encode(x2="time:Q", y2="value:Q", opacity=opacity),
            base.transform_filter("datum.released").mark_point(
                shape="circle", size=420, strokeWidth=2, color=LIGHT["live"], clip=True
            ),
            base.mark_point(size=95, strokeWidth=2, filled=True, clip=True, cursor="pointer")
            .encode(**series, tooltip=tips, opacity=opacity)
            .add_params(zoom),
            base.mark_text(clip=True, **away).encode(
                text="label:N",
                color=alt.condition("datum.released", alt.value(LIGHT["live"]), alt.value(LIGHT["ink"])),
                opacity=opacity,
            ),
        )
        .add_params(alt.param(name=MARKED, value=""))
        .properties(width=plot.width, height=plot.height)
    )


def pixel_x(field: str) -> alt.X:
    """Return the x channel of a field that is in pixels."""
    return alt.X(f"{field}:Q", scale=None)


def pixel_y(field: str) -> alt.Y:
    """Return the y channel of a field that is in pixels."""
    return alt.Y(f"{field}:Q", scale=None)


def _limit_layers(plot: _Plot, limit: float | None, *, clip: bool = False) -> list[alt.Chart]:
    zero = rows_chart([{"y": 0.0}]).mark_rule(color=LIGHT["muted"], strokeWidth=1, clip=clip).encode(y="y:Q")
    if limit is None:
        return [zero]
    message = f"limit {limit:g}{' %' if limit == FULL else ''}"
    line = rows_chart([{"y": limit, "top": plot.losses[1], "x": plot.times[1], "message": message}])
    text = line.mark_text(align="right", dx=-4, dy=-8, color=LIGHT["fail"], clip=clip)
    return [
        line.mark_rect(color=LIGHT["danger"], clip=clip).encode(y=alt.Y("y:Q"), y2="top:Q"),
        zero,
        line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5, clip=clip).encode(y="y:Q"),
        text.encode(y="y:Q", x="x:Q", text="message:N"),
    ]


SPEED, CPU_TIME = "latency.one_row", "cost.cpu_s.one_row"
LEGEND = ("Verdict against the baseline,", "by the one-sided 95 % bound:")


def draw_pareto(report: ReportData, *, interactive: bool = False) -> RenderedChart | None:
    """Draw the Pareto front; return None unless two variants have both a time for one row and a loss."""
    points = _limit_points(report)
    measure, limit = LIMIT_USED, FULL if points else None
    if not points:
        measure = charted_loss(report)
        points = _variant_points(report, measure)
        limit = _limit(points[0].judged, measure) if points else None
    if len(points) < 2:
        return None
    return render_chart(
        lambda size: scatter_chart(points, limit, size),
        name="frontier",
        title=_pareto_title(report, points),
        alt=_pareto_alt(points, measure),
        reading=_pareto_reading(report, measure, limit),
        interactive=(lambda size: scatter_chart(points, limit, size, interactive=True)) if interactive else None,
    )


def pareto_conclusions(report: ReportData) -> tuple[str, ...]:
    """Return what the intervals of the search support, in sentences."""
    speedup = report.of_winner("latency.speedup")
    if report.winner is None or speedup is None or not formatting.has_interval(speedup):
        return ()
    if not report.winner.variant.steps:
        return ("No variant was both faster and shown to stay within the limits: the baseline is kept.",)
    harm = {
        "pass": "and is shown to stay within the limits of the policy",
        "fail": "but breaks a limit of the policy",
        "undecided": "but the data do not show whether it stays within the limits of the policy",
    }[baseline_answer(report.winner.verdict)]
    if speedup.low <= 1:
        return (f"The {report.word} variant is not shown to be faster, {harm}.",)
    times = formatting.describe_interval(replace(speedup, unit=""))
    return (f"The {report.word} variant predicts one row {times} times as fast, {harm}.",)


def charted_loss(report: ReportData) -> str:
    """Return the loss on the vertical axis: the first in evidence that a rule limits, else the first in evidence."""
    if not report.frontier:
        return ""
    ruled = [rule_result.rule.measure for rule_result in report.frontier[0].verdict.rule_results]
    held = [measurement.name for measurement in report.frontier[0].evidence.measurements if not measurement.slice]
    losses = [name for name in (*ruled, *held) if name.endswith(".drop") and name in held]
    return losses[0] if losses else ""


def limit_used(judged: EvaluatedVariant) -> tuple[Measurement, Rule] | None:
    """Return the largest share of a limit that a variant uses, in percent with its interval, and the rule.

    Only rules that compare with the baseline count. A rule that is not passed comes before those that are. None if no
    rule has a limit above 0 and a measurement.
    """
    relative = [result for result in judged.verdict.rule_results if result.rule.relative]
    shares = [
        (result.answer != "pass", max(result.measurement.value, result.bound or 0.0) / result.rule.at_most, result)
        for result in relative
        if result.measurement and result.rule.at_most and math.isfinite(result.measurement.value)
    ]
    if not shares:
        return None
    _, _, tightest = max(shares, key=lambda share: share[:2])
    found, limit = tightest.measurement, tightest.rule.at_most
    assert found is not None and limit is not None
    low, high = (found.low, found.high) if formatting.has_interval(found) else (found.value, found.value)
    value, low, high = (min(FULL * end / limit, EDGE) for end in (found.value, low, high))
    share = replace(found, name=LIMIT_USED, slice="", unit="%", value=value, low=low, high=high, bounds=None)
    return share, tightest.rule


def _limit_points(report: ReportData) -> list[VariantPoint]:
    """Return the variants by their share of the tightest limit; a refused one is labeled with the rule."""
    points = []
    for index, judged in enumerate(report.frontier, start=1):
        time, used = _time(report, judged), limit_used(judged)
        if time is not None and used is not None and time.value > 0:
            label = _label(report, judged, index)
            if baseline_answer(judged.verdict) != "pass":
                label += f" {words.measure_name(_refusing(judged, used[1]).measure)}"
            released = report.is_winner(judged)
            points.append(VariantPoint(label=label, judged=judged, time=time, loss=used[0], released=released))
    return sorted(points, key=lambda point: -len(point.label))


def _label(report: ReportData, judged: EvaluatedVariant, index: int) -> str:
    word = f" {report.word}" if report.is_winner(judged) else "" if judged.variant.steps else " baseline"
    return f"{index}{word}"


def _refusing(judged: EvaluatedVariant, used: Rule) -> Rule:
    """Return the rule by which a variant is refused: the one that is used most, unless another one is not passed."""
    unmet = [result for result in judged.verdict.rule_results if result.rule.relative and result.answer != "pass"]
    rules = [result.rule for result in sorted(unmet, key=lambda result: result.answer != "fail")]
    return used if used in rules or not rules else rules[0]


def _time(report: ReportData, judged: EvaluatedVariant) -> Measurement | None:
    """Return the time of a variant for one row; the CPU time of all if the machine was too busy to time some."""
    if all(row.evidence.find(SPEED) for row in report.frontier):
        return judged.evidence.find(SPEED)
    found = judged.evidence.find(CPU_TIME)
    return replace(found, unit="us") if found else judged.evidence.find(SPEED)  # s of a million rows are us of one


def _variant_points(report: ReportData, measure: str) -> list[VariantPoint]:
    points = []
    for index, judged in enumerate(report.frontier, start=1):
        time, loss = _time(report, judged), judged.evidence.find(measure)
        if time is not None and loss is not None and time.value > 0 and math.isfinite(loss.value):
            label, released = _label(report, judged, index), report.is_winner(judged)
            points.append(VariantPoint(label=label, judged=judged, time=time, loss=loss, released=released))
    return sorted(points, key=lambda point: -len(point.label))


def _limit(judged: EvaluatedVariant, measure: str) -> float | None:
    rules = [rule_result.rule for rule_result in judged.verdict.rule_results if rule_result.rule.measure == measure]
    return rules[0].at_most if rules else None


def _pareto_title(report: ReportData, points: list[VariantPoint]) -> str:
    passing = sum(baseline_answer(point.judged.verdict) == "pass" for point in points)
    inside = f"{passing} of {len(points)} variants are shown to stay within the limits"
    if any(result.rule.private for point in points for result in point.judged.verdict.rule_results):
        inside += f", {sum(point.judged.verdict.answer == 'pass' for point in points)} of them also those on privacy"
    speedup = report.of_winner("latency.speedup")
    if report.winner is None or speedup is None:
        return inside
    if not report.winner.variant.steps:
        return f"{inside}; the baseline is kept"
    return f"{inside}; the {report.word} one predicts one row {formatting.format_ratio(speedup)} as fast"


def _pareto_alt(points: list[VariantPoint], measure: str) -> str:
    named = "; ".join(
        f"variant {point.label}, {formatting.format_measurement(point.time)}, "
        f"{formatting.format_measurement(point.loss)}, {words.ANSWERS[baseline_answer(point.judged.verdict)]}"
        for point in points
        if point.released or not point.judged.variant.steps
    )
    details = f": {named}" if named else ""
    axis = "share of the tightest limit used" if measure == LIMIT_USED else words.measure_name(measure)
    return f"{len(points)} variants by time for one row and {axis}{details}. {SEE_TABLE}"


def _pareto_reading(report: ReportData, measure: str, limit: float | None) -> tuple[str, ...]:
    lines = [
        "Each mark is a variant; its number is its row in the table below. Further left is faster, further down is "
        "better. Colour and shape show the verdict of the rules that compare with the baseline.",
        "A rule passes if the one-sided 95 % bound is within its limit, fails if the bound on the other side is "
        "beyond it, and is undecided otherwise. That bound is the end of a 90 % interval, so the line of a variant "
        "that passes may reach a little beyond the limit.",
    ]
    if measure == LIMIT_USED:
        rules = dict.fromkeys(
            result.rule for judged in report.frontier for result in judged.verdict.rule_results if result.rule.relative
        )
        limits = "; ".join(f"{words.measure_name(rule.measure)} {words.rule_limit(rule)}" for rule in rules)
        lines += [
            f"The height is the share of the limit that the variant uses most: {limits}. At 100 % the limit is "
            f"reached. A variant that is refused names its rule. More than {EDGE:.0f} % is drawn at {EDGE:.0f} %.",
            f"Vertical lines are 95 % intervals, computed over {report.groups}. The shaded area is beyond the limit.",
        ]
        return tuple(lines)
    lines += [
        f"{words.measure_title(measure)}: {words.measure_meaning(measure)}",
        f"Vertical lines are 95 % intervals, computed over {report.groups}.",
    ]
    if limit is not None:
        rule = Rule(measure=measure, at_most=limit)
        lines.append(f"The shaded area is beyond the limit of the policy ({words.rule_limit(rule)}).")
    return tuple(lines)
