"""What OpenVINO and NNCF do not support, and the error if they are absent; `openvino_cases.py` tests the libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.engines.boosters import text
from tests.engines.graphs import DOUBLE, softmax
from tests.optimization.contexts import baseline_of, context_in
from tests.optimization.networks import context_of, network_variant, tabular_network, tabular_rows

from headway.core.errors import NotApplicable, PluginError
from headway.optimization.transforms import nncf, openvino, quantise
from headway.optimization.transforms import onnx as trees_as_onnx


@pytest.mark.parametrize("transform", [openvino, nncf])
def test_trees_do_not_apply_in_their_library_or_as_a_graph(tmp_path: Path, transform):
    context = context_in(tmp_path)
    booster = baseline_of(text(trees=5), context)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        transform.plugin(booster, context)
    with pytest.raises(NotApplicable, match="tree ensemble"):
        transform.plugin(trees_as_onnx.plugin(booster, context)[0], context)


@pytest.mark.slow
def test_a_graph_of_float64_and_scales_by_row_do_not_apply(tmp_path: Path):
    context = context_of(tmp_path, tabular_rows(200))
    with pytest.raises(NotApplicable, match="not float32"):
        openvino.plugin(network_variant(softmax(3, DOUBLE), context), context)
    by_row = [
        made for made in quantise.plugin(network_variant(tabular_network(), context), context) if "by row" in made.name
    ]
    with pytest.raises(NotApplicable, match="ONNX Runtime only"):
        openvino.plugin(by_row[0], context)


@pytest.mark.parametrize("transform", [openvino, nncf])
def test_an_absent_library_is_reported_with_its_install_command(tmp_path: Path, monkeypatch, transform):
    context = context_of(tmp_path, tabular_rows(200))
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "headway.engines.openvino", raising=False)
    with pytest.raises(PluginError, match="engine 'openvino' needs 'openvino'") as refusal:
        transform.plugin(network_variant(tabular_network(), context), context)
    assert refusal.value.hint.startswith("pip install")
