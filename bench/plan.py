"""Compare plans with measurements: predicted p99 against open loops of servers, costs, and regret over simulated years.

usage: python bench/plan.py [--json] [queue] [cost] [regret]
queue: running servers of headway, 1 to 4 with one worker each, whose engine takes random times of 20 us to 50 ms: on
the CPU (one server), or as a wait. Service times are measured as by `headway measure`, the p99 of an open loop is
predicted from them under steady loads and bursts, with and without a proxy that delays both ways, and then measured
five times. M/M/c and M/G/1 formulas predict the same plans. Takes 35 minutes; plans that other processes disturbed are
counted apart. cost: the cost of a month whose days are drawn, against the interval from other days. regret: the
location that a plan chooses from short measurements, in 200 years of demand, and its replicas or those that it turns
out to need, against the best in hindsight.
"""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, groupby
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
from msgspec.structs import replace

from harness import Result, Row, run_parts, shown
from headway.core.contracts import Trial
from headway.core.evidence import Machine, Measurement
from headway.core.plan import SECONDS_A_DAY, Demand, Hardware, Instance, Prices, ServiceTimes
from headway.deployment.plan.plan import plan_deployment
from headway.deployment.plan.queueing import mg1_percentile, mmc_percentile, predict_response
from headway.deployment.plan.search import PlanInputs, PlanVariant, service_model
from headway.evaluation.context import Comparison
from headway.evaluation.load_generator import BURST, LoadGenerator, arrival_times
from headway.evaluation.machine_load import LoadMeter
from headway.evaluation.service_times import measure_network, measure_service_times
from serving.models import Model, posted, project, rows_of, v2
from serving.processes import CORES, READY, SERVER_CORE, ours, started

RERUNS, MIN_PLANS, SPREAD = 5, 30, 0.5
SECONDS, LEAST_REQUESTS, MAX_SECONDS, MEASURE_S = 5.0, 400, 15.0, 12.0
ON_CPU_S, WAITS_S, REPLICAS, LOADS = (2e-5, 1e-4, 3e-4), (2e-3, 1e-2, 5e-2), (1, 2, 4), (0.3, 0.6, 0.8)
MAX_RATE = 4_000.0  # what the load generator sends without being late
CONNECTIONS, NETWORK, ONE_WAY_S = 256, 300, 0.005
MONTHS, YEARS, DAYS = 400, 200, 30
MACHINE = Machine(cpu="simulated", cores=1, system="", python="")
RANDOM = np.random.default_rng(0)
TINY = {
    "RERUNS": 2, "SECONDS": 0.3, "LEAST_REQUESTS": 30, "MAX_SECONDS": 0.5, "MEASURE_S": 3.0, "NETWORK": 20,
    "ON_CPU_S": (1e-4,), "WAITS_S": (2e-3,), "REPLICAS": (2,), "LOADS": (0.4,), "MONTHS": 20, "YEARS": 2,
}  # fmt: skip
ENGINE = """
import hashlib, time
import numpy as np

RANDOM = np.random.default_rng()


class Timed:
    formats, files = ("timed",), ()

    def __init__(self, content, settings):
        mean, spread, waits = content.split()
        self._mean, self._spread, self._waits = float(mean), float(spread), int(waits)

    @classmethod
    def import_model(cls, model):
        raise TypeError

    def predict(self, rows):
        drawn = RANDOM.lognormal(-self._spread**2 / 2, self._spread, len(rows)).sum() * self._mean
        until = time.perf_counter() + drawn
        if self._waits:
            time.sleep(drawn)
        else:
            while time.perf_counter() < until:
                hashlib.pbkdf2_hmac("sha256", b"", b"", 10)
        return np.full((len(rows), 1), 0.5)


plugin = Timed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A model whose call takes a random time: on the CPU, or as a wait, by which one core serves several replicas."""

    name: str
    mean_s: float
    waits: bool

    @property
    def model(self) -> Model:
        """The model in a form that the plug-in engine reads."""
        content = f"{self.mean_s} {SPREAD} {int(self.waits)}".encode()
        return Model(engine="timed", format="timed", content=content, width=4)


class Case(NamedTuple):
    """A load of a number of replicas of a service; `delayed` if a proxy delays both ways."""

    service: Service
    replicas: int
    load: float
    shape: str
    delayed: bool


def cases() -> list[Case]:
    """Return the plans that are predicted and measured."""
    services = [Service(name=f"cpu{number}", mean_s=mean, waits=False) for number, mean in enumerate(ON_CPU_S)]
    services += [Service(name=f"wait{number}", mean_s=mean, waits=True) for number, mean in enumerate(WAITS_S)]
    shaped = [(load, "steady") for load in LOADS] + [(LOADS[0], "bursts")]
    found = [
        (service, replicas, load, shape)
        for service in services
        for replicas in (REPLICAS if service.waits else (1,))
        for load, shape in shaped
    ]
    return [Case(*case, delayed=number % 3 == 2) for number, case in enumerate(found)]


