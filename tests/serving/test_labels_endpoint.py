"""Labels over HTTP: on disk before they are acknowledged, and rejected with the reason."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace
from running import Answer, Peer, Running, ask, bundle, collector, release, request, serving
from tests.serving.plain_client import post

from headway.serving.http import labels as endpoint
from headway.serving.loading import load_model
from headway.storage import segments, traffic

PATH = "/v2/models/flights/labels"


@contextmanager
def labeling(folder: Path, *, queue_bytes: int = 1 << 20, task: str = "binary") -> Iterator[Running]:
    """Start a server that accepts labels."""
    record = release()
    with serving(load_model(bundle(replace(record, variant=replace(record.variant, task=task))))) as server:
        soon, overload = server.loop.call_soon_threadsafe, server.listener.overload
        with closing(collector(folder, soon, queue_bytes=queue_bytes, overload=overload)) as labels:
            server.listener._state.application._labels = labels
            yield server


class Disk:
    """A disk that writes labels only while it is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.begun = threading.Event(), threading.Event()
        self._save = traffic.save_labels
        monkeypatch.setattr(traffic, "save_labels", self._wait)

    def _wait(self, *arguments: object, **more: object) -> int:
        self.begun.set()
        assert self.free.wait(10)
        return self._save(*arguments, **more)


def label(key: str, value: float = 1) -> bytes:
    return request(PATH, json.dumps({"labels": [{"key": key, "label": value}]}).encode())


def read_all(peers: list[Peer]) -> list[Answer]:
    return [peer.read_answer() for peer in peers]


def stored_labels(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_ipc_stream(path) for path in segments.segments(traffic.labels_folder(folder, "flights"))])


def test_labels_are_on_disk_once_they_are_acknowledged(tmp_path):
    with labeling(tmp_path) as server:
        answer = post(server.port, PATH, {"labels": [{"key": "a", "label": 1}, {"key": "é", "label": 0}]})
        assert (answer.status, answer.json) == (200, {"kept": 2})
        table = stored_labels(tmp_path)
    assert table.select("key", "label", "who").rows() == [("a", 1.0, "endpoint"), ("é", 0.0, "endpoint")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"labels": [{"key": "a"}]}, "missing required field `label`"),
        ({"labels": [{"key": "a", "label": "yes"}]}, "Expected `float`"),
        ({"labels": [{"key": "a", "label": "yes"}]}, "a label is 0 or 1"),
        ({"labels": [{"key": "a", "label": 1}, {"key": "b", "label": 7}]}, "label 1 is 7, expected 0 or 1"),
        ({"labels": [{"key": "", "label": 1}]}, "a label has no key"),
        (
            {"labels": [{"key": "a", "label": 1}, {"key": "é" * 129, "label": 1}]},
            "the key of label 1 has more than 256 bytes",
        ),
        ([], "holds no labels"),
    ],
)
def test_invalid_labels_are_rejected_and_nothing_is_stored(tmp_path, body, message):
    with labeling(tmp_path) as server:
        answer = post(server.port, PATH, body)
    assert answer.status == 400 and message in answer.json["error"]
    assert not traffic.labels_folder(tmp_path, "flights").exists()


def test_labels_of_an_unknown_model_are_404_and_a_get_is_405(tmp_path):
    with labeling(tmp_path) as server:
        assert post(server.port, "/v2/models/hotels/labels", {"labels": []}).status == 404
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", PATH)
        assert connection.getresponse().status == 405
        connection.close()


def test_an_empty_list_of_labels_writes_no_segment(tmp_path):
    with labeling(tmp_path) as server:
        assert post(server.port, PATH, {"labels": []}).json == {"kept": 0}
    assert not traffic.labels_folder(tmp_path, "flights").exists()


def test_a_full_disk_is_503_and_logged_once(tmp_path, caplog):
    (tmp_path / "labels").write_text("no folder")
    with labeling(tmp_path) as server:
        for _ in range(3):
            assert post(server.port, PATH, {"labels": [{"key": "a", "label": 1}]}).status == 503
    assert caplog.text.count("labels of flights were not stored") == 1 and "Traceback" not in caplog.text


