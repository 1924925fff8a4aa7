"""Servers as their metrics show them: what is read of a real server, sums, differences, percentiles and burn rates."""

from __future__ import annotations

import math
import socket
import time

import pytest
from tests.ports import free_port
from tests.serving import running
from tests.serving.running import ask, body_of, loaded, open_authenticator, serving

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.monitoring import servers
from headway.monitoring.servers import (
    ServerMetrics,
    ServerReader,
    burning,
    count_traffic,
    metrics_key,
    objectives,
    parse_metrics,
    percentile,
    read_server,
    server_addresses,
)
from headway.monitoring.settings.ui import UiSection
from headway.serving.auth.keys import create_key
from headway.serving.settings.serve import ServeSection


def config(*addresses: str) -> Config:
    """A project whose servers have these addresses."""
    return Config(UiSection(servers=addresses))


def metrics(text: str, *, address: str = "http://a", at_s: float = 0.0) -> ServerMetrics:
    """What a server with this text of metrics was at a time."""
    return ServerMetrics(address=address, at_s=at_s, samples=parse_metrics(text))


def counted(requests: int, *, fast: int, address: str = "http://a", at_s: float = 0.0) -> ServerMetrics:
    """A server that answered so many requests, `fast` of them within 1 ms and the others within 10 ms."""
    bucket = 'headway_request_seconds_bucket{model="flights",le='
    return metrics(
        f'headway_requests_total{{model="flights"}} {requests}\nheadway_failed_requests_total{{model="flights"}} 2\n'
        f'{bucket}"0.001"}} {fast}\n{bucket}"0.01"}} {requests}\n{bucket}"+Inf"}} {requests}\n',
        address=address,
        at_s=at_s,
    )


def test_samples_are_read_with_their_labels_and_everything_else_is_passed_over():
    found = parse_metrics('# HELP a b\na{m="x\\"y\\n",n="\\\\"} 1\na 2e3\nb{} +Inf\nc one\n???\n')
    assert found == {"a": [({"m": 'x"y\n', "n": "\\"}, 1.0), ({}, 2000.0)], "b": [({}, math.inf)]}


def test_the_traffic_of_a_real_server_is_what_it_was_sent():
    with serving(loaded()) as server:
        for _ in range(3):
            ask(server, "/v2/models/flights/infer", body_of((1.0, 2.0, 3.0)))
        ask(server, "/v2/models/flights/infer", b"not json")
        seen = read_server(server.address)
        assert not seen.problem
        assert seen.models == {"flights": running.loaded().version}
        traffic = count_traffic("flights", [seen])
    assert (traffic.requests, traffic.rows, traffic.errors) == (3, 3, 0)
    assert sum(count for _, count in traffic.latency) == 3
    assert traffic.p99 is None
    assert (traffic.per_s, traffic.batch_requests) == (None, 1.0)
    assert seen.total("headway_errors_total", code="400") == 1


def test_metrics_that_need_a_key_are_read_with_one(tmp_path):
    key = create_key(tmp_path / "keys.toml", "dashboard", ["metrics"])
    closed = open_authenticator(tmp_path / "keys.toml", ServeSection(metrics_need_key=True))
    with serving(loaded(), authenticator=closed) as server:
        assert read_server(server.address, key=key).models
        assert read_server(server.address, key="hw_other").problem == (
            "it refuses to show its metrics: set HEADWAY_METRICS_KEY"
        )


def test_a_server_that_is_not_there_is_shown_as_that():
    assert read_server(f"http://127.0.0.1:{free_port()}").problem == "it refused the connection"
    assert read_server("http://nowhere.invalid").problem == "it cannot be reached"


def test_something_else_at_the_address_is_not_a_server(monkeypatch):
    monkeypatch.setattr(servers, "TIMEOUT_S", 0.2)
    with serving(loaded()) as server:
        assert read_server(f"{server.address}/v2/health").problem == "it answers 404"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = read_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert found.problem == "it did not answer within 0.2 s"


def test_several_servers_are_summed_and_one_without_metrics_is_left_out():
    away = ServerMetrics(address="http://c", at_s=0.0, problem="it refused the connection")
    found = count_traffic("flights", [counted(600, fast=590), counted(400, fast=400, address="http://b"), away])
    assert (found.requests, found.errors) == (1000, 4)
    assert dict(found.latency) == {0.001: 990, 0.01: 10, math.inf: 0}