def install_engine(folder: Path) -> None:
    """Write a package with the plug-in engine `timed`, for this process and servers with the folder in their path."""
    (folder / "timed_engine.py").write_text(ENGINE)
    info = folder / "timed_engine-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timed-engine\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[headway.engine]\ntimed = timed_engine\n")
    sys.path.insert(0, str(folder))


def _relay(listening: socket.socket, port: int) -> None:
    """Forward connections to a port, each chunk of both ways later by a random time."""
    random = np.random.default_rng(port)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await asyncio.sleep(float(random.lognormal(np.log(ONE_WAY_S), 0.3)))
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    async def run() -> None:
        await (await asyncio.start_server(connected, sock=listening)).serve_forever()

    asyncio.run(run())


@contextmanager
def delayed(trial: Trial) -> Iterator[Trial]:
    """Start a proxy that delays a server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = multiprocessing.get_context("fork").Process(target=_relay, args=(listening, trial.port), daemon=True)
        process.start()
        try:
            yield dataclasses.replace(trial, port=listening.getsockname()[1])
        finally:
            process.kill()
            process.join()


class _AtRandom(list[Any]):
    """Free connections, of which any is taken: independent callers do not prefer one replica."""

    def pop(self, *_: Any) -> Any:
        index = int(RANDOM.integers(len(self)))
        self[index], self[-1] = self[-1], self[index]
        return super().pop()


class Callers(LoadGenerator):
    """Load generator whose connections are shared out to replicas."""

    def __init__(self, trials: Sequence[Trial], requests: Sequence[bytes]) -> None:
        self._trials = cycle(trials)
        super().__init__(trials[0], requests, connections=CONNECTIONS)
        self._free = _AtRandom(self._free)

    def _open_connection(self) -> Any:
        trial = next(self._trials)
        self._where = (trial.host, trial.port)
        return super()._open_connection()


class Run(NamedTuple):
    """The p99 of a run, ms, from when requests were due; and what shows that the machine was busy."""

    p99_ms: float
    busy: str


def open_loop(trials: Sequence[Trial], requests: Sequence[bytes], case: Case, rate: float, seed: int) -> Run:
    """Measure one run; what the load generator itself was late is not counted."""
    seconds = min(max(SECONDS, LEAST_REQUESTS / rate), MAX_SECONDS)
    due = arrival_times(case.shape, rate_per_s=rate, seconds=seconds, seed=seed)
    watch = LoadMeter()
    watch.spin()
    with closing(Callers(trials, requests)) as callers:
        run = callers.open_loop(due.tolist())
    watch.spin()
    responses = [(call.done_s - call.due_s - call.late_s) * 1e3 for call in run.calls]
    busy = watch.busy()
    return Run(float(np.quantile(responses[len(responses) // 10 :], 0.99)), busy.what if busy else "")


class Plan(NamedTuple):
    """A predicted p99 with its runs, ms; by the formulas, None if their queue is not stable."""

    case: Case
    predicted: Measurement
    runs: Sequence[Run]
    mmc: float | None
    mg1: float | None

    @property
    def middle(self) -> float:
        """The median of the runs."""
        return median(run.p99_ms for run in self.runs)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest of the runs."""
        return min(run.p99_ms for run in self.runs), max(run.p99_ms for run in self.runs)


def measured(case: Case, times: ServiceTimes, trials: Sequence[Trial], requests: Sequence[bytes]) -> Plan:
    """Predict one case, then measure it."""
    network_us: Sequence[float] = [0.0]
    if case.delayed:
        url = f"http://127.0.0.1:{trials[0].port}/v2/health/live"
        network_us = measure_network(url, name="delayed", count=NETWORK).times_us
    model = service_model(times, np.asarray(network_us) / 1e6)
    rate = case.load * model.max_rate_per_s(case.replicas)
    if not case.service.waits:
        rate = min(rate, MAX_RATE)
    count = round(rate * min(max(SECONDS, LEAST_REQUESTS / rate), MAX_SECONDS))
    predicted = predict_response(
        model, Demand(per_s=1.0, burst_share=BURST if case.shape == "bursts" else 1.0),
        rate_per_s=rate, workers=case.replicas, requests=count,
    ).p99_ms  # fmt: skip
    rest = (model.delay_s + float(np.median(model.network_s))) * 1e3
    mean_s, mmc, mg1 = float(model.times_s.mean()), None, None
    if rate * mean_s < case.replicas:
        mmc = mmc_percentile(0.99, rate_per_s=rate, mean_s=mean_s, workers=case.replicas) * 1e3 + rest
        mg1 = mg1_percentile(0.99, rate_per_s=rate / case.replicas, times_s=model.times_s) * 1e3 + rest
    return Plan(case, predicted, [open_loop(trials, requests, case, rate, seed) for seed in range(RERUNS)], mmc, mg1)


