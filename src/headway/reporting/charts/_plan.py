"""Options of a deployment plan: cost of a month against p99, with the region beyond the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from headway.core.plan import DeploymentPlan, PlanOption
from headway.reporting.charts.pareto import place_labels
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

_SERIES = ("cheapest", "feasible", "not feasible")
_COLOURS = {"cheapest": LIGHT["live"], "feasible": LIGHT["pass"], "not feasible": LIGHT["fail"]}
_SHAPES = {"cheapest": "diamond", "feasible": "circle", "not feasible": "cross"}
_BAND = 1.12  # options without a cost are drawn at the top, at this share of the largest cost


def draw_plan(plan: DeploymentPlan) -> RenderedChart | None:
    """Return the chart of a plan; None if no option has a p99."""
    shown = [option for option in plan.options if option.p99_ms]
    if not shown:
        return None
    hidden = [
        f"{option.name}, {option.variant_name}: {_problem(option)}" for option in plan.options if not option.p99_ms
    ]
    names = [f"{option.name}, {option.variant_name}" for option in shown]
    return render_chart(
        lambda size: _chart(plan, shown, size),
        name="plan",
        title=manager_sentence(plan).partition(". ")[0],
        alt=f"Cost of a month against p99 of {'; '.join(names)}. The limit of the p99 is {plan.p99_ms:g} ms.",
        reading=(
            "Each point is a variant at a location, its line the interval of its p99 in the busiest hour.",
            f"The shaded region is beyond the limit of {plan.p99_ms:g} ms: too slow.",
            "What is not feasible is at the top.",
            *([f"Without a point: {'; '.join(hidden)}."] if hidden else []),
            SEE_TABLE,
        ),
    )


def _problem(option: PlanOption) -> str:
    return PROBLEM_WORDS.get(option.problem, option.problem).lstrip("✗? ")


def _chart(plan: DeploymentPlan, shown: Sequence[PlanOption], size: ChartSize) -> alt.LayerChart:
    width, height = size.plot, 300 if size.narrow else 340
    found = [(option, option.p99_ms) for option in shown if option.p99_ms]
    ends = [end for _, p99 in found for end in (p99.low, p99.high) if end > 0]
    low, high = min(*ends, plan.p99_ms) / 1.3, max(*ends, plan.p99_ms) * 1.3
    largest = max((option.cost_month.value for option in shown if option.cost_month), default=0.0) or 1.0
    costs = [option.cost_month.value if option.cost_month else largest * _BAND for option in shown]
    points = [
        (math.log(max(p99.value, low) / low) / math.log(high / low) * width, height * (1 - cost / (largest * 1.25)))
        for (_, p99), cost in zip(found, costs, strict=True)
    ]
    labels = [option.name if option.is_feasible else f"{option.name}: {_problem(option)}" for option in shown]
    centres = place_labels(points, labels, plot=(width, height))
    rows: list[Row] = [
        interval_row(
            p99,
            cost=cost,
            label=label,
            label_x=centre[0],
            label_y=centre[1],
            series=_series(option, plan),
        )
        for (option, p99), cost, label, centre in zip(found, costs, labels, centres, strict=True)
    ]
    x = (
        alt.X("value:Q")
        .scale(type="log", domain=(low, high), nice=False)
        .axis(title="p99 in the busiest hour, ms (log scale)", values=log_ticks(low, high, width), format=",~g")
    )
    y = (
        alt.Y("cost:Q")
        .scale(domain=(0, largest * 1.25), nice=False)
        .axis(title=None, format=",.0f" if largest > 20 else ".2f", tickCount=5)
    )
    series = encode_series(
        [name for name in _SERIES if any(row["series"] == name for row in rows)],
        legend=alt.Legend(title=None),
        color=_COLOURS,
        shape=_SHAPES,
    )
    region = rows_chart([{"value": plan.p99_ms, "end": high, "cost": largest * 1.25, "bottom": 0.0}])
    base = rows_chart(rows).encode(x=x, y=y)
    layers = [
        region.mark_rect(color=LIGHT["danger"]).encode(x=x, x2="end:Q", y=y, y2="bottom:Q"),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(x=alt.X("low:Q"), x2="high:Q", color=series["color"]),
        base.mark_point(size=95, strokeWidth=2, filled=True, opacity=1).encode(**series),
        rows_chart(rows)
        .mark_text(color=LIGHT["ink"])
        .encode(x=alt.X("label_x:Q", scale=None), y=alt.Y("label_y:Q", scale=None), text="label:N"),
    ]
    return alt.layer(*layers).properties(width=width, height=height, title=f"Cost of a month, {plan.prices.currency}")


def _series(option: PlanOption, plan: DeploymentPlan) -> str:
    if option is plan.best:
        return "cheapest"
    return "feasible" if option.is_feasible else "not feasible"
