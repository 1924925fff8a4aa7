"""Records of a deployment plan."""

from __future__ import annotations

import msgspec
import pytest

from headway.core.evidence import Machine, Measurement
from headway.core.plan import Demand, DeploymentPlan, PlanOption, Prices, ServiceTimes
from headway.core.record import read, write

MACHINE = Machine(cpu="a core", cores=2, system="Linux", python="3.13")
P99 = Measurement(name="plan.p99_ms", value=3.0, low=2.0, high=4.0, method="simulation", n_rows=48, unit="ms")
OPTION = PlanOption(variant="sha256:1", variant_name="lightgbm", location="device", p99_ms=P99)


def plan(chosen: int | None) -> DeploymentPlan:
    return DeploymentPlan(
        name="model",
        demand=Demand(per_s=2.0, hours=(0.5, 1.5)),
        prices=Prices(source="invented"),
        p99_ms=50.0,
        availability=0.999,
        options=(OPTION, msgspec.structs.replace(OPTION, second_location="cloud", problem="too_slow")),
        chosen=chosen,
    )


def test_a_plan_and_its_service_times_are_read_back_as_they_were_written() -> None:
    times = ServiceTimes(
        location="device",
        variant="sha256:1",
        variant_name="lightgbm",
        machine=MACHINE,
        times_us=(120.5, 130.0),
        batch_us=((4, 60.0),),
    )
    assert read(ServiceTimes, write(times)) == times
    assert read(DeploymentPlan, write(plan(0))) == plan(0)


def test_a_plan_names_its_best_option() -> None:
    assert plan(None).best is None
    assert plan(0).best == OPTION
    alone, split = plan(0).options
    assert (alone.name, split.name) == ("device", "device → cloud")
    assert (alone.is_feasible, split.is_feasible) == (True, False)


def test_a_demand_has_a_busiest_hour_and_a_month() -> None:
    demand = plan(0).demand
    assert demand.peak_per_s == 3.0
    assert Demand(per_s=2.0).peak_per_s == 2.0
    assert demand.per_month == pytest.approx(2 * 86_400 * 30.4375)
