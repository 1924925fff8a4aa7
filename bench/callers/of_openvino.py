"""A network's ONNX graph by OpenVINO on one thread: float32, bfloat16, and int8 by NNCF."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from callers.call import Call, Order

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # it would send usage data
openvino = importlib.import_module("openvino")

SAMPLE_ROWS = 512


def float32(order: Order) -> Call:
    """In float32."""
    return _compiled(_model(order), "f32")


def bfloat16(order: Order) -> Call:
    """In bfloat16."""
    return _compiled(_model(order), "bf16")


def nncf_int8(order: Order) -> Call:
    """Int8 by NNCF, calibrated on training rows; made once and kept. The option `precision` is that of the rest."""
    file = order.file("int8.xml")
    if not file.exists():
        nncf = importlib.import_module("nncf")  # it takes seconds, and what was made is kept
        rows = np.load(order.model / "train.npy")[:SAMPLE_ROWS, None].astype(np.float32)
        openvino.save_model(nncf.quantize(_model(order), nncf.Dataset(rows), subset_size=SAMPLE_ROWS), file)
    return _compiled(openvino.Core().read_model(file), order.options.get("precision", "f32"))


def _model(order: Order) -> Any:
    return openvino.Core().read_model(order.model / "model.onnx")


def _compiled(model: Any, precision: str) -> Call:
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    ask = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return Call(lambda rows: ask.infer([rows.astype(np.float32)], share_inputs=True)[0])
