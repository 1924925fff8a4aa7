"""Plan of a deployment: where a model should run and what that costs, with the measurements that it is computed from.

A location is where a variant can run: a kind of instance in a cloud, a device or a node that is bought, or both
(`split`: the device answers the requests that its release may answer, and forwards the others).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core.evidence import Machine, Measurement
from headway.core.record import Record, StoredRecord, about

HOURS, DAYS_A_MONTH = 24, 365.25 / 12
HOURS_A_MONTH, SECONDS_A_DAY = HOURS * DAYS_A_MONTH, 86_400.0
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
_Network = Annotated[str, about("Name of the network between callers and the location; empty: none.")]
_Availability = Annotated[float, Meta(description="Share of the time in which one of them works.", gt=0, lt=1)]
_Workers = Annotated[int, Meta(description="Worker processes of a server on one of them.", ge=1, le=1024)]


class ServiceTimes(StoredRecord, frozen=True, kw_only=True, omit_defaults=True):
    """Times that a worker needs for one request of a variant at a location: a sample, us, in the order of measurement.

    `delay_us` is the rest of the time until a caller on the same machine has the answer, which occupies no worker.
    `batch_us` has pairs of a number of requests that the server answers as one batch and their mean time per request;
    empty if it answers one at a time. `pauses_us` are the times for which the machine stood still, of which there were
    `pauses_per_s`. `busy` says what showed that other processes used the cores; empty if nothing did. `assumed_from` is
    the location where they were measured, if this one is only assumed to be as fast.
    """

    version: ClassVar[int] = 1

    location: str
    variant: str
    variant_name: str
    machine: Machine
    times_us: Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=100_000)]
    delay_us: NotNegative = 0.0
    batch_us: tuple[tuple[Annotated[int, Meta(ge=1)], Positive], ...] = ()
    pauses_us: tuple[Positive, ...] = ()
    pauses_per_s: NotNegative = 0.0
    busy: str = ""
    assumed_from: str = ""
    at: str = ""


class NetworkTimes(StoredRecord, frozen=True, kw_only=True, omit_defaults=True):
    """Round trips over a network without the time of a server: a sample, us, in the order of measurement.

    `n_failed` requests had no answer, or that of an error. `url` is where they were sent.
    """

    version: ClassVar[int] = 1

    name: str
    times_us: Annotated[tuple[NotNegative, ...], Meta(min_length=1, max_length=100_000)]
    n_failed: int = 0
    url: str = ""
    at: str = ""


class Demand(Record, frozen=True, kw_only=True, omit_defaults=True):
    """When requests come.

    `per_s` is their mean rate, and `hours` its factor in each hour of a day (24 numbers with mean 1; empty: constant).
    All requests of a second come in its first part, `burst_share`. `gaps_us` are times between requests of a log in
    its busiest hour, which replace random arrivals. `daily` are the requests of each logged day. Requests
    come from `sites`: a device of each answers its own.
    """

    per_s: Positive
    hours: tuple[NotNegative, ...] = ()
    burst_share: Share = 1.0
    gaps_us: tuple[NotNegative, ...] = ()
    daily: tuple[NotNegative, ...] = ()
    request_bytes: NotNegative = 1000.0
    response_bytes: NotNegative = 500.0
    sites: Annotated[int, Meta(ge=1)] = 1
    source: Literal["given", "log"] = "given"

    @property
    def peak_per_s(self) -> float:
        """Mean rate of the busiest hour, requests/s."""
        return self.per_s * max(self.hours, default=1.0)

    @property
    def per_month(self) -> float:
        """Requests of a month."""
        return self.per_s * SECONDS_A_DAY * DAYS_A_MONTH


class Instance(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A kind of instance that is rented by the hour."""

    per_hour: Annotated[float, Meta(description="Price of an hour.", ge=0)]
    workers: _Workers = 1
    availability: _Availability = 0.995
    network: _Network = ""
    max_count: Annotated[int, Meta(description="Largest number of them.", ge=1, le=1000)] = 32


