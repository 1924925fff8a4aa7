"""Arrival times of requests, and the load generator that sends them."""

from __future__ import annotations

import math
import socket
import threading
from contextlib import closing, contextmanager

import numpy as np
import pytest

from headway.core.contracts import Trial
from headway.evaluation.load_generator import LOAD_SHAPES, LoadGenerator, arrival_times


@pytest.mark.parametrize("shape", LOAD_SHAPES)
def test_every_shape_has_the_mean_rate_and_its_requests_in_order(shape):
    times = arrival_times(shape, rate_per_s=500, seconds=8)
    assert len(times) == 4000 and (np.diff(times) >= 0).all() and times[0] >= 0 and times[-1] < 8


def test_bursts_come_in_the_first_tenth_of_a_second_and_a_ramp_goes_to_twice_the_rate():
    assert (arrival_times("bursts", rate_per_s=500, seconds=8) % 1.0 <= 0.1 + 1e-9).all()
    ramp = arrival_times("ramp", rate_per_s=500, seconds=8)
    assert (ramp < 4).mean() == pytest.approx(0.25, abs=0.03)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
pytestmark = pytest.mark.slow


@contextmanager
def answering(*turns):
    """Run a server that answers the n-th request with the n-th of these, then repeats the last; None closes."""
    requests = iter(range(1_000_000))

    def talk(line):
        with line:
            while line.recv(1000):
                turn = turns[min(next(requests), len(turns) - 1)]
                answer = turn() if callable(turn) else turn
                if answer is None:
                    return
                line.sendall(answer)

    def listen(bound):
        while True:
            try:
                line, _ = bound.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(line,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as bound:
        threading.Thread(target=listen, args=(bound,), daemon=True).start()
        port = bound.getsockname()[1]
        yield Trial(
            host="127.0.0.1",
            port=port,
            process=0,
            began_s=0.0,
            request=lambda rows: b"",
            answers=lambda body: np.empty(0),
        )
        bound.shutdown(socket.SHUT_RDWR)


def late():
    threading.Event().wait(0.2)
    return ANSWER


def test_a_request_that_waits_for_a_connection_counts_from_its_due_time():
    with answering(late, ANSWER) as trial, closing(LoadGenerator(trial, [b"x"], connections=1)) as caller:
        first, second = caller.open_loop([0.0, 0.01]).calls
    assert first.done_s - first.due_s >= 0.2 and second.done_s - second.due_s >= 0.18
    assert second.late_s >= 0 and second.sent_s - second.due_s - second.late_s > 0.1
    assert (second.status, second.body) == (200, b"ok")


def test_a_broken_connection_is_reopened_and_its_request_has_no_answer():
    with answering(None, ANSWER) as trial, closing(LoadGenerator(trial, [b"x"], connections=1)) as caller:
        lost, found = caller.open_loop([0.0, 0.1]).calls
    assert math.isinf(lost.done_s) and lost.status == 0 and found.status == 200


def test_in_a_closed_loop_each_connection_sends_again_once_answered():
    with answering(ANSWER) as trial, closing(LoadGenerator(trial, [b"x", b"y"], connections=2)) as caller:
        run = caller.closed_loop(0.1)
    assert len(run.calls) > 4 and {call.request for call in run.calls} == {0, 1} and run.busy > 0
    assert all(call.status == 200 and call.due_s == call.sent_s for call in run.calls)
