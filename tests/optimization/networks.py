"""Networks as ONNX graphs with weights drawn from fixed seeds, and rows for them.

`tabular_network` is built like usual networks for tables: embedded categories, missing-value indicators and scaled
numbers, all in the graph, then dense layers. Its numbers have the long tail that real ones have, which is what int8
does not bear.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper
from tests.engines.boosters import table
from tests.engines.graphs import FLOAT, graph

from headway.core.arrays import Floats
from headway.core.plugins import load_blobs
from headway.core.variant import Field, Signature, Variant
from headway.optimization.context import TransformContext

SIZES = (14, 96, 96, 48, 1)
TAIL = 9  # where the number with the long tail enters the dense layers
PIXELS = 64


def tabular_rows(count: int = 2_000, seed: int = 0) -> Floats:
    """Rows float64 [n, 4] as `table` has them, the number with a long tail."""
    found = table(count, seed)
    found[:, 2] = np.sinh(1.8 * found[:, 2])
    return found


def tabular_network(seed: int = 0, end: str = "Sigmoid") -> bytes:
    """Four columns to one answer: an embedded category, three numbers scaled, and whether each is missing."""
    random = np.random.default_rng(seed)
    constants = {
        "embedding": random.normal(size=(40, 8)).astype(np.float32),
        "mean": np.array([0, 0, 5.3e9], np.float32),
        "scale": np.array([1, 5, 1.9e9], np.float32),
        "first": np.array([0]),
        "numbers": np.array([1, 2, 3]),
        "zero": np.array(0, np.float32),
        "one_axis": np.array([-1]),
    }
    nodes = [
        helper.make_node("Gather", ["rows", "first"], ["rank"], axis=1),
        helper.make_node("Cast", ["rank"], ["whole"], to=7),
        helper.make_node("Reshape", ["whole", "one_axis"], ["flat"]),
        helper.make_node("Gather", ["embedding", "flat"], ["embedded"]),
        helper.make_node("Gather", ["rows", "numbers"], ["number"], axis=1),
        helper.make_node("IsNaN", ["number"], ["missing"]),
        helper.make_node("Sub", ["number", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Where", ["missing", "zero", "scaled"], ["known"]),
        helper.make_node("Cast", ["missing"], ["absent"], to=FLOAT),
        helper.make_node("Concat", ["embedded", "known", "absent"], ["dense_0"], axis=1),
    ]
    for number, size in enumerate(pairwise(SIZES)):
        constants |= _weights(number, size, random)
        nodes += _dense(number, end if number == len(SIZES) - 2 else "")
    return graph(nodes, [("rows", FLOAT, [None, 4])], [("scores", FLOAT, [None, 1])], constants)


def _weights(number: int, size: tuple[int, int], random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    drawn = random.normal(size=size) * np.sqrt(2 / size[0])
    if number == 0:
        drawn[TAIL] *= 0.05  # a network learns to bear a long tail
    return {f"weight_{number}": drawn.astype(np.float32), f"bias_{number}": np.zeros(size[1], np.float32)}


def _dense(number: int, end: str) -> list[NodeProto]:
    sums = helper.make_node("Gemm", [f"dense_{number}", f"weight_{number}", f"bias_{number}"], [f"sum_{number}"])
    kind, answer = (end, "scores") if end else ("Relu", f"dense_{number + 1}")
    return [sums, helper.make_node(kind, [f"sum_{number}"], [answer])]


def image_network(seed: int = 0, *, opset: int = 18, steep: float = 1) -> bytes:
    """Images of 8 x 8 as 64 columns, to ten probabilities by two convolutions and a dense layer of `steep` weights."""
    random = np.random.default_rng(seed)
    shapes = {"conv_0": (8, 1, 3, 3), "conv_1": (16, 8, 3, 3), "dense": (256, 10)}
    constants = {
        name: (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }
    constants["dense"] *= np.float32(steep)
    constants |= {"picture": np.array([-1, 1, 8, 8]), "row": np.array([-1, 256])}
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Reshape", ["rows", "picture"], ["a"]),
        helper.make_node("Conv", ["a", "conv_0"], ["b"], **pads),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "conv_1"], ["d"], **pads),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["f", "row"], ["g"]),
        helper.make_node("MatMul", ["g", "dense"], ["h"]),
        helper.make_node("Softmax", ["h"], ["scores"], axis=1),
    ]
    return with_opset(graph(nodes, [("rows", FLOAT, [None, 64])], [("scores", FLOAT, [None, 10])], constants), opset)


def with_opset(content: bytes, opset: int) -> bytes:
    """The graph with another opset, for operators that are equal in both."""
    made = onnx.load_from_string(content)
    del made.opset_import[:]
    made.opset_import.append(helper.make_opsetid("", opset))
    made.ir_version = 10 if opset > 12 else 6
    return bytes(made.SerializeToString())


def image_rows(count: int = 500, seed: int = 0) -> Floats:
    """Rows float64 [n, 64] of pixels in [0, 1]."""
    return np.random.default_rng(seed).random((count, PIXELS)).astype(np.float32).astype(np.float64)


def context_of(folder: Path, sample: Floats) -> TransformContext:
    """A context in a folder, with these rows as its sample."""
    return TransformContext(blobs=load_blobs("files")(folder), sample=sample)


def network_variant(content: bytes, context: TransformContext, *, task: str = "binary") -> Variant:
    """The baseline of a graph whose columns are those of the context's sample."""
    inputs = tuple(Field(name=f"column {number}") for number in range(context.sample.shape[1]))
    artifact = context.save(content, "onnx")
    return Variant(artifact=artifact, engine="onnxruntime", signature=Signature(inputs=inputs), task=task)
