"""The model at MODEL in ONNX Runtime on one thread, as every peer of bench/serve.py calls it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

BATCH = int(os.environ.get("BATCH", "1"))
"""The most rows or requests that a peer may put together; 1 is none."""


def opened() -> Callable[[Any], Any]:
    """Return a function from rows [n, width] to outputs [n, k]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    dtype = np.float64 if entry.type == "tensor(double)" else np.float32  # tiny mode has no converter to float32
    return lambda rows: session.run(None, {entry.name: np.asarray(rows, dtype=dtype)})[0]


def main() -> None:
    """Print the calls per second of this process; the two arguments are rows per call and seconds."""
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    ask = opened()
    rows = np.random.default_rng(1).normal(size=(count, 25)).astype(np.float32)
    for _ in range(100):
        ask(rows)
    calls, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        for _ in range(20):
            ask(rows)
        calls += 20
    print(calls / (now - began))
