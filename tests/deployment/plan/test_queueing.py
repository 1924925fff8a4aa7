"""Simulated response times against closed forms, and against a simulation that follows one job after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from headway.core.arrays import Floats
from headway.core.plan import Demand
from headway.deployment.plan import queueing
from headway.deployment.plan.queueing import ServiceModel, erlang_c, mg1_percentile, mmc_percentile, predict_response

STEADY = Demand(per_s=1.0)
EXPONENTIAL = ServiceModel(times_s=np.random.default_rng(1).standard_exponential(20_000) * 1e-3)


def queue(arrivals: Floats, times: Floats, model: ServiceModel | None = None, **how: Any) -> Floats:
    found, _ = queueing.wait_in_queues(
        arrivals[None], times[None], model or ServiceModel(times_s=times), random=np.random.default_rng(0), **how
    )
    return np.asarray(found[0])


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_an_mm1_queue_has_the_percentile_of_its_closed_form(load: float) -> None:
    found = predict_response(EXPONENTIAL, STEADY, rate_per_s=load * 1e3, workers=1)
    mean_s = float(EXPONENTIAL.times_s.mean())
    exact = -math.log(0.01) / (1 / mean_s - load * 1e3) * 1e3
    assert found.p99_ms.low <= exact <= found.p99_ms.high
    assert mmc_percentile(0.99, rate_per_s=load * 1e3, mean_s=mean_s, workers=1) * 1e3 == pytest.approx(exact)
    assert found.utilisation.low <= load * 1e3 * mean_s <= found.utilisation.high


def test_an_md1_queue_has_the_mean_of_its_closed_form() -> None:
    model = ServiceModel(times_s=np.array([1e-3]))
    found = predict_response(model, STEADY, rate_per_s=800.0, workers=1)
    means = found.responses_s.mean(axis=1) * 1e3
    exact = 1 + 0.8 / (2 * (1 - 0.8))  # Pollaczek and Khinchine
    assert np.quantile(means, 0.025) <= exact <= np.quantile(means, 0.975)
    assert mg1_percentile(0.99, rate_per_s=800.0, times_s=model.times_s) * 1e3 == pytest.approx(
        found.p99_ms.value, rel=0.2
    )


def test_random_routing_is_as_many_queues_of_their_own() -> None:
    found = predict_response(EXPONENTIAL, STEADY, rate_per_s=2_100.0, workers=3)
    exact = mmc_percentile(0.99, rate_per_s=700.0, mean_s=float(EXPONENTIAL.times_s.mean()), workers=1) * 1e3
    assert found.p99_ms.low <= exact <= found.p99_ms.high


def test_equal_rates_of_service_and_of_the_queue_have_a_percentile() -> None:
    near, equal = (mmc_percentile(0.9, rate_per_s=rate, mean_s=1.0, workers=2) for rate in (1 + 1e-6, 1.0))
    assert equal == pytest.approx(near, rel=1e-5)
    assert erlang_c(1.0, 2) == pytest.approx(1 / 3)


def test_what_waits_is_answered_as_one_batch() -> None:
    model = ServiceModel(times_s=np.ones(1), batch_share={4: 0.5})
    arrivals, times = np.array([0.0, 0.1, 0.2, 0.3, 0.4]), np.ones(5)
    assert queue(arrivals, times, model, workers=1).tolist() == pytest.approx(
        [1.0, 2.9, 2.8, 2.7, 2.6]  # the first alone; then four in 4 x 0.5 s
    )


def test_batches_that_save_nothing_end_when_single_answers_would() -> None:
    random = np.random.default_rng(2)
    arrivals, times = np.cumsum(random.standard_exponential(500)), random.standard_exponential(500) * 0.8
    model = ServiceModel(times_s=times, batch_share={2: 1.0})
    single, batched = (queue(arrivals, times, m, workers=1) for m in (None, model))
    assert (batched >= single - 1e-9).all()
    assert (arrivals + batched).max() == pytest.approx((arrivals + single).max())


def test_a_batch_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "BATCH_REQUESTS", 2)
    model = ServiceModel(times_s=np.ones(1), batch_share={2: 0.5})
    assert queue(np.zeros(4), np.ones(4), model, workers=1).tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_pause_of_the_machine_holds_requests_up() -> None:
    calm = ServiceModel(times_s=np.array([1e-4]))
    paused = ServiceModel(times_s=np.array([1e-4]), pauses_s=np.array([0.05]), pauses_per_s=1.0)
    for shares in ({}, {8: 0.5}):
        of_each = [
            predict_response(
                ServiceModel(times_s=m.times_s, pauses_s=m.pauses_s, pauses_per_s=m.pauses_per_s, batch_share=shares),
                STEADY,
                rate_per_s=200.0,
                workers=1,
                replicates=12,
            ).p99_ms.value
            for m in (calm, paused)
        ]
        assert of_each[0] < 1
        assert 20 < of_each[1] < 60


def test_bursts_come_in_the_first_part_of_each_second() -> None:
    random = np.random.default_rng(3)
    times = queueing.draw_arrivals(Demand(per_s=1.0, burst_share=0.1), 50.0, (2, 1_000), random)
    assert (np.diff(times, axis=1) >= 0).all()
    assert (times % 1 <= 0.1 + 1e-9).all()
    assert times[:, -1].mean() == pytest.approx(20, rel=0.15)


def test_gaps_of_a_log_keep_their_form_at_any_rate() -> None:
    gaps = (1.0, 1.0, 1.0, 97.0) * 50
    times = queueing.draw_arrivals(Demand(per_s=1.0, gaps_us=gaps), 100.0, (4, 4_000), np.random.default_rng(4))
    assert times[:, -1].mean() == pytest.approx(40, rel=0.05)
    assert np.median(np.diff(times)) == pytest.approx(0.0004)


def test_the_network_and_the_delay_are_added_to_each_response() -> None:
    model = ServiceModel(times_s=np.array([1e-3]), delay_s=2e-3, network_s=np.array([10e-3]))
    found = predict_response(model, STEADY, rate_per_s=1.0, workers=1, replicates=8, requests=1_000)
    assert found.p50_ms.value == pytest.approx(13.0)


def test_a_small_sample_gives_a_wider_interval() -> None:
    few = ServiceModel(times_s=EXPONENTIAL.times_s[:200])
    widths = [
        (found.p99_ms.high - found.p99_ms.low) / found.p99_ms.value
        for found in (predict_response(m, STEADY, rate_per_s=500.0, workers=1) for m in (few, EXPONENTIAL))
    ]
    assert widths[0] > 1.3 * widths[1]


def test_the_largest_rate_counts_batches_and_pauses() -> None:
    model = ServiceModel(times_s=np.array([1e-3]), batch_share={8: 0.5}, pauses_s=np.array([0.1]), pauses_per_s=1.0)
    assert model.max_rate_per_s(2) == pytest.approx(3_600)
