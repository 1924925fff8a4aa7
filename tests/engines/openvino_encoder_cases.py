"""Sentence encoders by OpenVINO, for an environment that has it; `test_openvino_engine.py` makes one and runs them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.engines import encoders
from tests.optimization.contexts import context_in, opened
from tests.optimization.text_variants import imported_pipeline, text_rows

from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.engines.openvino import OpenVino
from headway.optimization.context import load_transform


def test_an_encoder_by_openvino_answers_as_by_onnx_runtime_and_int8_is_not_for_it(tmp_path):
    context = dataclasses.replace(context_in(tmp_path), sample=text_rows())
    [made] = load_transform("encoder")(imported_pipeline(encoders.pipeline_of(encoders.bert()), context), context)
    found = load_transform("openvino")(made, context)
    assert [variant.settings["precision"] for variant in found] == list(OpenVino.precisions())
    assert {variant.artifact for variant in found} == {made.artifact}
    rows, limits = text_rows(), {"f32": 1e-5, "bf16": 0.05}
    exact = opened(made, context).predict(rows)
    for variant in found:
        answers = opened(variant, context).predict(rows)
        assert np.abs(answers - exact).max() < limits[variant.settings["precision"]]
    [small] = load_transform("quantise")(made, context)
    with pytest.raises(NotApplicable, match="for ONNX Runtime"):
        load_transform("openvino")(small, context)


def test_a_cpu_without_bfloat16_refuses_it(monkeypatch):
    monkeypatch.setattr(OpenVino, "precisions", classmethod(lambda _: ("f32",)))
    with pytest.raises(EngineError, match="this CPU does not compute with precision 'bf16'"):
        load_engine("encoder")(encoders.bert(), {"runtime": "openvino", "precision": "bf16"})
