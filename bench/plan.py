"""Compare plans with measurements: predicted p99 against open loops of servers, costs, and regret over simulated years.

usage: python bench/plan.py [--json] [queue] [cost] [regret]
queue: servers of 1 to 4 workers in threads, each with a queue of its own or one for all, whose service times are drawn
from distributions of 50 us to 50 ms, under steady loads and bursts, with and without a network that delays both ways.
Service times are measured in a closed loop as `headway measure` does, and the p99 of an open loop is predicted from
them, then measured five times. M/M/c and M/G/1 formulas predict the same plans. cost: the cost of a month whose days
are drawn, against the interval from other days. regret: the location that a plan chooses from short measurements, in
200 years of demand, and its replicas or those that it turns out to need, against the best in hindsight.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from harness import Result, Row, run_parts, shown
from headway.core.evidence import Machine
from headway.core.plan import SECONDS_A_DAY, Demand, Hardware, Instance, Prices, ServiceTimes
from headway.deployment.plan.plan import plan_deployment
from headway.deployment.plan.queueing import ServiceModel, mg1_percentile, mmc_percentile, predict_response
from headway.deployment.plan.search import PlanInputs, PlanVariant
from headway.evaluation.load_generator import arrival_times

Floats = NDArray[np.float64]
RERUNS, REQUESTS, CLOSED = 5, 1_500, 400
MEANS_S, WORKERS, LOADS = (2e-4, 1e-3, 5e-3, 2e-2, 5e-2), (1, 2, 4), (0.4, 0.7)
MONTHS, YEARS, DAYS = 400, 200, 30
MACHINE = Machine(cpu="simulated", cores=1, system="", python="")
TINY = {"REQUESTS": 60, "CLOSED": 30, "MEANS_S": (1e-3,), "WORKERS": (2,), "LOADS": (0.4,), "MONTHS": 20, "YEARS": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A server and a load: `network_s` is the median delay of both ways together."""

    mean_s: float
    spread: float
    workers: int
    load: float
    shape: str
    network_s: float

    @property
    def rate_per_s(self) -> float:
        return self.load * self.workers / self.mean_s


def cases() -> list[Case]:
    """Return the plans that are predicted and measured."""
    return [
        Case(mean_s=mean, spread=0.2 + 0.6 * (index % 2), workers=workers, load=load, shape=shape,
             network_s=0.0 if (index + workers) % 2 else 0.01)
        for index, mean in enumerate(MEANS_S) for workers in WORKERS for load in LOADS
        for shape in (("steady", "bursts") if load == LOADS[0] and mean < 2e-3 else ("steady",))
    ]  # fmt: skip


class Workers:
    """Threads that answer in order of arrival, each with its own queue; a service is a wait until its end."""

    def __init__(self, case: Case, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._case = case
        self._queues = [queue.SimpleQueue[tuple[int, float, float] | None]() for _ in range(case.workers)]
        self.done: dict[int, float] = {}
        self._threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in self._queues]
        for thread in self._threads:
            thread.start()

    def submit(self, number: int) -> None:
        """Queue a request at a worker drawn at random."""
        case = self._case
        service = float(self._random.lognormal(-(case.spread**2) / 2, case.spread)) * case.mean_s
        network = float(self._random.lognormal(0, 0.3)) * case.network_s
        self._queues[int(self._random.integers(case.workers))].put((number, service, network))

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        for one in self._queues:
            one.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, waiting: queue.SimpleQueue[tuple[int, float, float] | None]) -> None:
        while (call := waiting.get()) is not None:
            number, service, network = call
            _wait_until(time.perf_counter() + service)
            self.done[number] = time.perf_counter() + network


def _wait_until(at: float) -> None:
    """Sleep until shortly before a time, then give way to other threads until it has come."""
    while (left := at - time.perf_counter()) > 0:
        time.sleep(max(left - 1e-4, 0.0))


@contextmanager
def started(case: Case, seed: int) -> Iterator[Workers]:
    """Start the workers of a case."""
    workers = Workers(case, seed)
    try:
        yield workers
    finally:
        workers.close()


def closed_loop(case: Case) -> Floats:
    """Return response times of one request after the other at one worker, s, without the network."""
    alone = Case(mean_s=case.mean_s, spread=case.spread, workers=1, load=0, shape="", network_s=0.0)
    found = []
    with started(alone, 1) as server:
        for number in range(CLOSED):
            began = time.perf_counter()
            server.submit(number)
            while number not in server.done:
                time.sleep(0)
            found.append(server.done[number] - began)
    return np.array(found)


def open_loop(case: Case, seed: int) -> float:
    """Return the p99 of an open loop, s, from when a request was due."""
    seconds = REQUESTS / case.rate_per_s
    due = arrival_times(case.shape, rate_per_s=case.rate_per_s, seconds=seconds, seed=seed)
    with started(case, seed + 100) as server:
        began = time.perf_counter()
        for number, at in enumerate(due):
            _wait_until(began + at)
            server.submit(number)
    return float(np.quantile([server.done[number] - began - at for number, at in enumerate(due)], 0.99))


