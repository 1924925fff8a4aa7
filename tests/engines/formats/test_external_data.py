"""A graph that keeps its weights in another file is recognized from its bytes, and opened by no engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.engines.graphs import BOOL, DOUBLE, graph

from headway.core.errors import EngineError
from headway.engines.formats.external_data import external_files
from headway.engines.onnxruntime import OnnxRuntime

WEIGHTS = np.arange(3.0).reshape(3, 1)
PORTS = ([("x", DOUBLE, [None, 3])], [("y", DOUBLE, [None, 1])])
COMPLETE = graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="location")], *PORTS, {"w": WEIGHTS})


def outside(name: str = "w.bin", array: np.ndarray = WEIGHTS) -> TensorProto:
    """A tensor whose values are in a file."""
    tensor = numpy_helper.from_array(array, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=name)
    return tensor


def of_initializer() -> bytes:
    model = onnx.load_from_string(COMPLETE)
    model.graph.initializer[0].CopyFrom(outside())
    return bytes(model.SerializeToString())


def of_constant() -> bytes:
    nodes = [helper.make_node("Constant", [], ["w"], value=outside()), helper.make_node("MatMul", ["x", "w"], ["y"])]
    return graph(nodes, *PORTS)


def of_subgraph() -> bytes:
    port = [helper.make_tensor_value_info("b", DOUBLE, [3, 1])]
    inside = helper.make_graph([helper.make_node("Constant", [], ["b"], value=outside())], "inside", [], port)
    nodes = [
        helper.make_node("Constant", [], ["true"], value=helper.make_tensor("true", BOOL, [], [True])),
        helper.make_node("If", ["true"], ["w"], then_branch=inside, else_branch=inside),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    return graph(nodes, *PORTS)


def of_sparse() -> bytes:
    model = onnx.load_from_string(COMPLETE)
    indices = numpy_helper.from_array(np.array([0, 1, 2]), "w_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(outside(), indices, [3, 1]))
    return bytes(model.SerializeToString())


def of_function() -> bytes:
    model = onnx.load_from_string(COMPLETE)
    node = helper.make_node("Constant", [], ["b"], value=outside())
    model.functions.append(helper.make_function("own", "f", [], ["b"], [node], [helper.make_opsetid("", 18)]))
    return bytes(model.SerializeToString())


CASES = {case.__name__: case for case in (of_initializer, of_constant, of_subgraph, of_sparse, of_function)}


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_weights_is_found_wherever_a_tensor_may_stand(case: str) -> None:
    assert external_files(CASES[case]()) == ("w.bin",)


def test_a_complete_graph_has_none_though_a_node_has_the_name_of_the_key() -> None:
    assert b"location" in COMPLETE and external_files(COMPLETE) == external_files(b"") == ()


def test_fields_that_onnx_does_not_know_are_skipped() -> None:
    unknown = b"\xf8\x01\x05" + b"\xf9\x01" + bytes(8) + b"\xfd\x01" + bytes(4)  # field 31: an integer, 8 and 4 bytes
    assert external_files(unknown + of_initializer()) == ("w.bin",)


def field(number: int, content: bytes, length: bytes = b"") -> bytes:
    """A field of less than 128 bytes; another `length` encodes the same number."""
    return bytes([number << 3 | 2]) + (length or bytes([len(content)])) + content


def test_a_length_in_more_bytes_than_it_needs_hides_nothing() -> None:
    entry = field(1, b"location", length=b"\x88\x80\x00") + field(2, b"w.bin")
    hidden = field(7, field(5, field(13, entry)))
    assert onnx.load_from_string(hidden).graph.initializer[0].external_data[0].key == "location"
    assert external_files(hidden) == ("w.bin",)


@pytest.mark.parametrize("bad", [b"\x3a\xff\x01location", b"\x3blocation", b"\xff" * 11 + b"location", b"location\x3a"])
def test_bytes_that_cannot_be_read_are_an_error(bad: bytes) -> None:
    with pytest.raises(EngineError, match="not a complete ONNX graph"):
        external_files(bad)


@pytest.mark.parametrize("case", CASES)
def test_no_engine_opens_the_path_though_the_file_is_there(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match=r"the graph keeps its weights in another file: 'w\.bin'") as error:
        OnnxRuntime(CASES[case](), {})
    assert "onnx.save(onnx.load(" in error.value.hint
