"""Int8: the layers that change answers stay float32, the rest is int8, and layers that cannot be int8 are named."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.engines.boosters import text
from tests.engines.graphs import DOUBLE, FLOAT, graph, softmax
from tests.optimization.contexts import baseline_of, context_in, opened
from tests.optimization.networks import (
    context_of,
    image_network,
    image_rows,
    network_variant,
    tabular_network,
    tabular_rows,
)

from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.quantization.int8 import calibrate_network, quantize_by_row, quantize_layers
from headway.optimization.quantization.networks import load_network
from headway.optimization.transforms import onnx as trees_as_onnx
from headway.optimization.transforms import quantise

pytestmark = pytest.mark.slow

LATER = tabular_rows(20_000, seed=1)


def made(content: bytes, context: TransformContext, task: str = "binary") -> dict[str, Variant]:
    variants = quantise.plugin(network_variant(content, context, task=task), context)
    return {f"{item.steps[-1].settings['int8']} {item.steps[-1].settings['scales']}": item for item in variants}


def moved(variant: Variant, context: TransformContext, content: bytes, rows: np.ndarray) -> float:
    answers, expected = (opened(item, context).predict(rows) for item in (variant, network_variant(content, context)))
    return float(np.abs(answers - expected).max())


def kinds(variant: Variant, context: TransformContext) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(context.read(variant)).graph.node}


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_of(tmp_path, tabular_rows())


def test_a_network_that_int8_ruins_is_within_a_twentieth_on_later_rows(context):
    variants = made(tabular_network(), context)
    assert moved(variants["4 of 4 static"], context, tabular_network(), LATER) > 0.2
    assert moved(variants["3 of 4 static"], context, tabular_network(), LATER) < 0.05


def test_the_layer_with_the_long_tail_stays_float32_and_most_weights_are_int8(context):
    found = onnx.load_from_string(context.read(made(tabular_network(), context)["3 of 4 static"]))
    weights = {item.name: (item.data_type, int(np.prod(item.dims))) for item in found.graph.initializer}
    assert weights["weight_0"][0] == TensorProto.FLOAT
    in_int8 = sum(size for kind, size in weights.values() if kind == TensorProto.INT8)
    assert in_int8 > 0.85 * (14 * 96 + 96 * 96 + 96 * 48 + 48)


def test_preprocessing_nodes_are_never_int8(context):
    for variant in made(tabular_network(), context).values():
        found = onnx.load_from_string(context.read(variant)).graph
        by_name = {node.output[0]: node for node in found.node}
        assert list(by_name["scaled"].input) == ["centred", "scale"] and list(by_name["centred"].input)[1] == "mean"


def test_a_tighter_limit_leaves_more_layers_in_float32(context):
    variants = made(tabular_network(), context)
    assert {"4 of 4 static", "3 of 4 static", "1 of 4 static"} <= variants.keys()
    assert moved(variants["1 of 4 static"], context, tabular_network(), context.sample) < 0.01


def test_a_single_row_predicts_as_in_a_batch_for_all_scales(context):
    for variant in made(tabular_network(), context).values():
        engine = opened(variant, context)
        alone = np.concatenate([engine.predict(LATER[index : index + 1]) for index in range(50)])
        np.testing.assert_allclose(engine.predict(LATER[:50]), alone, rtol=0, atol=1e-6)


def test_per_row_scales_need_no_range_and_handle_rows_beyond_the_sample(context):
    variants, far = made(tabular_network(), context), LATER.copy()
    far[:, 1] *= 30
    by_row = [variant for name, variant in variants.items() if name.endswith("by row")]
    assert by_row and {"MatMulInteger"} <= kinds(by_row[0], context)
    smallest = min(moved(variant, context, tabular_network(), far) for variant in by_row)
    assert smallest < moved(variants["4 of 4 static"], context, tabular_network(), far)


def test_nonnegative_values_are_unsigned_with_per_row_scales(context):
    found = onnx.load_from_string(context.read(made(tabular_network(), context)["4 of 4 by row"])).graph
    zeros = [node.input[2] for node in found.node if node.op_type == "QuantizeLinear"]
    assert zeros == ["headway_zero_signed", *["headway_zero_positive"] * 3]


def test_convolutions_are_int8_by_static_scales_only(tmp_path):
    context = context_of(tmp_path, image_rows())
    variants = made(image_network(), context)
    assert "3 of 3 static" in variants and all(name.endswith("static") for name in variants)
    for variant in variants.values():
        assert "QuantizeLinear" in kinds(variant, context)
        assert not kinds(variant, context) & {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
    assert moved(variants["3 of 3 static"], context, image_network(), image_rows(seed=1)) < 0.05


def test_dynamic_int8_of_a_convolution_is_refused_by_its_name():
    found = calibrate_network(load_network(image_network()), image_rows(50))
    folded = next(name for name, kind in found.net.layers.items() if kind == "Conv")
    with pytest.raises(NotApplicable, match=f"makes a convolution slower, and '{folded}' is one"):
        quantize_by_row(found, list(found.net.layers))


def test_a_failure_of_the_library_is_an_error_with_a_hint():
    found = replace(calibrate_network(load_network(tabular_network()), tabular_rows(50)), ranges=b"{}")
    with pytest.raises(EngineError, match="cannot quantize the graph") as refusal:
        quantize_layers(found, list(found.net.layers))
    assert "quantise" in refusal.value.hint


def test_float16_is_not_offered(context):
    for variant in made(tabular_network(), context).values():
        found = onnx.load_from_string(context.read(variant)).graph
        assert TensorProto.FLOAT16 not in {item.data_type for item in found.initializer}
        assert not [
            node for node in found.node if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
        ]


def test_a_graph_of_an_old_opset_is_converted_first(tmp_path):
    context = context_of(tmp_path, image_rows())
    variant = made(image_network(opset=11), context)["3 of 3 static"]
    assert onnx.load_from_string(context.read(variant)).opset_import[0].version >= 13
    assert moved(variant, context, image_network(), image_rows(seed=1)) < 0.05


@pytest.mark.parametrize("kind", ["GRUUnit", "Upsample"])
def test_an_old_graph_that_cannot_be_converted_is_refused_with_its_opset(kind):
    found = onnx.load_from_string(image_network(opset=9))
    found.graph.node.append(helper.make_node(kind, ["scores"], ["more"]))
    with pytest.raises(EngineError, match="of opset 9, int8 by channel needs 13, and it cannot be raised") as refusal:
        load_network(found.SerializeToString())
    assert "opset 17" in refusal.value.hint


def test_limits_of_a_regression_are_shares_of_the_range(context):
    plain = made(tabular_network(end="Identity"), context, task="regression")
    larger = onnx.load_from_string(tabular_network(end="Identity"))
    larger.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1000, np.float32), "thousand"))
    larger.graph.node[-1].CopyFrom(helper.make_node("Mul", ["sum_3", "thousand"], ["scores"]))
    assert made(larger.SerializeToString(), context, task="regression").keys() == plain.keys()
    assert len([name for name in plain if name.endswith("static")]) > 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda: graph(
                [helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [None, 4])], [("y", FLOAT, [None, 4])]
            ),
            "no layer",
        ),
        (
            lambda: graph(
                [helper.make_node("MatMul", ["x", "x"], ["y"])], [("x", FLOAT, [4, 4])], [("y", FLOAT, [4, 4])]
            ),
            "no product with constant weights",
        ),
        (lambda: softmax(3, DOUBLE), "not float32"),
    ],
    ids=["no weights", "no constant weights", "float64"],
)
def test_a_graph_without_layers_for_int8_is_not_applicable_with_the_reason(content, message, context):
    with pytest.raises(NotApplicable, match=message):
        made(content(), context)


def test_trees_are_not_applicable_in_their_library_or_as_a_graph(tmp_path):
    context = context_in(tmp_path)
    booster = baseline_of(text(trees=5), context)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        quantise.plugin(booster, context)
    with pytest.raises(NotApplicable, match="a tree ensemble, which has no layers"):
        quantise.plugin(trees_as_onnx.plugin(booster, context)[0], context)


def test_an_int8_graph_is_not_quantized_again(context):
    with pytest.raises(NotApplicable, match="int8 already"):
        quantise.plugin(made(tabular_network(), context)["4 of 4 static"], context)


def test_calibration_without_rows_does_not_apply(context):
    empty = TransformContext(blobs=context.blobs, sample=context.sample[:0])
    with pytest.raises(NotApplicable, match="requires a row with a finite answer"):
        made(tabular_network(), empty)


def test_rows_without_an_answer_do_not_widen_the_range(tmp_path):
    sample = image_rows()
    sample[::3, 5] = np.nan
    context, known = (
        context_of(tmp_path / "some", sample),
        context_of(tmp_path / "known", sample[~np.isnan(sample[:, 5])]),
    )
    assert list(made(image_network(), context).values()) == list(made(image_network(), known).values())


def test_the_library_prints_nothing_and_leaves_no_file(context, tmp_path, monkeypatch, capfd, caplog):
    folder, wordy = tmp_path / "place", onnx.load_from_string(tabular_network())
    wordy.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    caplog.set_level(logging.DEBUG)
    made(wordy.SerializeToString(), context)
    assert capfd.readouterr() == ("", "") and not caplog.records and not list(folder.iterdir())


def test_bytes_do_not_depend_on_hash_order():
    code = (
        "import sys, hashlib; sys.path.insert(0, '.')\n"
        "from tests.optimization.networks import tabular_network, tabular_rows\n"
        "from headway.optimization.quantization.int8 import calibrate_network, quantize_by_row, quantize_layers\n"
        "from headway.optimization.quantization.networks import load_network\n"
        "found = calibrate_network(load_network(tabular_network()), tabular_rows(100))\n"
        "made = [make(found, list(found.net.layers)) for make in (quantize_layers, quantize_by_row)]\n"
        "print(hashlib.sha256(b''.join(made)).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.strip()) == len(hashlib.sha256().hexdigest())
