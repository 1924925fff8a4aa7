"""The chart of a deployment plan: labels of variant and location, and regions with names."""

from __future__ import annotations

from itertools import combinations

import pytest

from headway.core.evidence import Measurement
from headway.core.plan import Demand, DeploymentPlan, PlanChange, PlanOption, Prices
from headway.reporting.charts import _plan as chart
from headway.reporting.charts._plan import draw_plan
from headway.reporting.charts.pareto import LABEL_LINE, LabelBox, label_half, place_labels
from headway.reporting.charts.theme import NARROW, WIDE, ChartSize
from headway.reporting.text.plan import manager_sentence, plan_lines

LOCATIONS = {"device": 67.5, "node": 76.4, "cloud-small": None}
VARIANTS = ("trees · prune(nodes=0.5)", "lightgbm (baseline)")


def measurement(value: float, spread: float = 0.05) -> Measurement:
    low, high = value * (1 - spread), value * (1 + spread)
    return Measurement(name="plan", value=value, low=low, high=high, method="", n_rows=100)


def option(variant: str, location: str, p99_ms: float | None, cost: float | None) -> PlanOption:
    return PlanOption(
        variant=variant,
        variant_name=variant,
        location=location,
        p99_ms=None if p99_ms is None else measurement(p99_ms),
        cost_month=None if cost is None else measurement(cost),
        problem="" if cost else "too_slow" if p99_ms else "not_measured",
    )


@pytest.fixture
def plan() -> DeploymentPlan:
    options = [
        option(variant, location, 60.0 if cost is None else 2.0, cost)
        for variant in VARIANTS
        for location, cost in LOCATIONS.items()
    ]
    split = PlanOption(
        variant="a", variant_name=VARIANTS[0], location="device", second_location="node", second_variant="b",
        second_variant_name=VARIANTS[1], p99_ms=measurement(4.0), cost_month=measurement(106.0), answered_share=0.8,
    )  # fmt: skip
    return DeploymentPlan(
        name="flights",
        demand=Demand(per_s=50.0),
        prices=Prices(source="invented", currency="EUR"),
        p99_ms=50.0,
        availability=0.9999,
        options=(*options, split, option(VARIANTS[0], "phone", None, None)),
        chosen=0,
        changes=(
            PlanChange(subject="p99_ms", low=0.125, high=8.0, factor=1.14, option="cloud-small"),
            PlanChange(subject="hardware", low=0.125, high=8.0),
        ),
        caveats=("here was measured on a busy machine.",),
    )


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_each_option_of_a_plan_has_a_label_that_covers_no_other(plan: DeploymentPlan, size: ChartSize) -> None:
    spec = chart._chart(plan, [chart._Shown(option=o, p99=o.p99_ms) for o in plan.options if o.p99_ms], size).to_dict()
    rows = max(spec["datasets"].values(), key=len)
    labels = [row["label"] for row in rows]
    assert len(labels) == 7
    names = VARIANTS if size is WIDE else ("1", "2")
    assert all(any(name in label for name in names) for label in labels)
    assert all(any(location in label for location in LOCATIONS) for label in labels)
    line = LABEL_LINE / 2
    boxes = [LabelBox(row["label_x"], row["label_y"] + row["label"].count("\n") * line, *label_half(row["label"]))
             for row in rows]  # fmt: skip
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps([pair[1]])]
    assert all(box.inside(size.plot, 400 if size.narrow else 340) for box in boxes)


def test_the_regions_that_are_not_feasible_have_names(plan: DeploymentPlan) -> None:
    drawn = draw_plan(plan)
    assert drawn is not None
    for svg in (drawn.wide, drawn.narrow):
        assert "over 50 ms" in svg
        assert "any number of replicas" in svg
    assert "1: trees · prune(nodes=0.5)" in drawn.narrow
    assert "phone, trees · prune(nodes=0.5): not measured" in " ".join(drawn.reading)
    assert "device → node, trees · prune(nodes=0.5) → lightgbm (baseline), feasible" in drawn.alt


def test_a_label_without_room_is_left_out() -> None:
    crowd = [option(f"{number} {'long ' * 12}", "device", 2.0, 67.0) for number in range(24)]
    plan = DeploymentPlan(name="n", demand=Demand(per_s=1.0), prices=Prices(source=""), p99_ms=50.0,
                          availability=0.9, options=tuple(crowd), chosen=3)  # fmt: skip
    spec = chart._chart(plan, [chart._Shown(option=o, p99=o.p99_ms) for o in crowd if o.p99_ms], WIDE).to_dict()
    rows = max(spec["datasets"].values(), key=len)
    assert "" in [row["label"] for row in rows]
    assert [row["label"] for row in rows if row["series"] == "cheapest"] != [""]


def test_a_plan_that_no_option_keeps_has_no_costs_on_its_axis(plan: DeploymentPlan) -> None:
    slow = tuple(o for o in plan.options if o.problem == "too_slow")
    spec = chart._chart(plan, [chart._Shown(option=o, p99=o.p99_ms) for o in slow if o.p99_ms], NARROW).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["axis"]["values"] == []


def test_a_plan_without_response_times_has_no_chart(plan: DeploymentPlan) -> None:
    options = (option(VARIANTS[0], "phone", None, None),)
    assert draw_plan(DeploymentPlan(name="n", demand=plan.demand, prices=plan.prices, p99_ms=1.0, availability=0.9,
                                    options=options, chosen=None)) is None  # fmt: skip


def test_labels_of_several_lines_are_as_high_as_their_lines() -> None:
    points = [(300.0, 170.0), (304.0, 170.0)]
    texts = ["node\nlightgbm", "node\ntrees"]
    placed = place_labels(points, texts, plot=(640.0, 340.0))
    boxes = [LabelBox(*centre, *label_half(text)) for centre, text in zip(placed, texts, strict=True)]
    assert label_half(texts[0])[1] == 14
    assert not boxes[0].overlaps([boxes[1]])


def test_the_sentences_give_the_ratio_its_interval_and_what_changes_the_answer(plan: DeploymentPlan) -> None:
    assert "The next location, node, costs 1.13" in manager_sentence(plan)
    assert "0.9999 available" in manager_sentence(plan)
    lines = [line.plain for line in plan_lines(plan)]
    assert "With about 1.1 times the limit of the p99, cloud-small is best." in lines
    assert "With 0.125 to 8 times the price of hardware, the answer is the same." in lines
    assert "here was measured on a busy machine." in lines