def test_a_difference_counts_what_came_since_and_a_restarted_server_from_zero():
    before = {"http://a": counted(1000, fast=900), "http://b": counted(5000, fast=5000, address="http://b")}
    now = [counted(1600, fast=1500, at_s=30.0), counted(20, fast=10, address="http://b", at_s=30.0)]
    found = count_traffic("flights", now, before)
    assert (found.requests, found.seconds, found.per_s) == (620, 30.0, 620 / 30)
    assert dict(found.latency) == {0.001: 610, 0.01: 10, math.inf: 0}
    assert count_traffic("flights", now, {}).requests == 0


def test_a_percentile_lies_between_edges_and_carries_its_count():
    assert percentile({0.001: 458}) is None
    clear = percentile({0.001: 10_000, 0.005: 500, math.inf: 0})
    assert clear is not None
    assert (clear.low_s, clear.high_s, clear.n_requests, str(clear)) == (0.001, 0.005, 10_500, "1 to 5 ms")
    unclear = percentile({0.001: 990, 0.005: 5, 0.01: 5})  # the interval reaches over an edge
    assert unclear is not None
    assert str(unclear) == "below 10 ms"
    slow = percentile({0.001: 500, math.inf: 500})
    assert str(slow) == "above 1 ms"


def burn(window: str, rate: float, *, prefix: str = "headway_slo") -> str:
    return f'{prefix}_burn{{objective="latency",window="{window}"}} {rate}\n'


@pytest.mark.parametrize(
    ("rates", "bad", "fires"),
    [
        ({"1h": 15.0, "5m": 20.0}, 100, True),
        ({"1h": 15.0, "5m": 2.0}, 100, False),
        ({"6h": 7.0, "30m": 7.0}, 100, True),
        ({"1h": 15.0, "5m": 20.0}, 3, False),
    ],
)
def test_a_budget_burns_if_two_windows_show_it_on_enough_requests(rates, bad, fires):
    text = "".join(burn(window, rate) for window, rate in rates.items())
    text += (
        f'headway_slo_requests_total{{objective="latency"}} 1000\nheadway_slo_bad_total{{objective="latency"}} {bad}\n'
    )
    seen = metrics(text + 'headway_slo_allowed{objective="latency"} 0.01\n')
    assert objectives(seen) == {"latency": (1000.0, float(bad), 0.01)}
    assert bool(burning(seen)) is fires


def test_the_budget_of_all_servers_comes_before_that_of_one():
    text = burn("1h", 0.5, prefix="headway_fleet_slo") + burn("1h", 30.0)
    assert servers.burn_rates(metrics(text)) == {"latency": {"1h": 0.5}}


def test_the_servers_are_those_of_the_settings_else_the_port_of_serve():
    assert server_addresses(config("http://a:1", "http://b:1")) == ("http://a:1", "http://b:1")
    assert server_addresses(Config(ServeSection(port=0))) == ()
    assert server_addresses(Config(ServeSection(tls_certificate="c.pem"))) == ("https://127.0.0.1:8080",)


def test_the_key_is_read_from_the_environment_or_from_a_file(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    assert metrics_key({}) == ""
    assert metrics_key({"HEADWAY_METRICS_KEY": "other"}) == "other"
    assert metrics_key({"HEADWAY_METRICS_KEY_FILE": str(tmp_path / "key")}) == "secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        metrics_key({"HEADWAY_METRICS_KEY_FILE": str(tmp_path / "none")})


def test_a_reader_without_servers_or_with_a_missing_key_file_shows_that(monkeypatch, tmp_path):
    assert ServerReader(Config(ServeSection(port=0))).latest() == ()
    monkeypatch.setenv("HEADWAY_METRICS_KEY_FILE", str(tmp_path / "none"))
    reader = ServerReader(config("http://127.0.0.1:1"))
    assert [one.problem for one in reader.read()] == ["the file with the API key for /metrics cannot be read"]


def test_a_reader_shows_the_traffic_between_two_readings(monkeypatch):
    monkeypatch.setattr(servers, "SCRAPE_S", 0.05)
    with serving(loaded()) as server:
        reader = ServerReader(config(server.address))
        try:
            assert reader.before(60) is None
            assert reader.traffic("flights", seconds=60) is None
            assert [one.problem for one in reader.latest()] == [""]
            ask(server, "/v2/models/flights/infer", body_of((1.0, 2.0, 3.0)))
            deadline = time.monotonic() + 30
            while (found := reader.traffic("flights", seconds=60)) is None or not found.requests:
                assert time.monotonic() < deadline
            assert found.requests == 1
            assert found.seconds
        finally:
            reader.close()
