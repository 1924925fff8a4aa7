"""Random small networks as graphs, rows for them, and the difference between ONNX Runtime and a program."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from onnx import NodeProto, helper
from tests.engines.graphs import FLOAT, INT64, graph

from headway.core.arrays import Floats
from headway.engines.dense import Dense
from headway.engines.onnxruntime import OnnxRuntime
from headway.optimization.lowering.lower import lower_graph
from headway.optimization.parity import predict_or_nan

EDGE_VALUES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -7.0, 1e-30, 88.5, -104, 3e38, -3e38])


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a network: embedded columns, numbers that may be missing, hidden layers, outputs."""

    looked: int = 1
    numbers: int = 3
    layers: tuple[int, ...] = (8,)
    between: str = "Relu"
    outputs: int = 1
    norm: bool = False
    double: bool = False

    @property
    def width(self) -> int:
        return self.looked + self.numbers


RANKS, WIDTH = 9, 3
make = helper.make_node


def random_network(shape: Shape, seed: int = 0) -> bytes:
    """The graph of a network with weights drawn from a seed."""
    random = np.random.default_rng(seed)
    nodes, constants, parts = _ready(shape, random)
    nodes.append(make("Concat", parts, ["dense_0"], axis=-1))
    sizes = (shape.looked * WIDTH + 2 * shape.numbers, *shape.layers, shape.outputs)
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        drawn = random.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        constants[f"weight_{number}"] = drawn.astype(np.float32)
        constants[f"bias_{number}"] = random.normal(size=outputs).astype(np.float32)
        nodes += _layer(number, shape, last=number == len(sizes) - 2)
        if shape.norm:
            drawn_norm = {name: random.random(outputs).astype(np.float32) for name in ("s", "b", "m", "v")}
            constants |= {f"{name}_{number}": array + np.float32(name == "v") for name, array in drawn_norm.items()}
    kind = 11 if shape.double else FLOAT
    return graph(nodes, [("rows", kind, [None, shape.width])], [("scores", FLOAT, [None, shape.outputs])], constants)


def _ready(shape: Shape, random: np.random.Generator) -> tuple[list[NodeProto], dict[str, np.ndarray], list[str]]:
    constants = {
        "first": np.arange(shape.looked),
        "numbers": np.array([shape.looked]),
        "end": np.array([2**31 - 1]),
        "axis": np.array([1]),
        "one": np.array(1, np.float32),
        "mean": random.normal(size=shape.numbers).astype(np.float32),
        "fill": random.normal(size=(1, shape.numbers)).astype(np.float32),
        "table": random.normal(size=(RANKS, WIDTH)).astype(np.float32),
        "flat": np.array([0, -1]),
    }
    nodes = [
        make("Cast", ["rows"], ["small"], to=FLOAT),
        make("Slice", ["small", "numbers", "end", "axis"], ["number"]),
        make("IsNaN", ["number"], ["missing"]),
        make("Sub", ["number", "mean"], ["centred"]),
        make("Where", ["missing", "fill", "centred"], ["known"]),
        make("Not", ["missing"], ["there"]),
        make("Cast", ["there"], ["flags"], to=FLOAT),
    ]
    if not shape.looked:
        return nodes, constants, ["known", "flags"]
    nodes += [
        make("Gather", ["small", "first"], ["rank"], axis=1),
        make("Cast", ["rank"], ["whole"], to=INT64),
        make("Gather", ["table", "whole"], ["found"]),
        make("Reshape", ["found", "flat"], ["embedded"]),
    ]
    return nodes, constants, ["embedded", "known", "flags"]


