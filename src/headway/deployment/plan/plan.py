"""Plan of a deployment: the cheapest option that keeps all rules, and the changes that would make another the best."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from msgspec.structs import replace as replaced

from headway.core.plan import DeploymentPlan, PlanChange, PlanOption, PlanSubject, ServiceTimes
from headway.core.record import digest_of, write
from headway.deployment.plan.search import OptionSearch, PlanInputs, Simulations, best_option, locations_of
from headway.evaluation.settings.answer import RemoteStage

_FACTORS = (1.5, 2.0, 4.0, 8.0)
_STEPS = 3


def plan_deployment(inputs: PlanInputs, *, name: str = "", at: str = "", with_changes: bool = True) -> DeploymentPlan:
    """Return the cheapest option that keeps all rules, all others with their reason, and what would change the answer.

    Parameters
    ----------
    with_changes : bool
        Also search for the changes of an input that make another location the best.
    """
    simulations: Simulations = {}
    options = OptionSearch(inputs, simulations).options()
    plan = DeploymentPlan(
        name=name,
        demand=inputs.demand,
        prices=inputs.prices,
        p99_ms=inputs.p99_ms,
        availability=inputs.availability,
        options=tuple(options),
        chosen=best_option(options, preferred=inputs.variants[0].digest),
        measurements=tuple(digest_of(write(record)) for record in (*inputs.service_times, *inputs.networks)),
        caveats=tuple(_caveats(inputs.service_times)),
        at=at,
    )
    if not with_changes:
        return plan
    find = partial(_smallest_change, inputs, plan.best.name if plan.best else "", simulations)
    changes = tuple(map(find, _subjects(inputs)))
    volume = next((change for change in changes if change.subject == "demand" and change.factor), None)
    if volume is None or volume.factor is None:
        return replaced(plan, changes=changes)
    even = volume.factor * inputs.demand.per_month
    return replaced(plan, changes=changes, break_even=even, break_even_location=volume.option)


def cheapest_split(plan: DeploymentPlan) -> PlanOption | None:
    """Return the cheapest feasible split of a plan between a device and another location."""
    splits = [option for option in plan.options if option.second_location]
    best = best_option(splits)
    return None if best is None else splits[best]


def split_settings(plan: DeploymentPlan, split: PlanOption) -> RemoteStage:
    """Return how the device of a split asks the second location: `model` and `url` have names to replace.

    A call costs the second location's part of the month, divided by the requests that the device forwards.
    """
    demand, prices = plan.demand, plan.prices
    other = next(one for one in locations_of(prices) if one.name == split.second_location)
    forwarded = demand.per_month * (1 - split.answered_share)
    traffic = (demand.request_bytes + demand.response_bytes) / 1e9 * other.per_gb
    fixed = other.month * split.second_replicas / forwarded if forwarded else 0.0
    return RemoteStage(
        url=f"https://{other.name}.example.org:8443",
        protocol="headway",
        model=f"{plan.name}-{other.name}",
        deadline_s=plan.p99_ms / 1e3,
        cost_per_call=float(f"{fixed + traffic:.3g}"),
    )


def split_config(plan: DeploymentPlan, split: PlanOption, *, limit: float) -> str:
    """Return the settings of the device of a split as TOML; `limit` is that of the certificate of its release."""
    remote, best = split_settings(plan, split), plan.best
    cheaper = "" if best is None or best is split else f" {best.name} alone is cheaper."
    return f"""\
# Split by headway plan: {split.location} answers {split.answered_share:.0%} of requests, and
# {split.second_location} the others.{cheaper}
# Put this in the headway.toml of the device, in place of its [answer].
[answer]
limit = {limit!r}
stages = ["remote", "people"]

