"""The recogniser of PP-OCR in bench/optimize.py, as PyPI's rapidocr-onnxruntime has it, and pictures for it.

A row is a picture of 48 x 320 pixels, -1 to 1. The graph of the package is kept; around it stands what makes a row its
three equal channels, and what reads its answer: the likeliest character at each place, repeats and blanks left out, and
which of a list of texts that is. So an answer is right where the whole text is.
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
    """The graph [n, 48 * 320] -> [n, texts + 1]: 1 at the text of the list that was read, and 0.5 at the last, none."""
    content = onnx.load(_package() / FILE)
    codes = {character: place for place, character in enumerate(_characters(content), 1)}
    # So small that a sum is exact in float32 too, in which some engines count; one wrong character changes it.
    factors = np.random.default_rng(0).permutation(MOST_CHARACTERS) + LEAST_FACTOR
    sums = [sum(codes[each] * factors[place] for place, each in enumerate(text, 1)) for text in listed]
    if len(set(sums)) < len(sums):
        raise SystemExit("two texts have one sum")
    core = compose.add_prefix(version_converter.convert_version(content, OPSET), "core/")
    asked, answered = core.graph.input[0].name, core.graph.output[0].name
    nodes = [*_before(asked), *core.graph.node, *_after(answered)]
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
    """The names of the packages of this environment, alone and with their versions."""
    packages = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return [*sorted(packages), *(f"{name} {packages[name]}"[:30] for name in sorted(packages))]


def pictures(listed: list[str], size: int) -> Any:
    """Rows float32 [n, 48 * 320]: each text in letters of that size, black on white, 0 beyond its end."""
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


def _before(asked: str) -> list[Any]:
    picture = helper.make_node("Reshape", ["rows", "picture"], ["grey"], "grey")
    return [picture, helper.make_node("Concat", ["grey"] * 3, [asked], "channels", axis=1)]


def _after(answered: str) -> list[Any]:
    """Codes [n, places], those that begin a character numbered, and the sum of each times the factor of its number."""
    make = helper.make_node
    return [
        make("ArgMax", [answered], ["codes"], "codes", axis=2, keepdims=0),
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
    known = {each.key: each.value for each in content.metadata_props}
    return [*known["character"].splitlines(), " "]


def _package() -> Path:
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("rapidocr-onnxruntime is not installed")
    return Path(found.submodule_search_locations[0])
