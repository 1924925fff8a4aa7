"""Files written by other XGBoost versions predict as in those versions, also as graphs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError
from headway.core.plugins import load_engine
from headway.engines.xgboost import Xgboost
from headway.optimization.forest_onnx import forest_to_onnx
from headway.optimization.parity import edge_rows

RELEASES = (
    "xgboost==1.7.6",
    "xgboost==2.0.3",
    "xgboost-cpu==2.1.4",
    "xgboost-cpu==3.0.5",
    "xgboost-cpu==3.1.3",
    "xgboost-cpu==3.2.0",
)
SCRIPT = Path(__file__).with_name("old_xgboost.py")


@pytest.fixture(scope="module", params=RELEASES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files written by a version; only XGBoost itself is that old."""
    packages, models = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("models")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
    subprocess.run([*pip, request.param], check=True)
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    run = [sys.executable, "-W", "ignore", str(SCRIPT), str(models)]
    subprocess.run(run, env=environment, check=True)
    return models


def furthest(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest change, relative where answers exceed 1."""
    expected = expected.reshape(found.shape)
    return float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))


@pytest.mark.long
def test_every_model_of_an_xgboost_version_predicts_as_in_that_version(written: Path) -> None:
    answers = dict(np.load(written / "answers.npz"))
    rows = answers.pop("rows")
    assert len(answers) > 80
    for name, expected in answers.items():
        for form in ("json", "ubj"):
            file = ModelFile(content=(written / f"{name}.{form}").read_bytes(), suffix=f".{form}")
            content = Xgboost.import_model(file).content
            found = Xgboost(content, {"threads": 1}).predict(rows)
            assert furthest(found, expected) < 5e-7, (name, form)


@pytest.mark.long
def test_every_forest_of_an_xgboost_version_converts_to_an_equal_graph(written: Path) -> None:
    rows = np.load(written / "answers.npz")["rows"]
    for path in sorted(written.glob("*.ubj")):
        if path.stem.endswith("-linear"):
            continue
        content = Xgboost.import_model(ModelFile(content=path.read_bytes(), suffix=".ubj")).content
        forest = Xgboost.forest(content)
        hard_rows = np.concatenate([rows, edge_rows(forest, rows)])
        expected = Xgboost(content, {"threads": 1}).predict(hard_rows)
        found = load_engine("onnxruntime")(forest_to_onnx(forest, truncated=forest.categorical), {}).predict(hard_rows)
        assert furthest(found, expected) < 1e-6, path.stem


@pytest.mark.long
def test_the_old_binary_format_of_a_version_is_refused(written: Path) -> None:
    binary = [path for path in written.iterdir() if path.suffix in (".model", ".deprecated")]
    for path in binary:
        with pytest.raises(EngineError, match=r"removed in 3\.1"):
            Xgboost.import_model(ModelFile(content=path.read_bytes(), suffix=path.suffix))