def _layer(number: int, shape: Shape, *, last: bool) -> list[NodeProto]:
    """A product, a norm if there is one, and what comes after it."""
    product = make("Gemm", [f"dense_{number}", f"weight_{number}", f"bias_{number}"], [f"sum_{number}"])
    normed = [f"sum_{number}", *(f"{name}_{number}" for name in ("s", "b", "m", "v"))]
    norm = [make("BatchNormalization", normed, [f"norm_{number}"])] if shape.norm else []
    before = f"norm_{number}" if norm else f"sum_{number}"
    if last:
        return [product, *norm, make("Sigmoid" if shape.outputs == 1 else "Softmax", [before], ["scores"])]
    return [product, *norm, make(shape.between, [before], [f"dense_{number + 1}"])]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A convolution over an image or `sequence`, and the nodes after it; channels and outputs are of each group."""

    channels: int = 1
    size: tuple[int, int] = (8, 8)
    outputs: int = 8
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    sequence: bool = False
    after: tuple[str, ...] = ("Relu",)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels of all groups, and pixels."""
        return (self.channels * self.groups, *([self.size[1]] if self.sequence else self.size))


AFTER: dict[str, dict[str, object]] = {
    "Relu": {},
    "Tanh": {},
    "Mul": {},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    "MaxPool": {"kernel_shape": 2, "strides": 2},
    "MaxPool wide": {"kernel_shape": 3, "strides": 2, "pads": 1},
    "MaxPool dilated": {"kernel_shape": 2, "dilations": 2},
    "AveragePool": {"kernel_shape": 2},
    "AveragePool inside": {"kernel_shape": 3, "pads": 1},
    "AveragePool with border": {"kernel_shape": 3, "pads": 1, "strides": 2, "count_include_pad": 1},
}
"""Nodes that may come after a convolution; numbers are of each axis."""


def picture_network(picture: Picture, seed: int = 0) -> bytes:
    """The graph of a convolution over images of this shape, with weights drawn from a seed."""
    random, axes = np.random.default_rng(seed), 1 if picture.sequence else 2
    kernel = picture.kernel[2 - axes :]
    drawn = random.normal(size=(picture.outputs * picture.groups, picture.channels, *kernel))
    constants = {
        "weights": (drawn / np.sqrt(drawn[0].size)).astype(np.float32),
        "bias": random.normal(size=len(drawn)).astype(np.float32),
        "scale": random.normal(size=(len(drawn), *[1] * axes)).astype(np.float32),
        "shape": np.array([-1, *picture.shape]),
    }
    pads = picture.pads if axes == 2 else picture.pads[1::2]
    sizes = {"strides": picture.stride[2 - axes :], "dilations": picture.dilation[2 - axes :], "pads": pads}
    nodes = [
        make("Reshape", ["rows", "shape"], ["image"]),
        make("Conv", ["image", "weights", "bias"], ["value 0"], group=picture.groups, **sizes),
    ]
    for number, name in enumerate(picture.after):
        spread = {"kernel_shape": axes, "strides": axes, "dilations": axes, "pads": 2 * axes}
        numbers = {key: [value] * spread[key] if key in spread else value for key, value in AFTER[name].items()}
        inputs = [f"value {number}", *(["scale"] if name == "Mul" else [])]
        nodes.append(make(name.split()[0], inputs, [f"value {number + 1}"], **numbers))
    nodes.append(make("Flatten", [f"value {len(picture.after)}"], ["scores"]))
    width = int(np.prod(picture.shape))
    return graph(nodes, [("rows", FLOAT, [None, width])], [("scores", FLOAT, [None, None])], constants)


def rows_for(shape: Shape, count: int, seed: int = 0) -> Floats:
    """Rows float64 [n, d]: ranks, some counted from the end, and numbers, some of them missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, shape.width))
    rows[:, : shape.looked] = random.integers(-RANKS, RANKS, size=(count, shape.looked)) + 0.25
    rows[:, shape.looked :][random.random((count, shape.numbers)) < 0.1] = np.nan
    return rows


def largest_difference(content: bytes, rows: Floats, level: str = "") -> float:
    """The largest difference from ONNX Runtime, relative where predictions exceed 1.

    Infinite where only one of them rejects a row.
    """
    engine = Dense(lower_graph(content), {"level": level})
    outputs = engine.predict(rows[:0]).shape[1]
    expected, found = (predict_or_nan(array, rows, outputs) for array in (OnnxRuntime(content, {}), engine))
    equal = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    return float(np.max(np.where(equal, 0, np.nan_to_num(moved, nan=np.inf)), initial=0))
