"""Int8 that leaves the AUC as it was and moves single answers is refused; the layers that move none are not (F10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.optimization.contexts import opened
from tests.optimization.networks import context_of, network_variant, tabular_network, tabular_rows

import headway as hw
from headway.optimization.transforms import quantise

CAREFUL = {"roc_auc.drop": 0.005, "max_change": 0.05}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The network, and its forms in int8, each a file."""
    folder = tmp_path_factory.mktemp("nets")
    bench = context_of(folder, tabular_rows())
    found = {"baseline": network_variant(tabular_network(), bench)}
    found |= {
        variant.steps[-1].settings["int8"]: variant for variant in reversed(quantise.plugin(found["baseline"], bench))
    }
    for name, variant in found.items():
        (folder / f"{name}.onnx").write_bytes(bench.read(variant))
    return {name: folder / f"{name}.onnx" for name in found}


@pytest.fixture(scope="module")
def judged_on(tmp_path_factory):
    """Rows of later, with labels that the network's own probabilities drew."""
    bench = context_of(tmp_path_factory.mktemp("rows"), tabular_rows())
    later = tabular_rows(6_000, seed=1)
    chance = opened(network_variant(tabular_network(), bench), bench).predict(later)[:, 0]
    return later, (np.random.default_rng(0).random(len(later)) < chance).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "answer", "breaks"), [("4 of 4", "fail", True), ("3 of 4", "pass", False)])
def test_a_rule_on_single_answers_separates_the_int8_variants(files, judged_on, layers, answer, breaks):
    """Only `max_change` is named: on processors without VNNI, int8 saturates and may lose AUC as well."""
    found = hw.compare(files["baseline"], files[layers], *judged_on, policy=CAREFUL)
    broken = [rule_result.rule.measure for rule_result in found.verdict.rule_results if rule_result.answer != "pass"]
    assert (found.answer, "max_change" in broken) == (answer, breaks)
