"""While the log has no space, answers wait, and no caller can take the place of the others; no row is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from running import loaded
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.manual_loop import BlockingEngine, ManualLoop, RecordingCall

from headway.monitoring.prediction_log import read_predictions
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.batching.executor import Batch, BatchResult
from headway.serving.loading import LatencyEstimator
from headway.serving.protocol.errors import QueueFull
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.telemetry.prediction_log import LogBuffers, PredictionLog

ECHO = loaded()


class Served:
    """A data plane whose log holds 1,000 rows or so until a test lets the log writer work."""

    def __init__(self, folder: Path, *, max_queue_rows: int = 10_000, **settings: object) -> None:
        self.folder, self.loop = folder, ManualLoop()
        self.buffers = LogBuffers(1, 65_536)
        self.log: PredictionLog = worker_log(self.buffers, **settings)
        self.now_s = 0.0
        self.log._clock = lambda: self.now_s
        inference = InferenceSettings(max_batch_rows=64, max_queue_rows=max_queue_rows, long_ms=1e9)
        self.plane = DataPlane([ECHO], loop=self.loop, settings=inference, log=self.log)
        self.writer = log_writer(folder, self.buffers)

    def send(self, *calls: RecordingCall) -> None:
        """Submit calls, and run until nothing is left to do but wait."""
        for call in calls:
            self.plane.submit(ECHO, call)
        self.loop.run_ready()

    def wait(self) -> None:
        """Let the time pass after which the data plane looks again."""
        self.loop.fire_timers()
        self.loop.run_ready()

    def fill(self) -> list[RecordingCall]:
        """Send requests until one is not answered, because the log has no space."""
        calls: list[RecordingCall] = []
        while not calls or calls[-1].replies:
            calls.append(request(len(calls)))
            self.send(calls[-1])
        assert self.plane.congested
        return calls

    def write(self) -> None:
        """Let the log writer work, and the data plane go on until nothing waits."""
        while self.plane.congested:
            assert self.writer.write()
            self.wait()
        assert self.writer.write()

    def rows(self) -> pl.DataFrame:
        """Return the rows on disk."""
        return read_predictions(self.folder, "flights", [ECHO.digest])


def request(number: int, *, rows: int = 32, caller: str = "a") -> RecordingCall:
    """Return a request whose rows hold its number."""
    return RecordingCall(*[[float(number)] * 3] * rows, key=f"{caller}-{number}", caller=caller)


@pytest.mark.slow
def test_a_full_log_delays_answers_and_loses_no_row(tmp_path):
    served = Served(tmp_path)
    calls = served.fill()
    more = [request(len(calls) + number) for number in range(200)]
    served.send(*more)
    served.wait()
    assert not any(call.replies for call in (calls[-1], *more))
    served.write()
    assert all(call.replies == 1 and call.error is None for call in (*calls, *more))
    assert [call.values for call in more] == [call.rows[:, 0].tolist() for call in more]
    rows = served.rows()
    assert len(rows) == 32 * (len(calls) + 200) and set(rows["key"]) == {call.key for call in (*calls, *more)}
    served.send(request(0))
    assert not served.plane.congested


def test_calls_that_wait_in_a_batcher_when_the_log_fills_are_answered_too(tmp_path):
    served = Served(tmp_path)
    calls = [request(number) for number in range(300)]
    served.send(*calls)
    assert 0 < sum(call.replies for call in calls) < 300
    served.write()
    assert all(call.replies == 1 for call in calls) and len(served.rows()) == 300 * 32


def test_a_caller_that_floods_a_full_log_gets_429_itself_and_the_others_are_answered(tmp_path):
    served = Served(tmp_path, max_queue_rows=640)
    served.fill()
    flood = [request(number) for number in range(100)]
    other = [request(number, rows=1, caller="b") for number in range(10)]
    served.send(*flood, *other)
    refused = [call for call in flood if call.replies]
    assert len(refused) == 81 and {type(call.error) for call in refused} == {QueueFull}
    assert "the prediction log is behind" in str(refused[0].error)
    assert served.plane.metrics.of("flights").refused == 81
    served.write()
    assert all(call.replies == 1 for call in flood) and [call.values for call in other] == [
        [float(number)] for number in range(10)
    ]


def test_with_a_log_writer_that_is_gone_the_server_answers_on_after_5_s_and_counts(tmp_path):
    served = Served(tmp_path)
    calls = served.fill()
    late = [request(number) for number in range(50)]
    served.send(*late)
    served.now_s = 5.0
    while served.plane.congested:
        served.wait()
    assert all(call.replies == 1 and call.error is None for call in (*calls, *late))
    assert served.log._lost == {"flights": 32 * 51}
    assert served.writer.write()
    again = request(0)
    served.send(again)
    assert again.replies == 1 and not served.plane.congested


@pytest.mark.slow
def test_a_canary_in_shadow_and_a_batch_on_a_thread_wait_as_well(tmp_path):
    gate = BlockingEngine()
    slow = dataclasses.replace(ECHO, digest="sha256:" + "b" * 64, engine=gate, latency=LatencyEstimator(5e9, 5e9))
    served = Served(tmp_path)
    served.plane.set_split(TrafficSplit(live=ECHO, canary=dataclasses.replace(ECHO, digest="sha256:" + "c" * 64)))
    calls = served.fill()
    served.write()
    assert all(call.replies == 1 for call in calls)
    assert len(read_predictions(tmp_path, "flights", ["sha256:" + "c" * 64])) == 32 * len(calls)
    served.plane.set_model(slow)
    gate.let.release(1000)
    threaded = [request(number) for number in range(100)]
    for call in threaded:
        served.plane.submit(slow, call)
    while not all(call.replies for call in threaded):
        served.writer.write()
        served.loop.fire_timers()
        if not all(call.replies for call in threaded):
            served.loop.ready.get(timeout=10)()
    served.plane.close()
    served.writer.write()
    assert len(read_predictions(tmp_path, "flights", [slow.digest])) == 3200


def test_a_defect_while_answers_wait_does_not_stop_the_others(tmp_path):
    served = Served(tmp_path)
    held = served.fill()[-1]
    held.answer = lambda *_: 1 / 0
    good = request(7)
    served.send(good)
    assert served.writer.write()
    with pytest.raises(ZeroDivisionError):
        served.wait()
    served.write()
    assert good.values == [7.0] * 32


def test_a_log_that_samples_never_delays_an_answer(tmp_path):
    served = Served(tmp_path, log_mode="sample")
    calls = [request(number) for number in range(500)]
    for call in calls:
        served.send(call)
        assert call.replies == 1
    assert not served.plane.congested and served.writer.write()
    rows = served.rows()
    assert 0 < len(rows) < 500 * 32 and set(rows["rate"]) > {1.0, 0.25}
    assert len(rows) + served.log._dropped["flights"] + served.log._lost["flights"] == 500 * 32


@pytest.mark.parametrize("rows", [1, 5000])
def test_one_request_larger_than_the_log_is_answered_once_it_is_written(tmp_path, rows):
    served = Served(tmp_path)
    call = request(3, rows=rows)
    served.send(call)
    served.write()
    assert call.values == [3.0] * rows and len(served.rows()) == rows
    assert np.isfinite(served.rows()["latency_us"].to_numpy()).all()


def test_a_second_result_that_waits_is_answered_in_its_turn_and_asks_for_no_second_timer(tmp_path):
    served = Served(tmp_path)
    held = served.fill()[-1]
    timers = len(served.loop.timers)
    late = request(7)
    batch = Batch(calls=[late], numbers=np.array([7]))
    served.plane._deliver(
        BatchResult(model=ECHO, batch=batch, ended_ns=0, rows=late.rows, answers=late.rows.mean(1, keepdims=True))
    )
    assert len(served.loop.timers) == timers and not late.replies
    served.write()
    assert held.replies == late.replies == 1
