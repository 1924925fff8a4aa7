"""Options of a deployment plan: cost of a month against p99, with the regions that are not feasible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import altair as alt

from headway.core.evidence import Measurement
from headway.core.plan import DeploymentPlan, PlanOption
from headway.core.record import Record
from headway.reporting.charts.pareto import (
    LABEL_LINE,
    LabelBox,
    Point,
    label_half,
    line_end,
    pixel_x,
    pixel_y,
    place_labels,
)
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    Row,
    encode_series,
    interval_row,
    log_ticks,
    render_chart,
    rows_chart,
)
from headway.reporting.colours import LIGHT
from headway.reporting.text.plan import PROBLEM_WORDS, manager_sentence

_SERIES = {
    "cheapest": ("diamond", LIGHT["live"]),
    "feasible": ("circle", LIGHT["pass"]),
    "too slow": ("cross", LIGHT["fail"]),
    "not available enough": ("square", LIGHT["fail"]),
}
"""Shape and colour of the options, by the answer."""
_TOP = 1.15
_BAND = 0.3
"""Share of the height, at the top, in which options without a cost are drawn."""
_NEVER = "not feasible with any number of replicas"


def draw_plan(plan: DeploymentPlan) -> RenderedChart | None:
    """Return the chart of a plan; None if no option has a p99."""
    shown = [_Shown(option=option, p99=option.p99_ms) for option in plan.options if option.p99_ms]
    if not shown:
        return None
    hidden = [f"{_title(option)}: {_problem(option)}" for option in plan.options if not option.p99_ms]
    dear = [one for one in shown if not one.option.cost_month]
    return render_chart(
        lambda size: _chart(plan, shown, size),
        name="plan",
        title=manager_sentence(plan).partition(". ")[0],
        alt="Cost of a month against p99: "
        + "; ".join(f"{_title(one.option)}, {_answer(one.option, plan)}" for one in shown)
        + f". The limit of the p99 is {plan.p99_ms:g} ms. {SEE_TABLE}",
        reading=(
            "Each mark is a variant at a location, with the interval of its p99 in the busiest hour. Further left is "
            "faster, further down is cheaper. An option is feasible if the upper end of the interval keeps the limit.",
            *([f"At the top, without a cost, is what is {_NEVER} that the price file allows."] if dear else []),
            *([f"Without a mark, because no response time is known: {'; '.join(hidden)}."] if hidden else []),
        ),
    )


class _Shown(Record, frozen=True, kw_only=True):
    """An option that has a p99."""

    option: PlanOption
    p99: Measurement


def _label(option: PlanOption, numbers: Mapping[str, int], size: ChartSize) -> str:
    """Return the location, and below it the variant; on a narrow screen the number of the variant."""
    if not size.narrow:
        return f"{option.name}\n{_variants(option)}"
    ends = [(option.location, option.variant_name), (option.second_location, option.second_variant_name)]
    return " →\n".join(f"{location} {numbers.get(name, '')}".rstrip() for location, name in ends if location)


def _numbers(shown: Sequence[_Shown]) -> dict[str, int]:
    """Return a number for each variant that the labels name."""
    names = [name for one in shown for name in (one.option.variant_name, one.option.second_variant_name) if name]
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def _variants(option: PlanOption) -> str:
    return " → ".join(dict.fromkeys(name for name in (option.variant_name, option.second_variant_name) if name))


def _title(option: PlanOption) -> str:
    return f"{option.name}, {_variants(option)}"


def _problem(option: PlanOption) -> str:
    return PROBLEM_WORDS.get(option.problem, option.problem).lstrip("✗? ")


def _answer(option: PlanOption, plan: DeploymentPlan) -> str:
    return "cheapest" if option is plan.best else "feasible" if option.is_feasible else _problem(option)


class _PlanPlot(Record, frozen=True, kw_only=True):
    """The size of the plot in pixels, the ends of the axis of the p99, and the cost at the top of the plot.

    Above the cost `band` are options without one.
    """

    width: int
    height: int
    low: float
    high: float
    top: float
    band: float

    def pixel(self, p99: float, cost: float) -> Point:
        """Return the pixel of a p99 and a cost."""
        share = math.log(max(p99, self.low) / self.low) / math.log(self.high / self.low)
        return share * self.width, self.height * (1 - cost / self.top)


def _plot(plan: DeploymentPlan, shown: Sequence[_Shown], size: ChartSize, width: float) -> _PlanPlot:
    """Return a plot in which the region beyond the limit has at least a width in pixels, for its name."""
    ends = [end for one in shown for end in (one.p99.low, one.p99.high) if end > 0]
    low, high = min(*ends, plan.p99_ms) / 1.3, max(*ends, plan.p99_ms) * 1.3
    share = (width + 12) / size.plot
    high = max(high, math.exp((math.log(plan.p99_ms) - share * math.log(low)) / (1 - share)))
    costs = [one.option.cost_month.value for one in shown if one.option.cost_month]
    band = (max(costs, default=0.0) or 1.0) * _TOP
    top = band / (1 - _BAND) if len(costs) < len(shown) else band
    return _PlanPlot(width=size.plot, height=400 if size.narrow else 340, low=low, high=high, top=top, band=band)


def _rows(
    plan: DeploymentPlan, shown: Sequence[_Shown], plot: _PlanPlot, occupied: Sequence[LabelBox], size: ChartSize
) -> list[Row]:
    """Return the options, with the pixels of labels and of the lines that lead to them.

    The cheapest has the first choice. A label without room is empty: the option is in the table.
    """
    numbers = _numbers(shown)
    ordered = sorted(shown, key=lambda one: (one.option is not plan.best, -len(_label(one.option, numbers, size))))
    without = (plot.band + plot.top) / 2
    costs = [one.option.cost_month.value if one.option.cost_month else without for one in ordered]
    pixels = [plot.pixel(one.p99.value, cost) for one, cost in zip(ordered, costs, strict=True)]
    intervals = [_interval_box(one.p99, cost, plot) for one, cost in zip(ordered, costs, strict=True)]
    labels = [_label(one.option, numbers, size) for one in ordered]
    centres = place_labels(pixels, labels, plot=(plot.width, plot.height), occupied=[*occupied, *intervals])
    boxes, rows = list[LabelBox](), list[Row]()
    for one, cost, pixel, centre, label in zip(ordered, costs, pixels, centres, labels, strict=True):
        box = LabelBox(*centre, *label_half(label))
        has_room = box.inside(plot.width, plot.height) and not box.overlaps([*boxes, *occupied])
        boxes += [box] if has_room else []
        end = line_end(centre, label, pixel) if has_room else pixel
        pixels_of = {"x": pixel[0], "y": pixel[1], "end_x": end[0], "end_y": end[1]}
        text = _text_row(label if has_room else "", *centre)
        rows.append(interval_row(one.p99, cost=cost, series=_answer(one.option, plan), **pixels_of) | text)
    return rows


def _text_row(label: str, x: float, y: float) -> Row:
    """Return a text of several lines with its centre; Vega places the first line."""
    return {"label": label, "label_x": x, "label_y": y - label.count("\n") * LABEL_LINE / 2}


def _interval_box(p99: Measurement, cost: float, plot: _PlanPlot) -> LabelBox:
    (start, y), (end, _) = (plot.pixel(value, cost) for value in (p99.low, p99.high))
    return LabelBox((start + end) / 2, y, (end - start) / 2, 2.0)


def _chart(plan: DeploymentPlan, shown: Sequence[_Shown], size: ChartSize) -> alt.LayerChart:
    beyond = f"too slow:\nover {plan.p99_ms:g} ms"
    half_width, half_height = label_half(beyond)
    plot = _plot(plan, shown, size, 2 * half_width)
    limit_x = plot.pixel(plan.p99_ms, 0.0)[0]
    names = [(beyond, (limit_x + plot.width) / 2, plot.height - half_height - 4)]
    if plot.band < plot.top:
        never = _NEVER.replace("with ", "with\n") if size.narrow else _NEVER
        half_width, half_height = label_half(never)
        begin = 6 if limit_x > 2 * half_width + 12 else limit_x + 8  # the line of the limit would cross it
        names.append((never, begin + half_width, 4 + half_height))
    occupied = [LabelBox(x, y, *label_half(name)) for name, x, y in names]
    rows = _rows(plan, shown, plot, [*occupied, LabelBox(limit_x, plot.height / 2, 1.0, plot.height / 2)], size)
    x = (
        alt.X("value:Q")
        .scale(type="log", domain=(plot.low, plot.high), nice=False)
        .axis(
            title="p99 in the busiest hour, ms (log scale)",
            values=log_ticks(plot.low, plot.high, plot.width),
            format=",~g",
        )
    )
    ticks = _cost_ticks(plot.band) if any(one.option.cost_month for one in shown) else []
    y = (
        alt.Y("cost:Q")
        .scale(domain=(0, plot.top), nice=False)
        .axis(title=None, values=ticks, format=",.0f" if plot.band > 5 else ",.2~f")
    )
    series = encode_series(
        [name for name in _SERIES if any(row["series"] == name for row in rows)],
        legend=alt.Legend(title=None, columns=2 if size.narrow else 0),
        color={name: colour for name, (_, colour) in _SERIES.items()},
        shape={name: shape for name, (shape, _) in _SERIES.items()},
    )
    base, in_pixels = rows_chart(rows).encode(x=x, y=y), rows_chart(rows)
    slow = rows_chart([{"value": plan.p99_ms, "end": plot.high, "cost": plot.top, "bottom": 0.0}]).encode(x=x, y=y)
    never = rows_chart([{"value": plot.low, "end": plan.p99_ms, "cost": plot.top, "bottom": plot.band}])
    regions = [slow, *([never.encode(x=x, y=y)] if plot.band < plot.top else [])]
    layers = [
        *(region.mark_rect(color=LIGHT["danger"]).encode(x2="end:Q", y2="bottom:Q") for region in regions),
        slow.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5).encode(y2="bottom:Q"),
        _texts([_text_row(*name) for name in names], LIGHT["fail"]),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(x=alt.X("low:Q"), x2="high:Q", color=series["color"]),
        in_pixels.mark_rule(color=LIGHT["muted"], strokeWidth=0.75).encode(
            x=pixel_x("x"), y=pixel_y("y"), x2="end_x:Q", y2="end_y:Q"
        ),
        base.mark_point(size=95, strokeWidth=2, filled=True, opacity=1).encode(**series),
        _texts(rows, LIGHT["ink"]),
    ]
    key = [f"{number}: {name}" for name, number in _numbers(shown).items()] if size.narrow else []
    title = [*key, f"Cost of a month, {plan.prices.currency}"]
    return alt.layer(*layers).properties(width=plot.width, height=plot.height, title=title)


def _texts(rows: Sequence[Row], colour: str) -> alt.Chart:
    marks = rows_chart(rows).mark_text(color=colour, lineBreak="\n", lineHeight=LABEL_LINE)
    return marks.encode(x=pixel_x("label_x"), y=pixel_y("label_y"), text="label:N")


def _cost_ticks(largest: float) -> list[float]:
    """Return about five round costs from 0 up to the largest."""
    power = 10.0 ** math.floor(math.log10(largest / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if largest / (factor * power) <= 6)
    return [index * step for index in range(int(largest / step) + 1)]
