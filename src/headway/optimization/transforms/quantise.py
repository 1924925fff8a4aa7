"""Quantize layers of a network to int8: all of them, and as many as keep every answer close, found by trying each.

A sentence encoder is quantized whole, with the scales of each text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import NUMBERS, Artifact, Step, Variant
from headway.engines.formats.encoder import pack_encoder, split_encoder
from headway.engines.formats.nested import pack_models, split_models
from headway.optimization.context import TransformContext
from headway.optimization.quantization.int8 import (
    AnswerShift,
    Layers,
    answer_shift,
    calibrate_network,
    quantize_by_row,
    quantize_encoder,
    quantize_layers,
    select_layers,
)
from headway.optimization.quantization.networks import calibration_rows, load_network, rows_with_answers

STAGE = "lower"
COST = {"rows": 10_000, "seconds": 5}


Make = Callable[[Layers], bytes]

LIMITS = (0.05, 0.01)
_ENGINE = "onnxruntime"


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with every layer in int8, and with the most layers that move no answer by 0.05, and by 0.01.

    Scales come from the sample (`static`) and, if no layer is a convolution, from each row as well (`by row`). For a
    regression the limits are shares of the range of its answers.

    Raises
    ------
    NotApplicable
        If it is not the ONNX graph of a network, or the sample is empty.
    EngineError
        If ONNX Runtime cannot quantize the graph.
    """
    if variant.artifact.format == "encoder":
        return [_encoder(variant, context)]
    if variant.artifact.format != "onnx":
        raise NotApplicable(f"quantizes ONNX graphs, and this is of format {variant.artifact.format!r}")
    content = context.read(variant)
    engine, net = load_engine(_ENGINE)(content, {}), load_network(content)
    rows, expected = rows_with_answers(engine, calibration_rows(context.sample, net.work))
    comparison = _Comparison(rows, expected, relative=variant.task in NUMBERS)
    ready = calibrate_network(net, rows)
    forms: dict[str, Make] = {"static": partial(quantize_layers, ready)}
    if "Conv" not in ready.net.layers.values():
        forms["by row"] = partial(quantize_by_row, ready)
    return [
        _variant(variant, context.save(made, "onnx"), int8=f"{len(layers)} of {len(ready.net.layers)}", scales=form)
        for form, make in forms.items()
        for layers, made in _quantized_graphs(tuple(ready.net.layers), make, comparison).items()
    ]


def _encoder(variant: Variant, context: TransformContext) -> Variant:
    """Return a variant of engine `encoder` whose encoder is in int8; the model after it is unchanged."""
    header, (encoder, model) = split_models(context.read(variant), models=2)
    about, tokenizer, graph = split_encoder(encoder)
    if about.runs_alone:
        raise NotApplicable("the encoder is in int8 already")
    content = pack_encoder(replace(about, runs_alone=True), tokenizer, quantize_encoder(graph))
    first, second = header.models
    models = (replace(first, size_bytes=len(content)), second)
    artifact = context.save(pack_models(replace(header, models=models), content, model), "encoder")
    step = Step(transform="quantise", settings={"int8": "all of the encoder"})
    return replace(variant, artifact=artifact, steps=(*variant.steps, step))


class _Comparison:
    """Measures how far the answers of a graph move from those of the original graph on the same rows."""

    def __init__(self, rows: Floats, expected: Floats, *, relative: bool) -> None:
        self._rows, self._expected = rows, expected
        self._scale = (float(np.ptp(expected)) if relative else 1.0) or 1.0

    def shift(self, content: bytes) -> AnswerShift:
        """Return the largest changes, as shares of 1 or of the range of the answers."""
        found = load_engine(_ENGINE)(content, {}).predict(self._rows)
        return answer_shift(self._expected, found, scale=self._scale)


def _quantized_graphs(layers: Layers, make: Make, comparison: _Comparison) -> dict[Layers, bytes]:
    """Return the graphs that are worth evaluating, by their int8 layers."""
    made: dict[Layers, bytes] = {}

    def moved(subset: Layers) -> AnswerShift:
        made[subset] = make(subset)
        return comparison.shift(made[subset])

    return {subset: made.get(subset) or make(subset) for subset in select_layers(layers, moved, LIMITS)}


def _variant(variant: Variant, artifact: Artifact, **settings: Scalar) -> Variant:
    step = Step(transform="quantise", settings=settings)
    return replace(variant, artifact=artifact, engine=_ENGINE, steps=(*variant.steps, step))
