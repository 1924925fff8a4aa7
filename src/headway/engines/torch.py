"""PyTorch modules and exported programs, imported as an ONNX graph that ONNX Runtime opens without torch.

torch's own archives (.pt2, .pt) can run code when they are opened, so none is stored. The graph is compared with the
module on rows before it is accepted. A module declares its input by `example_input_array` (float32 or float64 [n, d]).
A classifier must end in probabilities (sigmoid, softmax), since its answers are used unchanged.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from headway.core import plugins
from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.onnx_ports import TENSORS, TENSORS_HINT

TOLERANCE = 1e-5
_ROWS = 256
_OPENER = "onnxruntime"
_DECLARE = "model.example_input_array = torch.zeros(1, d), d the columns of a row"
_EXPORT = "torch.export.export(model, (torch.zeros(2, d),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
_FAILURES = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Torch:
    """Engine that imports modules and exported programs, and opens their graphs with ONNX Runtime."""

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        self._engine = plugins.load_engine(_OPENER)(content, settings)

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a module that declares its input, or an exported program with a dynamic row count, as an ONNX graph.

        Raises EngineError, with a hint, if it cannot be exported or its graph answers differently.
        """
        if isinstance(model, torch.jit.ScriptModule):
            raise EngineError("torch does not export a TorchScript module", hint=_EXPORT)
        if not isinstance(model, torch.nn.Module | torch.export.ExportedProgram):
            raise NotApplicable(f"a {type(model).__name__} is not a model of torch")
        program = model if isinstance(model, torch.export.ExportedProgram) else _export_module(model)
        _check_inputs(program)
        content = _onnx_graph(program)
        width = _compare_with_module(program, content)
        return ImportedModel(content=content, width=width, engine=_OPENER)

    @classmethod
    def opened(cls, file: ModelFile) -> object:
        """Load a torch archive. This runs the code in it, so call it only for a trusted file."""
        if file.suffix == ".pt2":
            return torch.export.load(io.BytesIO(file.content))
        model = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=False)
        if isinstance(model, dict):
            raise EngineError(
                "the file holds weights without a model",
                hint=f"model.load_state_dict(torch.load(path)), then torch.export.save({_EXPORT}, 'model.pt2')",
            )
        return model

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d] with ONNX Runtime."""
        return self._engine.predict(rows)


def _export_module(module: torch.nn.Module) -> torch.export.ExportedProgram:
    """Export a copy of the module in evaluation mode, for any number of rows."""
    example = getattr(module, "example_input_array", None)
    if isinstance(example, torch.Tensor) and example.dim() > 2:
        raise _reads_tensors(type(module).__name__, [tuple(example.shape)])
    if not isinstance(example, torch.Tensor) or example.dim() != 2 or not example.is_floating_point():
        raise EngineError(
            f"a {type(module).__name__} does not declare its input: example_input_array is not a float table [n, d]",
            hint=_DECLARE,
        )
    rows = torch.zeros(2, example.shape[1], dtype=example.dtype)  # the exporter specializes a batch of one row
    try:
        module_copy = copy.deepcopy(module).cpu().eval()
        with _quiet():
            return torch.export.export(module_copy, (rows,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except _FAILURES as error:
        raise EngineError(
            f"torch cannot export a {type(module).__name__}: {_first_line(error)}",
            hint="remove data-dependent control flow from forward()",
        ) from error


def _reads_tensors(model: str, shapes: Sequence[tuple[object, ...]]) -> EngineError:
    return EngineError(
        f"the {model} reads {TENSORS}",
        where=f"its inputs: {', '.join(str(shape) for shape in shapes)}",
        hint=TENSORS_HINT,
    )


def _check_inputs(program: torch.export.ExportedProgram) -> None:
    """Raise EngineError unless the program reads one table with a dynamic number of rows."""
    names = program.graph_signature.user_inputs
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    shapes = [tuple(getattr(value, "shape", ())) for value in inputs]
    if any(len(shape) > 2 for shape in shapes):
        raise _reads_tensors("exported program", shapes)
    if len(shapes) != 1 or len(shapes[0]) != 2 or isinstance(shapes[0][0], int):
        raise EngineError(
            "the exported program does not read one table [any, d]",
            where=f"its inputs: {', '.join(str(shape) for shape in shapes) or 'none'}",
            hint=_EXPORT,
        )


def _onnx_graph(program: torch.export.ExportedProgram) -> bytes:
    try:
        with _quiet():
            found = torch.onnx.export(program, dynamo=True, verbose=False)
        content: bytes = found.model_proto.SerializeToString(deterministic=True)
    except _FAILURES as error:
        raise EngineError(f"torch cannot write the model as ONNX: {_first_line(error)}", hint=_EXPORT) from error
    return content


def _compare_with_module(program: torch.export.ExportedProgram, content: bytes) -> int:
    """Return the width of a row; raise EngineError if the graph and the module answer differently."""
    engine: Any = plugins.load_engine(_OPENER)(content, {})
    kind = program.example_inputs[0][0].dtype if program.example_inputs else torch.float32
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(_ROWS, engine.width)) * scale for scale in (1, 30)])
    rows = rows.astype(np.float32).astype(np.float64)
    with torch.no_grad():
        expected = program.module()(torch.from_numpy(rows).to(kind)).numpy().astype(np.float64)
    found = engine.predict(rows)
    expected = expected.reshape(len(rows), -1)[:, -found.shape[1] :]
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    worst = float(np.max(np.abs(np.nan_to_num(expected - found, nan=np.inf)), initial=0.0))
    if worst > TOLERANCE * scale or expected.shape != found.shape:
        raise EngineError(
            f"the ONNX graph of the model answers differently, by up to {worst:.2g}",
            where=f"{len(rows)} rows; allowed: {TOLERANCE * scale:.2g}",
            hint="model.eval() before the export: random outputs cannot be compared",
        )
    return int(engine.width)


def _quiet() -> contextlib.ExitStack:
    """Silence the warnings and log lines of torch's exporter."""
    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    stack.callback(logging.disable, before)
    return stack


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


plugin = Torch
