"""The recogniser of PP-OCR in bench/optimize.py, from PyPI's rapidocr-onnxruntime, and pictures for it.

A row is a picture of 48 x 320 pixels, -1 to 1. The graph of the package is wrapped: before it, a row becomes three
equal channels; after it, the likeliest character at each position, without repeats and blanks, is matched with a list
of texts. A prediction is correct if the whole text is.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter
from PIL import Image, ImageDraw, ImageFont

FILE = "models/ch_PP-OCRv4_rec_infer.onnx"
HEIGHT, WIDTH, MOST_CHARACTERS = 48, 320, 64
OPSET, LEAST_FACTOR = 17, 17
READ, TAUGHT = 30, 26
"""Sizes of the letters in the pictures that are asked, and in those that int8 is calibrated on."""


def recogniser(listed: list[str]) -> Any:
    """Return the graph [n, 48 * 320] -> [n, texts + 1]: 1 at the recognised text, and 0.5 at the last, for none."""
    content = onnx.load(_package() / FILE)
    codes = {character: index for index, character in enumerate(_characters(content), 1)}
    # So small that a sum is exact in float32 too, in which some engines count; one wrong character changes it.
    factors = np.random.default_rng(0).permutation(MOST_CHARACTERS) + LEAST_FACTOR
    sums = [sum(codes[character] * factors[index] for index, character in enumerate(text, 1)) for text in listed]
    if len(set(sums)) < len(sums):
        raise SystemExit("two texts have one sum")
    core = compose.add_prefix(version_converter.convert_version(content, OPSET), "core/")
    input_name, output_name = core.graph.input[0].name, core.graph.output[0].name
    nodes = [*_before(input_name), *core.graph.node, *_after(output_name)]
    graph = helper.make_graph(
        nodes,
        "recogniser",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", HEIGHT * WIDTH])],
        [helper.make_tensor_value_info("texts", TensorProto.FLOAT, ["n", len(listed) + 1])],
        [*core.graph.initializer, *_constants(factors, sums)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def texts() -> list[str]:
    """Return the names of the packages of this environment, with and without their versions."""
    packages = {package.metadata["Name"]: package.version for package in importlib.metadata.distributions()}
    return [*sorted(packages), *(f"{name} {packages[name]}"[:30] for name in sorted(packages))]


def pictures(listed: list[str], size: int) -> Any:
    """Return rows float32 [n, 48 * 320]: each text in letters of that size, black on white, 0 beyond its end."""
    return np.stack([_picture(text, size).reshape(-1) for text in listed])


def _picture(text: str, size: int) -> Any:
    font = ImageFont.load_default(size)
    width = int(font.getlength(text)) + 16
    page = Image.new("L", (width, HEIGHT), 255)
    ImageDraw.Draw(page).text((8, HEIGHT // 2), text, fill=0, font=font, anchor="lm")
    page = page.resize((min(width, WIDTH), HEIGHT))
    found = np.zeros((HEIGHT, WIDTH), np.float32)
    found[:, : page.width] = np.asarray(page, np.float32) / 127.5 - 1
    return found


def _before(input_name: str) -> list[Any]:
    picture = helper.make_node("Reshape", ["rows", "picture"], ["grey"], "grey")
    return [picture, helper.make_node("Concat", ["grey"] * 3, [input_name], "channels", axis=1)]


def _after(output_name: str) -> list[Any]:
    """Return nodes that number the first position of each character of [n, places], and sum each times a factor."""
    make = helper.make_node
    return [
        make("ArgMax", [output_name], ["codes"], "codes", axis=2, keepdims=0),
        make("Pad", ["codes", "one_before", "none"], ["moved"], "moved"),
        make("Slice", ["moved", "zero", "minus_one", "axis"], ["before"], "before"),
        make("Equal", ["codes", "before"], ["repeated"], "repeated"),
        make("Equal", ["codes", "none"], ["blank"], "blank"),
        make("Or", ["repeated", "blank"], ["left_out"], "left_out"),
        make("Where", ["left_out", "none", "one"], ["kept"], "kept"),
        make("CumSum", ["kept", "places"], ["number"], "number"),
        make("Gather", ["factors", "number"], ["factor"], "factor"),
        make("Mul", ["codes", "factor"], ["product"], "product"),
        make("Mul", ["product", "kept"], ["part"], "part"),
        make("ReduceSum", ["part", "axis"], ["sum"], "sum", keepdims=1),
        make("Equal", ["sum", "sums"], ["found"], "found"),
        make("Where", ["found", "yes", "no"], ["texts"], "texts"),
    ]


def _constants(factors: Any, sums: list[int]) -> list[Any]:
    values = {
        "picture": np.array([-1, 1, HEIGHT, WIDTH]),
        "one_before": np.array([0, 1, 0, 0]),
        "none": np.array(0),
        "one": np.array(1),
        "zero": np.array([0]),
        "minus_one": np.array([-1]),
        "axis": np.array([1]),
        "places": np.array(1),
        "factors": factors,
        "sums": np.array([[*sums, -1]]),
        "yes": np.array(1, np.float32),
        "no": np.array([[*[0] * len(sums), 0.5]], np.float32),
    }
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _characters(content: Any) -> list[str]:
    known = {entry.key: entry.value for entry in content.metadata_props}
    return [*known["character"].splitlines(), " "]


def _package() -> Path:
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("rapidocr-onnxruntime is not installed")
    return Path(found.submodule_search_locations[0])
