"""Burn rates of the error budgets."""

from __future__ import annotations

import asyncio
import re

import pytest

from headway.serving.settings.slo import SloSection
from headway.serving.telemetry.metrics import (
    SAMPLE_S,
    ErrorBudget,
    FleetCounts,
    Metrics,
    RequestCounts,
    track_objectives,
)

SLO = SloSection(p99_ms=5, availability=0.999)


class World:
    """The request counts so far, set by the test."""

    def __init__(self, slo: SloSection = SLO) -> None:
        self.now_s = 0.0
        self.served = RequestCounts()
        self.budget = ErrorBudget(slo, lambda: self.served, now_s=0.0)

    def passes(self, seconds: float, *, answered: float = 0, slow: float = 0, failed: float = 0) -> None:
        """Let time pass with these requests per second, sampled every quarter of a minute."""
        for _ in range(int(seconds / SAMPLE_S)):
            self.now_s += SAMPLE_S
            more = (int(rate * SAMPLE_S) for rate in (answered, slow, failed))
            self.served = RequestCounts(*(before + new for before, new in zip(self.served, more, strict=True)))
            self.budget.sample(self.now_s)

    def burns(self, objective: str) -> dict[str, float]:
        """Return the burn rate of each window."""
        found = (re.match(rf'headway_slo_burn{{objective="{objective}",window="(\w+)"}} (.*)', line) for line in self)
        return {match[1]: float(match[2]) for match in found if match}

    def __iter__(self):
        return iter(self.budget.lines(self.now_s))


def test_the_burn_rate_without_requests_is_0():
    assert set(World().burns("latency").values()) == {0.0}


def test_the_allowed_share_burns_at_1_in_every_window():
    world = World()
    world.passes(7 * 3600, answered=1000, slow=10, failed=1000 / 999)
    for objective in ("latency", "availability"):
        assert world.burns(objective) == pytest.approx(dict.fromkeys(("5m", "30m", "1h", "6h"), 1.0), rel=1e-2)


def test_a_sudden_failure_appears_and_fades_in_the_short_windows_first():
    world = World()
    world.passes(6 * 3600, answered=100)
    world.passes(300, answered=50, failed=50)
    assert world.burns("availability") == pytest.approx({"5m": 500, "30m": 83.3, "1h": 41.7, "6h": 6.94}, rel=1e-2)
    world.passes(300, answered=100)
    burns = world.burns("availability")
    assert burns["5m"] == 0 and burns["1h"] == pytest.approx(41.7, rel=1e-2)
    assert set(world.burns("latency").values()) == {0.0}


def test_a_new_server_reports_the_time_since_its_start():
    world = World()
    world.passes(60, answered=90, slow=9)
    assert set(world.burns("latency").values()) == {10.0}


def test_samples_older_than_the_longest_window_are_dropped():
    world = World()
    world.passes(24 * 3600, answered=1)
    assert len(world.budget._samples) == 6 * 3600 / SAMPLE_S + 1


def test_without_a_budget_one_failure_has_an_infinite_burn_rate():
    world = World(SloSection(availability=1.0))
    assert set(world.burns("availability").values()) == {0.0}
    world.passes(15, failed=1)
    assert set(world.burns("availability").values()) == {float("inf")}


def test_the_text_has_counters_and_burn_rates():
    world = World()
    world.passes(15, answered=100, slow=2, failed=1)
    lines = [line for line in world if line.startswith(("headway_slo_requests", "headway_slo_bad", "headway_slo_all"))]
    assert lines == [
        'headway_slo_requests_total{objective="latency"} 1500',
        'headway_slo_requests_total{objective="availability"} 1515',
        'headway_slo_bad_total{objective="latency"} 30',
        'headway_slo_bad_total{objective="availability"} 15',
        'headway_slo_allowed{objective="latency"} 0.01',
        'headway_slo_allowed{objective="availability"} 0.001',
    ]


@pytest.mark.parametrize(("within_ms", "slow"), [(0.05, 3), (1, 2), (5, 1), (7, 1), (10, 0), (5000, 0)])
def test_slow_requests_are_counted_at_the_histogram_edge_at_or_below_the_limit(within_ms, slow):
    metrics = Metrics()
    for latency_ms in (0.6, 5, 8):
        ended = int(latency_ms * 1e6)
        metrics.of("m").add([0], engine_ns=(0, ended), ended_ns=ended, rows=1)
    metrics.errors[[400, 500, 503]] = 7, 2, 1
    assert metrics.request_counts(within_ms) == RequestCounts(3, slow, 3)


def test_a_request_refused_by_a_full_queue_counts_as_failed():
    metrics = Metrics()
    metrics.of("m").refuse(expired=False)
    metrics.errors[429] = 5  # of these, four are over the limit of their key: that is the caller's doing
    assert metrics.request_counts(50) == RequestCounts(0, 0, 1)


def test_the_metrics_of_a_server_include_its_error_budgets():
    async def lines() -> str:
        metrics = Metrics()
        track_objectives(SLO, metrics, asyncio.get_running_loop())
        return metrics.text({}).decode()

    assert 'headway_slo_burn{objective="latency",window="5m"} 0' in asyncio.run(lines())


class Sums:
    """A feed that sums, and can lose everything."""

    def __init__(self) -> None:
        self.sums: dict[str, list[int]] = {}

    def add(self, name: str, numbers: list[int], *, keep_s: int) -> list[int]:
        assert keep_s > 21_600, "the longest window is 6 h"
        known = self.sums.setdefault(name, [0] * len(numbers))
        known[:] = [old + new for old, new in zip(known, numbers, strict=True)]
        return list(known)


class CountingServer:
    """A server with two workers, of which the first adds the counts of both."""

    def __init__(self, feed: Sums) -> None:
        self.served, self.feed = RequestCounts(100, 1, 1), feed
        self.workers = [FleetCounts("flights", lambda: self.served, adds=adds) for adds in (True, False)]

    def exchange(self) -> list[RequestCounts]:
        for worker in self.workers:
            worker._due_s = 0.0
            worker.exchange(self.feed)
            worker.exchange(self.feed)
        return [worker.total for worker in self.workers]


def test_the_counts_of_all_servers_are_known_to_every_worker_and_none_is_added_twice():
    feed = Sums()
    first, second = CountingServer(feed), CountingServer(feed)
    assert first.exchange() == second.exchange() == [RequestCounts(), RequestCounts()]
    first.served, second.served = RequestCounts(110, 3, 1), RequestCounts(105, 1, 2)
    first.exchange()
    assert second.exchange() == first.exchange() == [RequestCounts(15, 2, 1)] * 2


def test_counts_go_on_if_the_feed_has_lost_them():
    feed = Sums()
    server = CountingServer(feed)
    server.exchange()
    server.served = RequestCounts(200, 1, 1)
    assert server.exchange() == [RequestCounts(100, 0, 0)] * 2
    feed.sums.clear()
    server.served = RequestCounts(207, 1, 1)
    assert server.exchange() == [RequestCounts(107, 0, 0)] * 2


def test_the_burn_rate_of_all_servers_is_shown_next_to_that_of_this_one():
    async def shown() -> list[str]:
        metrics = Metrics()
        fleet = FleetCounts("flights", RequestCounts, adds=True)
        track_objectives(SLO, metrics, asyncio.get_running_loop(), fleet)
        fleet.total = RequestCounts(100, 50, 0)
        return list(metrics.extra_lines())

    lines = asyncio.run(shown())
    assert 'headway_slo_burn{objective="latency",window="1h"} 0' in lines
    assert 'headway_fleet_slo_burn{objective="latency",window="1h"} 50' in lines
