"""Benign files: fitted models in every format that they are saved in, and data files of installed packages."""

from __future__ import annotations

import io
import pickle
import subprocess
import warnings
from importlib.metadata import files
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import polars as pl
import skops.io
import xgboost
from catboost import CatBoostClassifier
from onnx import TensorProto, helper
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators

from cache import HERE, Absent, home

MAX_ESTIMATORS = 1000
MAX_FILES = 40
TINY = {"MAX_ESTIMATORS": 3, "MAX_FILES": 3}
PACKAGES = ("scikit-learn", "scipy", "numpy", "pandas", "altair", "vega-datasets")
SUFFIXES = frozenset((".csv", ".npy", ".npz", ".pkl", ".pickle", ".json", ".parquet", ".txt", ".toml"))


def write(folder: Path) -> list[str]:
    """Write the benign files to a folder; return sentences about what is absent."""
    rows, labels = make_classification(120, 6, random_state=0)
    rows = np.abs(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, kind in all_estimators()[:MAX_ESTIMATORS]:
            try:
                _write_estimator(folder, name, kind().fit(rows, labels))
            except Exception:  # noqa: BLE001 - an estimator of other data, which is left out
                continue
    _write_boosters(folder, rows, labels)
    texts = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        ["one two three", "four five six", "one three five"] * 20, [0, 1, 0] * 20
    )
    _write_estimator(folder, "texts", texts)
    table = pl.DataFrame({"a": rows[:, 0], "b": [f"text {number}" for number in range(len(rows))]})
    table.write_parquet(folder / "table.parquet")
    table.write_ipc(folder / "table.arrow")
    table.write_csv(folder / "table.csv")
    np.savez_compressed(folder / "rows.npz", rows=rows, names=np.array(["a", None], dtype=object))
    for package in PACKAGES:
        _copy_data(package, folder)
    (folder / "graph.onnx").write_bytes(_graph())
    try:
        script = str(HERE / "peers/benign_models.py")
        subprocess.run([str(home("loaders")), script, str(folder)], check=True, capture_output=True)
    except (Absent, subprocess.CalledProcessError) as error:
        return [f"models of torch, Keras, safetensors and GGUF: {error}"]
    return []


def _graph() -> bytes:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ports[:1], ports[1:])
    content: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return content


def _write_estimator(folder: Path, name: str, fitted: object) -> None:
    for protocol in (2, 5):
        (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(fitted, protocol))
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer, compress=3)
    (folder / f"{name}.joblib").write_bytes(buffer.getvalue())
    (folder / f"{name}.skops").write_bytes(skops.io.dumps(fitted))


def _write_boosters(folder: Path, rows: np.ndarray, labels: np.ndarray) -> None:
    light = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(rows, labels)
    light.booster_.save_model(folder / "lightgbm.txt")
    extreme = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(rows, labels)
    extreme.save_model(folder / "xgboost.json")
    extreme.save_model(folder / "xgboost.ubj")
    cat = CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False, thread_count=1).fit(rows, labels)
    cat.save_model(str(folder / "catboost.cbm"))
    for name, model in (("lightgbm", light), ("xgboost", extreme), ("catboost", cat)):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
        joblib.dump(model, folder / f"{name}.joblib")


def _copy_data(package: str, folder: Path) -> None:
    """Copy data files of an installed package, whose code is not run."""
    try:
        listed = files(package) or []
    except ModuleNotFoundError:
        return
    wanted = [path for path in listed if path.suffix in SUFFIXES and "dist-info" not in str(path)]
    for number, path in enumerate(wanted[:MAX_FILES]):
        located = Path(str(path.locate()))
        if located.is_file() and located.stat().st_size < 1 << 22:
            (folder / f"{package}-{number:02d}-{path.name}").write_bytes(located.read_bytes())
