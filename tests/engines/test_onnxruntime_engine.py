"""The engine of ONNX Runtime: one table in, scores out, whatever else is refused in words and in silence."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from tests.engines.graphs import DOUBLE, FLOAT, INT64, graph, softmax, total

from headway.core.errors import EngineError, NotApplicable
from headway.engines.onnxruntime import OnnxRuntime

ROWS = np.random.default_rng(0).normal(size=(5, 3))


def expected_softmax(classes: int) -> np.ndarray:
    raw = np.exp(ROWS @ (np.arange(3 * classes).reshape(3, classes) / 10))
    return raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("kind", "tolerance"), [(FLOAT, 1e-6), (DOUBLE, 1e-14)])
def test_of_two_classes_it_answers_the_second_in_float64(kind: int, tolerance: float) -> None:
    found = OnnxRuntime(softmax(2, kind), {}).predict(ROWS)
    assert found.dtype == np.float64 and found.shape == (5, 1)
    assert np.allclose(found, expected_softmax(2)[:, 1:], rtol=0, atol=tolerance)


def test_of_more_classes_it_answers_all() -> None:
    assert np.allclose(OnnxRuntime(softmax(3), {}).predict(ROWS), expected_softmax(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [{}, {"threads": 1}, {"threads": 2}, {"threads": 0}])
def test_an_output_without_a_second_axis_is_one_column(threads: dict[str, int]) -> None:
    found = OnnxRuntime(total(), threads).predict(ROWS)
    assert found.shape == (5, 1) and np.allclose(found[:, 0], ROWS.sum(axis=1), rtol=1e-15)


@pytest.mark.parametrize("rows", [np.asfortranarray(ROWS), np.repeat(ROWS, 2, axis=0)[::2], ROWS.astype(np.float32)])
def test_the_order_of_rows_in_memory_changes_no_answer(rows: np.ndarray) -> None:
    assert np.allclose(OnnxRuntime(total(), {}).predict(rows)[:, 0], rows.sum(axis=1, dtype=np.float64), rtol=1e-6)


def test_beyond_float32_is_infinite_to_a_graph_of_float32() -> None:
    assert OnnxRuntime(total(FLOAT), {}).predict(np.full((1, 3), 1e300))[0, 0] == np.inf


@pytest.mark.parametrize("rows", [np.zeros((2, 2)), np.zeros((0, 4)), np.zeros(3)])
def test_rows_of_another_shape_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"the model reads \[n, 3\]"):
        OnnxRuntime(total(), {}).predict(rows)


@pytest.mark.parametrize("threads", [-1, True, 1.5, "2"])
def test_a_thread_count_that_is_none_is_refused(threads: object) -> None:
    with pytest.raises(EngineError, match="'threads'"):
        OnnxRuntime(total(), {"threads": threads})


def test_a_setting_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(EngineError, match="no setting 'spin'"):
        OnnxRuntime(total(), {"spin": True})


def identity(*names: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", ["x"], [name]) for name in names]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (total(shape=(4, 3)), "one table"),
        (total(shape=(None, None)), "one table"),
        (total(shape=(None, 3, 1)), "one table"),
        (graph(identity("y"), [("x", INT64, [None, 3])], [("y", INT64, [None, 3])]), "one table"),
        (
            graph(identity("y"), [("x", DOUBLE, [None, 3]), ("z", DOUBLE, [None, 3])], [("y", DOUBLE, [None, 3])]),
            "one table",
        ),
        (
            graph(identity("y", "z"), [("x", DOUBLE, [None, 3])], [("y", DOUBLE, [None, 3]), ("z", DOUBLE, [None, 3])]),
            "no one output",
        ),
    ],
)
def test_a_graph_that_reads_or_answers_otherwise_is_refused_with_its_ports(content: bytes, says: str) -> None:
    with pytest.raises(EngineError, match=says) as refusal:
        OnnxRuntime(content, {})
    assert "x tensor" in refusal.value.where or "y tensor" in refusal.value.where
    assert refusal.value.mend


def test_a_classifier_that_answers_dictionaries_is_refused_with_the_mend() -> None:
    zipmap = helper.make_node("ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    made = onnx.load_from_string(graph([zipmap], [("x", FLOAT, [None, 3])], [("probabilities", FLOAT, [None, 3])]))
    made.graph.output[0].CopyFrom(
        helper.make_value_info(
            "probabilities",
            helper.make_sequence_type_proto(
                helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
            ),
        )
    )
    with pytest.raises(EngineError, match="no one output") as refusal:
        OnnxRuntime(made.SerializeToString(), {})
    assert "zipmap=False" in refusal.value.mend


def test_a_graph_that_fails_on_a_row_is_an_engine_error() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=INT64),
        helper.make_node("Gather", ["known", "place"], ["y"]),
    ]
    engine = OnnxRuntime(
        graph(nodes, [("x", DOUBLE, [None, 1])], [("y", DOUBLE, [None, 1])], {"known": np.ones(3)}), {}
    )
    assert engine.predict(np.array([[2.0]])) == [[1.0]]
    with pytest.raises(EngineError, match="cannot run the graph"):
        engine.predict(np.array([[3.0]]))


def test_a_model_of_onnx_is_adopted() -> None:
    model = onnx.load_from_string(softmax(2))
    assert OnnxRuntime(OnnxRuntime.adopt(model).content, {}).predict(ROWS).shape == (5, 1)


@pytest.mark.parametrize("model", [None, b"onnx", "model.onnx", type("ModelProto", (), {})()])
def test_what_is_no_graph_does_not_apply(model: object) -> None:
    with pytest.raises(NotApplicable, match="not an ONNX model"):
        OnnxRuntime.adopt(model)


@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=4)), min_size=1, max_size=3)
)
def test_altered_graphs_are_refused_or_answer_in_silence(
    capfd: pytest.CaptureFixture[str], changes: list[tuple[float, bytes]]
) -> None:
    content = softmax(3)
    for place, part in changes:
        at = int(place * len(content))
        content = content[:at] + part + content[at + 1 :]
    try:
        assert len(OnnxRuntime(content, {}).predict(ROWS)) == 5
    except EngineError as refusal:
        assert refusal.what
    assert capfd.readouterr() == ("", "")
