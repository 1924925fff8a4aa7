"""A release with an answer plan: each response names who answers a row, why, and the log and the metrics have it."""

from __future__ import annotations

import dataclasses
import json
import struct
from contextlib import closing

import numpy as np
import polars as pl
import pytest
from answer_plans import selective_model, selective_release
from grpc_calls import grpc_client
from msgspec.structs import replace
from running import Answer, ask, body_of, loaded, serving
from tests.serving.flushed_log import FlushedLog
from tests.serving.manual_loop import ManualLoop, RecordingCall, run_batches

from headway.core.errors import DataError
from headway.core.release import SelfTest
from headway.core.selective import ABSTENTIONS
from headway.monitoring.labeling.agreement import stored_annotations
from headway.monitoring.prediction_log import LabelReader
from headway.serving.batching.answers import SelectiveModel
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.client import Client
from headway.serving.protocol.open_inference import ResponseWriter
from headway.storage import traffic

MODEL = selective_model()
ROWS = ([0.9] * 3, [0.6] * 3, [0.05] * 3)
OUTPUTS = {
    "answer": ["1", "", "0"],
    "confidence": pytest.approx([0.9, 0.6, 0.95]),
    "answered_by": ["model", "people", "model"],
    "reason": ["", "low_confidence", ""],
}


@pytest.fixture(scope="module")
def server():
    """Serve a release that answers selectively."""
    with serving(MODEL) as running:
        yield running


def outputs_of(answer: Answer) -> dict[str, list[object]]:
    assert answer.status == 200
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


def test_a_response_says_of_each_row_who_answers_it_and_why(server):
    found = outputs_of(ask(server, "/v2/models/flights/infer", body_of(*ROWS)))
    assert found.pop("probability") == pytest.approx([0.9, 0.6, 0.05])
    assert found == OUTPUTS


def test_a_request_that_names_outputs_gets_them_all(server):
    body = json.loads(body_of(ROWS[0], id="a-1"))
    body["outputs"] = [{"name": "answer"}]
    answer = ask(server, "/v2/models/flights/infer", json.dumps(body).encode())
    assert list(outputs_of(answer)) == ["probability", *OUTPUTS] and answer.json["id"] == "a-1"
    body["outputs"] = [{"name": "answers"}]
    refused = ask(server, "/v2/models/flights/infer", json.dumps(body).encode())
    assert refused.status == 400
    assert (
        "no output 'answers' (outputs); probability, answer, confidence, answered_by, reason" in refused.json["error"]
    )


def test_metadata_and_configuration_list_the_outputs(server):
    metadata = ask(server, "/v2/models/flights").json["outputs"]
    assert [(output["name"], output["datatype"]) for output in metadata] == [
        ("probability", "FP64"),
        ("answer", "BYTES"),
        ("confidence", "FP64"),
        ("answered_by", "BYTES"),
        ("reason", "BYTES"),
    ]
    config = ask(server, "/v2/models/flights/config").json["output"]
    assert [(output["name"], output["data_type"]) for output in config[1:3]] == [
        ("answer", "TYPE_STRING"),
        ("confidence", "TYPE_FP64"),
    ]


def test_raw_bytes_hold_all_outputs(server):
    body = json.loads(body_of(*ROWS))
    body["parameters"] = {"binary_data_output": True}
    answer = ask(server, "/v2/models/flights/infer", json.dumps(body).encode())
    length = int(answer.headers["Inference-Header-Content-Length"])
    head, raw = json.loads(answer.body[:length]), answer.body[length:]
    found = {}
    for output in head["outputs"]:
        size = output["parameters"]["binary_data_size"]
        part, raw = raw[:size], raw[size:]
        found[output["name"]] = values_of(output["datatype"], part)
    assert raw == b"" and found.pop("probability") == pytest.approx([0.9, 0.6, 0.05])
    assert found == OUTPUTS


def values_of(datatype: str, content: bytes) -> list[object]:
    if datatype == "FP64":
        return list(struct.unpack(f"<{len(content) // 8}d", content))
    values = []
    while content:
        (length,) = struct.unpack_from("<I", content)
        values.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return values


def test_invocations_have_a_record_a_row(server):
    body = {"dataframe_split": {"columns": list("abc"), "data": ROWS}}
    answer = ask(server, "/invocations", json.dumps(body).encode())
    assert answer.json["predictions"][1] == {
        "probability": pytest.approx(0.6),
        "answer": "",
        "confidence": pytest.approx(0.6),
        "answered_by": "people",
        "reason": "low_confidence",
    }