def test_a_defect_is_500_without_details(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(traffic, "save_labels", broken)
    with labeling(tmp_path) as server:
        answer = post(server.port, PATH, {"labels": [{"key": "a", "label": 1}]})
    assert answer.status == 500 and "inside" not in answer.json["error"]


def test_labels_of_many_requests_are_written_together_and_each_is_acknowledged_with_its_number(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with labeling(tmp_path, task="regression") as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server)) for _ in range(20)]
        peers[0].send_bytes(label("k0"))
        assert disk.begun.wait(10)
        for number, peer in enumerate(peers[1:], 1):
            peer.send_bytes(label(f"k{number}") + label("again", number))
        server.turn()
        disk.free.set()
        assert [answer.json for answer in read_all(peers)] == [{"kept": 1}] * 20
        assert [answer.json for answer in read_all(peers[1:])] == [{"kept": 1}] * 19
        table = stored_labels(tmp_path)
        assert len(list(segments.segments(traffic.labels_folder(tmp_path, "flights")))) <= 3
    assert set(table["key"]) == {"again", *(f"k{number}" for number in range(20))}
    assert table.filter(pl.col("key") == "again")["label"].to_list() == [float(number) for number in range(1, 20)]


def test_one_invalid_request_does_not_fail_those_written_with_it(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with labeling(tmp_path) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server)) for _ in range(3)]
        for peer, key in zip(peers, ("first", "", "last"), strict=True):
            peer.send_bytes(label(key))
            server.turn()
        disk.free.set()
        assert [answer.status for answer in read_all(peers)] == [200, 400, 200]
    assert stored_labels(tmp_path)["key"].to_list() == ["first", "last"]


def test_too_many_waiting_labels_are_429_counted_and_accepted_again_later(tmp_path, monkeypatch, caplog):
    disk = Disk(monkeypatch)
    with labeling(tmp_path, queue_bytes=4096) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server)) for _ in range(12)]
        for number, peer in enumerate(peers):
            peer.send_bytes(label(f"k{number}"))
            server.turn()
        refused = [peer.read_answer() for peer in peers[4:]]
        assert {(answer.status, answer.headers["Retry-After"]) for answer in refused} == {(429, "1")}
        assert "too many labels wait" in refused[0].json["error"]
        disk.free.set()
        assert {answer.status for answer in read_all(peers[:4])} == {200}
        assert peers[5].send_bytes(label("late")).read_answer().status == 200
        lines = ask(server, "/metrics").body.decode().splitlines()
    assert 'headway_overload_refused_total{limit="label_queue_mb"} 8' in lines
    assert caplog.text.count("too many labels wait to be written") == 1


def test_labels_larger_than_the_queue_are_accepted_if_none_wait(tmp_path):
    with labeling(tmp_path, queue_bytes=1024) as server:
        body = {"labels": [{"key": f"k{number}", "label": 0} for number in range(500)]}
        assert post(server.port, PATH, body).json == {"kept": 500}


def test_accepted_labels_are_stored_and_answered_when_the_server_closes(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "_PAUSE_S", 3600)
    with labeling(tmp_path) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server)) for _ in range(2)]
        assert peers[0].send_bytes(label("first")).read_answer().status == 200
        peers[1].send_bytes(label("second"))
        server.turn()
        server.listener._state.application._labels.close()
        assert peers[1].read_answer().json == {"kept": 1}
    assert stored_labels(tmp_path)["key"].to_list() == ["first", "second"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_labels_that_are_not_declared_as_json_are_refused(tmp_path, kind):
    with labeling(tmp_path) as server:
        answer = ask(server, PATH, b'{"labels": [{"key": "a", "label": 1}]}', headers=[f"Content-Type: {kind}"])
    assert answer.status == 415 and "application/json" in answer.json["error"]
    assert not traffic.labels_folder(tmp_path, "flights").exists()


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
def test_a_json_type_may_have_parameters_and_a_suffix(tmp_path, kind):
    with labeling(tmp_path) as server:
        answer = ask(server, PATH, b'{"labels": [{"key": "a", "label": 1}]}', headers=[f"Content-Type: {kind}"])
    assert answer.json == {"kept": 1}
