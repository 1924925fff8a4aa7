"""A deployment plan in words and tables: what to choose, what it costs, and what would change the answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace as replaced
from rich.text import Text

from headway.core.evidence import Measurement
from headway.core.plan import (
    NOT_JUDGED,
    DeploymentPlan,
    NetworkTimes,
    PlanChange,
    PlanOption,
    PlanSubject,
    ServiceTimes,
)
from headway.reporting.text.formatting import format_measurement, format_number, format_ratio
from headway.reporting.text.tables import Cell, Table, make_table, measurement_cell, text_cell

_SUBJECTS: dict[PlanSubject, str] = {
    "demand": "requests",
    "service_times": "service times",
    "network": "round trips",
    "hardware": "price of hardware",
    "instance": "price of instances",
    "p99_ms": "limit of the p99",
}
PROBLEM_WORDS = {
    "quality": "✗ quality",
    "not_measured": "? not measured",
    "network_not_measured": "? network not measured",
    "overloaded": "✗ overloaded",
    "too_slow": "✗ too slow",
    "too_unavailable": "✗ not available enough",
}


def describe_times(times: ServiceTimes | NetworkTimes) -> str:
    """Return one line on a measurement: median, 99th percentile and count."""
    p50, p99 = (float(np.quantile(times.times_us, share)) for share in (0.5, 0.99))
    of_each = f"median {format_number(p50)} us, p99 {format_number(p99)} us of {len(times.times_us):,}"
    if isinstance(times, NetworkTimes):
        failed = f", {times.n_failed} without an answer" if times.n_failed else ""
        return f"network {times.name}: {of_each} round trips{failed}"
    pauses = f"{len(times.pauses_us)} pauses of the machine"
    busy = f"; measured on a busy machine: {times.busy}" if times.busy else ""
    return f"{times.variant_name} at {times.location}: {of_each} requests; {pauses} ({times.machine.cpu}){busy}"


def tabulate_plan(plan: DeploymentPlan) -> Table:
    """Tabulate the options of a plan: feasible ones first, the cheapest first."""
    order = sorted(range(len(plan.options)), key=lambda index: _rank(plan.options[index]))
    options = [plan.options[index] for index in order]
    titles = ("Location", "Variant", "Answer", "Replicas", "p99", "Busy", "Available", "Cost a month", "Per million")
    chosen = -1 if plan.chosen is None else order.index(plan.chosen)
    notes = tuple(". ".join(part for part in (option.message, option.hint) if part) for option in options)
    rows = [_row(option, is_best=option is plan.best) for option in options]
    return make_table(titles, rows, folds=("Variant",), chosen=chosen, notes=notes)


def plan_lines(plan: DeploymentPlan) -> Iterator[Text]:
    """Yield the answer and what would change it."""
    yield Text(manager_sentence(plan), style="bold")
    for change in plan.changes:
        yield Text(_change_sentence(change, plan))
    for caveat in plan.caveats:
        yield Text(caveat)
    yield Text(f"Prices: {plan.prices.source}.")


def manager_sentence(plan: DeploymentPlan) -> str:
    """Return the answer in one sentence or two, for who decides on the money."""
    best, limits = plan.best, f"p99 of {plan.p99_ms:g} ms and {plan.availability:g} available"
    if best is None:
        judged = [option for option in plan.options if option.problem not in NOT_JUDGED]
        if not judged:
            return f"No location can be judged yet: none of {len(plan.options)} options was measured."
        return f"None of {len(judged)} measured options keeps the rules ({limits})."
    volume = f"{_rounded(plan.demand.per_month)} requests a month"
    cost = format_measurement(best.cost_month) if best.cost_month else ""
    share = f", which answers {best.answered_share:.0%} of the requests itself" if best.second_location else ""
    sentence = f"Run {best.variant_name} on {best.name}{share}: {cost} a month for {volume} ({limits})."
    others = {option.name for option in plan.options if option.is_feasible} - {best.name}
    cheaper = [option for option in plan.options if option.is_feasible and option.name in others and option.cost_month]
    if cheaper and best.cost_month:
        second = min(cheaper, key=lambda option: option.cost_month.value if option.cost_month else 0.0)
        ratio = _cost_ratio(second.cost_month, best.cost_month) if second.cost_month else None
        if ratio:
            exact = " at this demand" if ratio.low == ratio.high else ""
            sentence += f" The next location, {second.name}, costs {format_ratio(ratio)} as much{exact}."
    if plan.break_even and plan.break_even_location:
        way = "From" if plan.break_even > plan.demand.per_month else "Below"
        sentence += f" {way} about {_rounded(plan.break_even)} requests a month, {plan.break_even_location} is cheaper."
    return sentence


def _cost_ratio(cost: Measurement, cheapest: Measurement) -> Measurement | None:
    """Return the ratio of two costs: both as expected, both at the lower, and both at the upper end of requests."""
    pairs = ((cost.value, cheapest.value), (cost.low, cheapest.low), (cost.high, cheapest.high))
    if not all(below for _, below in pairs):
        return None
    value, *ends = (above / below for above, below in pairs)
    low, high = min(value, *ends), max(value, *ends)
    return replaced(cost, name="plan.cost_ratio", value=value, low=low, high=high, unit="x")


def _rounded(count: float) -> str:
    """Return a large number with three digits: 526,000,000."""
    return f"{float(f'{count:.3g}'):,.0f}"


def _change_sentence(change: PlanChange, plan: DeploymentPlan) -> str:
    what = _SUBJECTS[change.subject]
    if change.factor is None:
        return f"With {change.low:.3g} to {change.high:g} times the {what}, the answer is the same."
    then = f"{change.option} is best" if change.option else "no option keeps the rules"
    now = "" if plan.best else "; now none does"
    return f"With about {change.factor:.2g} times the {what}, {then}{now}."


def _rank(option: PlanOption) -> tuple[bool, float]:
    return (not option.is_feasible, option.cost_month.value if option.cost_month else 0.0)


def _row(option: PlanOption, *, is_best: bool) -> tuple[Cell, ...]:
    answer = text_cell("✓ cheapest" if is_best else "✓ feasible", "pass")
    if option.problem:
        answer = text_cell(
            PROBLEM_WORDS.get(option.problem, option.problem), "undecided" if option.problem in NOT_JUDGED else "fail"
        )
    replicas = (
        f"{option.replicas} + {option.second_replicas}" if option.second_replicas else f"{option.replicas or '–'}"
    )
    variants = " → ".join(name for name in (option.variant_name, option.second_variant_name) if name)
    return (
        text_cell(option.name, "strong" if is_best else "plain"),
        text_cell(variants),
        answer,
        text_cell(replicas),
        _cell(option.p99_ms),
        _cell(option.utilisation),
        text_cell("–" if option.availability is None else f"{option.availability:.5f}"),
        _cell(option.cost_month),
        _cell(option.cost_per_million),
    )


def _cell(measurement: Measurement | None) -> Cell:
    return measurement_cell(measurement) if measurement else text_cell("–", "quiet")