@pytest.mark.parametrize("raw", [False, True])
def test_grpc_has_the_same_outputs(server, raw):
    columns = [{"name": name, "datatype": "FP64", "shape": [3]} for name in "abc"]
    values = [row[0] for row in ROWS]
    fields = {"raw_input_contents": [struct.pack("<3d", *values)] * 3} if raw else {}
    if not raw:
        columns = [{**column, "contents": {"fp64_contents": values}} for column in columns]
    with grpc_client(server) as call:
        answer = call("ModelInfer", model_name="flights", inputs=columns, **fields)
    found = {}
    for index, output in enumerate(answer.outputs):
        assert list(output.shape) == [3, 1]
        if raw:
            found[output.name] = values_of(output.datatype, answer.raw_output_contents[index])
        elif output.datatype == "FP64":
            found[output.name] = list(output.contents.fp64_contents)
        else:
            found[output.name] = [value.decode() for value in output.contents.bytes_contents]
    assert found.pop("probability") == pytest.approx([0.9, 0.6, 0.05])
    assert found == OUTPUTS


def test_the_client_returns_them_and_names_a_release_without_a_plan(server):
    columns = {name: [row[0] for row in ROWS] for name in "abc"}
    with Client(server.address) as client:
        found = client.infer_answers("flights", columns)
        assert client.infer("flights", columns).tolist() == found.probabilities.tolist()
    assert found.probabilities[:, 0] == pytest.approx([0.9, 0.6, 0.05]) and found.answer == ["1", "", "0"]
    assert found.confidence == pytest.approx([0.9, 0.6, 0.95]) and found.answered_by == OUTPUTS["answered_by"]
    assert found.reason == OUTPUTS["reason"]
    with (
        serving(loaded()) as plain,
        Client(plain.address) as client,
        pytest.raises(DataError, match="has no answer plan"),
    ):
        client.infer_answers("flights", columns)


def test_the_client_names_the_labels_of_each_row_with_their_probabilities():
    several = dataclasses.replace(
        loaded(), classes=("a", "b"), calibrate=lambda answers: np.column_stack([answers[:, 0], 1 - answers[:, 0] / 2])
    )
    several = dataclasses.replace(
        several, writer=ResponseWriter(name="flights", version="1", output="probability", classes=("a", "b"))
    )
    columns = {name: [0.6, 0.0] for name in "abc"}
    with serving(several) as server, Client(server.address) as client:
        probabilities = client.infer("flights", columns)
        found, sure = client.infer_labels("flights", columns), client.infer_labels("flights", columns, threshold=0.9)
    assert found == [{"b": probabilities[0, 1], "a": probabilities[0, 0]}, {"b": 1.0}] and sure == [{}, {"b": 1.0}]
    with serving(loaded()) as plain, Client(plain.address) as client, pytest.raises(DataError, match="have no names"):
        client.infer_labels("flights", columns)


def test_many_outputs_are_encoded_with_their_answers():
    call, loop = RecordingCall(*[[0.9] * 3, [0.6] * 3] * 10_000), ManualLoop()
    settings = InferenceSettings(max_batch_rows=20_000, max_queue_rows=40_000)
    with closing(DataPlane([MODEL], loop=loop, settings=settings)) as plane:
        plane.submit(MODEL, call)
        loop.run_until(lambda: call.replies)
    assert call.prepared_on == "batcher" and call.selective.answer == ["1", ""] * 10_000


def test_answers_are_decided_before_outputs_are_rounded():
    call = RecordingCall([0.7999] * 3)
    run_batches(MODEL, call, round_digits=1)
    assert call.values == [0.8] and call.selective.reason == ["low_confidence"]


def test_a_plan_without_stages_hands_a_row_to_none():
    call = RecordingCall([0.6] * 3)
    run_batches(selective_model(stages=()), call)
    assert call.selective.answered_by == [""] and call.selective.best == ["1"]


def test_metrics_count_rows_by_who_answers_and_why(server):
    ask(server, "/v2/models/flights/infer", body_of(*ROWS))
    text = ask(server, "/metrics").body.decode()
    labels = 'model="flights",answered_by="people",reason="low_confidence"'
    assert f"headway_answers_total{{{labels}}}" in text
    (share,) = (line.split()[1] for line in text.splitlines() if line.startswith("headway_answered_share{"))
    assert 0 < float(share) < 1