[answer.remote]
url = {json.dumps(remote.url)}  # the address of {split.second_location}
protocol = "{remote.protocol}"
model = {json.dumps(remote.model)}  # the project that releases {split.second_variant_name}
deadline_s = {remote.deadline_s!r}
cost_per_call = {remote.cost_per_call!r}  # {plan.prices.currency}
"""


def _caveats(measured: Sequence[ServiceTimes]) -> Iterator[str]:
    """Yield what is wrong with measurements: assumed for a location, or taken while other processes used the cores."""
    assumed, busy = dict[str, list[str]](), dict[str, str]()
    for times in sorted(measured, key=lambda times: times.location):
        if times.assumed_from and times.location not in assumed.setdefault(times.assumed_from, []):
            assumed[times.assumed_from].append(times.location)
        if times.busy:
            busy[times.assumed_from or times.location] = times.busy
    for measured_at, locations in assumed.items():
        names = " and ".join(part for part in (", ".join(locations[:-1]), locations[-1]) if part)
        yield f"Nothing was measured at {names}: assumed as fast as {measured_at}."
    for location, what in busy.items():
        yield f"{location} was measured on a busy machine: {what}."


def _subjects(inputs: PlanInputs) -> Iterator[PlanSubject]:
    """Yield the inputs that a plan depends on."""
    yield from ("demand", "service_times", "p99_ms")
    if inputs.prices.instance:
        yield "instance"
    if inputs.prices.hardware:
        yield "hardware"
    if any(location.network for location in locations_of(inputs.prices)):
        yield "network"


def _smallest_change(inputs: PlanInputs, now: str, simulations: Simulations, subject: PlanSubject) -> PlanChange:
    """Return the change of an input nearest to none with which another location than `now` is the best."""
    found = [change for up in (True, False) if (change := _first_change(inputs, now, simulations, subject, up=up))]
    tried = PlanChange(subject=subject, low=1 / _FACTORS[-1], high=_FACTORS[-1])
    if not found:
        return tried
    factor, other = min(found, key=lambda one: abs(math.log(one[0])))
    if other is None:
        return replaced(tried, factor=factor)
    return replaced(tried, factor=factor, option=other.name, variant_name=other.variant_name)


def _first_change(
    inputs: PlanInputs, now: str, simulations: Simulations, subject: PlanSubject, *, up: bool
) -> tuple[float, PlanOption | None] | None:
    """Return the smallest factor in one direction with which another location is the best, and that option, if any."""

    def best_with(factor: float) -> PlanOption | None:
        return OptionSearch(_changed(inputs, subject, factor), simulations).best()

    def is_other(option: PlanOption | None) -> bool:
        return (option.name if option else "") != now

    unchanged = 1.0
    for size in _FACTORS:
        factor = size if up else 1 / size
        other = best_with(factor)
        if is_other(other):
            break
        unchanged = factor
    else:
        return None
    for _ in range(_STEPS):
        middle = math.sqrt(unchanged * factor)
        option = best_with(middle)
        if is_other(option):
            factor, other = middle, option
        else:
            unchanged = middle
    return factor, other


def _changed(inputs: PlanInputs, subject: PlanSubject, factor: float) -> PlanInputs:
    """Return the inputs with one of them `factor` times as large."""
    prices = inputs.prices
    if subject == "demand":
        return replace(inputs, demand=replaced(inputs.demand, per_s=inputs.demand.per_s * factor))
    if subject == "p99_ms":
        return replace(inputs, p99_ms=inputs.p99_ms * factor)
    if subject == "instance":
        rented = {name: replaced(one, per_hour=one.per_hour * factor) for name, one in prices.instance.items()}
        return replace(inputs, prices=replaced(prices, instance=rented))
    if subject == "hardware":
        bought = {name: replaced(one, price=one.price * factor) for name, one in prices.hardware.items()}
        return replace(inputs, prices=replaced(prices, hardware=bought))
    if subject == "network":
        networks = [replaced(one, times_us=_scaled(one.times_us, factor)) for one in inputs.networks]
        assumed = {
            name: replaced(one, p50_ms=one.p50_ms * factor, p99_ms=one.p99_ms * factor)
            for name, one in prices.network.items()
        }
        return replace(inputs, networks=networks, prices=replaced(prices, network=assumed))
    times = [
        replaced(
            one,
            times_us=_scaled(one.times_us, factor),
            batch_us=tuple((size, mean * factor) for size, mean in one.batch_us),
        )
        for one in inputs.service_times
    ]
    return replace(inputs, service_times=times)


def _scaled(times: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(time * factor for time in times)
