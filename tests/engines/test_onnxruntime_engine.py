"""The ONNX Runtime engine: one table in, scores out; anything else is rejected with a message and without output."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from tests.engines.graphs import BOOL, DOUBLE, FLOAT, INT32, INT64, STRING, Port, graph, softmax, total

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.engines.onnxruntime import OnnxRuntime

ROWS = np.random.default_rng(0).normal(size=(5, 3))


def expected_softmax(classes: int) -> np.ndarray:
    raw = np.exp(ROWS @ (np.arange(3 * classes).reshape(3, classes) / 10))
    return raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("kind", "tolerance"), [(FLOAT, 1e-6), (DOUBLE, 1e-14)])
def test_the_second_of_two_classes_is_returned_in_float64(kind: int, tolerance: float) -> None:
    found = OnnxRuntime(softmax(2, kind), {}).predict(ROWS)
    assert found.dtype == np.float64 and found.shape == (5, 1)
    assert np.allclose(found, expected_softmax(2)[:, 1:], rtol=0, atol=tolerance)


def test_several_classes_are_all_returned() -> None:
    assert np.allclose(OnnxRuntime(softmax(3), {}).predict(ROWS), expected_softmax(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("threads", [{}, {"threads": 1}, {"threads": 2}, {"threads": 0}])
def test_an_output_without_a_second_axis_is_one_column(threads: dict[str, int]) -> None:
    found = OnnxRuntime(total(), threads).predict(ROWS)
    assert found.shape == (5, 1) and np.allclose(found[:, 0], ROWS.sum(axis=1), rtol=1e-15)


@pytest.mark.parametrize("rows", [np.asfortranarray(ROWS), np.repeat(ROWS, 2, axis=0)[::2], ROWS.astype(np.float32)])
def test_the_order_of_rows_in_memory_changes_no_answer(rows: np.ndarray) -> None:
    assert np.allclose(OnnxRuntime(total(), {}).predict(rows)[:, 0], rows.sum(axis=1, dtype=np.float64), rtol=1e-6)


def test_values_beyond_float32_are_infinite_in_a_float32_graph() -> None:
    assert OnnxRuntime(total(FLOAT), {}).predict(np.full((1, 3), 1e300))[0, 0] == np.inf


@pytest.mark.parametrize("rows", [np.zeros((2, 2)), np.zeros((0, 4)), np.zeros(3)])
def test_rows_of_another_shape_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"the model reads \[n, 3\]"):
        OnnxRuntime(total(), {}).predict(rows)


@pytest.mark.parametrize("threads", [-1, True, 1.5, "2"])
def test_an_invalid_thread_count_is_refused(threads: object) -> None:
    with pytest.raises(EngineError, match="'threads'"):
        OnnxRuntime(total(), {"threads": threads})


def test_a_setting_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(EngineError, match="no setting 'spin'"):
        OnnxRuntime(total(), {"spin": True})


def identity(*names: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", ["x"], [name]) for name in names]


TABLE: Port = ("y", DOUBLE, [None, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (total(shape=(None, None)), "a table of numbers"),
        (total(shape=(None, 3, 1)), r"reads tensors \(images, sound, sequences\), which headway does not read yet"),
        (graph(identity("y"), [("x", BOOL, [None, 3])], [("y", BOOL, [None, 3])]), "a table of numbers"),
        (graph(identity("y"), [("x", STRING, [None, 1])], [("y", STRING, [None, 1])]), r"reads strings \(x\)"),
        (graph(identity("y"), [("x", DOUBLE, [None, 3]), ("z", DOUBLE, [4, 3])], [TABLE]), "a table of numbers"),
        (graph(identity("y"), [("x", INT64, [None, 3])], [("y", INT64, [None, 3])]), "not have outputs of scores"),
    ],
    ids=["open width", "three axes", "truths", "texts", "two numbers of rows", "labels alone"],
)
def test_a_graph_with_unsupported_inputs_or_outputs_is_refused_with_its_ports(content: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message) as refusal:
        OnnxRuntime(content, {})
    assert "x tensor" in refusal.value.where or "y tensor" in refusal.value.where
    assert refusal.value.hint


def test_a_graph_with_an_empty_output_is_refused() -> None:
    nothing = helper.make_node("Gather", ["x", "none"], ["y"], axis=1)
    content = graph(
        [nothing], [("x", DOUBLE, [None, 3])], [("y", DOUBLE, [None, 0])], {"none": np.zeros(0, dtype=np.int64)}
    )
    with pytest.raises(EngineError, match="answers 0 numbers for 1 rows") as refusal:
        OnnxRuntime(content, {})
    assert refusal.value.hint


def columns_of(*parts: tuple[str, list[int]], kinds: tuple[int, ...] = (), rows: int | None = None) -> bytes:
    """A graph whose outputs are columns of its input of three numbers; the last axis of a single one is dropped."""
    nodes, constants, outputs = [], {}, []
    for index, (name, at) in enumerate(parts):
        constants[f"{name}_at"] = np.array(at[0] if len(at) == 1 else at)
        nodes.append(helper.make_node("Gather", ["x", f"{name}_at"], [name], axis=1))
        shape = [rows] if len(at) == 1 else [rows, len(at)]
        outputs.append((name, kinds[index] if kinds else DOUBLE, shape))
    return graph(nodes, [("x", DOUBLE, [rows, 3])], outputs, constants)


def complement(first: str, second: str) -> bytes:
    """A graph with one output for each of two classes: a sigmoid and its complement."""
    nodes = [
        helper.make_node("Gather", ["x", "at"], ["raw"], axis=1),
        helper.make_node("Sigmoid", ["raw"], [second]),
        helper.make_node("Sub", ["one", second], [first]),
    ]
    ports: list[Port] = [(first, DOUBLE, [None, 1]), (second, DOUBLE, [None, 1])]
    return graph(nodes, [("x", DOUBLE, [None, 3])], ports, {"at": np.array([1]), "one": np.array(1.0)})


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (columns_of(("y", [0, 2])), ROWS[:, [0, 2]]),
        (columns_of(("a", [2]), ("b", [0, 1])), ROWS[:, [2, 0, 1]]),
        (columns_of(("a", [2]), ("b", [0]), rows=4), ROWS[:, [2, 0]]),
        (complement("no", "yes"), 1 / (1 + np.exp(-ROWS[:, 1:2]))),
        (complement("prob_0", "prob_1"), 1 / (1 + np.exp(-ROWS[:, 1:2]))),
    ],
    ids=["two numbers", "two heads", "a fixed number of rows", "two classes apart", "two probabilities"],
)
def test_every_output_is_kept_but_the_complement_of_a_probability(
    content: bytes, expected: np.ndarray, count: int
) -> None:
    engine = OnnxRuntime(content, {})
    assert np.allclose(engine.predict(ROWS[:count]), expected[:count], rtol=0, atol=1e-12)
    imported = OnnxRuntime.import_model(ModelFile(content=content, suffix=".onnx"))
    assert (imported.outputs, imported.width) == (expected.shape[1], 3)


def test_two_labels_of_one_row_are_both_kept() -> None:
    """The probabilities of two labels that are not exclusive do not add up to one."""
    nodes = [helper.make_node("Gather", ["x", "at"], ["raw"], axis=1), helper.make_node("Sigmoid", ["raw"], ["y"])]
    content = graph(nodes, [("x", DOUBLE, [None, 3])], [("y", DOUBLE, [None, 2])], {"at": np.array([0, 1])})
    assert np.allclose(OnnxRuntime(content, {}).predict(ROWS), 1 / (1 + np.exp(-ROWS[:, :2])))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
def test_a_graph_of_a_fixed_number_of_rows_answers_any_number(count: int) -> None:
    rows = np.random.default_rng(1).normal(size=(count, 3))
    assert np.allclose(OnnxRuntime(total(shape=(4, 3)), {}).predict(rows)[:, 0], rows.sum(axis=1))


def columns(kinds: dict[str, int], *, flat: bool = False) -> bytes:
    """A graph with an input for each column, whose prediction has one digit per column."""
    shape: list[int | str | None] = [None] if flat else [None, 1]
    exponents = {name: 10.0**exponent for exponent, name in enumerate(kinds)}
    nodes = [helper.make_node("Cast", [name], [f"{name}_double"], to=DOUBLE) for name in kinds]
    nodes += [helper.make_node("Mul", [f"{name}_double", f"{name}_place"], [f"{name}_digit"]) for name in kinds]
    nodes.append(helper.make_node("Sum", [f"{name}_digit" for name in kinds], ["y"]))
    constants = {f"{name}_place": np.array([exponent]) for name, exponent in exponents.items()}
    return graph(nodes, [(name, kind, shape) for name, kind in kinds.items()], [("y", DOUBLE, shape)], constants)


@pytest.mark.parametrize("flat", [False, True])
def test_an_input_for_each_column_gets_it_in_order_and_names_it(flat: bool) -> None:
    content = columns({"age": INT64, "price": FLOAT, "share": DOUBLE, "count": INT32}, flat=flat)
    adopted = OnnxRuntime.import_model(ModelFile(content=content, suffix=".onnx"))
    assert (adopted.names, adopted.width) == (("age", "price", "share", "count"), 4)
    assert OnnxRuntime(content, {}).predict(np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])).tolist() == [[4321.0], [8765.0]]


def test_several_tables_share_the_columns_and_name_none() -> None:
    join = helper.make_node("Concat", ["a", "b"], ["y"], axis=1)
    content = graph([join], [("a", DOUBLE, [None, 2]), ("b", DOUBLE, [None, 1])], [TABLE])
    assert OnnxRuntime.import_model(onnx.load_from_string(content)).names == ()
    assert np.array_equal(OnnxRuntime(content, {}).predict(ROWS), ROWS)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5, 2.0**60])
def test_an_integer_input_accepts_only_integers(value: float) -> None:
    engine = OnnxRuntime(columns({"age": INT64, "price": FLOAT}), {})
    with pytest.raises(EngineError, match="input 'age' reads integers") as refusal:
        engine.predict(np.array([[1.0, 0.5], [value, 0.5]]))
    assert refusal.value.hint
    with pytest.raises(EngineError, match="input 'n' reads integers"):
        OnnxRuntime(columns({"n": INT32, "m": INT32}), {}).predict(np.array([[2.0**31, 0.0]]))


def dictionaries(classes: list[int] | list[str]) -> bytes:
    """A classifier as old converters write it: a label, and for each row a dictionary of probabilities."""
    kind = INT64 if isinstance(classes[0], int) else STRING
    key = "classlabels_int64s" if kind == INT64 else "classlabels_strings"
    zipmap = helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", **{key: classes})
    softmax_of_it = helper.make_node("Softmax", ["x"], ["p"])
    label = helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)
    outputs: list[Port] = [("label", INT64, [None]), ("probabilities", FLOAT, [None, len(classes)])]
    made = onnx.load_from_string(graph([softmax_of_it, zipmap, label], [("x", FLOAT, [None, len(classes)])], outputs))
    kind_of_map = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(FLOAT, []))
    made.graph.output[1].CopyFrom(helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind_of_map)))
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("classes", [[0, 1, 2], ["a", "b", "c"]], ids=["numbers", "texts"])
def test_dictionaries_of_a_classifier_are_read_as_columns_and_name_the_classes(classes: list[int] | list[str]) -> None:
    content = dictionaries(classes)
    expected = np.exp(ROWS) / np.exp(ROWS).sum(axis=1, keepdims=True)
    assert np.allclose(OnnxRuntime(content, {}).predict(ROWS), expected, atol=1e-6)
    assert OnnxRuntime.import_model(onnx.load_from_string(content)).classes == tuple(str(name) for name in classes)


def test_dictionaries_of_two_classes_return_the_second() -> None:
    engine = OnnxRuntime(dictionaries(["no", "yes"]), {})
    rows = ROWS[:, :2]
    assert np.allclose(engine.predict(rows)[:, 0], 1 / (1 + np.exp(rows[:, 0] - rows[:, 1])), atol=1e-6)
    assert engine.predict(rows[:0]).shape == (0, 1)


def old(version: int) -> bytes:
    """A graph as exporters wrote it in 2017: its addition has an attribute to broadcast."""
    add = helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)
    made = onnx.load_from_string(graph([add], [("x", FLOAT, [None, 3])], [("y", FLOAT, [None, 3])]))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, dtype=np.float32), "b"))
    made.graph.input.append(helper.make_tensor_value_info("b", FLOAT, [3]))
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("", version))
    made.ir_version = 3
    return bytes(made.SerializeToString())


def test_an_unsupported_opset_is_refused_with_a_hint_to_convert() -> None:
    with pytest.raises(EngineError, match="opset 7 and later") as refusal:
        OnnxRuntime(old(6), {})
    assert "version_converter" in refusal.value.hint


@pytest.mark.parametrize("version", [7, 9, 13])
def test_opsets_from_7_on_run_unchanged(version: int) -> None:
    made = onnx.load_from_string(total(FLOAT))
    made.graph.node[0].CopyFrom(helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0))
    del made.graph.initializer[:], made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("", version))
    made.ir_version = 3
    assert np.allclose(OnnxRuntime(made.SerializeToString(), {}).predict(ROWS)[:, 0], ROWS.mean(axis=1), atol=1e-6)


def test_a_graph_of_a_newer_version_is_refused_with_a_hint_to_upgrade() -> None:
    made = onnx.load_from_string(total())
    made.ir_version = 99
    with pytest.raises(EngineError, match="newer than ONNX Runtime") as refusal:
        OnnxRuntime(made.SerializeToString(), {})
    assert refusal.value.hint == "pip install --upgrade onnxruntime"


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


def test_an_onnx_model_is_imported() -> None:
    model = onnx.load_from_string(softmax(2))
    assert OnnxRuntime(OnnxRuntime.import_model(model).content, {}).predict(ROWS).shape == (5, 1)


@pytest.mark.parametrize("model", [None, b"onnx", "model.onnx", type("ModelProto", (), {})()])
def test_anything_but_a_graph_does_not_apply(model: object) -> None:
    with pytest.raises(NotApplicable, match="not an ONNX model"):
        OnnxRuntime.import_model(model)


@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=4)), min_size=1, max_size=3)
)
def test_altered_graphs_are_refused_or_predict_without_output(
    capfd: pytest.CaptureFixture[str], changes: list[tuple[float, bytes]]
) -> None:
    content = softmax(3)
    for share, part in changes:
        at = int(share * len(content))
        content = content[:at] + part + content[at + 1 :]
    try:
        assert len(OnnxRuntime(content, {}).predict(ROWS)) == 5
    except EngineError as refusal:
        assert refusal.what
    assert capfd.readouterr() == ("", "")