def test_metrics_of_a_server_without_plans_lack_them():
    with serving(loaded()) as plain:
        assert "headway_answer" not in ask(plain, "/metrics").body.decode()


def logged(folder, model, *calls) -> pl.DataFrame:
    """Return the rows of the log after these calls."""
    log, loop = FlushedLog(folder), ManualLoop()
    with closing(log):
        plane = DataPlane([model], loop=loop, settings=InferenceSettings(max_batch_rows=1024, long_ms=1e9), log=log)
        for call in calls:
            plane.submit(model, call)
        loop.run_ready()
    path = traffic.log_folder(folder, model.name, model.digest)
    return pl.concat([pl.read_ipc_stream(file) for file in sorted(path.glob("*.arrow"))])


def test_the_log_has_who_answers_the_reason_and_what_people_check(tmp_path):
    model = selective_model(audit_share=1.0)
    table = logged(tmp_path, model, RecordingCall(*ROWS, key="k"), RecordingCall([0.9] * 3))
    assert [traffic.ANSWERED_BY[code] for code in table["answered_by"]] == ["model", "people", "model", "model"]
    assert [traffic.REASONS[code] for code in table["reason"]] == ["", "low_confidence", "", ""]
    assert table["audit"].to_list() == [1, 0, 1, 0]
    assert {table[name].dtype for name in ("answered_by", "reason", "audit")} == {pl.Int8}


def test_rows_for_the_remote_stage_are_drawn_as_well(tmp_path):
    table = logged(
        tmp_path, selective_model(audit_share=1.0, stages=("remote", "people")), RecordingCall(*ROWS, key="k")
    )
    assert [traffic.ANSWERED_BY[code] for code in table["answered_by"]] == ["model", "remote", "model"]
    assert table["audit"].to_list() == [1, 1, 1]


def test_rows_that_fail_have_no_answer_in_the_log(tmp_path):
    class Broken:
        def predict(self, rows):
            raise ZeroDivisionError("the engine broke")

    table = logged(tmp_path, dataclasses.replace(MODEL, engine=Broken()), RecordingCall([0.9] * 3))
    assert (table["status"][0], table["answered_by"][0], table["reason"][0]) == (1, traffic.NOT_DECIDED, 0)


def test_the_log_of_another_release_has_no_such_columns(tmp_path):
    assert "answered_by" not in logged(tmp_path, loaded(), RecordingCall([0.9] * 3)).columns


def test_classes_without_names_are_answered_by_their_numbers():
    made = selective_release()
    plan = replace(made.answers, thresholds=dict.fromkeys("012", 0.9))
    three = replace(made, answers=plan, self_test=SelfTest(rows=((0.0,),), answers=((0.2, 0.3, 0.5),)))
    assert SelectiveModel(three, "").decide(np.eye(3)).answer == ["0", "1", "2"]


def test_keys_are_drawn_for_people_by_their_share_and_always_the_same_ones():
    keys = [f"k{number}" for number in range(20_000)]
    first, second = (selective_model(audit_share=0.1).selective for _ in range(2))
    drawn = [first.is_drawn(key) for key in keys]
    assert drawn == [second.is_drawn(key) for key in keys]
    assert np.mean(drawn) == pytest.approx(0.1, abs=0.01)
    assert not selective_model(audit_share=1.0).selective.is_drawn("")


def test_each_reason_of_an_abstention_has_a_number_in_the_log():
    reasons = list(range(1, len(ABSTENTIONS) + 1))
    codes = traffic.answer_codes([1] * len(reasons), reasons, [False] * len(reasons))
    assert traffic.answer_columns(codes)["reason"].tolist() == reasons


def test_answers_of_the_remote_stage_do_not_count_as_labels_of_people(tmp_path):
    traffic.save_labels(tmp_path, "flights", [traffic.Label("k1", 1.0), traffic.Label("k2", 1.0)], who="remote")
    assert LabelReader(tmp_path, "flights").read().is_empty()
    with pytest.raises(DataError, match="no label is stored yet"):
        stored_annotations(tmp_path, "flights")
    assert traffic.save_label(tmp_path, "flights", traffic.Label("k1", 0.0), who="ann") is None
    assert LabelReader(tmp_path, "flights").read().select("key", "label").rows() == [("k1", 0.0)]
    assert stored_annotations(tmp_path, "flights")["who"].to_list() == ["ann"]
