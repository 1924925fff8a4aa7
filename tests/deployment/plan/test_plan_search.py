"""The cheapest deployment by hand-made measurements, the reason of every other option, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as replaced

from headway.core import config
from headway.core.evidence import Machine, Measurement
from headway.core.plan import (
    AssumedNetwork,
    Demand,
    DeploymentPlan,
    Hardware,
    Instance,
    NetworkTimes,
    PlanOption,
    Prices,
    ServiceTimes,
)
from headway.deployment.plan.plan import cheapest_split, plan_deployment, split_config
from headway.deployment.plan.search import PlanInputs, PlanVariant, hardware_month
from headway.evaluation.settings.answer import AnswerSection

MACHINE = Machine(cpu="a core", cores=2, system="Linux", python="3.13")
FAST, SLOW = PlanVariant(digest="sha256:fast", name="fast"), PlanVariant(digest="sha256:slow", name="slow")
CLOUD = Prices(source="invented", instance={"small": Instance(per_hour=0.1, availability=0.9999)})
BOTH = replaced(CLOUD, hardware={"device": Hardware(price=96, life_years=4, per_site=True, availability=0.9999)})
CERTIFIED = Measurement(name="answer.coverage", value=0.8, low=0.75, high=0.85, method="", n_rows=1_000)


def times(variant: PlanVariant, location: str, mean_ms: float, **more: Any) -> ServiceTimes:
    sample = np.random.default_rng(0).lognormal(0, 0.3, 400) * mean_ms * 1e3
    values: dict[str, Any] = {"times_us": tuple(sample.tolist()), "machine": MACHINE} | more
    return ServiceTimes(location=location, variant=variant.digest, variant_name=variant.name, **values)


def inputs(*measured: ServiceTimes, per_s: float = 10.0, prices: Prices = CLOUD, **more: Any) -> PlanInputs:
    values: dict[str, Any] = {"p99_ms": 50.0, "availability": 0.999, "variants": [FAST], "demand": Demand(per_s=per_s)}
    values |= {"replicates": 6, "requests": 800} | more
    return PlanInputs(prices=prices, service_times=measured, **values)


def plan(*measured: ServiceTimes, with_changes: bool = False, **more: Any) -> DeploymentPlan:
    return plan_deployment(inputs(*measured, **more), with_changes=with_changes)


def only(*measured: ServiceTimes, **more: Any) -> PlanOption:
    (option,) = plan(*measured, **more).options
    return option


def test_as_many_replicas_are_chosen_as_the_p99_needs() -> None:
    found = only(times(FAST, "small", 10.0), per_s=200.0)
    assert found.is_feasible
    assert found.replicas == found.replicas_needed > 2
    assert found.p99_ms is not None
    assert found.p99_ms.high <= 50
    assert found.utilisation is not None
    assert 0 < found.utilisation.value < 1


@pytest.mark.parametrize(("first", "other"), [(FAST, SLOW), (SLOW, FAST)])
def test_of_variants_that_cost_the_same_the_first_is_chosen(first: PlanVariant, other: PlanVariant) -> None:
    measured = [times(FAST, "small", 1.0), times(SLOW, "small", 2.0)]
    found = plan(*measured, variants=[first, other])
    assert found.chosen is not None
    assert found.options[found.chosen].variant == first.digest


def test_the_cheapest_variant_and_location_is_chosen() -> None:
    prices = replaced(CLOUD, instance=CLOUD.instance | {"large": Instance(per_hour=0.15, workers=4)})
    measured = [times(v, p, ms) for p in prices.instance for v, ms in ((FAST, 1.0), (SLOW, 20.0))]
    found = plan(*measured, prices=prices, variants=[SLOW, FAST], per_s=40.0)
    assert found.best is not None
    assert (found.best.variant_name, found.best.location) == ("fast", "small")


def test_a_location_without_measurements_is_not_feasible() -> None:
    found = plan(prices=BOTH)
    assert [option.problem for option in found.options] == ["not_measured", "not_measured"]
    assert found.chosen is None
    assert found.best is None
    assert found.options[0].hint.startswith("headway measure --location small")


def test_a_variant_that_breaks_a_quality_rule_is_not_feasible() -> None:
    found = only(times(FAST, "small", 1.0), variants=[replace(FAST, problem="brier.drop 0.1, the limit is 0.01")])
    assert (found.problem, found.message) == ("quality", "brier.drop 0.1, the limit is 0.01")


def test_a_network_that_was_not_measured_is_not_taken_as_none() -> None:
    prices = replaced(CLOUD, instance={"small": Instance(per_hour=0.1, network="wan", availability=0.9999)})
    found = only(times(FAST, "small", 1.0), prices=prices)
    assert found.problem == "network_not_measured"
    slow = NetworkTimes(name="wan", times_us=(80_000.0,) * 20)
    assert only(times(FAST, "small", 1.0), prices=prices, networks=[slow]).problem == "too_slow"
    lossy = NetworkTimes(name="wan", times_us=(1_000.0,) * 98, n_failed=2)
    assert only(times(FAST, "small", 1.0), prices=prices, networks=[lossy]).problem == "too_unavailable"
    assumed = replaced(prices, network={"wan": AssumedNetwork(p50_ms=20.0, p99_ms=40.0)})
    near = only(times(FAST, "small", 1.0), prices=assumed)
    assert near.p99_ms is not None
    assert near.p99_ms.value == pytest.approx(41, rel=0.15)


def test_more_load_than_all_replicas_answer_is_an_overload() -> None:
    found = only(times(FAST, "small", 10.0), per_s=1e5)
    assert found.problem == "overloaded"
    assert "100,000" in found.message or "1e+05" in found.message


def test_a_machine_that_always_pauses_answers_nothing() -> None:
    found = only(times(FAST, "small", 1.0, pauses_us=(2e6,), pauses_per_s=1.0))
    assert found.problem == "overloaded"


def test_bursts_that_no_number_of_replicas_answers_in_time_are_too_slow() -> None:
    prices = replaced(CLOUD, instance={"small": Instance(per_hour=0.1, max_count=2, availability=0.9999)})
    found = only(times(FAST, "small", 10.0), prices=prices, demand=Demand(per_s=100.0, burst_share=0.05))
    assert found.problem == "too_slow"
    assert "with 2 of small, the limit is 50 ms" in found.message
    assert found.p99_ms is not None


def test_availability_needs_replicas_beyond_those_of_the_load() -> None:
    prices = replaced(CLOUD, instance={"small": Instance(per_hour=0.1, availability=0.99)})
    found = only(times(FAST, "small", 1.0), prices=prices)
    assert (found.replicas_needed, found.replicas) == (1, 2)
    assert found.availability == pytest.approx(1 - 0.01**2)


def test_the_cost_of_a_month_is_that_of_places_and_traffic() -> None:
    prices = replaced(CLOUD, traffic_per_gb=0.1)
    demand = Demand(per_s=10.0, request_bytes=900.0, response_bytes=100.0)
    found = only(times(FAST, "small", 1.0), prices=prices, demand=demand)
    gigabytes = demand.per_month * 1_000 / 1e9
    assert found.cost_month is not None
    assert found.cost_month.value == pytest.approx(0.1 * 730.5 + 0.1 * gigabytes)
    assert found.cost_month.low == found.cost_month.high
    assert found.cost_per_million is not None
    assert found.cost_per_million.value == pytest.approx(found.cost_month.value / demand.per_month * 1e6)


def test_days_that_differ_give_the_cost_an_interval() -> None:
    daily = (8e5, 9e5, 1e6, 7e5, 1.1e6, 9e5)
    found = only(times(FAST, "small", 1.0), prices=replaced(CLOUD, traffic_per_gb=5.0),
                 demand=Demand(per_s=10.0, daily=daily))  # fmt: skip
    assert found.cost_month is not None
    assert found.cost_month.low < found.cost_month.value < found.cost_month.high
    assert found.cost_per_million is not None
    assert found.cost_per_million.low < found.cost_per_million.value < found.cost_per_million.high


def test_each_site_has_a_device_of_its_own() -> None:
    demand = Demand(per_s=100.0, sites=50)
    found = {
        option.location: option for option in plan(times(FAST, "device", 10.0), prices=BOTH, demand=demand).options
    }
    device = found["device"]
    assert device.replicas == 1
    assert device.cost_month is not None
    assert device.cost_month.value == pytest.approx(50 * 2.0)  # 96 in 48 months


def test_hardware_costs_its_price_over_its_life_upkeep_and_energy() -> None:
    bought = Hardware(price=1_200, life_years=5, watts=100, upkeep_per_month=3)
    assert hardware_month(bought, Prices(source="", energy_per_kwh=0.2)) == pytest.approx(20 + 3 + 73.05 * 0.2)


def measured_split() -> list[ServiceTimes]:
    return [times(FAST, "device", 5.0), times(SLOW, "small", 10.0), times(SLOW, "device", 400.0)]


def test_a_split_answers_on_the_device_what_is_certified() -> None:
    variants = [replace(FAST, problem="brier.drop", answered_share=CERTIFIED), SLOW]
    prices = replaced(BOTH, hardware={"device": replaced(BOTH.hardware["device"], price=9.6)})
    found = plan(*measured_split(), prices=prices, variants=variants, per_s=150.0, p99_ms=60.0)
    splits = {option.second_variant_name: option for option in found.options if option.second_location}
    assert splits["fast"].problem == "quality"
    best = splits["slow"]
    assert best.is_feasible
    assert best.name == "device → small"
    assert best.answered_share == 0.8
    assert best.p99_ms is not None
    assert best.p50_ms is not None
    assert best.p50_ms.value < 15 < best.p99_ms.value
    assert found.best is best
    cloud = next(option for option in found.options if option.variant_name == "slow" and option.location == "small")
    assert cloud.replicas > best.second_replicas


def test_waits_at_the_two_locations_of_a_split_are_independent() -> None:
    variants = [replace(FAST, answered_share=replaced(CERTIFIED, low=0.01)), SLOW]
    device, cloud = times(FAST, "device", 5.0), times(SLOW, "small", 5.0)
    shorter = replaced(cloud, times_us=cloud.times_us[:-40])  # samples of equal size are drawn in the same order
    equal, other = (
        next(option for option in plan(
            device, one, prices=BOTH, variants=variants, per_s=140.0, p99_ms=500.0, replicates=24, requests=4_000
        ).options if option.second_variant_name == "slow").p99_ms
        for one in (cloud, shorter)
    )  # fmt: skip
    assert equal is not None
    assert other is not None
    assert equal.value == pytest.approx(other.value, rel=0.1)


def test_a_split_fails_with_its_device_or_its_other_location() -> None:
    variants = [replace(FAST, answered_share=CERTIFIED), SLOW]

    def problems(*measured: ServiceTimes, **more: Any) -> Mapping[str, str]:
        options = plan(*measured, prices=BOTH, variants=variants, **more).options
        return {option.second_variant_name: option.problem for option in options if option.second_location}

    assert problems(times(SLOW, "small", 1.0))["slow"] == "not_measured"
    assert problems(times(FAST, "device", 1.0))["slow"] == "not_measured"
    assert problems(*measured_split(), p99_ms=4.0)["slow"] == "too_slow"


def test_more_requests_make_the_device_cheaper_and_the_plan_says_when() -> None:
    measured = [times(FAST, "small", 10.0), times(FAST, "device", 10.0)]
    found = plan(*measured, prices=BOTH, demand=Demand(per_s=100.0, sites=120), with_changes=True)
    assert found.best is not None
    assert found.best.name == "small"
    changes = {change.subject: change for change in found.changes}
    assert set(changes) == {"demand", "service_times", "p99_ms", "instance", "hardware"}
    assert changes["instance"].option == "device"
    assert changes["hardware"].factor is not None
    assert changes["hardware"].factor < 1
    assert found.break_even is not None
    assert found.break_even > found.demand.per_month
    assert found.break_even_location == "device"
    costs = {option.location: option.cost_month.value for option in found.options if option.cost_month}
    assert changes["hardware"].factor == pytest.approx(costs["small"] / costs["device"], rel=0.1)


def test_a_limit_that_nothing_keeps_leaves_no_location() -> None:
    prices = replaced(
        CLOUD,
        instance={"small": Instance(per_hour=0.1, network="wan", availability=0.9999)},
        network={"wan": AssumedNetwork(p50_ms=20.0, p99_ms=30.0)},
    )
    wan = NetworkTimes(name="lan", times_us=(1.0,))
    found = plan(times(FAST, "small", 1.0), prices=prices, with_changes=True, networks=[wan])
    changes = {change.subject: change for change in found.changes}
    assert changes["network"].factor is not None
    assert changes["network"].option == ""
    assert 1.2 < changes["network"].factor < 2
    assert changes["instance"].factor is None
    assert found.break_even is None or found.break_even_location == ""
    assert len(found.measurements) == 2


def test_a_plan_says_what_is_assumed_and_what_was_measured_on_a_busy_machine() -> None:
    assumed = [times(FAST, at, 1.0, assumed_from="here", busy="0.9 other cores") for at in ("small", "device")]
    assert plan(*assumed, prices=BOTH).caveats == (
        "Nothing was measured at device and small: assumed as fast as here.",
        "here was measured on a busy machine: 0.9 other cores.",
    )
    assert plan(times(FAST, "small", 1.0)).caveats == ()


def test_a_split_becomes_the_settings_of_its_device(tmp_path: Path) -> None:
    variants = [replace(FAST, problem="brier.drop", answered_share=CERTIFIED), SLOW]
    found = plan(*measured_split(), prices=BOTH, variants=variants, per_s=150.0, p99_ms=60.0)
    split = cheapest_split(found)
    assert split is not None
    (tmp_path / "headway.toml").write_text('[project]\nname = "n"\n' + split_config(found, split, limit=0.12))
    answer = config.load(tmp_path, environment={})[AnswerSection]
    assert (answer.limit, answer.stages, answer.remote.protocol) == (0.12, ("remote", "people"), "headway")
    assert answer.remote.deadline_s == 0.06
    forwarded = found.demand.per_month * (1 - split.answered_share)
    assert answer.remote.cost_per_call == pytest.approx(0.1 * 730.5 * split.second_replicas / forwarded, rel=0.01)
    assert cheapest_split(plan(times(FAST, "small", 1.0))) is None