def queue_part() -> Result:
    """Predict and measure the p99 of every case."""
    errors: dict[str, list[float]] = {"simulation": [], "M/M/c": [], "M/G/1": []}
    inside, spreads, covered = [], [], []
    for number, case in enumerate(cases()):
        times = closed_loop(case)
        random = np.random.default_rng(number)
        network = random.lognormal(0, 0.3, 2_000) * case.network_s
        found = predict_response(
            ServiceModel(times_s=times, network_s=network),
            Demand(per_s=1.0, burst_share=0.1 if case.shape == "bursts" else 1.0),
            rate_per_s=case.rate_per_s, workers=case.workers, requests=max(REQUESTS, 200),
        ).p99_ms  # fmt: skip
        runs = [open_loop(case, seed) * 1e3 for seed in range(RERUNS)]
        middle = median(runs)
        inside.append(min(runs) <= found.value <= max(runs))
        covered.append(found.low <= middle <= found.high)
        spreads.append((max(runs) - min(runs)) / 2 / middle)
        way = float(np.quantile(network, 0.5)) * 1e3
        mean_s, each = float(times.mean()), case.rate_per_s / case.workers
        errors["simulation"].append(abs(found.value / middle - 1))
        if each * mean_s < 1:
            by_mmc = mmc_percentile(0.99, rate_per_s=case.rate_per_s, mean_s=mean_s, workers=case.workers) * 1e3 + way
            by_mg1 = mg1_percentile(0.99, rate_per_s=each, times_s=times) * 1e3 + way
            errors["M/M/c"].append(abs(by_mmc / middle - 1))
            errors["M/G/1"].append(abs(by_mg1 / middle - 1))
    limit = max(0.1, median(spreads))
    error, share = median(errors["simulation"]), float(np.mean(inside))
    what = f"{len(inside)} plans, the median of {RERUNS} runs of {REQUESTS} requests"
    rows = [
        Row(name="plan.p99_covered", measured=share, unit="", target=">= 0.8", ok=share >= 0.8, against=what),
        shown("plan.p99_interval", float(np.mean(covered)), "", "share of intervals with the median of the runs"),
        Row(name="plan.p99_error", measured=error, unit="", target=f"<= {limit:.2f}", ok=error <= limit, against=what),
        *(shown(f"plan.p99_error.{name}", median(of), "", f"{len(of)} stable plans")
          for name, of in errors.items() if name != "simulation" and of),
    ]  # fmt: skip
    return rows, []


PRICES = Prices(
    source="invented",
    traffic_per_gb=0.09,
    instance={
        "small": Instance(per_hour=0.04, availability=0.9995),
        "large": Instance(per_hour=0.13, workers=4, availability=0.9995),
    },
    hardware={"node": Hardware(price=2_400, life_years=4, workers=4, availability=0.9995, max_count=16)},
)
RENTED = replace(PRICES, hardware={})
MEAN_MS = {"small": 6.0, "large": 5.0, "node": 7.0}


def planned(demand: Demand, sample: int, random: np.random.Generator, prices: Prices = PRICES) -> PlanInputs:
    """Return inputs with service times of a sample of this size at each location."""
    times = [
        ServiceTimes(
            location=location, variant="sha256:1", variant_name="model", machine=MACHINE,
            times_us=tuple((random.lognormal(0, 0.4, sample) * mean * 1e3).tolist()),
        )
        for location, mean in MEAN_MS.items()
    ]  # fmt: skip
    variants = [PlanVariant(digest="sha256:1", name="model")]
    return PlanInputs(
        variants=variants, demand=demand, prices=prices, service_times=times, p99_ms=60.0, availability=0.999,
        replicates=12, requests=2_000,
    )  # fmt: skip


def cost_part() -> Result:
    """Count months whose cost lies in the interval that earlier days gave."""
    random, held = np.random.default_rng(0), []
    for _ in range(MONTHS):
        level = float(np.exp(random.uniform(np.log(1e5), np.log(3e6))))
        days = random.lognormal(0, 0.3, 2 * DAYS) * level
        demand = Demand(per_s=days[:DAYS].mean() / SECONDS_A_DAY, daily=tuple(days[:DAYS].tolist()),
                        request_bytes=50_000.0)  # fmt: skip
        best = plan_deployment(planned(demand, 300, random, RENTED), with_changes=False).best
        if best is None or best.cost_month is None:
            continue
        traffic = days[DAYS:].mean() * 365.25 / 12 * (50_000 + 500) / 1e9 * PRICES.traffic_per_gb
        actual = PRICES.instance[best.location].per_hour * 730.5 * best.replicas + traffic
        held.append(best.cost_month.low <= actual <= best.cost_month.high)
    share = float(np.mean(held)) if held else 0.0
    what = f"{len(held)} months of random days"
    return [
        Row(name="plan.cost_covered", measured=share, unit="", target=">= 0.93", ok=share >= 0.93, against=what)
    ], []


def regret_part() -> Result:
    """Compare the cost of the chosen plans with that of the best ones, known after the year."""
    random, regrets, missed = np.random.default_rng(1), [], 0
    for _ in range(YEARS):
        rate = float(np.exp(random.uniform(np.log(5), np.log(800))))
        node = replace(PRICES.hardware["node"], price=float(random.uniform(1_000, 9_000)))
        prices = replace(PRICES, hardware={"node": node})
        actual = Demand(per_s=rate * float(random.lognormal(0, 0.1)))
        chosen = plan_deployment(planned(Demand(per_s=rate), 300, random, prices), with_changes=False).best
        options = plan_deployment(planned(actual, 20_000, random, prices), with_changes=False).options
        costs = {option.location: option.cost_month.value for option in options if option.cost_month}
        if chosen is None or chosen.cost_month is None or chosen.location not in costs:
            missed += 1
            continue
        paid = max(chosen.cost_month.value, costs[chosen.location])  # replicas too many, or those added later
        regrets.append(paid / min(costs.values()) - 1)
    middle = median(regrets) if regrets else 1.0
    what = f"{len(regrets)} years, {missed} without a feasible plan; 95 % are below {_top(regrets):.3f}"
    return [Row(name="plan.regret", measured=middle, unit="", target="<= 0.05", ok=middle <= 0.05, against=what)], []


def _top(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.95)) if values else 1.0


if __name__ == "__main__":
    run_parts(__doc__, {"queue": queue_part, "cost": cost_part, "regret": regret_part})
