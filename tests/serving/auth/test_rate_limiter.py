"""Rate limits of keys: exact for one worker, and not exceeded over all workers together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.serving.auth.authenticator import RateLimiter, rate_limit

S = 1_000_000_000


def workers(n: int) -> list[RateLimiter]:
    """Return the limiters of n workers, which share an array."""
    shared = np.zeros((n, 4), dtype=np.int64)
    return [RateLimiter(shared, worker=number) for number in range(n)]


def test_the_burst_passes_at_once_then_one_request_per_interval():
    (limiter,) = workers(1)
    limit = rate_limit(10, 3)
    assert [limiter.wait_ns(1, limit, now_ns=S) for _ in range(4)] == [0, 0, 0, S // 10]
    assert limiter.wait_ns(1, limit, now_ns=S + S // 10) == 0
    assert limiter.wait_ns(1, limit, now_ns=S + S // 10) == S // 10


def test_without_a_burst_the_requests_of_one_second_pass_at_once_and_at_minimum_one():
    for per_s, burst in ((5.0, 5), (0.1, 1)):
        (limiter,) = workers(1)
        passed = [limiter.wait_ns(0, rate_limit(per_s, 0), now_ns=S) for _ in range(10)]
        assert passed.count(0) == burst


def test_one_key_does_not_wait_for_another():
    (limiter,) = workers(1)
    limit = rate_limit(1, 1)
    assert [limiter.wait_ns(column, limit, now_ns=S) for column in (1, 1, 2)] == [0, S, 0]


def test_a_request_accepted_by_one_worker_counts_in_all_workers():
    for n in (2, 3, 16):
        paces, limit = workers(n), rate_limit(10, 8)
        assert sum(paces[turn % n].wait_ns(1, limit, now_ns=S) == 0 for turn in range(100)) == 8


def test_the_entry_of_a_replaced_worker_still_counts():
    shared, limit = np.zeros((2, 2), dtype=np.int64), rate_limit(1, 1)
    assert RateLimiter(shared, worker=0).wait_ns(1, limit, now_ns=S) == 0
    assert RateLimiter(shared, worker=0).wait_ns(1, limit, now_ns=S) == S


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, S)), min_size=1, max_size=200),
    st.integers(1, 20),
    st.integers(1, 10),
)
@settings(max_examples=100, deadline=None)
def test_three_workers_together_equal_one_token_bucket(requests, per_s, burst):
    paces, limit = workers(3), rate_limit(per_s, burst)
    now, tokens, last = S, burst * limit.interval_ns, S
    for worker, later in requests:
        now += later
        tokens, last = min(burst * limit.interval_ns, tokens + now - last), now
        passes = tokens >= limit.interval_ns
        assert (paces[worker].wait_ns(1, limit, now_ns=now) == 0) == passes
        tokens -= limit.interval_ns if passes else 0
