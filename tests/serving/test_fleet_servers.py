"""Two servers with real stores, PostgreSQL and Redis, which stop and start again under load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.monitoring import rollouts
from tests.serving.test_outage import Server, serving
from tests.serving.workers.fleets import Callers, until
from tests.storage import postgres
from tests.storage.redis_server import PASSWORD, RedisServer, redis_server

from headway.core.errors import StoreUnavailable
from headway.core.release import version_of
from headway.registry.model_registry import UpdateReason
from headway.serving.auth.keys import create_key
from headway.serving.settings.serve import ServeSection

pytestmark = [pytest.mark.slow, pytest.mark.services]
REASON = UpdateReason(who="ann", why="a test", verdict=rollouts.release().verdict)


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Postgres]:
    with postgres.server() as made:
        yield made


@pytest.fixture(scope="module")
def feed() -> Iterator[RedisServer]:
    with redis_server() as made:
        yield made


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: postgres.Postgres, feed: RedisServer
) -> Iterator[rollouts.Project]:
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    monkeypatch.setenv("HEADWAY_STORE_FEED_PASSWORD", PASSWORD)
    monkeypatch.setenv("HEADWAY_SERVE_WORKERS", "1")
    section = f'[store]\nstate = "{database.create_database()}"\nfeed = "{feed.address}"\n'
    made = rollouts.project(tmp_path, toml=rollouts.TOML + section)
    rollouts.live(made, rollouts.release(made_at="1"))
    yield made
    made.state.close()


@contextmanager
def two_servers(folder: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(folder)) for _ in range(2)]


def test_a_database_and_a_feed_that_stop_under_load_fail_no_request_and_the_servers_catch_up(
    project, tmp_path, database, feed
):
    second = rollouts.publish(project, rollouts.release(made_at="2"))
    third = rollouts.publish(project, rollouts.release(made_at="3"))
    with two_servers(tmp_path) as servers, ExitStack() as stack:
        loads = [stack.enter_context(Callers(server.port, 2, columns="ab")) for server in servers]
        project.registry.point("flights@live", second, REASON)
        for load in loads:
            load.all_by(version_of(second))
        feed.stop()
        database.stop()
        for server in servers:
            server.until_ready_with("the store for state is away")
            server.until_ready_with("the store for feed is away")
        with pytest.raises(StoreUnavailable):
            project.registry.point("flights@live", third, REASON)
        for load in loads:
            load.more()
        database.start()
        feed.start()
        project.registry.point("flights@live", third, REASON)
        for load in loads:
            load.all_by(version_of(third))
        for server in servers:
            server.until_ready_with("")
    assert [(load.failed, load.reset) for load in loads] == [([], 0), ([], 0)]


def test_a_server_that_starts_without_the_database_serves_what_it_verified_last(project, tmp_path, database):
    with serving(tmp_path) as server:
        first = server.version()
        server.stop()
    database.stop()
    try:
        with serving(tmp_path) as server:
            assert server.version() == first
            server.until_ready_with("the store for state is away")
            assert "which was verified here last" in server.stop()
    finally:
        database.start()


def test_the_rate_limit_of_a_key_holds_over_both_servers(project, tmp_path):
    key = create_key(
        project.config.path(project.config[ServeSection].keys), "shop", ["predict"], per_s=0.001, burst=400
    )
    with two_servers(tmp_path) as servers:
        first, second = (
            lambda server=server: server.ask("/v2/models/flights/infer", ROW, key=key)[0] for server in servers
        )
        assert {first() for _ in range(400)} == {200}
        answered = 0
        while second() == 200:
            answered += 1
        assert answered < 400, "the second server never heard of what the first one answered"
        assert [first(), second()] == [429, 429]
        ready = json.loads(servers[0].ask("/v2/health/ready")[1])
        assert ready == {"ready": True}


def test_the_error_budget_counts_the_requests_of_both_servers(project, tmp_path):
    with two_servers(tmp_path) as servers:
        for server in servers:
            server.until_ready_with("")
            for _ in range(30):
                server.version()
        until(lambda: all(counted(server, "headway_fleet_slo") > counted(server, "headway_slo") for server in servers))


def counted(server: Server, prefix: str) -> int:
    """Return the requests that an objective counts, on this server or on all."""
    name = f'{prefix}_requests_total{{objective="availability"}} '
    (line,) = [line for line in server.ask("/metrics")[1].splitlines() if line.startswith(name)]
    return int(float(line.removeprefix(name)))


ROW = {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "ab"]}
