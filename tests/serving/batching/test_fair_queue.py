"""A queue gives each caller the same share, and a caller that sends more brings errors to itself only."""

from __future__ import annotations

from running import loaded
from tests.serving.manual_loop import RecordingCall

from headway.serving.batching.fair_queue import FairQueue

MODEL = loaded()


def call(caller: str, rows: int = 1) -> RecordingCall:
    """Return a call of a caller."""
    return RecordingCall(*[[1.0] * 3] * rows, caller=caller)


def queue_of(max_rows: int, *calls: RecordingCall) -> FairQueue:
    """Return a queue that has accepted these calls."""
    queue = FairQueue(max_rows)
    for added in calls:
        assert queue.add(MODEL, added) == []
    return queue


def callers(queue: FairQueue, rows: int) -> str:
    """Take calls, and return their callers."""
    return "".join(call.caller for _, call in queue.take(rows))


def test_callers_are_served_in_turn_in_any_order_of_arrival():
    queue = queue_of(100, *(call("a") for _ in range(5)), call("b"), call("c"), call("b"))
    assert callers(queue, 100) == "abcabaaa" and queue.rows == 0


def test_a_caller_with_large_requests_gets_as_many_rows_as_the_others():
    queue = queue_of(1000, *(call("a", 10) for _ in range(5)), *(call("b") for _ in range(30)))
    assert callers(queue, 30) == "a" + "b" * 10 + "a"


def test_a_caller_that_comes_later_is_not_given_what_it_did_not_send_before():
    queue = queue_of(1000, *(call("a") for _ in range(50)))
    assert callers(queue, 20) == "a" * 20
    for _ in range(20):
        queue.add(MODEL, call("b"))
    assert callers(queue, 10) == "ab" * 5 or callers(queue, 10) == "ba" * 5


def test_a_full_queue_refuses_the_last_calls_of_the_caller_with_the_most_rows():
    queue, flood = FairQueue(10), [call("a") for _ in range(12)]
    refused = [queue.add(MODEL, one) for one in flood]
    assert refused[:10] == [[]] * 10 and refused[10:] == [[(MODEL, flood[10])], [(MODEL, flood[11])]]
    assert queue.add(MODEL, call("b")) == [(MODEL, flood[9])]
    assert queue.add(MODEL, call("c", 3)) == [(MODEL, flood[8]), (MODEL, flood[7]), (MODEL, flood[6])]
    late = call("d", 9)
    assert queue.add(MODEL, late) == [(MODEL, late)]
    assert queue.rows == 10 and sorted(callers(queue, 100)) == list("aaaaaabccc"[:8])


def test_a_call_larger_than_the_queue_is_accepted_if_nothing_waits():
    queue = queue_of(4, call("a", 9))
    assert queue.rows == 9 and callers(queue, 1) == "a" and queue.rows == 0


def test_a_caller_whose_calls_were_all_refused_or_taken_can_come_again():
    queue = queue_of(2, call("a"), call("a"))
    assert callers(queue, 2) == "aa" and callers(queue, 2) == ""
    assert queue.add(MODEL, call("a")) == [] and callers(queue, 9) == "a"
