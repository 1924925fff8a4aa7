"""Rows of feature views over HTTP: stored before they are acknowledged, and refused by row with the reason."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from running import (
    Answer,
    Peer,
    Running,
    ask,
    body_of,
    loaded,
    open_authenticator,
    project,
    pusher_of,
    request,
    serving,
    started,
)
from tests.features.test_materialize import served
from tests.storage.redis_server import PASSWORD, redis_server

from headway.core.config import Config, load
from headway.core.contracts import OnlineStore
from headway.core.errors import DataError, StoreError
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features import catalog
from headway.features.expressions import parse_expression
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.push import push_lines
from headway.serving.auth.keys import create_key
from headway.serving.client import Client
from headway.storage.addresses import LateState, open_online, open_state

PATH = "/v2/features/weather/push"
SOURCE = FeatureSource(location="weather.parquet", event_time="at")
VIEW = FeatureView(
    name="weather",
    version=1,
    entities=("origin",),
    source=SOURCE,
    features=(Feature(name="temp"), Feature(name="sky", dtype="string")),
)
HALF = parse_expression("temp / 2")
OTHERS = (
    replace(VIEW, name="asked", entities=(), source=None, features=(Feature(name="half", expression=HALF),)),
    replace(VIEW, name="queried", sql="SELECT * FROM source"),
)
JSON, LINES = "Content-Type: application/json", "Content-Type: application/x-ndjson"


def row(origin: str, **changes: object) -> dict[str, object]:
    return {"origin": origin, "at": "2024-01-02T00:00:00Z", "temp": 1.5, "sky": "rain", **changes}


@contextmanager
def pushing(
    folder: Path,
    *,
    store: OnlineStore | None = None,
    queue_bytes: int = 1 << 20,
    views: tuple[FeatureView, ...] = (VIEW, *OTHERS),
) -> Iterator[Running]:
    """Start a server that accepts rows of the applied views, with the key `key.txt`."""
    config = Config(ProjectSection(state=str(folder / "state")))
    (folder / "key.txt").write_text(create_key(folder / "keys.toml", "station", ["push"]))
    with closing(LateState(config)) as state, closing(store or SqliteOnlineStore(folder / "online")) as opened:
        catalog.apply(state, views, who="ann")
        with serving(loaded(), authenticator=open_authenticator(folder / "keys.toml")) as server:
            soon, overload = server.loop.call_soon_threadsafe, server.listener.overload
            options = {"max_rows": 10, "queue_bytes": queue_bytes, "overload": overload}
            with closing(pusher_of(server.plane, state, opened, soon, **options)) as pusher:
                server.listener._state.application._pusher = pusher
                yield server


def key_of(folder: Path) -> str:
    return f"Authorization: Bearer {(folder / 'key.txt').read_text()}"


def push(server: Running, folder: Path, body: object, kind: str = JSON, path: str = PATH) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, path, content, method="POST", headers=[key_of(folder), kind])


def stored(folder: Path, *keys: str) -> list[list[object]]:
    with closing(SqliteOnlineStore(folder / "online")) as store:
        return served(store, *keys, view=VIEW)


class HeldStore(SqliteOnlineStore):
    """A store that writes only while it is free."""

    def __init__(self, address: Path) -> None:
        super().__init__(address)
        self.free, self.begun = threading.Event(), threading.Event()

    def write(self, *arguments: object, **more: object) -> int:
        """Wait, and write."""
        self.begun.set()
        assert self.free.wait(30)
        return super().write(*arguments, **more)


def test_rows_are_in_the_store_once_they_are_acknowledged_and_again_change_nothing(tmp_path):
    rows = [row("JFK"), row("EWR", temp=None, sky="snow"), row("JFK", at="2024-01-01T00:00:00Z", temp=9)]
    expected = [[1.5, "rain"], [None, "snow"]]
    with pushing(tmp_path) as server:
        for _ in range(2):
            answer = push(server, tmp_path, rows)
            assert answer.status == 200 and stored(tmp_path, "JFK", "EWR") == expected
            assert answer.json == {"view": "weather@v1", "rows": 3, "stored": 2, "refused": []}
        older = push(server, tmp_path, [row("JFK", at="2023-01-01T00:00:00Z")], path="/v2/features/weather%40v1/push")
        assert (older.json["rows"], older.json["stored"]) == (1, 0)
        lines = ask(server, "/metrics").body.decode().splitlines()
    assert 'headway_feature_pushed_rows_total{view="weather",result="stored"} 4' in lines
    assert 'headway_feature_pushed_rows_total{view="weather",result="older"} 3' in lines


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
def test_lines_are_refused_with_the_number_and_reason_of_the_command(tmp_path, kind):
    lines = [json.dumps(row("A")), "", "{", json.dumps(row("B", temp="warm")), json.dumps(row("C", typo=1)), "[1]"]
    body, refused = "\n".join([*lines, json.dumps(row("D"))]).encode(), []
    with closing(SqliteOnlineStore(tmp_path / "other")) as other:
        push_lines(other, VIEW, body.split(b"\n"), refuse=refused.append)
    with pushing(tmp_path) as server:
        answer = push(server, tmp_path, body, f"Content-Type: {kind}")
        metrics = ask(server, "/metrics").body.decode().splitlines()
    expected = [{"number": one.number, "reason": one.reason} for one in sorted(refused, key=lambda one: one.number)]
    assert answer.json["refused"] == expected and [one["number"] for one in expected] == [3, 4, 5, 6]
    assert (answer.status, answer.json["rows"], answer.json["stored"]) == (200, 6, 2)
    assert stored(tmp_path, "A", "D") == [[1.5, "rain"]] * 2
    assert 'headway_feature_pushed_rows_total{view="weather",result="refused"} 4' in metrics


def test_each_bad_row_of_an_array_is_refused_by_its_place(tmp_path):
    with pushing(tmp_path) as server:
        answer = push(server, tmp_path, [row("A", at="yesterday"), row("B"), 7, row("C", at="2999-01-01T00:00:00Z")])
    reasons = {one["number"]: one["reason"] for one in answer.json["refused"]}
    assert reasons.keys() == {1, 3, 4} and reasons[3] == "a line is not an object" and "in the future" in reasons[4]
    assert stored(tmp_path, "B") == [[1.5, "rain"]]


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b"{", JSON, 400, "the body holds no rows"),
        (b"", JSON, 400, "the body holds no rows"),
        ({"rows": []}, JSON, 400, "the body holds no rows"),
        (b"[" * 100_000, JSON, 400, "the body is nested more than 32 deep"),
        ([row("A")] * 11, JSON, 400, "a push has at most 10 rows, not 11"),
        (b"{}\n\n" * 11, LINES, 400, "a push has at most 10 rows, not 11"),
        (b"[" + b"1," * 500_000, LINES, 400, "a push has at most 500,000 values"),
        (b"[[" + b"1," * 500_000, JSON, 400, "at most 500,000 are decoded at once"),
        ([row("A")], "Content-Type: application/x-www-form-urlencoded", 415, "application/json"),
    ],
)
def test_a_body_without_rows_stores_nothing(tmp_path, body, kind, status, message):
    with pushing(tmp_path) as server:
        answer = push(server, tmp_path, body, kind)
    assert answer.status == status and message in answer.json["error"]
    assert not (tmp_path / "online").exists()


@pytest.mark.parametrize(
    ("view", "status", "message"),
    [
        ("wether", 404, "nearest: weather"),
        ("weather@v7", 404, "no version 'weather@v7'"),
        ("a%20b", 404, "'a b' is not a reference"),
        ("asked", 422, "is computed from the request"),
        ("queried", 422, "has a query"),
    ],
)
def test_a_view_that_is_not_there_or_not_pushed_is_named(tmp_path, view, status, message):
    with pushing(tmp_path) as server:
        answer = push(server, tmp_path, [row("A")], path=f"/v2/features/{view}/push")
    assert answer.status == status and message in answer.json["error"]


def test_only_a_key_for_pushing_may_push_even_on_loopback(tmp_path):
    with pushing(tmp_path) as server:
        everything_else = create_key(tmp_path / "keys.toml", "old", ["predict", "label", "metrics", "operate"])
        of_a_model = create_key(tmp_path / "keys.toml", "one", ["push"], models=["flights"])
        server.within(lambda: server.listener._state.application._authenticator._reload(0))
        body = json.dumps([row("A")]).encode()
        assert ask(server, PATH, body, headers=[JSON]).status == 401
        answers = {
            key: ask(server, PATH, body, headers=[JSON, f"Authorization: Bearer {key}"])
            for key in (everything_else, of_a_model)
        }
        assert [answer.status for answer in answers.values()] == [403, 403]
        assert "does not have the scope 'push'" in answers[everything_else].json["error"]
        assert "is not for all models" in answers[of_a_model].json["error"]
        assert ask(server, "/v2/models/flights/infer", body_of([1, 2, 6]), headers=[key_of(tmp_path)]).status == 403
    assert not (tmp_path / "online").exists()


def test_predictions_do_not_wait_for_a_push_and_too_many_pushes_are_429(tmp_path):
    store = HeldStore(tmp_path / "online")
    with pushing(tmp_path, store=store, queue_bytes=2048) as server, ExitStack() as stack:
        create_key(tmp_path / "keys.toml", "caller", ["predict"])
        head, body = [key_of(tmp_path), JSON], json.dumps([row("A")]).encode()
        peers = [stack.enter_context(Peer(server)) for _ in range(4)]
        for peer in peers:
            peer.send_bytes(request(PATH, body, headers=head))
            server.turn()
        assert store.begun.wait(30)
        refused = [peer.read_answer() for peer in peers[2:]]
        assert {(answer.status, answer.headers["Retry-After"]) for answer in refused} == {(429, "1")}
        assert "too many rows of feature views wait to be stored" in refused[0].json["error"]
        assert ask(server, "/v2/models/flights/ready").status == 200
        store.free.set()
        assert [peer.read_answer().json["stored"] for peer in peers[:2]] == [1, 1]
        lines = ask(server, "/metrics").body.decode().splitlines()
    assert 'headway_overload_refused_total{limit="push_queue_mb"} 2' in lines


def test_accepted_rows_are_stored_when_the_server_closes(tmp_path):
    store = HeldStore(tmp_path / "online")
    with pushing(tmp_path, store=store) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server)) for _ in range(2)]
        for peer, origin in zip(peers, "AB", strict=True):
            peer.send_bytes(request(PATH, json.dumps([row(origin)]).encode(), headers=[key_of(tmp_path), JSON]))
            server.turn()
        store.free.set()
        server.listener._state.application._pusher.close()
        assert [peer.read_answer().json["stored"] for peer in peers] == [1, 1]
    assert stored(tmp_path, "A", "B") == [[1.5, "rain"]] * 2


def test_a_store_that_does_not_answer_is_503_and_logged_once(tmp_path, caplog):
    (tmp_path / "online").write_text("no folder")
    with pushing(tmp_path) as server:
        answers = [push(server, tmp_path, [row("A")]) for _ in range(3)]
    assert {(answer.status, answer.headers["Retry-After"]) for answer in answers} == {(503, "1")}
    assert caplog.text.count("rows of weather were not stored") == 1 and "Traceback" not in caplog.text


def test_a_defect_is_500_without_details(tmp_path, caplog):
    class Broken(SqliteOnlineStore):
        def write(self, *_: object, **__: object) -> int:
            raise ZeroDivisionError("inside")

    with pushing(tmp_path, store=Broken(tmp_path / "online")) as server:
        answer = push(server, tmp_path, [row("A")])
    assert answer.status == 500 and "inside" not in answer.json["error"] and "ZeroDivisionError" in caplog.text


def test_the_client_pushes_any_number_of_rows_and_numbers_those_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.serving.client._PUSH_ROWS", 2)
    at = datetime(2024, 1, 2, tzinfo=UTC)
    rows = [row(f"K{number}", at=at, temp=np.float32(number)) for number in range(5)]
    rows[3]["at"] = "never"
    with pushing(tmp_path) as server, Client(server.address, api_key=(tmp_path / "key.txt").read_text()) as client:
        done = client.push("weather", iter(rows))
        assert (done.view, done.rows, done.stored) == ("weather@v1", 5, 4)
        assert [one.number for one in done.refused] == [4]
        assert client.push("weather", []).rows == 0
        with pytest.raises(DataError, match="no view 'wether'"):
            client.push("wether", rows)
        with pytest.raises(TypeError, match="not object"):
            client.push("weather", [row("A", temp=object())])
    assert stored(tmp_path, "K0", "K3", "K4") == [[0.0, "rain"], [None, None], [4.0, "rain"]]


def push_to_a_server(folder: Path, section: str) -> list[list[object]]:
    """Push rows to two workers over many connections; return what is stored, after a check of the metrics."""
    project(folder)
    file = folder / "headway.toml"
    file.write_text(f"{file.read_text()}workers = 2\n{section}")
    config = load(folder)
    with closing(open_state(config)) as state:
        catalog.apply(state, [VIEW], who="ann")
    key, origins = create_key(folder / "keys.toml", "station", ["push"]), [f"K{number}" for number in range(24)]

    def send(origin: str) -> int:
        with Client(address, api_key=key) as client:
            return client.push("weather", [row(origin), row(origin, temp="warm")]).stored

    process = started(folder, "flights@live")
    try:
        address = process.stdout.readline().split()[2]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(send, origins)) == [1] * len(origins)
        with Client(address) as client:
            lines = client._request("GET", "/metrics").decode().splitlines()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    for result in ("stored", "refused"):
        assert f'headway_feature_pushed_rows_total{{view="weather",result="{result}"}} {len(origins)}' in lines
    with closing(open_online(config)) as store:
        return served(store, *origins, view=VIEW)


@pytest.mark.slow
def test_workers_store_rows_in_one_table_and_count_them_together(tmp_path):
    assert push_to_a_server(tmp_path, "") == [[1.5, "rain"]] * 24


@pytest.mark.services
@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_rows_are_pushed_to_a_store_that_servers_share(tmp_path, monkeypatch, program):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    with redis_server(program) as shared:
        section = f'[store]\nonline = "{shared.address}"\n'
        assert push_to_a_server(tmp_path, section) == [[1.5, "rain"]] * 24


@pytest.mark.services
def test_a_redis_that_went_away_is_503_and_rows_are_stored_once_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    with redis_server() as shared, ExitStack() as stack:
        config = Config(ProjectSection(state=str(tmp_path)))
        config = config.having(replace(config[StoreSection], online=shared.address))
        server = stack.enter_context(pushing(tmp_path, store=open_online(config)))
        client = stack.enter_context(Client(server.address, api_key=(tmp_path / "key.txt").read_text()))
        assert client.push("weather", [row("A")]).stored == 1
        shared.stop()
        with pytest.raises(StoreError, match="does not answer"):
            client.push("weather", [row("A")])
        shared.start()
        assert client.push("weather", [row("A")]).stored == 1
