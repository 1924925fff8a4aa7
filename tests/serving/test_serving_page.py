"""The examples of docs/protocol.md match the server."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
from answer_plans import log_messages, text_model
from msgspec.structs import replace
from running import TESTS, ask, bundle, loaded, release, serving
from tests.house.pages import code_blocks, read
from tests.serving.test_push_endpoint import push, pushing

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.variant import Field, Signature
from headway.evaluation.settings.answer import AnswerSection
from headway.features.online.sqlite import SqliteOnlineStore
from headway.serving.loading import load_model
from headway.storage import traffic
from headway.storage.traffic import Label

PAGE = read("docs/protocol.md")
BODY, SHOWN, BEST, *ANSWERING, WITH_ENTITIES, PUSHED, PUSH_ANSWER = code_blocks("docs/protocol.md", "json")
MESSAGES, ANSWERS, MESSAGE, ANSWER, LATER = ANSWERING
FLIGHTS = Signature(
    inputs=(Field(name="distance"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA"))),
)


def test_the_request_of_the_page_is_answered_as_documented():
    (path,) = re.findall(r"`POST (\S+)` answers", PAGE)
    promised = json.loads(SHOWN)
    with serving(loaded(signature=FLIGHTS)) as server:
        response = ask(server, path, BODY.encode()).json
    assert response.keys() == promised.keys() and response["id"] == promised["id"]
    assert [{**output, "data": len(output["data"])} for output in response["outputs"]] == [
        {**output, "data": len(output["data"])} for output in promised["outputs"]
    ]


def test_the_messages_of_the_page_are_answered_or_handed_on_as_documented(tmp_path):
    class Certain:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.array([[0.97, 0.03], [0.55, 0.45]])[: len(rows)]

    signature = Signature(
        inputs=(Field(name="message", datatype="BYTES", is_text=True),), classes=("delivery", "refund")
    )
    model = dataclasses.replace(text_model(signature), engine=Certain())
    later = json.loads(LATER)
    log_messages(tmp_path, model, later["key"])
    traffic.save_labels(tmp_path, "support", [Label(later["key"], 1.0)], who="ann")
    with serving(model, answer=AnswerSection(), state=tmp_path) as server:
        response = ask(server, "/v2/models/support/infer", MESSAGES.encode()).json
        answer = ask(server, "/v2/models/support/answer", MESSAGE.encode()).json
        best = ask(server, "/v2/models/support/infer", BEST.encode()).json["outputs"][0]
        assert ask(server, f"/v2/models/support/answers/{later['key']}").json | {"at": later["at"]} == later
    assert response["outputs"] == json.loads(ANSWERS)["outputs"]
    assert json.dumps(best["data"]) in " ".join(PAGE.split())
    version = {"model_version": answer["model_version"]}
    assert answer == json.loads(ANSWER) | version and response["model_version"] == answer["model_version"]


def test_the_request_with_entities_of_the_page_is_answered_with_looked_up_features(tmp_path):
    store = SqliteOnlineStore(tmp_path)
    store.write("weather.v1", ["JFK", "LGA"], np.array([[10.0], [20.0]]), np.array([1, 1]))
    source, features = FeatureSource(location="weather.parquet"), (Feature(name="temp"),)
    view = FeatureView(name="weather", version=1, entities=("origin",), source=source, features=features)
    made = release(signature=Signature(inputs=(Field(name="hour"), Field(name="temp"))))
    with serving(load_model(bundle(replace(made, views=(view,))), store)) as server:
        response = ask(server, "/v2/models/flights/infer", WITH_ENTITIES.encode()).json
    assert response["outputs"][0]["data"] == [8.5, 14.0]
    store.close()


def test_the_pushed_rows_of_the_page_are_stored_and_refused_as_documented(tmp_path):
    source = FeatureSource(location="weather.parquet", event_time="observed_at")
    view = FeatureView(name="weather", version=1, entities=("origin",), source=source, features=(Feature(name="temp"),))
    with pushing(tmp_path, views=(view,)) as server:
        answer = push(server, tmp_path, PUSHED.encode())
    assert (answer.status, answer.json) == (200, json.loads(PUSH_ANSWER))


def test_the_page_lists_exactly_the_statuses_of_the_server():
    folder = TESTS.parent / "src/headway/serving"
    source = "\n".join(file.read_text() for file in sorted(folder.rglob("*.py")))
    documented = {int(status) for status in re.findall(r"\b([45]\d\d)\b(?=,| if)", source)}
    shown = {int(status) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for status in row.split(", ")}
    assert documented == shown
