"""Import of ONNX graphs: weights in other files are embedded, and a graph without an end ends with its process."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.external_data_helper import convert_model_to_external_data
from tests.engines.graphs import BOOL, DOUBLE, FLOAT, INT64, graph, softmax, total

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError, Refused
from headway.core.plugins import install
from headway.engines.onnxruntime import OnnxRuntime
from headway.optimization.importers import trial
from headway.optimization.importers.models import ImportLimits, import_fitted_model, open_model_file

ROWS = np.arange(6.0).reshape(2, 3)


def endless() -> bytes:
    """A graph whose loop goes on for as long as its condition, which is always true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["going"]), helper.make_node("Identity", ["v"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("v", DOUBLE, None),
        ],
        [helper.make_tensor_value_info("going", BOOL, []), helper.make_tensor_value_info("next", DOUBLE, None)],
    )
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
        helper.make_node("Loop", ["", "true", "sum"], ["y"], body=body),
    ]
    return graph(
        nodes,
        [("x", DOUBLE, [None, 3])],
        [("y", DOUBLE, [None])],
        {"axis": np.array([1]), "true": np.array(True)},
    )


def huge() -> bytes:
    """A graph of a few bytes that fills 64 GB."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "large"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "zero"], ["y"]),
    ]
    return graph(
        nodes,
        [("x", FLOAT, [None, 3])],
        [("y", FLOAT, [None])],
        {"axis": np.array([1]), "large": np.array([1 << 17, 1 << 17])},
    )


def saved(folder: Path, *, location: str = "weights.bin") -> Path:
    """A graph with its weights in another file of the folder."""
    model = onnx.load_from_string(softmax(3, DOUBLE))
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, folder / "model.onnx")
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content.replace(b"weights.bin", location.encode()))
    return folder / "model.onnx"


def test_weights_next_to_a_graph_are_embedded(tmp_path: Path) -> None:
    file = open_model_file(saved(tmp_path))
    assert isinstance(file, ModelFile)
    (tmp_path / "weights.bin").unlink()
    answers = OnnxRuntime(file.content, {}).predict(ROWS)
    assert np.array_equal(answers, OnnxRuntime(softmax(3, DOUBLE), {}).predict(ROWS))


def test_weights_that_are_missing_are_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, location="weights.biz")
    with pytest.raises(EngineError, match="the weights of the graph cannot be read") as error:
        open_model_file(path)
    assert "weights.biz" in error.value.where and "at most 2 GiB" in error.value.hint


@pytest.mark.parametrize("location", ["../eights.b", "/etc/passwd"])
def test_a_graph_whose_weights_are_outside_of_its_folder_is_unsafe(location: str, tmp_path: Path) -> None:
    path = saved(tmp_path, location=location)
    with pytest.raises(Refused, match=f"reads the file '{location}' outside of its folder"):
        open_model_file(path)


def test_a_link_in_place_of_the_weights_is_not_followed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "secret")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(EngineError, match="the weights of the graph cannot be read"):
        open_model_file(path)


def test_without_onnx_the_error_names_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx.external_data_helper", None)
    with pytest.raises(EngineError, match="which onnx reads") as error:
        open_model_file(path)
    assert error.value.hint == install("onnx")


@pytest.mark.slow
def test_a_graph_in_memory_whose_weights_are_not_is_refused(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path), load_external_data=False)
    with pytest.raises(EngineError, match=r"the graph keeps its weights in another file: 'weights\.bin'"):
        import_fitted_model(model)


@pytest.mark.slow
def test_a_loop_without_an_end_ends_with_its_process() -> None:
    limits = ImportLimits(timeout_s=2.0)
    for model in (onnx.load_from_string(endless()), ModelFile(content=endless(), suffix=".onnx")):
        with pytest.raises(EngineError, match="the graph did not answer a row within 2 s") as error:
            import_fitted_model(model, limits=limits)
    assert "import_timeout_s" in error.value.hint


@pytest.mark.slow
def test_a_graph_that_fills_the_memory_is_refused() -> None:
    with pytest.raises(EngineError, match=r"ONNX Runtime cannot|ended its process with"):
        import_fitted_model(ModelFile(content=huge(), suffix=".onnx"), limits=ImportLimits(memory_mb=1024))


def test_the_process_itself_ends_a_graph_after_its_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """If headway is killed, its subprocess does not go on for ever."""
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(trial, "_limit", lambda what, value: limits.append((what, value)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(total())))
    assert trial.main("onnxruntime", ".onnx", "2.5", "100") == 0
    assert limits[0] == (resource.RLIMIT_CPU, 3) and limits[1][1] > 100 << 20


@pytest.mark.slow
def test_a_graph_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ModelFile(content=total(DOUBLE), suffix=".onnx")
    assert import_fitted_model(file).width == 3
    monkeypatch.setattr(subprocess, "run", None)
    assert import_fitted_model(file).width == 3


def test_a_graph_that_ends_its_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], -6, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(EngineError, match="importing the graph ended its process with SIGABRT"):
        import_fitted_model(ModelFile(content=total() + b"\x08\x0a", suffix=".onnx"))


@pytest.mark.slow
def test_an_error_of_the_process_is_that_of_the_import() -> None:
    with pytest.raises(EngineError, match="these bytes are not a model that ONNX Runtime") as error:
        import_fitted_model(ModelFile(content=b"onnx?", suffix=".onnx"))
    assert "onnx.checker" in error.value.hint
