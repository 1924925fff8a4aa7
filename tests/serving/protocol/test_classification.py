"""A request may ask for the classes with the largest outputs, in the form of Triton's classification extension."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from answer_plans import text_model
from hypothesis import given
from hypothesis import strategies as st
from running import ask, loaded, serving

from headway.core.variant import Field, Signature
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.validation import Violation
from headway.serving.protocol.open_inference import ResponseWriter, best_classes, write_top

CLASSES = ("delivery", 'a "b"', "c:d", "größe", "\n😀", *(f"class {number}" for number in range(5, 80)))
TEXT = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),), classes=CLASSES)
numbers = st.floats(allow_subnormal=True) | st.sampled_from([0.5, 0.0, -0.0, 2.0**60])


class Fixed:
    """Answers .5 for the class with the number of words, .4 for the next, and .1 for the first."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), len(CLASSES)))
        found[:, [3, 4, 0]] = 0.5, 0.4, 0.1
        return found


def request(k: int, *, texts: int = 1, more: dict[str, object] | None = None, name: str = "probability") -> bytes:
    outputs = [{"name": name, "parameters": {"classification": k, **(more or {})}}]
    data = ["where is it"] * texts
    inputs = [{"name": "message", "shape": [texts], "datatype": "BYTES", "data": data}]
    return json.dumps({"id": "7", "inputs": inputs, "outputs": outputs}).encode()


@pytest.fixture(scope="module")
def server():
    with serving(text_model(TEXT, engine=Fixed()), loaded()) as running:
        yield running


def test_the_largest_outputs_come_back_with_their_classes_and_then_the_answers(server):
    found = ask(server, "/v2/models/support/infer", request(3, texts=2)).json
    first, *others = found["outputs"]
    best = ["0.5:3:größe", "0.4:4:\n😀", "0.1:0:delivery"]
    assert found["id"] == "7"
    assert first == {"name": "probability", "datatype": "BYTES", "shape": [2, 3], "data": best * 2}
    assert [output["name"] for output in others] == ["answer", "confidence", "answered_by", "reason"]


def test_raw_bytes_hold_the_same_strings(server):
    answer = ask(server, "/v2/models/support/infer", request(1, more={"binary_data": True}))
    length = int(answer.headers["Inference-Header-Content-Length"])
    first = json.loads(answer.body[:length])["outputs"][0]
    text = "0.5:3:größe".encode()
    assert first["shape"] == [1, 1] and first["datatype"] == "BYTES"
    assert first["parameters"]["binary_data_size"] == len(text) + 4
    assert answer.body[length:].startswith(struct.pack("<I", len(text)) + text)


def test_a_model_of_one_output_has_one_class_without_a_name(server):
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [3]} for name in "abc"]
    outputs = [{"name": "probability", "parameters": {"classification": 9}}]
    found = ask(server, "/v2/models/flights/infer", json.dumps({"inputs": inputs, "outputs": outputs}).encode()).json
    assert found["outputs"][0]["data"] == ["3.0:0"] and found["outputs"][0]["shape"] == [1, 1]


@pytest.mark.parametrize(
    ("k", "name", "message"), [(-1, "probability", "-1 classes"), (2, "answer", "output 'answer' has no classes")]
)
def test_a_form_without_classes_is_refused(server, k, name, message):
    found = ask(server, "/v2/models/support/infer", request(k, name=name))
    assert found.status == 400 and message in found.json["error"]


def writers(classes: tuple[str, ...]) -> list[ResponseWriter]:
    """Return a writer with the extension, and one without."""
    named = {"name": "m", "version": "1", "output": "p", "classes": classes}
    return [ResponseWriter(**named), ResponseWriter(**named, write_top=None)]


@given(
    st.integers(1, 3),
    st.integers(1, 70),
    st.integers(1, len(CLASSES)),
    st.lists(numbers, min_size=3 * len(CLASSES), max_size=3 * len(CLASSES)),
)
def test_responses_are_the_same_without_the_extension_and_in_order(n, k, width, values):
    table = np.array(values[: n * width]).reshape(n, width)
    bodies = [writer.write("", table.ravel(), n, top_k=k) for writer in writers(CLASSES[:width])]
    assert bodies[0] == bodies[1]
    (output,) = json.loads(bodies[0])["outputs"]
    for row, of_row in zip(table, np.array(output["data"], object).reshape(n, -1), strict=True):
        keys = np.where(np.isnan(row), -np.inf, row)
        indices = [int(text.split(":", 2)[1]) for text in of_row]
        assert indices == sorted(range(width), key=lambda index: -keys[index])[:k]
        assert [text.split(":", 2)[2] for text in of_row] == [CLASSES[index] for index in indices]


def test_a_list_of_outputs_and_further_members_are_written_as_well():
    answers = RowAnswers(["b"], [0.7], ["model"], [""], ["b"])
    violation = Violation(0, "x", "missing", None, None, None)
    for writer in writers(("a", "b")):
        body = json.loads(writer.write("i", [0.3, 0.7], 1, [violation], answers, 1))
        assert (body["id"], body["outputs"][0]["data"], len(body["outputs"])) == ("i", ["0.7:1:b"], 5)
        assert len(body["parameters"]["outside"]) == 1
    assert best_classes([0.3, 0.7], 1, 2, ()) == ["0.7:1", "0.3:0"]


@pytest.mark.kernels
@pytest.mark.parametrize(
    "changed", [{1: np.zeros(4, np.float32)}, {1: np.zeros(0)}, {3: 0}, {3: 3}, {4: 0}, {4: 5}, {5: (b'"',)}, {6: 0}]
)
def test_other_forms_are_left_to_python(changed):
    arguments = [b"<", np.array([0.1, 0.2, 0.3, 0.4]), b">", 4, 2, (b'"',) * 4, 1]
    assert write_top(*arguments) == b'<["0.4","0.3"]>'
    for index, value in changed.items():
        arguments[index] = value
    assert write_top(*arguments) is None
    for wrong in ([], ["<", *arguments[1:]], [b"<", 1, *arguments[2:]], [*arguments[:3], "4", *arguments[4:]]):
        with pytest.raises(TypeError):
            write_top(*wrong)
