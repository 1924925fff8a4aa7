"""Search for the cheapest deployment: variants x locations x replicas, and splits between a device and an instance.

An option is feasible if its p99 in the busiest hour (the upper end of the interval), its availability and the quality
rules keep their limits. What was not measured is not feasible.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, cast

import numpy as np
from msgspec.structs import replace as replaced

from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.core.plan import (
    DAYS_A_MONTH,
    HOURS_A_MONTH,
    AssumedNetwork,
    Demand,
    Hardware,
    NetworkTimes,
    PlanOption,
    PlanProblem,
    Prices,
    ServiceTimes,
)
from headway.core.student import student_quantile
from headway.deployment.plan.queueing import (
    REPLICATES,
    REQUESTS,
    ResponseTimes,
    ServiceModel,
    over_replicates,
    predict_response,
)

_MAX_LOAD = 0.97  # a queue near its largest rate has no stable percentile in a simulation
_MIN_DAYS = 5
_NORMAL_P99 = 2.3263478740408408
_ASSUMED = 4_000
_IDLE = 0.001  # the load of a queue in which no request waits for another
_DEVICE_SEED = 2  # so that the draws for a device do not depend on those for the second location
_NOT_KEPT = np.empty((0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanVariant:
    """A variant that may be deployed. `problem` says which quality rule it does not keep.

    `answered_share` is the share of requests that it may answer by its certificate; None without one.
    """

    digest: str
    name: str
    problem: str = ""
    answered_share: Measurement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """Everything that a plan is computed from; of several measurements of one location the last counts.

    Of options that cost the same, one of the first variant is chosen.
    """

    variants: Sequence[PlanVariant]
    demand: Demand
    prices: Prices
    service_times: Sequence[ServiceTimes]
    networks: Sequence[NetworkTimes] = ()
    p99_ms: float
    availability: float
    replicates: int = REPLICATES
    requests: int = REQUESTS


class _Location(NamedTuple):
    """A location of the price file, whether it is rented or bought."""

    name: str
    workers: int
    availability: float
    network: str
    max_count: int
    per_site: bool
    month: float
    per_gb: float


class _Trial(NamedTuple):
    """An option to try: a variant at a location, and in a split the variant and the location that answer the rest."""

    variant: PlanVariant
    location: _Location
    second: PlanVariant | None = None
    other: _Location | None = None


_Part = tuple[_Location, int, Measurement | None]
"""A location, the number of its replicas (of each site), and the certified share of requests that it never gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sized:
    """How many of a location are needed, the simulation with so many, and how many make it available enough."""

    needed: int
    count: int
    response: ResponseTimes
    availability: float


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why an option is not feasible."""

    problem: PlanProblem
    message: str
    hint: str = ""
    response: ResponseTimes | None = None


def best_option(options: Sequence[PlanOption], *, preferred: str = "") -> int | None:
    """Return the index of the cheapest feasible option; of equal ones, that of the variant `preferred`, then by p99."""
    costs = [
        (
            option.cost_month.value,
            option.variant != preferred,
            option.p99_ms.value if option.p99_ms else math.inf,
            index,
        )
        for index, option in enumerate(options)
        if option.is_feasible and option.cost_month
    ]
    return min(costs)[-1] if costs else None


Simulations = dict[tuple[object, ...], ResponseTimes]


class OptionSearch:
    """One search; simulations are kept, because a change of prices needs no other ones."""

    def __init__(self, inputs: PlanInputs, simulations: Simulations) -> None:
        self._inputs, self._demand, self._preferred = inputs, inputs.demand, inputs.variants[0].digest
        self._simulations, self._responses = simulations, dict[tuple[object, ...], Floats]()
        self._times = {(times.variant, times.location): times for times in inputs.service_times}
        self._networks = {network.name: network for network in inputs.networks}
        self._locations = list(locations_of(inputs.prices))

    def options(self) -> list[PlanOption]:
        """Return every option: each variant at each location, and each split."""
        return [self._option(trial) for trial in self._trials()]

    def best(self) -> PlanOption | None:
        """Return the best option alone. Those that cost more even without a queue are not simulated."""
        trials, found = list(self._trials()), list[PlanOption]()
        for cost, index in sorted((self._least_cost(trial), index) for index, trial in enumerate(trials)):
            best = best_option(found, preferred=self._preferred)
            known = math.inf if best is None else cast("Measurement", found[best].cost_month).value
            if cost > known or math.isinf(cost):
                break
            found.append(self._option(trials[index]))
        best = best_option(found, preferred=self._preferred)
        return None if best is None else found[best]

    def _trials(self) -> Iterator[_Trial]:
        for variant in self._inputs.variants:
            for location in self._locations:
                yield _Trial(variant, location)
        certified = [variant for variant in self._inputs.variants if variant.answered_share]
        devices = [location for location in self._locations if location.per_site]
        others = [location for location in self._locations if not location.per_site]
        for first, device, second, other in product(certified, devices, self._inputs.variants, others):
            yield _Trial(first, device, second, other)

    def _option(self, trial: _Trial) -> PlanOption:
        variant, location, second, other = trial
        if second is None or other is None or variant.answered_share is None:
            return self._at_one_location(variant, location)
        return self._split(variant, second, variant.answered_share, location, other)

    def _least_cost(self, trial: _Trial) -> float:
        """Return what an option costs with the replicas that its load alone needs; infinity if it is not feasible."""
        parts: list[_Part] = []
        away = trial.variant.answered_share if trial.second else None
        tried = ((trial.variant, trial.location, None), (trial.second, trial.other, away))
        for variant, location, share in tried:
            if variant is None or location is None:
                continue
            model = self._model(variant, location)
            is_judged = share is not None or trial.second is None  # a device answers by its certificate
            if isinstance(model, _Failed) or (variant.problem and is_judged):
                return math.inf
            rate = self._rate(location) * (1 - share.low if share else 1)
            needed = _least_count(model, location, rate)
            count = needed if trial.second else self._total(needed, location)[0]
            if not count:
                return math.inf
            parts.append((location, count, share))
        return self._month(parts, sign=0)[0]

    def _at_one_location(self, variant: PlanVariant, location: _Location) -> PlanOption:
        option = PlanOption(variant=variant.digest, variant_name=variant.name, location=location.name)
        if variant.problem:
            return replaced(option, problem="quality", message=variant.problem)
        sized = self._sized(variant, location, self._rate(location))
        if isinstance(sized, _Failed):
            return _infeasible(option, sized)
        return self._with_cost(_with_response(option, sized), [(location, sized.count, None)])

    def _split(
        self, first: PlanVariant, second: PlanVariant, share: Measurement, device: _Location, other: _Location
    ) -> PlanOption:
        """Let a device answer the share of its certificate, and the other location the rest."""
        option = PlanOption(
            variant=first.digest,
            variant_name=first.name,
            location=device.name,
            answered_share=share.value,
            second_location=other.name,
            second_variant=second.digest,
            second_variant_name=second.name,
        )
        if second.problem:
            return replaced(option, problem="quality", message=f"{second.name}: {second.problem}")
        model = self._model(first, device)
        if isinstance(model, _Failed):
            return _infeasible(option, model)
        on_device = self._sized(first, device, self._rate(device))
        if isinstance(on_device, _Failed):
            return _infeasible(option, on_device)
        tried = []
        for count in range(on_device.count, min(on_device.count + 1, device.max_count) + 1):
            available = _at_least(on_device.needed, count, device.availability) * self._answered_by(device)
            workers = on_device.needed * device.workers
            before = _Before(model, self._rate(device), workers, share.low, available)
            forwarded = self._sized(second, other, self._rate(other) * max(1 - share.low, 1e-6), before=before)
            if isinstance(forwarded, _Failed):
                tried.append(_infeasible(option, forwarded))
                continue
            sized = replaced(_with_response(option, forwarded), replicas=count, replicas_needed=on_device.needed)
            parts = [(device, count, None), (other, forwarded.count, share)]
            tried.append(self._with_cost(replaced(sized, second_replicas=forwarded.count), parts))
        return tried[best_option(tried) or 0]

    def _rate(self, location: _Location) -> float:
        """Return the rate of the busiest hour at one location; each site has its share."""
        return self._demand.peak_per_s / (self._demand.sites if location.per_site else 1)

    def _sized(
        self, variant: PlanVariant, location: _Location, rate: float, *, before: _Before | None = None
    ) -> _Sized | _Failed:
        """Find the smallest number of replicas that keeps the p99, and how many keep the availability."""
        model = self._model(variant, location)
        if isinstance(model, _Failed):
            return model
        needed = self._needed(model, location, rate, before)
        if isinstance(needed, _Failed):
            return needed
        count, response = needed
        total, available = self._total(count, location, before)
        if total:
            return _Sized(needed=count, count=total, response=response, availability=available)
        return _Failed(
            "too_unavailable",
            f"at least {count} of {location.max_count} work {available:.5g} of the time, "
            f"the objective is {self._inputs.availability:g}",
            hint="raise max_count in the price file",
            response=response,
        )

    def _total(self, needed: int, location: _Location, before: _Before | None = None) -> tuple[int, float]:
        """Return how many replicas keep the availability, 0 if not even the largest number, and the availability."""
        online, available = self._answered_by(location), 0.0
        for total in range(max(needed, 1), location.max_count + 1):
            available = _at_least(needed, total, location.availability) * online
            if before:
                available = before.availability * (before.share + (1 - before.share) * available)
            if available >= self._inputs.availability:
                return total, available
        return 0, available

    def _needed(
        self, model: ServiceModel, location: _Location, rate: float, before: _Before | None
    ) -> tuple[int, ResponseTimes] | _Failed:
        """Return the smallest number of replicas whose p99 keeps its limit, and the simulation with so many."""
        failing = _least_count(model, location, rate) - 1
        if failing < 0:
            capacity = location.max_count * model.max_rate_per_s(location.workers)
            return _Failed(
                "overloaded",
                f"{location.max_count} of {location.name} answer {capacity:,.4g} requests/s, "
                f"the busiest hour has {rate:,.4g}",
                hint="raise max_count in the price file, or take a faster variant",
            )
        limit, count = self._inputs.p99_ms, failing + 1
        idle = self._simulated(model, _IDLE * model.max_rate_per_s(1), 1, before)
        if idle.p99_ms.high > limit:
            what = f"{_interval(idle.p99_ms)} without a queue"
            return _Failed("too_slow", f"p99 is {what}, the limit is {limit:g} ms; {_slowest(model)}", response=idle)
        while (found := self._simulated(model, rate, count * location.workers, before)).p99_ms.high > limit:
            if count == location.max_count:
                what = f"{_interval(found.p99_ms)} with {count} of {location.name}"
                return _Failed("too_slow", f"p99 is {what}, the limit is {limit:g} ms", response=found)
            failing, count = count, min(max(count + 1, count * 3 // 2), location.max_count)
        while count - failing > 1:
            middle = (count + failing) // 2
            tried = self._simulated(model, rate, middle * location.workers, before)
            if tried.p99_ms.high <= limit:
                count, found = middle, tried
            else:
                failing = middle
        return count, found

    def _model(self, variant: PlanVariant, location: _Location) -> ServiceModel | _Failed:
        """Return the measured times of a variant at a location and of the network to it."""
        measured = self._times.get((variant.digest, location.name))
        if measured is None:
            return _Failed(
                "not_measured",
                f"{variant.name} was not measured in {location.name}",
                hint=f"headway measure --location {location.name} on it, or with --export FILE, and --load FILE here",
            )
        network = self._network(location)
        return network if isinstance(network, _Failed) else service_model(measured, network)

    def _simulated(self, model: ServiceModel, rate: float, workers: int, before: _Before | None) -> ResponseTimes:
        """Return a simulation, which is kept without its single responses."""
        key = (*_identity(model), rate, workers, *(before.identity if before else ()))
        if key not in self._simulations:
            found = self._predict(model, rate, workers)
            if before:
                found = _after(self._on_device(before), before.share, found, self._inputs.requests)
            self._simulations[key] = found._replace(responses_s=_NOT_KEPT)
        return self._simulations[key]

    def _on_device(self, before: _Before) -> Floats:
        """Return the single responses of the device of a split, s (B, N)."""
        if before.identity not in self._responses:
            found = self._predict(before.model, before.rate, before.workers, seed=_DEVICE_SEED)
            self._responses[before.identity] = found.responses_s
        return self._responses[before.identity]

    def _predict(self, model: ServiceModel, rate: float, workers: int, *, seed: int = 0) -> ResponseTimes:
        return predict_response(
            model,
            self._demand,
            rate_per_s=rate,
            workers=workers,
            replicates=self._inputs.replicates,
            requests=self._inputs.requests,
            seed=seed,
        )

    def _network(self, location: _Location) -> Floats | _Failed:
        """Return round trips between callers and a location, s."""
        if not location.network:
            return np.zeros(1)
        if location.network in self._networks:
            return np.asarray(self._networks[location.network].times_us) / 1e6
        if location.network in self._inputs.prices.network:
            return _assumed_round_trips(self._inputs.prices.network[location.network])
        return _Failed(
            "network_not_measured",
            f"the network {location.network!r} to {location.name} was not measured",
            hint=f"headway measure --network URL --name {location.network}; or assume it in the price file",
        )

    def _answered_by(self, location: _Location) -> float:
        """Return the share of requests that the measured network to a location carried."""
        network = self._networks.get(location.network)
        return 1.0 if network is None else len(network.times_us) / (len(network.times_us) + network.n_failed)

    def _with_cost(self, option: PlanOption, parts: Sequence[_Part]) -> PlanOption:
        """Add the cost of a month with its interval, by the requests of a month and the share of a certificate."""
        (value, requests), (low, few), (high, many) = (self._month(parts, sign=sign) for sign in (0, -1, 1))
        days = len(self._demand.daily)
        how = f"requests of a month by {days} days" if _volume_spread(self._demand) else "at the given demand"
        unit = self._inputs.prices.currency
        per = 1e6 / requests
        month = Measurement(name="plan.cost_month", value=value, low=low, high=high, method=how, n_rows=days, unit=unit)
        million = Measurement(
            name="plan.cost_per_million",
            value=value * per,
            low=min(value * per, high / many * 1e6),
            high=max(value * per, low / few * 1e6 if few else math.inf),
            method=how,
            n_rows=days,
            unit=unit,
        )
        return replaced(option, cost_month=month, cost_per_million=million)

    def _month(self, parts: Sequence[_Part], *, sign: int) -> tuple[float, float]:
        """Return the cost of a month and its requests: as expected (0), or at the lower (-1) or upper end (1)."""
        demand, cost = self._demand, 0.0
        requests = demand.per_month * max(1 + sign * _volume_spread(demand), 0.0)
        for location, count, share in parts:
            away = 0.0 if share is None else (share.value, share.low, share.high)[sign]
            gigabytes = requests * (1 - away) * (demand.request_bytes + demand.response_bytes) / 1e9
            cost += location.month * count * (demand.sites if location.per_site else 1) + gigabytes * location.per_gb
        return cost, requests


class _Before(NamedTuple):
    """The device of a split: its measured times, its load, the share of requests that end there, its availability."""

    model: ServiceModel
    rate: float
    workers: int
    share: float
    availability: float

    @property
    def identity(self) -> tuple[object, ...]:
        """What its responses, and the share of them, depend on."""
        return (*_identity(self.model), *self[1:4])


def _identity(model: ServiceModel) -> tuple[object, ...]:
    """Return what simulations of a model depend on, for a dictionary."""
    arrays = (model.times_s, model.network_s, model.pauses_s)
    batches = tuple(sorted(model.batch_share.items()))
    return (*(array.tobytes() for array in arrays), model.delay_s, model.pauses_per_s, batches)


def _after(first: Floats, share: float, found: ResponseTimes, requests: int) -> ResponseTimes:
    """Return the response times of a split: the share ends on the device, the others go on to the second location."""
    ends_there = np.random.default_rng(1).random(first.shape) < share
    responses = np.where(ends_there, first, first + found.responses_s)
    p50, p99 = np.quantile(responses, [0.5, 0.99], axis=1) * 1e3
    return found._replace(
        p50_ms=over_replicates("plan.p50_ms", p50, requests=requests, unit="ms"),
        p99_ms=over_replicates("plan.p99_ms", p99, requests=requests, unit="ms"),
    )


def _infeasible(option: PlanOption, failed: _Failed) -> PlanOption:
    option = replaced(option, problem=failed.problem, message=failed.message, hint=failed.hint)
    if failed.response is None:
        return option
    return replaced(option, p50_ms=failed.response.p50_ms, p99_ms=failed.response.p99_ms)


def _with_response(option: PlanOption, sized: _Sized) -> PlanOption:
    return replaced(
        option,
        replicas=sized.count,
        replicas_needed=sized.needed,
        p50_ms=sized.response.p50_ms,
        p99_ms=sized.response.p99_ms,
        utilisation=sized.response.utilisation,
        availability=sized.availability,
    )


def locations_of(prices: Prices) -> Iterator[_Location]:
    for name, rented in prices.instance.items():
        yield _Location(
            name,
            rented.workers,
            rented.availability,
            rented.network,
            rented.max_count,
            per_site=False,
            month=rented.per_hour * HOURS_A_MONTH,
            per_gb=prices.traffic_per_gb,
        )
    for name, bought in prices.hardware.items():
        yield _Location(
            name,
            bought.workers,
            bought.availability,
            bought.network,
            bought.max_count,
            per_site=bought.per_site,
            month=hardware_month(bought, prices),
            per_gb=0.0,
        )


def hardware_month(bought: Hardware, prices: Prices) -> float:
    """Return the cost of one device or node for a month: its share of the price, upkeep and energy."""
    energy = bought.watts / 1000 * HOURS_A_MONTH * prices.energy_per_kwh
    return bought.price / (bought.life_years * 12) + bought.upkeep_per_month + energy


def service_model(times: ServiceTimes, network_s: Floats) -> ServiceModel:
    """Return the times of a location for a simulation, with round trips of the network to it, s."""
    alone = float(np.mean(times.times_us))
    return ServiceModel(
        times_s=np.asarray(times.times_us) / 1e6,
        delay_s=times.delay_us / 1e6,
        batch_share={size: min(mean / alone, 1.0) for size, mean in times.batch_us},
        pauses_s=np.asarray(times.pauses_us) / 1e6,
        pauses_per_s=times.pauses_per_s,
        network_s=network_s,
    )


def _least_count(model: ServiceModel, location: _Location, rate: float) -> int:
    """Return the number of replicas whose queues do not grow without end; 0 if the largest number is too few."""
    one = model.max_rate_per_s(location.workers)
    count = max(math.ceil(rate / (one * _MAX_LOAD)), 1) if one else location.max_count + 1
    return count if count <= location.max_count else 0


def _interval(p99: Measurement) -> str:
    return f"{p99.value:.3g} ms [{p99.low:.3g}, {p99.high:.3g}]"


def _slowest(model: ServiceModel) -> str:
    """Return the p99 of the parts of a response without any queue, for a message."""
    service, network = np.quantile(model.times_s, 0.99) * 1e3, np.quantile(model.network_s, 0.99) * 1e3
    server = (
        f"the server alone has a p99 of {service + model.delay_s * 1e3:.3g} ms, the network one of {network:.3g} ms"
    )
    if not model.pauses_s.size:
        return server
    longest = np.quantile(model.pauses_s, 0.99) * 1e3
    return f"{server}, and the machine stands still {model.pauses_per_s:.3g} times a second, p99 {longest:.3g} ms"


def _assumed_round_trips(network: AssumedNetwork) -> Floats:
    """Return quantiles of a lognormal distribution, s, in random order."""
    spread = math.log(network.p99_ms / network.p50_ms) / _NORMAL_P99
    normal = np.random.default_rng(0).standard_normal(_ASSUMED)
    return np.asarray(network.p50_ms / 1e3 * np.exp(spread * normal))


def _at_least(needed: int, count: int, availability: float) -> float:
    """Return the share of the time in which at least so many of `count` work, each on its own."""
    return math.fsum(
        math.comb(count, up) * availability**up * (1 - availability) ** (count - up) for up in range(needed, count + 1)
    )


def _volume_spread(demand: Demand) -> float:
    """Return the half width of a 95 % prediction interval of a month's requests, as a share of them."""
    days = len(demand.daily)
    if days < _MIN_DAYS:
        return 0.0
    per_day = np.asarray(demand.daily)
    spread = float(per_day.std(ddof=1)) / max(float(per_day.mean()), 1e-12)
    return student_quantile(0.975, days - 1) * spread * math.sqrt(1 / days + 1 / DAYS_A_MONTH)
