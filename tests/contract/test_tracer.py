"""What every tracer must do: take requests without waiting and without an error, though nobody receives them."""

from __future__ import annotations

import socket
import time

import pytest

from headway.core import plugins
from headway.core.doors import Asked


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.names("tracer"))
def test_it_takes_requests_though_nobody_receives_them(name):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    tracer = plugins.load_tracer(name)(f"http://127.0.0.1:{port}")
    asked = Asked(
        what="infer",
        model="m",
        id="",
        key="",
        status=200,
        at_ns=time.time_ns(),
        took_ns=9_000,
        queue_ns=1_000,
        engine_ns=5_000,
        traceparent="not one",
    )
    began = time.perf_counter()
    for _ in range(5_000):
        tracer.keep(asked)
    assert time.perf_counter() - began < 5
    began = time.perf_counter()
    tracer.close()
    assert time.perf_counter() - began < 10
