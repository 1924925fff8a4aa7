"""What OpenVINO and NNCF are not asked for, and what is told where they are absent; `openvino_cases.py` asks them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.engines.boosters import text
from tests.engines.graphs import DOUBLE, softmax
from tests.optimization.benches import as_it_came, bench_in
from tests.optimization.nets import bench_of, net, rows, tabular

from headway.core.errors import NotApplicable, PluginError
from headway.optimization.transforms import nncf, openvino, quantise
from headway.optimization.transforms import onnx as trees_as_onnx


@pytest.mark.parametrize("transform", [openvino, nncf])
def test_trees_do_not_apply_as_their_library_has_them_and_as_a_graph(tmp_path: Path, transform):
    bench = bench_in(tmp_path)
    booster = as_it_came(text(trees=5), bench)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        transform.plugin(booster, bench)
    with pytest.raises(NotApplicable, match="one of trees"):
        transform.plugin(trees_as_onnx.plugin(booster, bench)[0], bench)


def test_a_graph_of_float64_and_scales_by_row_do_not_apply(tmp_path: Path):
    bench = bench_of(tmp_path, rows(200))
    with pytest.raises(NotApplicable, match="not float32"):
        openvino.plugin(net(softmax(3, DOUBLE), bench), bench)
    by_row = [each for each in quantise.plugin(net(tabular(), bench), bench) if "by row" in each.name]
    with pytest.raises(NotApplicable, match="ONNX Runtime alone"):
        openvino.plugin(by_row[0], bench)


@pytest.mark.parametrize("transform", [openvino, nncf])
def test_where_the_library_is_absent_a_network_is_told_how_to_get_it(tmp_path: Path, monkeypatch, transform):
    bench = bench_of(tmp_path, rows(200))
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "headway.engines.openvino", raising=False)
    with pytest.raises(PluginError, match="engine 'openvino' needs 'openvino'") as refusal:
        transform.plugin(net(tabular(), bench), bench)
    assert refusal.value.hint.startswith("pip install")
