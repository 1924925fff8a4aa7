"""Labels over HTTP: on disk before they are acknowledged, and rejected with the reason."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl
import pytest
from running import Running, loaded, serving
from tests.serving.plain_client import post

from headway.serving.http.routes import LabelCollector
from headway.storage import segments, traffic

PATH = "/v2/models/flights/labels"


@contextmanager
def labeling(folder: Path) -> Iterator[Running]:
    """Start a server that accepts labels."""
    with serving(loaded()) as server, closing(LabelCollector(folder, soon=server.loop.call_soon_threadsafe)) as labels:
        server.listener._state.application._labels = labels
        yield server


def stored_labels(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_ipc_stream(path) for path in segments.segments(traffic.labels_folder(folder, "flights"))])


def test_labels_are_on_disk_once_they_are_acknowledged(tmp_path):
    with labeling(tmp_path) as server:
        answer = post(server.port, PATH, {"labels": [{"key": "a", "label": 1}, {"key": "é", "label": 0.5}]})
        assert (answer.status, answer.json) == (200, {"kept": 2})
        table = stored_labels(tmp_path)
    assert table.select("key", "label", "who").rows() == [("a", 1.0, "endpoint"), ("é", 0.5, "endpoint")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"labels": [{"key": "a"}]}, "missing required field `label`"),
        ({"labels": [{"key": "a", "label": "yes"}]}, "Expected `float`"),
        ({"labels": [{"key": "", "label": 1}]}, "a label has no key"),
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


def test_a_full_disk_is_503(tmp_path):
    (tmp_path / "labels").write_text("no folder")
    with labeling(tmp_path) as server:
        assert post(server.port, PATH, {"labels": [{"key": "a", "label": 1}]}).status == 503


def test_a_defect_is_500_without_details(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(traffic, "save_labels", broken)
    with labeling(tmp_path) as server:
        answer = post(server.port, PATH, {"labels": [{"key": "a", "label": 1}]})
    assert answer.status == 500 and "inside" not in answer.json["error"]
