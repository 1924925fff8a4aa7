"""The servers of a model: what a real server counted, and what is not known of one that is away."""

from __future__ import annotations

import json

import pytest
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.test_servers import burn, counted, metrics
from tests.serving.running import ask, serving

from headway.reporting.text import service
from headway.serving.loading import load_model
from headway.serving.settings.slo import SloSection

INPUTS = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in "ab"]
ROW = json.dumps({"inputs": INPUTS}).encode()


def texts(table) -> list[list[str]]:
    """The rows of a table as text."""
    return [[" / ".join(line.text for line in cell) for cell in row] for row in table.rows]


def test_the_page_shows_what_the_servers_counted(tmp_path):
    project = rollouts.project(tmp_path)
    rollouts.live(project, rollouts.release())
    with serving(load_model(project.registry.resolve("flights@live"))) as server:
        for _ in range(5):
            ask(server, "/v2/models/flights/infer", ROW)
        ask(server, "/v2/models/flights/infer", b"not json")
        toml = f'{rollouts.TOML}[ui]\nservers = ["{server.address}", "http://127.0.0.1:1"]\n'
        (tmp_path / "headway.toml").write_text(toml)
        with running_dashboard(tmp_path) as served:
            page = served.visitor("viewer").get("/models/flights/service")
    project.state.close()
    assert page.status == 200
    assert "5 requests since the servers started, 0 errors" in page.words
    assert "too few requests (5)" in page.words
    assert "http://127.0.0.1:1 ✗ it refused the connection" in page.words
    assert "400 Bad Request 1" in page.words
    assert "style=" not in page.text
    assert "5 requests in 5 calls, 1.00 on average" in page.words
    assert "Requests of a call Calls Share 1 5 100.0 %" in page.words


def test_without_servers_the_page_claims_nothing_of_them(tmp_path):
    project = rollouts.project(tmp_path)
    with running_dashboard(tmp_path) as served:
        words = served.visitor("viewer").get("/models/flights/service").words
    project.state.close()
    assert "No server is known." in words
    assert "Error responses" not in words


def test_servers_are_shown_one_by_one_and_summed():
    found = texts(
        service.tabulate_servers("flights", [counted(600, fast=590), counted(400, fast=400, address="http://b")])
    )
    assert [row[0] for row in found] == ["http://a", "http://b", "All together"]
    assert [row[1] for row in found] == ["600 / 0 rows", "400 / 0 rows", "1,000 / 0 rows"]
    assert found[2][2] == "4 / 4 failed"
    assert found[2][3] == "below 10 ms (1,000 requests)"


def test_a_budget_that_is_overdrawn_is_shown_as_that():
    text = 'headway_slo_requests_total{objective="availability"} 1000\n'
    text += 'headway_slo_allowed{objective="availability"} 0.001\n' + burn("1h", 3.0).replace("latency", "availability")
    fine = metrics(text + 'headway_slo_bad_total{objective="availability"} 0\n')
    bad = metrics(text + 'headway_slo_bad_total{objective="availability"} 5\n', address="http://b")
    (row,) = texts(service.tabulate_objectives(SloSection(), [fine]))
    assert row[:4] == ["Requests neither refused nor failed / 99.9 %", "1,000", "0", "100%"]
    (row,) = texts(service.tabulate_objectives(SloSection(), [fine, bad]))
    assert row[1:4] == ["2,000", "5", "overdrawn, 2.5 times what is allowed"]
    assert row[-2] == "3.00"


def test_the_bars_end_with_the_last_bucket_that_has_requests():
    traffic = service.count_traffic("flights", [counted(1000, fast=900)])
    assert service.latency_bars(traffic, width=100) == [
        ("up to 1 ms", 900, 0.9, 100.0),
        ("up to 10 ms", 100, 0.1, pytest.approx(100 / 9)),
    ]
    assert service.latency_bars(None, width=100) == []


def test_the_bars_of_batch_sizes_are_summed_over_servers_and_absent_for_earlier_ones():
    bucket = 'headway_batch_requests_bucket{model="flights",le='
    text = f'{bucket}"1"}} 6\n{bucket}"2"}} 6\n{bucket}"4"}} 9\n{bucket}"+Inf"}} 10\n'
    traffic = service.count_traffic("flights", [metrics(text), metrics(text, address="http://b")])
    assert service.batch_bars(traffic, width=100) == [
        ("1", 12, 0.6, 100.0),
        ("2", 0, 0.0, 0.0),
        ("3 to 4", 6, 0.3, 50.0),
        ("over 4", 2, 0.1, pytest.approx(100 / 6)),
    ]
    assert service.batch_bars(service.count_traffic("flights", [counted(5, fast=5)]), width=100) == []
