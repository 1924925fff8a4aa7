"""A network that the search compiled for our own kernels is released, loaded by name, and answers as its graph did."""

from __future__ import annotations

import numpy as np
import pytest
from tests.optimization.networks import tabular_network, tabular_rows

import headway as hw
from headway.engines.onnxruntime import OnnxRuntime

PROJECT = """[project]
name = "late"
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
"""


@pytest.mark.slow
@pytest.mark.kernels
def test_the_search_selects_the_lowered_program_and_its_release_answers_as_the_graph(tmp_path):
    (tmp_path / "headway.toml").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "model.onnx").write_bytes(tabular_network())
    seen = tabular_rows(4_000, seed=1)
    expected = OnnxRuntime(tabular_network(), {}).predict(seen)
    labels = (np.random.default_rng(0).random(len(seen)) < expected[:, 0]).astype(int)
    best = hw.optimize(tmp_path / "model.onnx", seen, labels, transforms=["fold", "dense"], folder=tmp_path)
    best.release(who="a test")
    live = hw.load("late@live", project=tmp_path)
    assert best.variant.engine == "dense"
    assert np.abs(live.predict(seen) - expected[:, 0]).max() < 1e-6
