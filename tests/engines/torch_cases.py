"""The cases of the torch engine, for an environment that has torch; `test_torch_engine.py` makes one and runs them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from headway.core import plugins
from headway.core.errors import EngineError, NotApplicable
from headway.engines.torch import Torch
from headway.optimization.importers.models import import_fitted_model, open_model_file

ROWS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32).astype(np.float64)


class Net(torch.nn.Module):
    """A small network; `answers` columns go through `end`."""

    def __init__(self, answers: int = 1, end: torch.nn.Module | None = None) -> None:
        super().__init__()
        last = end or torch.nn.Sigmoid()
        layers = [torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(9, answers), last)
        self.example_input_array = torch.zeros(1, 6)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows)


def program(net: torch.nn.Module, rows: int = 2, **options: object) -> torch.export.ExportedProgram:
    return torch.export.export(net.eval(), (torch.zeros(rows, 6),), **options)


def any_rows() -> dict[str, object]:
    return {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)}


def own(net: torch.nn.Module) -> np.ndarray:
    with torch.no_grad():
        return net.eval()(torch.from_numpy(ROWS).float()).numpy()


@pytest.mark.parametrize(("answers", "end"), [(1, None), (3, torch.nn.Softmax(1)), (1, torch.nn.Identity())])
def test_the_graph_predicts_as_the_module_and_the_module_is_unchanged(answers, end):
    net = Net(answers, end)
    imported = import_fitted_model(net)
    found = plugins.load_engine(imported.engine)(imported.content, {}).predict(ROWS)
    assert net.training and imported.engine == "onnxruntime" and imported.width == 6
    np.testing.assert_allclose(found, own(net), rtol=0, atol=1e-5)


def test_the_second_of_two_classes_is_returned():
    net = Net(2, torch.nn.Softmax(1))
    np.testing.assert_allclose(Torch(import_fitted_model(net).content, {}).predict(ROWS), own(net)[:, 1:], atol=1e-5)


def test_a_module_of_float64_stays_one():
    net = Net().double()
    net.example_input_array = torch.zeros(1, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(ROWS)).numpy()
    np.testing.assert_allclose(Torch(import_fitted_model(net).content, {}).predict(ROWS), expected, rtol=0, atol=1e-12)


def test_an_exported_program_is_imported():
    net = Net()
    np.testing.assert_allclose(
        Torch(Torch.import_model(program(net, **any_rows())).content, {}).predict(ROWS), own(net), atol=1e-5
    )


def test_a_program_of_a_fixed_number_of_rows_is_refused_with_a_hint():
    with pytest.raises(EngineError, match=r"one table \[any, d\]") as refusal:
        Torch.import_model(program(Net()))
    assert refusal.value.where == "its inputs: (2, 6)" and "dynamic_shapes" in refusal.value.hint


def test_a_module_without_a_declared_input_is_refused_with_a_hint():
    net = Net()
    net.example_input_array = None
    with pytest.raises(EngineError, match="a Net does not declare its input") as refusal:
        Torch.import_model(net)
    assert refusal.value.hint.startswith("model.example_input_array = torch.zeros(1, d)")


def test_a_network_over_images_is_refused_by_what_it_reads():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten())
    net.example_input_array = torch.zeros(1, 3, 16, 16)
    with pytest.raises(EngineError, match="reads tensors") as refusal:
        Torch.import_model(net)
    assert refusal.value.where == "its inputs: (1, 3, 16, 16)" and "FloatTensorType" not in refusal.value.hint


def test_a_module_with_data_dependent_control_flow_is_refused():
    class Asks(Net):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows if rows.sum() > 0 else -rows

    with pytest.raises(EngineError, match="torch cannot export a Asks"):
        Torch.import_model(Asks())


def test_a_program_that_draws_at_random_is_refused():
    class Draws(Net):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.layers(rows) + torch.rand_like(rows)[:, :1]

    with pytest.raises(EngineError, match="the ONNX graph of the model answers differently"):
        Torch.import_model(Draws())


@pytest.mark.parametrize("model", [None, "net.pt", torch.zeros(3)])
def test_anything_but_a_module_does_not_apply(model):
    with pytest.raises(NotApplicable):
        Torch.import_model(model)


@pytest.mark.filterwarnings("ignore")
def test_a_script_module_is_refused_with_a_hint():
    with pytest.raises(EngineError, match="TorchScript") as refusal:
        Torch.import_model(torch.jit.script(Net()))
    assert "torch.export.export" in refusal.value.hint


def test_a_trusted_program_file_is_imported(tmp_path: Path):
    net, path = Net(), tmp_path / "net.pt2"
    torch.export.save(program(net, **any_rows()), path)
    imported = open_model_file(path, trust=True)
    np.testing.assert_allclose(Torch(imported.content, {}).predict(ROWS), own(net), rtol=0, atol=1e-5)


def test_a_file_of_weights_without_a_model_is_refused_with_a_hint(tmp_path: Path):
    torch.save(Net().state_dict(), tmp_path / "net.pt")
    with pytest.raises(EngineError, match="holds weights without a model") as refusal:
        open_model_file(tmp_path / "net.pt", trust=True)
    assert "load_state_dict" in refusal.value.hint


def test_a_torch_archive_holds_pickles_and_is_never_stored():
    buffer = io.BytesIO()
    torch.save(Net(), buffer)
    assert b"data.pkl" in buffer.getvalue()