def plans() -> Iterator[Plan]:
    """Predict and measure every case against running servers of one worker each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_engine(folder)
        by_service = {service: list(found) for service, found in groupby(cases(), key=lambda case: case.service)}
        project(folder, {service.name: service.model for service in by_service})
        for service, of in by_service.items():
            yield from plans_of(service, of, folder)


def plans_of(service: Service, of: Sequence[Case], folder: Path) -> Iterator[Plan]:
    """Start as many servers of a service as its cases need, measure its times, and then each case."""
    rows = rows_of(64, 4)
    requests = [posted(f"/v2/models/{service.name}/infer", v2(row[None], "FP64")) for row in rows]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    around = {"HEADWAY_SERVE_WORKERS": "1", "HEADWAY_SERVE_LOG_MODE": "off", "PYTHONPATH": path}
    core = ",".join(map(str, CORES)) if service.waits else SERVER_CORE
    variant = SimpleNamespace(digest="sha256:1", name=service.name)
    subject = cast("Comparison", SimpleNamespace(rows=rows, select=lambda part: part, variant=variant))
    with ExitStack() as stack:
        trials = []
        for _ in range(max(case.replicas for case in of)):
            command = ours(folder, service.name)
            server = stack.enter_context(started(command, asks=READY, environment=around, core=core))
            trials.append(
                Trial(
                    host="127.0.0.1",
                    port=server.port,
                    process=server.process.pid,
                    began_s=0.0,
                    request=lambda _: requests[0],
                    answers=lambda _: np.empty(0),
                )
            )
        times = measure_service_times(subject, trials[0], location="here", seconds=MEASURE_S, accept_busy=True)
        far = [stack.enter_context(delayed(trial)) for trial in trials]
        for case in of:
            plan = measured(case, times, (far if case.delayed else trials)[: case.replicas], requests)
            show_plan(plan)
            yield plan


def show_plan(plan: Plan) -> None:
    """Print one plan to stderr, because all of them take long."""
    case, (low, high) = plan.case, plan.range
    what = f"{case.service.name} {case.service.mean_s * 1e3:g} ms x {case.replicas}, load {case.load}, {case.shape}"
    found = f"predicted {plan.predicted.value:.3g} ms, measured {plan.middle:.3g} [{low:.3g}, {high:.3g}]"
    marks = f"{', delayed' if case.delayed else ''}{', busy' if any(run.busy for run in plan.runs) else ''}"
    print(f"  {what}{marks}: {found}", file=sys.stderr, flush=True)


def queue_part() -> Result:
    """Compare predictions with runs; plans that a busy machine disturbed are counted apart."""
    all_plans = list(plans())
    quiet = [plan for plan in all_plans if not any(run.busy for run in plan.runs)]
    short = [] if len(quiet) >= MIN_PLANS else [
        f"{len(all_plans) - len(quiet)} of {len(all_plans)} plans were measured while other processes used the cores: "
        f"run `python bench/plan.py queue` on a quiet machine"
    ]  # fmt: skip
    used = quiet if len(quiet) >= MIN_PLANS else all_plans
    errors = [abs(plan.predicted.value / plan.middle - 1) for plan in used]
    spread = median((plan.range[1] - plan.range[0]) / plan.middle for plan in used)
    limit, error = max(0.1, spread), median(errors)
    inside = float(np.mean([plan.range[0] <= plan.predicted.value <= plan.range[1] for plan in used]))
    held = float(np.mean([plan.predicted.low <= plan.middle <= plan.predicted.high for plan in used]))
    what = f"{len(used)} plans ({len(quiet)} on a quiet machine), {RERUNS} open loops each"
    is_quiet = not short
    by_formula = {"M/M/c": [(p.mmc, p.middle) for p in used], "M/G/1": [(p.mg1, p.middle) for p in used]}
    rows = [
        Row(name="plan.p99_covered", measured=inside, unit="", target=">= 0.8", ok=is_quiet and inside >= 0.8,
            against=what),
        shown("plan.p99_interval", held, "", "share of intervals with the median of the runs"),
        Row(name="plan.p99_error", measured=error, unit="", target=f"<= {limit:.2f}", ok=is_quiet and error <= limit,
            against=what),
        *(shown(f"plan.p99_error.{name}", median(abs(by / is_ - 1) for by, is_ in found if by), "",
                f"{sum(by is not None for by, _ in found)} stable plans")
          for name, found in by_formula.items() if any(by for by, _ in found)),
        shown("plan.quiet_plans", float(len(quiet)), "", f"of {len(all_plans)}"),
    ]  # fmt: skip
    return rows, short


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
