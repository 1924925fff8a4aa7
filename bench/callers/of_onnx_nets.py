"""A network's ONNX graph, as torch exported it, by ONNX Runtime on one thread: whole and in int8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from callers.call import Call, Order

SAMPLE_ROWS = 512


def as_called(order: Order) -> Call:
    """In float32, with the threads that the library takes by itself."""
    return _session(order.model / "model.onnx", threads=0)


def float32(order: Order) -> Call:
    """In float32."""
    return _session(order.model / "model.onnx")


def dynamic_int8(order: Order) -> Call:
    """Use int8 weights by channel and dynamically quantized activations."""
    made = order.file("dynamic.onnx")
    quantize_dynamic(_prepared(order), made, per_channel=True, weight_type=QuantType.QInt8)
    return _session(made)


def static_int8(order: Order) -> Call:
    """Int8 by QDQ, calibrated on training rows."""
    made, rows = order.file("static.onnx"), np.load(order.model / "train.npy")[:SAMPLE_ROWS].astype(np.float32)
    quantize_static(_prepared(order), made, _Reader(rows), per_channel=True)
    return _session(made)


class _Reader(CalibrationDataReader):
    def __init__(self, rows: Any) -> None:
        self._parts: Iterator[Any] = iter(np.array_split(rows, 8))

    def get_next(self) -> Any:
        part = next(self._parts, None)
        return None if part is None else {"rows": part}


def _prepared(order: Order) -> Path:
    made = order.file("prepared.onnx")
    quant_pre_process(order.model / "model.onnx", made, skip_symbolic_shape=True)
    return made


def _session(file: Path, *, threads: int = 1) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    run = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run
    return Call(lambda rows: run(None, {"rows": rows.astype(np.float32)})[0])
