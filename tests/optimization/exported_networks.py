"""A network for tables as torch exports it, with its many small nodes and weights from a fixed seed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper
from tests.engines.graphs import FLOAT, graph

TEXTS, NUMBERS, RANKS, WIDTH = 2, 2, 6, 4
LARGEST = np.finfo(np.float32).max
COLUMNS = TEXTS + NUMBERS


def exported_network(
    *, high: float = RANKS - 1, low: float = 0, number: float = -LARGEST, other: str = "scaled"
) -> bytes:
    """Two categories as ranks, missing as NaN, made integers by nan_to_num and clamp, embedded; two scaled numbers.

    Ranks are clipped to `low` and `high`, `number` replaces negative infinity, and the zeros for missing numbers take
    their shape from `other`.
    """
    random = np.random.default_rng(0)
    constants = {
        **{f"table_{index}": random.normal(size=(RANKS, WIDTH)).astype(np.float32) for index in range(TEXTS)},
        **{f"column_{index}": np.array(index) for index in range(TEXTS)},
        **{name: np.array(value, np.float32) for name, value in (("zero", 0), ("one", 1), ("missing", -1))},
        "least": np.array(low, np.float32),
        "most": np.array(high, np.float32),
        "low": np.array(number, np.float32),
        "high": np.array(LARGEST, np.float32),
        **{f"from_{index}": np.array([index]) for index in (0, TEXTS, COLUMNS)},
        "axis": np.array([1]),
        "mean": np.array([1, 2], np.float32),
        "scale": np.array([1, 9], np.float32),
        "weight": random.normal(size=(TEXTS * WIDTH + 2 * NUMBERS, 3)).astype(np.float32),
    }
    make = helper.make_node
    nodes = [
        make("Slice", ["rows", "from_0", f"from_{TEXTS}", "axis"], ["texts"]),
        *_integers(),
        *[node for index in range(TEXTS) for node in _embedded(index)],
        make("Slice", ["rows", f"from_{TEXTS}", f"from_{COLUMNS}", "axis"], ["numbers"]),
        make("Sub", ["numbers", "mean"], ["centred"]),
        make("Div", ["centred", "scale"], ["scaled"]),
        make("IsNaN", ["scaled"], ["absent"]),
        make("Shape", [other], ["shape"]),
        make("Expand", ["zero", "shape"], ["zeros"]),
        make("Where", ["absent", "zeros", "scaled"], ["known"]),
        make("Cast", ["absent"], ["flags"], to=FLOAT),
        make("Concat", [*(f"embedded_{index}" for index in range(TEXTS)), "known", "flags"], ["ready"], axis=1),
        make("Gemm", ["ready", "weight"], ["sums"]),
        make("Softmax", ["sums"], ["scores"], axis=1),
    ]
    return graph(nodes, [("rows", FLOAT, [None, COLUMNS])], [("scores", FLOAT, [None, 3])], constants)


def _integers() -> list[NodeProto]:
    """nan_to_num(texts, nan=-1) + 1, clamped and cast to integers."""
    make = helper.make_node
    return [
        make("IsNaN", ["texts"], ["no_text"]),
        make("Where", ["no_text", "missing", "texts"], ["filled"]),
        make("IsInf", ["texts"], ["endless"]),
        make("Less", ["texts", "zero"], ["negative"]),
        make("And", ["negative", "endless"], ["endless_down"]),
        make("Where", ["endless_down", "low", "filled"], ["bounded"]),
        make("Greater", ["texts", "zero"], ["positive"]),
        make("And", ["positive", "endless"], ["endless_up"]),
        make("Where", ["endless_up", "high", "bounded"], ["finite"]),
        make("Add", ["finite", "one"], ["from_one"]),
        make("Clip", ["from_one", "least", "most"], ["clipped"]),
        make("Cast", ["clipped"], ["ranks"], to=onnx.TensorProto.INT64),
    ]


def _embedded(index: int) -> list[NodeProto]:
    return [
        helper.make_node("Gather", ["ranks", f"column_{index}"], [f"rank_{index}"], axis=1),
        helper.make_node("Gather", [f"table_{index}", f"rank_{index}"], [f"embedded_{index}"]),
    ]