class Hardware(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A device or a node that is bought, and used until the end of its life."""

    price: Annotated[float, Meta(description="Price of one of them.", ge=0)]
    life_years: Annotated[float, Meta(description="Years after which it is replaced.", gt=0)]
    watts: Annotated[float, Meta(description="Mean power that it draws, W.", ge=0)] = 0.0
    upkeep_per_month: Annotated[float, Meta(description="Cost of its upkeep for a month.", ge=0)] = 0.0
    per_site: Annotated[bool, about("Whether each site has its own, which answers the requests of that site.")] = False
    workers: _Workers = 1
    availability: _Availability = 0.99
    network: _Network = ""
    max_count: Annotated[int, Meta(description="Largest number of them, for a site if `per_site`.", ge=1, le=1000)] = 8


class AssumedNetwork(Record, frozen=True, kw_only=True):
    """Round trips that were not measured: lognormal, with this median and 99th percentile."""

    p50_ms: Annotated[float, Meta(description="Median of a round trip, ms.", gt=0)]
    p99_ms: Annotated[float, Meta(description="99th percentile of a round trip, ms.", gt=0)]


class Prices(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A price file: what locations cost, and the networks to them that were not measured."""

    currency: Annotated[str, about("Currency of all prices.")] = "USD"
    source: Annotated[str, about("Where the prices are from, and of which day; shown with every plan.")]
    energy_per_kwh: Annotated[float, Meta(description="Price of a kWh, for hardware.", ge=0)] = 0.0
    traffic_per_gb: Annotated[float, Meta(description="Price of a GB between callers and an instance.", ge=0)] = 0.0
    instance: dict[str, Instance] = {}
    hardware: dict[str, Hardware] = {}
    network: dict[str, AssumedNetwork] = {}


PlanProblem = Literal[
    "quality", "not_measured", "network_not_measured", "overloaded", "too_slow", "too_unavailable", "not_certified"
]
"""Why an option is not feasible, or could not be judged."""
NOT_JUDGED: tuple[PlanProblem, ...] = ("not_measured", "network_not_measured")


class PlanOption(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A variant at a location, with as many replicas as it needs; or with `problem`, which `message` explains.

    Of a split, `location` answers the share `answered_share` of requests, and `second_location` the others with
    `second_variant`. `p50_ms` and `p99_ms` are response times in the busiest hour, and `utilisation` is that of a
    worker then. `cost_month` is that of both locations. `availability` is computed from that of one
    replica: with fewer than `replicas_needed` an option does not keep its objective.
    """

    variant: str
    variant_name: str
    location: str
    answered_share: float = 1.0
    second_location: str = ""
    second_variant: str = ""
    second_variant_name: str = ""
    replicas: int = 0
    replicas_needed: int = 0
    second_replicas: int = 0
    p50_ms: Measurement | None = None
    p99_ms: Measurement | None = None
    utilisation: Measurement | None = None
    availability: float | None = None
    cost_month: Measurement | None = None
    cost_per_million: Measurement | None = None
    problem: PlanProblem | Literal[""] = ""
    message: str = ""
    hint: str = ""

    @property
    def name(self) -> str:
        """Name for tables: the location, or both locations of a split."""
        return f"{self.location} → {self.second_location}" if self.second_location else self.location

    @property
    def is_feasible(self) -> bool:
        """True if it meets every rule."""
        return not self.problem


PlanSubject = Literal["demand", "service_times", "network", "hardware", "instance", "p99_ms"]
"""An input of a plan that a change is searched for: prices of hardware and of instances, and times, as a whole."""


class PlanChange(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The smallest change of an input that makes another option the best: `factor` times its value.

    None of the tried factors changes it if `factor` is None; `low` and `high` are the smallest and the largest tried.
    `option` is the name of the location that is best then; empty if none is feasible.
    """

    subject: PlanSubject
    low: float
    high: float
    factor: float | None = None
    option: str = ""
    variant_name: str = ""


class DeploymentPlan(StoredRecord, frozen=True, kw_only=True):
    """The answer of `headway plan`: every option, the cheapest that meets the rules, and what would change it.

    `chosen` is the index of that option; None if no option is feasible. `break_even` are the requests of a month from
    which another location is cheapest, above (or below) those of `demand`, and `break_even_location` is that location.
    `measurements` are the digests of the service times and networks that it is computed from, and `caveats` what is
    wrong with them, in sentences.
    """

    version: ClassVar[int] = 1

    name: str
    demand: Demand
    prices: Prices
    p99_ms: float
    availability: float
    options: tuple[PlanOption, ...]
    chosen: int | None
    changes: tuple[PlanChange, ...] = ()
    break_even: float | None = None
    break_even_location: str = ""
    measurements: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    at: str = ""

    @property
    def best(self) -> PlanOption | None:
        """The chosen option."""
        return None if self.chosen is None else self.options[self.chosen]
