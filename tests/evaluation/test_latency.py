"""Metric `latency`: real calls of both models on real rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replaced

from headway.core.errors import NotApplicable
from headway.core.evidence import AS_CALLED, Measurement
from headway.evaluation import benchmark, comparison
from headway.evaluation.benchmark import (
    RERUN,
    TimedBaseline,
    TimedCall,
    TimedEngine,
    fastest_engine,
    time_calls,
    time_model,
)
from headway.evaluation.comparison import EvaluationSet, screen_speed
from headway.evaluation.machine_load import MachineBusy
from headway.evaluation.measure import BUSY, measure
from headway.evaluation.metrics.latency import as_opened, plugin

pytestmark = pytest.mark.usefixtures("whole_rounds")


class Clock:
    """The clocks of a machine that does nothing else: models advance them, and reading one takes 20 ns.

    After `slow_from_ns` everything takes `slowdown` times as long: the core is slower, or shared with another process.
    """

    def __init__(self) -> None:
        self.wall_ns = self.cpu_ns = 0
        self.slowdown, self.slow_from_ns = 1.0, 0

    def work(self, us: float) -> int:
        """Return how long this work takes, ns."""
        return round(us * 1e3 * (self.slowdown if self.wall_ns >= self.slow_from_ns else 1.0))

    def read_wall(self) -> int:
        self.wall_ns += 20
        return self.wall_ns

    def read_cpu(self) -> int:
        self.cpu_ns += 20
        return self.cpu_ns


CLOCK = Clock()


@pytest.fixture(autouse=True)
def quiet_clock(monkeypatch):
    """Time by a clock that no other process disturbs."""
    monkeypatch.setattr(benchmark, "perf_counter_ns", CLOCK.read_wall)
    monkeypatch.setattr(benchmark, "process_time_ns", CLOCK.read_cpu)
    benchmark._loop_ns.cache_clear()  # another test may have measured it by the clock of the machine
    yield
    benchmark._loop_ns.cache_clear()


class Slow:
    """Works for a given time, and for each row, before it answers, and records the shapes of its inputs."""

    formats = ("slow",)

    def __init__(self, works_us: float, row_us: float = 0) -> None:
        self.works_us, self.row_us = works_us, row_us
        self.asked: set[tuple[int, ...]] = set()

    def predict(self, rows):
        assert rows.dtype == np.float64 and rows.flags.c_contiguous
        self.asked.add(rows.shape)
        works_ns = CLOCK.work(self.works_us + self.row_us * len(rows))
        CLOCK.wall_ns += works_ns
        CLOCK.cpu_ns += works_ns
        return rows[:, :1]


class Waiting(Slow):
    """Waits without the CPU before it answers, as a thread does for others."""

    def predict(self, rows):
        CLOCK.wall_ns += round(self.works_us * 1e3)
        return rows[:, :1]


@pytest.fixture
def raced(make_subject):
    subject = replace(make_subject(count=20), model=Slow(60), reference=Slow(240))
    began = CLOCK.wall_ns
    found = {measurement.name: measurement for measurement in plugin(subject)}
    return subject, found, (CLOCK.wall_ns - began) / 1e9


def test_times_are_those_of_the_model_and_the_speedup_is_their_ratio(raced):
    _, found, _ = raced
    assert 60 <= found["latency.one_row"].value < 120 and found["latency.one_row"].unit == "us"
    assert 2.5 < found["latency.speedup"].value < 4.5
    assert 1e6 * 256 / 120 < found["throughput.batch"].value < 1e6 * 256 / 60
    assert 2.5 < found["throughput.speedup"].value < 4.5


def test_each_is_an_interval_over_rounds_within_the_time_allowed(raced):
    _, found, took_s = raced
    assert all(
        measurement.n_groups == 25 and measurement.low <= measurement.value <= measurement.high
        for measurement in found.values()
    )
    ratio = found["latency.speedup"]
    assert ratio.high / ratio.value > 1.08  # another process may measure another ratio
    assert took_s < 2


def test_one_row_and_a_batch_have_the_shapes_of_the_contract(raced):
    subject, _, _ = raced
    assert subject.model.asked == subject.reference.asked - {(16, 1)} == {(1, 1), (256, 1)}


def test_a_slow_network_is_timed_on_smaller_batches(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10), reference=Slow(10, row_us=4_400))
    time_model(subject.model, subject.rows, baseline=as_opened(subject.reference), rounds=2)
    assert max(rows for rows, _ in subject.model.asked) in range(50, 60)


def test_a_model_whose_call_costs_much_but_whose_rows_cost_little_is_timed_on_whole_batches(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10), reference=Slow(20_000, row_us=10))
    time_model(subject.model, subject.rows, baseline=as_opened(subject.reference), rounds=2, limit_s=4)
    assert max(rows for rows, _ in subject.model.asked) == 256


def test_a_slow_model_is_timed_in_fewer_rounds_and_the_interval_says_so(make_subject):
    subject = replace(make_subject(count=20), model=Slow(10_000), reference=Slow(20_000), timing_s=0.4)
    found = plugin(subject)
    assert all(measurement.n_groups in range(4, 20) for measurement in found)
    assert all(measurement.has_interval for measurement in found)
    ratio = next(seen for seen in found if seen.name == "latency.speedup")
    assert 1 < ratio.low < ratio.value < ratio.high


def test_fewer_than_four_rounds_give_no_interval():
    found = time_model(Slow(10), np.zeros((20, 1)), baseline=as_opened(Slow(40)), rounds=3)
    assert not any(measurement.has_interval for measurement in found)


@pytest.mark.parametrize("rounds", [4, 7, 12, 19])
def test_the_interval_of_few_rounds_holds_the_ratio_of_the_next_run(rounds):
    random, spread = np.random.default_rng(rounds), 0.25

    def run():
        logs = random.normal(1.0, spread, rounds) + random.normal(0, RERUN / np.sqrt(2))
        return benchmark._rerun_interval("latency.speedup", logs[:, None], rounds)

    pairs = [(run(), run()) for _ in range(1_000)]
    assert 0.93 < np.mean([first.low <= second.value <= first.high for first, second in pairs]) < 0.97


def test_a_table_shorter_than_a_batch_is_repeated(make_subject):
    subject = make_subject(count=20)
    found = plugin(replace(subject, rows=subject.rows[:3]))
    assert [measurement.name for measurement in found] == [
        "latency.one_row",
        "latency.speedup",
        "throughput.batch",
        "throughput.speedup",
        "cost.cpu_s.one_row.speedup",
        "cost.cpu_s.batch.speedup",
    ]


def test_a_ratio_names_the_call_of_the_baseline_and_a_time_names_none(raced):
    _, found, _ = raced
    assert str(found["latency.speedup"].baseline) == "slow, predict of an array row, threads as the library chooses"
    assert found["throughput.speedup"].baseline.rows == 256
    assert not found["latency.one_row"].baseline


class Busy:
    """A meter that finds the machine busy a number of times, and shared or not."""

    def __init__(self, times, *, shared=False):
        self.left, self.shared = times, shared

    def __call__(self):
        return self

    def spin(self):
        pass

    def busy(self, _baseline_ns=()):
        self.left -= 1
        return MachineBusy("a test", measured=0.4, limit=0.1) if self.left >= 0 else None

    def is_shared(self):
        return self.shared


@pytest.mark.parametrize("time", [lambda meter: time_model(Slow(10), np.zeros((20, 1)), rounds=20, meter=meter),
                                  lambda meter: time_model(Slow(10), np.zeros((20, 1)), rounds=20, meter=meter,
                                                           baseline=as_opened(Slow(40)))])  # fmt: skip
def test_on_a_shared_machine_times_have_wide_intervals_and_ratios_do_not(time):
    alone, shared = ({seen.name: seen for seen in time(Busy(0, shared=shared))} for shared in (False, True))
    assert alone.keys() == shared.keys() and "latency.one_row" in shared
    for name, seen in shared.items():
        width, narrow = (np.log(one.high / one.low) for one in (seen, alone[name]))
        assert (width > 1 > narrow) is not name.endswith("speedup"), name


def test_on_a_busy_machine_only_ratios_of_cpu_time_are_measured():
    model, rows = Slow(10), np.zeros((20, 1))
    found = time_model(model, rows, baseline=as_opened(Slow(40)), rounds=20, meter=Busy(9))
    busy, *measured = found
    assert isinstance(busy, MachineBusy) and "--wait-quiet" in busy.hint
    assert [seen.name for seen in measured] == ["cost.cpu_s.one_row.speedup", "cost.cpu_s.batch.speedup"]
    assert measured[0].value > 2


def test_a_burst_of_other_work_is_measured_again():
    baseline = as_opened(Slow(20))  # rounds are short: what has taken a second is not measured again
    options = {"rounds": 4, "round_ns": 100_000, "attempts": 3}
    found = time_model(Slow(10), np.zeros((20, 1)), baseline=baseline, meter=Busy(2), **options)
    assert found[0].name == "latency.one_row"


def test_evidence_of_a_busy_machine_holds_a_finding_in_place_of_times(make_subject, monkeypatch):
    monkeypatch.setattr("headway.evaluation.benchmark.LoadMeter", Busy(9))
    subject = replace(make_subject(count=20), model=Slow(10), reference=Slow(20))
    evidence = measure(subject, ["latency"], dataset_digest="d", period="test")
    [busy] = evidence.findings
    assert (busy.code, busy.severity, busy.measured, busy.limit) == (BUSY, "undecided", 0.4, 0.1)
    assert not any(seen.name.startswith(("latency.", "throughput.")) for seen in evidence.measurements)


def test_the_users_own_call_is_timed_against_the_same_call_of_the_variant():
    call = TimedCall(engine="LGBMClassifier", call="predict_proba", input="dataframe_row", rows=1, threads=1)
    fast, slow = Slow(20), Slow(80)
    found = time_calls(fast.predict, slow.predict, [np.zeros((1, 1))], call=call, rounds=20)
    ratio = next(seen for seen in found if isinstance(seen, Measurement) and seen.name == AS_CALLED)
    assert 2 < ratio.value < 5 and ratio.slice == "dataframe_row" and ratio.baseline == call
    assert ratio.se > RERUN


def test_the_baseline_runs_on_the_number_of_threads_that_answers_fastest():
    rows = np.zeros((20, 1))
    assert fastest_engine({0: Slow(300), 1: Slow(50), 2: Slow(200)}, rows, batch=False) == 1
    assert fastest_engine({0: Slow(60), 1: Slow(60)}, rows, batch=True) == 0


def test_cpu_time_is_compared_with_the_second_engine_of_each_pair():
    rows, engines = np.zeros((20, 1)), {1: Waiting(900), 2: Slow(300)}
    assert fastest_engine(engines, rows, batch=False) == 2
    pair = tuple(
        TimedEngine(engine=engines[threads], call=replaced(as_opened(Slow(1)).one_row[0].call, threads=threads))
        for threads in (2, 1)
    )
    found = time_model(Slow(100), rows, baseline=TimedBaseline(one_row=pair, batch=pair), rounds=20)
    against = {seen.name: seen.baseline.threads for seen in found if seen.name.endswith("speedup")}
    assert against == {
        "latency.speedup": 2,
        "throughput.speedup": 2,
        "cost.cpu_s.one_row.speedup": 1,
        "cost.cpu_s.batch.speedup": 1,
    }
    assert {seen.baseline.rows for seen in found if "batch" in seen.name and seen.name.endswith("speedup")} == {256}


@pytest.mark.parametrize(("threads", "measured"), [(1, True), (0, False), (2, False)])
def test_the_cpu_time_of_a_call_is_a_figure_only_on_one_thread(threads, measured):
    call = TimedCall(engine="LGBMClassifier", call="predict", input="array_row", rows=1, threads=threads)
    found = time_calls(Slow(20).predict, Slow(80).predict, [np.zeros((1, 1))], call=call, rounds=5)
    assert (
        "cost.cpu_s.as_called.speedup" in {seen.name for seen in found if isinstance(seen, Measurement)}
    ) is measured


def test_a_process_that_waited_for_a_core_still_times_one_call_a_round(make_subject, monkeypatch):
    monkeypatch.setattr(benchmark, "_LONGEST", 0)
    subject = replace(make_subject(count=20), model=Slow(60), reference=Slow(240))
    assert all(isinstance(found, Measurement | NotApplicable) for found in plugin(subject))


def screened(subject, model, monkeypatch):
    """Time a variant as a search screens it, and return what was measured by name."""
    fields = {name: getattr(subject, name) for name in ("labels", "reference_scores", "groups", "slices", "threshold")}
    rows = EvaluationSet(
        **fields, rows=subject.rows, reference=subject.reference, period="validation", dataset="d", labeled=None
    )
    monkeypatch.setattr(comparison, "open_on_rows", lambda *_: model)
    return {seen.name: seen for seen in screen_speed(subject.variant, rows, None).measurements}


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("slow_after_us", [0, 7_000])
@pytest.mark.parametrize("slowdown", [1.8, 1 / 1.8])
def test_the_interval_of_a_screened_candidate_holds_its_time_on_a_core_that_is_not_slowed(
    make_subject, monkeypatch, busy, slow_after_us, slowdown
):
    monkeypatch.setattr(comparison, "LoadMeter", lambda **_: Busy(9 if busy else 0))
    subject = make_subject(count=20)
    calm = screened(subject, Slow(2.2, row_us=0.2), monkeypatch)
    monkeypatch.setattr(CLOCK, "slowdown", slowdown)
    monkeypatch.setattr(CLOCK, "slow_from_ns", CLOCK.wall_ns + slow_after_us * 1_000)
    disturbed = screened(subject, Slow(2.2, row_us=0.2), monkeypatch)
    assert ("latency.one_row" in calm) is not busy
    assert {"cost.cpu_s.one_row", "cost.cpu_s.batch"} <= calm.keys() == disturbed.keys()
    for name, seen in disturbed.items():
        assert abs(np.log(seen.value / calm[name].value)) > 0.2, name
        assert seen.low <= calm[name].value <= seen.high < 4 * seen.low, name


def test_no_rows_cannot_be_timed(make_subject):
    subject = make_subject(count=20)
    with pytest.raises(NotApplicable, match="no rows to time"):
        plugin(replace(subject, rows=subject.rows[:0]))
