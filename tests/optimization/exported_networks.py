"""A network for tables as torch exports it, small nodes and all, with weights drawn from a fixed seed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper
from tests.engines.graphs import FLOAT, graph

TEXTS, NUMBERS, RANKS, WIDTH = 2, 2, 6, 4
LARGEST = np.finfo(np.float32).max
COLUMNS = TEXTS + NUMBERS


def exported_network(
    *, most: float = RANKS - 1, least: float = 0, number: float = -LARGEST, other: str = "scaled"
) -> bytes:
    """Two texts as ranks, missing as NaN, made whole by nan_to_num and clamp, embedded; two scaled numbers.

    `least` and `most` are what ranks are clipped to, `number` stands for an endless negative one, `other` is what the
    zeros in place of missing numbers take their shape from.
    """
    random = np.random.default_rng(0)
    constants = {
        **{f"table_{place}": random.normal(size=(RANKS, WIDTH)).astype(np.float32) for place in range(TEXTS)},
        **{f"column_{place}": np.array(place) for place in range(TEXTS)},
        **{name: np.array(value, np.float32) for name, value in (("zero", 0), ("one", 1), ("missing", -1))},
        "least": np.array(least, np.float32),
        "most": np.array(most, np.float32),
        "low": np.array(number, np.float32),
        "high": np.array(LARGEST, np.float32),
        **{f"from_{place}": np.array([place]) for place in (0, TEXTS, COLUMNS)},
        "axis": np.array([1]),
        "mean": np.array([1, 2], np.float32),
        "scale": np.array([1, 9], np.float32),
        "weight": random.normal(size=(TEXTS * WIDTH + 2 * NUMBERS, 3)).astype(np.float32),
    }
    make = helper.make_node
    nodes = [
        make("Slice", ["rows", "from_0", f"from_{TEXTS}", "axis"], ["texts"]),
        *_whole(),
        *[each for place in range(TEXTS) for each in _embedded(place)],
        make("Slice", ["rows", f"from_{TEXTS}", f"from_{COLUMNS}", "axis"], ["numbers"]),
        make("Sub", ["numbers", "mean"], ["centred"]),
        make("Div", ["centred", "scale"], ["scaled"]),
        make("IsNaN", ["scaled"], ["absent"]),
        make("Shape", [other], ["shape"]),
        make("Expand", ["zero", "shape"], ["zeros"]),
        make("Where", ["absent", "zeros", "scaled"], ["known"]),
        make("Cast", ["absent"], ["flags"], to=FLOAT),
        make("Concat", [*(f"embedded_{place}" for place in range(TEXTS)), "known", "flags"], ["ready"], axis=1),
        make("Gemm", ["ready", "weight"], ["sums"]),
        make("Softmax", ["sums"], ["scores"], axis=1),
    ]
    return graph(nodes, [("rows", FLOAT, [None, COLUMNS])], [("scores", FLOAT, [None, 3])], constants)


def _whole() -> list[NodeProto]:
    """nan_to_num(texts, nan=-1) + 1, clamped and made whole."""
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


def _embedded(place: int) -> list[NodeProto]:
    return [
        helper.make_node("Gather", ["ranks", f"column_{place}"], [f"rank_{place}"], axis=1),
        helper.make_node("Gather", [f"table_{place}", f"rank_{place}"], [f"embedded_{place}"]),
    ]
