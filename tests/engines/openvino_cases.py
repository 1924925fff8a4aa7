"""The cases of OpenVINO, for an environment that has it; `test_openvino_engine.py` makes one and runs them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.engines.graphs import DOUBLE, softmax, total
from tests.optimization.contexts import opened
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
from headway.engines.onnxruntime import OnnxRuntime
from headway.engines.openvino import OpenVino
from headway.optimization.context import TransformContext
from headway.optimization.transforms import nncf, openvino, quantise

LATER = tabular_rows(5_000, seed=1)


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_of(tmp_path, tabular_rows())


def by_precision(variant: Variant, context: TransformContext) -> dict[object, Variant]:
    return {
        candidate.settings["precision"]: candidate
        for made in (openvino, nncf)
        for candidate in made.plugin(variant, context)
    }


def moved(variant: Variant, context: TransformContext, content: bytes, rows: np.ndarray) -> float:
    return float(np.abs(opened(variant, context).predict(rows) - OnnxRuntime(content, {}).predict(rows)).max())


@pytest.mark.parametrize("content", [tabular_network(), softmax(2), softmax(3), softmax(3, DOUBLE), total()])
def test_in_float32_it_predicts_as_onnx_runtime(content):
    rows = LATER[:, : OnnxRuntime(content, {}).width]
    found, expected = OpenVino(OpenVino.converted(content), {}).predict(rows), OnnxRuntime(content, {}).predict(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_every_precision_of_the_cpu_is_offered_and_float32_changes_nothing(context):
    variants = by_precision(network_variant(tabular_network(), context), context)
    assert list(variants) in (["f32", "int8"], ["f32", "bf16", "int8", "int8-bf16"])
    assert variants["int8"].name == "openvino · nncf(precision=int8) · precision=int8"
    assert moved(variants["f32"], context, tabular_network(), LATER) < 1e-5
    assert moved(variants["int8"], context, tabular_network(), LATER) > 1e-3


def test_int8_convolutions_change_answers_little(tmp_path):
    context = context_of(tmp_path, image_rows())
    assert (
        moved(
            by_precision(network_variant(image_network(), context), context)["int8"],
            context,
            image_network(),
            image_rows(seed=1),
        )
        < 0.1
    )


def test_layers_that_quantise_left_in_float32_stay_so(context):
    [quantised] = [
        candidate
        for candidate in quantise.plugin(network_variant(tabular_network(), context), context)
        if "3 of 4, scales=static" in candidate.name
    ]
    [variant] = [
        candidate for candidate in openvino.plugin(quantised, context) if candidate.settings["precision"] == "int8"
    ]
    assert variant.name == "openvino · quantise(int8=3 of 4, scales=static) · precision=int8"
    assert moved(variant, context, tabular_network(), LATER) < 0.05


def test_layers_already_in_int8_are_not_changed(context):
    with pytest.raises(NotApplicable, match="in int8 already"):
        nncf.plugin(quantise.plugin(network_variant(tabular_network(), context), context)[0], context)


def test_without_rows_nothing_is_calibrated(context):
    empty = TransformContext(blobs=context.blobs, sample=context.sample[:0])
    assert [
        candidate.settings["precision"]
        for candidate in openvino.plugin(network_variant(tabular_network(), context), empty)
    ][:1] == ["f32"]
    with pytest.raises(NotApplicable, match="requires rows, and the sample is empty"):
        nncf.plugin(network_variant(tabular_network(), context), empty)


def test_an_empty_batch_is_accepted_and_rows_of_another_width_are_refused():
    engine = OpenVino(OpenVino.converted(softmax(3)), {})
    assert engine.predict(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(EngineError, match=r"\[n, 3\]"):
        engine.predict(np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("settings", "message"), [({"precision": "f16"}, "'f16'"), ({"threads": -1}, "-1"), ({"streams": 2}, "'streams'")]
)
def test_a_setting_that_it_does_not_have_is_refused(settings, message):
    with pytest.raises(EngineError, match=message):
        OpenVino(OpenVino.converted(softmax(3)), settings)


def test_an_archive_with_compressed_files_is_refused():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("model.xml", b"<net/>" * 100)
        pack.writestr("model.bin", b"")
    with pytest.raises(EngineError, match="compressed"):
        OpenVino(content.getvalue(), {})


def test_an_archive_without_a_graph_is_refused():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as pack:
        pack.writestr("model.xml", b"<net/>")
        pack.writestr("model.bin", b"")
    with pytest.raises(EngineError, match="OpenVINO can open") as refusal:
        OpenVino(content.getvalue(), {})
    assert refusal.value.hint


def test_the_libraries_print_nothing_and_leave_no_file(context, tmp_path, monkeypatch, capfd, caplog):
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    by_precision(network_variant(tabular_network(), context), context)
    assert capfd.readouterr() == ("", "") and not caplog.records and not list(folder.iterdir())


def test_the_libraries_send_no_telemetry_on_import(tmp_path):
    code = (
        "import sys\n"
        "from headway.core import plugins\n"
        "from headway.optimization.context import load_transform\n"
        "plugins.load_engine('openvino'); load_transform('_nncf')\n"
        "import nncf, openvino\n"
        "print(sys.modules['openvino_telemetry'])"
    )
    environment = os.environ | {"HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "None" and not (tmp_path / "intel").exists()
