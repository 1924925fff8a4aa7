"""Adaptive batching: short batches on the loop, long ones on a thread that delays nothing else."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from running import MIXED, Peer, ask, body_of, loaded, request, serving
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.manual_loop import BlockingEngine, ManualLoop, RecordingCall, run_batches

from headway.core.errors import EngineError
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.loading import LatencyEstimator, LoadedModel
from headway.serving.protocol.errors import DeadlineExceeded, QueueFull
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.settings.serve import ServeSection
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

ECHO = loaded()
LONG = LatencyEstimator(1e9, 1e9)
SHORT = LatencyEstimator(0.0, 0.0)


def blocking_model(**overrides: object) -> tuple[BlockingEngine, LoadedModel]:
    """Return a model known to be slow, whose engine blocks until it is released."""
    gate = BlockingEngine()
    return gate, dataclasses.replace(ECHO, **{"engine": gate, "latency": LONG, **overrides})


def plane_of(release: LoadedModel, **overrides: object) -> tuple[ManualLoop, DataPlane]:
    """Return a data plane with this model, on a loop that the test runs."""
    loop = ManualLoop()
    log = overrides.pop("log", None)
    return loop, DataPlane(
        [release], loop=loop, settings=InferenceSettings(**{"max_batch_rows": 8, **overrides}), log=log
    )


def test_a_latency_estimate_follows_the_median():
    latency = LatencyEstimator(100.0, 10.0)
    assert (latency.expected_ns(1), latency.expected_ns(100)) == (100.0, 1000.0)
    for _ in range(100):
        latency.add(1, 10_000)
        latency.add(8, 8 * 1_000)
    assert 9_500 < latency.expected_ns(1) < 10_500
    assert 95_000 < latency.expected_ns(100) < 105_000
    latency.add(1, 10**12)
    assert latency.expected_ns(1) < 11_500


def test_latency_is_measured_when_a_release_is_loaded():
    assert 0 < ECHO.latency.expected_ns(1) < 1e8


def test_calls_that_arrive_during_a_long_batch_form_the_next_batch():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    calls = [RecordingCall([float(number)] * 3) for number in range(6)]
    plane.submit(release, calls[0])
    loop.run_ready()
    assert gate.began.get(timeout=60) == 1
    for call in calls[1:]:
        plane.submit(release, call)
    loop.run_ready()
    assert [call.values for call in calls] == [None] * 6
    gate.let.release(2)
    loop.run_until(lambda: calls[0].replies == 1)
    loop.run_until(lambda: bool(loop.timers))
    loop.fire_timers()
    loop.run_until(lambda: calls[-1].replies == 1)
    assert gate.sizes == [1, 5]
    assert [call.values for call in calls] == [[float(number)] for number in range(6)]
    plane.close()


def test_a_batch_on_a_thread_respects_the_row_limit():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    calls = [RecordingCall(*[[float(number)] * 3] * 3) for number in range(5)]
    for call in calls:
        plane.submit(release, call)
    gate.let.release(3)
    loop.run_until_with_timers(lambda: calls[-1].replies == 1)
    assert gate.sizes == [6, 6, 3]
    plane.close()


def test_a_batcher_lingers_only_for_the_callers_it_just_answered():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    calls = [RecordingCall([float(number)] * 3) for number in range(4)]
    gate.let.release(2)
    for call in calls[:2]:
        plane.submit(release, call)
    loop.run_until(lambda: bool(loop.timers))
    assert loop.timers[0].delay == pytest.approx(2 / 16)
    plane.submit(release, calls[2])
    loop.run_ready()
    assert gate.sizes == [2] and not loop.timers[0].cancelled
    plane.submit(release, calls[3])
    assert loop.timers[0].cancelled
    loop.run_until(lambda: calls[3].replies == 1)
    assert gate.sizes == [2, 2]
    plane.close()


def test_a_batcher_that_lingered_in_vain_becomes_idle_and_starts_again():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    calls = [RecordingCall([float(number)] * 3) for number in range(3)]
    gate.let.release(3)
    for call in calls[:2]:
        plane.submit(release, call)
    loop.run_until(lambda: bool(loop.timers))
    loop.fire_timers()
    plane.submit(release, calls[2])
    loop.run_until(lambda: calls[2].replies == 1)
    assert gate.sizes == [2, 1]
    plane.close()


def test_a_single_caller_never_waits():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    gate.let.release(3)
    for number in range(3):
        call = RecordingCall([float(number)] * 3)
        plane.submit(release, call)
        loop.run_until(lambda call=call: call.replies == 1)
        loop.run_ready()
    assert loop.timers == [] and gate.sizes == [1, 1, 1]
    plane.close()


def test_a_slow_model_delays_neither_health_checks_nor_another_model():
    gate, release = blocking_model()
    with serving(release, loaded(name="other")) as server, Peer(server) as peer:
        peer.send_bytes(request(body=body_of([7, 7, 7])))
        assert gate.began.get(timeout=60) == 1
        assert ask(server, "/v2/health/live").json == {"live": True}
        assert ask(server, "/v2/models/other/infer", body_of([1, 2, 6])).values == [3.0]
        gate.let.release()
        assert peer.read_answer().values == [7.0]


def test_a_replaced_release_answers_its_waiting_calls():
    gate, release = blocking_model()
    loop, plane = plane_of(release)
    first, second, late = (RecordingCall([float(number)] * 3) for number in range(3))
    plane.submit(release, first)
    loop.run_ready()
    gate.began.get(timeout=60)
    plane.submit(release, second)
    plane.set_model(dataclasses.replace(ECHO, version="new", latency=SHORT))
    gate.let.release(3)
    loop.run_until(lambda: second.replies == 1)
    assert (first.values, second.values) == ([0.0], [1.0])
    plane.submit(release, late)
    loop.run_until(lambda: late.replies == 1)
    assert late.values == [2.0]
    plane.remove("flights")
    plane.remove("flights")
    plane.close()


def test_the_log_and_a_canary_work_on_a_thread_as_well(tmp_path):
    gate, live = blocking_model()
    canary = dataclasses.replace(ECHO, digest="sha256:" + "c" * 64, latency=SHORT)
    buffers = LogBuffers(1, 1 << 20)
    log = worker_log(buffers)
    loop, plane = plane_of(live, log=log)
    for share, answered in ((0.0, (1, 0)), (0.999_999, (0, 1))):
        plane.set_split(TrafficSplit(live=live, canary=canary, share=share, salt="salt", stage=int(share > 0)))
        calls = [RecordingCall([1.0, 2.0, 6.0], key=f"k{number}") for number in range(3)]
        for call in calls:
            plane.submit(live, call)
        gate.let.release()
        loop.run_until(lambda: bool(loop.timers))
        loop.fire_timers()
        loop.run_ready()
        assert [call.values for call in calls] == [[1.0 if answered[0] else 3.0]] * 3
    plane.close()
    log_writer(tmp_path, buffers).write()
    found = [rows_of(tmp_path, model) for model in (live, canary)]
    assert [rows["answered"].to_list() for rows in found] == [[1] * 3 + [0] * 3, [0] * 3 + [1] * 3]
    assert found[0]["request"].to_list() == found[1]["request"].to_list()


def rows_of(folder, release):
    paths = segments.segments(traffic.log_folder(folder, "flights", release.digest))
    return pl.concat([pl.read_ipc_stream(path) for path in paths]).sort("request")


def test_a_slow_canary_moves_the_batch_to_a_thread():
    _, plane = plane_of(dataclasses.replace(ECHO, latency=SHORT))
    live = plane.find("flights")
    assert plane.expected_ns(live, 5) == 0
    plane.set_split(TrafficSplit(live=live, canary=dataclasses.replace(ECHO, digest="c", latency=LONG)))
    assert plane.expected_ns(live, 5) == 5e9
    plane.remove("flights")
    assert plane.expected_ns(live, 5) == 0


def test_a_batch_of_many_values_runs_on_a_thread_that_also_encodes_many_outputs():
    loop, plane = plane_of(dataclasses.replace(ECHO, latency=SHORT))
    few, many = RecordingCall(*[[1.0] * 3] * 10_000), RecordingCall(*[[2.0] * 3] * 20_000)
    plane.submit(plane.find("flights"), few)
    loop.run_ready()
    assert (few.values, few.prepared_on) == ([1.0] * 10_000, "")
    plane.submit(plane.find("flights"), many)
    loop.run_until(lambda: many.replies == 1)
    assert (many.values, many.prepared_on) == ([2.0] * 20_000, "batcher")


def test_decoding_rows_again_for_a_canary_counts_towards_the_time_of_a_batch():
    _, plane = plane_of(dataclasses.replace(ECHO, latency=SHORT))
    other = loaded(name="mixed", signature=MIXED)
    plane.set_split(TrafficSplit(live=plane.find("flights"), canary=dataclasses.replace(other, latency=SHORT)))
    assert plane.expected_ns(plane.find("flights"), 10_000) > 1e6


def test_a_defect_of_the_server_leaves_no_caller_without_an_answer(caplog):
    calls = [RecordingCall([1.0] * 3), RecordingCall([2.0] * 3)]
    broken = SimpleNamespace(find=lambda rows: 1 / 0)
    plane = run_batches(dataclasses.replace(ECHO, validator=broken), *calls, contract="mark")
    assert [type(call.error) for call in calls] == [ZeroDivisionError] * 2
    assert "a batch of 2 calls failed" in caplog.text
    again = RecordingCall([3.0] * 3)
    plane.submit(plane.find("flights"), again)
    plane._loop.run_ready()
    assert again.replies == 1


def test_calls_beyond_the_queue_limit_are_refused_at_once_and_counted():
    loop, plane = plane_of(dataclasses.replace(ECHO, latency=LatencyEstimator(0, 1e9)), max_queue_rows=4, long_ms=1e9)
    release = plane.find("flights")
    calls = [RecordingCall(*[[float(number)] * 3] * 2) for number in range(4)]
    for call in calls:
        plane.submit(release, call)
    assert [type(call.error) for call in calls] == [type(None)] * 2 + [QueueFull] * 2
    assert calls[2].error.retry_s == 4
    assert str(calls[2].error).startswith("the queue is full: 4 rows wait, the limit is 4")
    loop.run_ready()
    assert [call.values for call in calls[:2]] == [[0.0, 0.0], [1.0, 1.0]]
    assert plane.metrics.of("flights").refused == 2


def test_a_request_larger_than_the_queue_is_accepted_if_nothing_waits():
    call = RecordingCall(*[[5.0] * 3] * 9)
    run_batches(ECHO, call, max_queue_rows=4)
    assert call.values == [5.0] * 9


def test_expired_calls_are_not_executed_and_are_counted():
    gate, release = blocking_model(latency=SHORT)
    loop, plane = plane_of(release)
    now = time.perf_counter_ns()
    late = [RecordingCall([1.0] * 3, deadline_ns=now - 1) for _ in range(2)]
    timely = [RecordingCall([2.0] * 3, deadline_ns=now + 10**12), RecordingCall([3.0] * 3)]
    for call in (late[0], timely[0], late[1], timely[1]):
        plane.submit(release, call)
    gate.let.release()
    loop.run_ready()
    assert gate.sizes == [2]
    assert [type(call.error) for call in late] == [DeadlineExceeded] * 2
    assert [call.values for call in timely] == [[2.0], [3.0]]
    assert plane.metrics.of("flights").expired == 2


def test_a_batch_of_only_expired_calls_does_not_run():
    gate, release = blocking_model(latency=SHORT)
    loop, plane = plane_of(release)
    call = RecordingCall([1.0] * 3, deadline_ns=1)
    plane.submit(release, call)
    loop.run_ready()
    assert type(call.error) is DeadlineExceeded and gate.sizes == []


def test_a_deadline_is_the_callers_or_the_servers_default():
    plane = DataPlane([], loop=ManualLoop(), settings=InferenceSettings(max_batch_rows=1, timeout_s=2.0))
    assert plane.deadline_ns(5, 0) == 2_000_000_005
    assert plane.deadline_ns(5, 7) == 7_005
    assert DataPlane([], loop=ManualLoop(), settings=InferenceSettings(max_batch_rows=1)).deadline_ns(5, 0) == 0


def test_inference_settings_are_those_of_the_server():
    settings = ServeSection(max_batch_rows=7, max_queue_rows=9, timeout_s=2.5, contract="reject", round_digits=3)
    rules = InferenceSettings.of(settings)
    assert (rules.max_batch_rows, rules.max_queue_rows, rules.timeout_s) == (7, 9, 2.5)
    assert (rules.contract, rules.round_digits, rules.long_ms) == ("reject", 3, 0.5)


def test_over_http_a_full_queue_is_429_and_a_passed_deadline_is_504():
    gate, release = blocking_model()
    timed = body_of([2, 2, 2])[:-1] + b', "parameters": {"timeout": 1}}'
    with serving(release, max_queue_rows=1) as server, Peer(server) as first, Peer(server) as second:
        first.send_bytes(request(body=body_of([1, 1, 1])))
        gate.began.get(timeout=60)
        second.send_bytes(request(body=timed))
        server.turn()
        refused = ask(server, "/v2/models/flights/infer", body_of([3, 3, 3]))
        assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 1
        gate.let.release()
        assert first.read_answer().values == [1.0]
        late = second.read_answer()
        assert late.status == 504 and "the model was not called" in late.json["error"]
        metrics = ask(server, "/metrics").body.decode()
        assert 'headway_refused_requests_total{model="flights"} 1' in metrics
        assert 'headway_expired_requests_total{model="flights"} 1' in metrics


class Numbered:
    """Returns the first value of a row; rejects a row whose second is 666, and breaks at 667."""

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        if (rows[:, 1] == 666).any():
            raise EngineError("a row holds 666")
        if (rows[:, 1] == 667).any():
            raise ZeroDivisionError("the engine broke")
        return rows[:, :1].copy()


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.0, 0.0, 666.0, 667.0])), min_size=1, max_size=40),
    st.sampled_from([SHORT, LONG]),
    st.integers(1, 16),
)
def test_every_call_receives_its_own_answer_once_on_the_loop_and_on_a_thread(sent, latency, max_rows):
    release = dataclasses.replace(ECHO, engine=Numbered(), latency=latency)
    loop, plane = plane_of(release, max_batch_rows=max_rows)
    calls = [
        RecordingCall(*[[float(number), harm, float(row)] for row in range(n)]) for number, (n, harm) in enumerate(sent)
    ]
    for call in calls:
        plane.submit(release, call)
    loop.run_until_with_timers(lambda: all(call.replies for call in calls))
    kinds = {666.0: EngineError, 667.0: ZeroDivisionError, 0.0: type(None)}
    for number, (call, (n, harm)) in enumerate(zip(calls, sent, strict=True)):
        assert call.replies == 1 and type(call.error) is kinds[harm]
        assert call.values == (None if harm else [float(number)] * n)
    plane.close()


@pytest.mark.slow
@pytest.mark.parametrize("long_ms", [1e9, 0.0])
def test_thousands_of_requests_with_failures_and_disconnects_are_never_mixed_up(long_ms):
    release = dataclasses.replace(ECHO, engine=Numbered(), latency=LatencyEstimator(1e4, 1e3))
    rng = np.random.default_rng(6)
    n_answered = 0
    with serving(release, max_batch_rows=16, long_ms=long_ms) as server:
        for run_ready in range(40):
            peers = [Peer(server) for _ in range(12)]
            harms = rng.choice([0, 0, 0, 666, 667], size=(12, 10)).tolist()
            for number, peer in enumerate(peers):
                rows = [
                    [run_ready * 1000 + number * 10 + position, harms[number][position], 1] for position in range(10)
                ]
                peer.send_bytes(b"".join(request(body=body_of(row, id=str(row[0]))) for row in rows))
            gone = rng.choice(12, size=4, replace=False).tolist()
            for number in gone:
                peers[number].__exit__()
            for number in set(range(12)) - set(gone):
                expect_own(peers[number], run_ready * 1000 + number * 10, harms[number])
                peers[number].__exit__()
                n_answered += 10
    assert n_answered == 40 * 8 * 10


def expect_own(peer: Peer, first: int, harms: list[int]) -> None:
    """Read the answers to requests that are numbered from `first`."""
    for at, harm in enumerate(harms, first):
        answer = peer.read_answer()
        assert answer.status == {0: 200, 666: 422, 667: 500}[harm]
        assert harm or (answer.values, answer.json["id"]) == ([float(at)], str(at))
