"""`headway optimize MODEL --data FILE --target COLUMN` without a project, on a file of each format that it accepts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import joblib
import pandas as pd
import pytest
import skops.io
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.engines.graphs import DOUBLE, softmax
from xgboost import XGBClassifier

from headway.cli import main as cli

pytestmark = pytest.mark.slow

BUNCH = load_breast_cancer(as_frame=True)
ROWS = BUNCH.frame.rename(columns=lambda name: name.replace(" ", "_"))
COLUMNS = [name for name in ROWS.columns if name != "target"]
LEARNED, NEW = train_test_split(ROWS, test_size=0.7, random_state=0)


def fitted(model):
    return model.fit(LEARNED[COLUMNS], LEARNED["target"])


def pipeline():
    return make_pipeline(make_column_transformer((StandardScaler(), COLUMNS)), LogisticRegression())


def pickled(model, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))


# The writer of a file of each format, and the engine that must win: the tree kernels, or one ONNX graph.
FILES = {
    "model.txt": (lambda p: fitted(LGBMClassifier(n_estimators=30, verbose=-1)).booster_.save_model(p), "trees"),
    "model.json": (lambda p: fitted(XGBClassifier(n_estimators=30)).save_model(p), "trees"),
    "model.ubj": (lambda p: fitted(XGBClassifier(n_estimators=30)).save_model(p), "trees"),
    "model.cbm": (
        lambda p: fitted(CatBoostClassifier(iterations=30, verbose=False, allow_writing_files=False)).save_model(p),
        "trees",
    ),
    "forest.skops": (lambda p: skops.io.dump(fitted(RandomForestClassifier(20, random_state=0)), p), "trees"),
    "histgb.pkl": (lambda p: pickled(fitted(HistGradientBoostingClassifier(max_iter=20)), p), "trees"),
    "pipeline.joblib": (lambda p: joblib.dump(fitted(pipeline()), p), "onnxruntime"),
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    measured_again = NEW.assign(**{name: NEW[name] * 1.001 for name in COLUMNS})
    pd.concat([NEW, measured_again]).to_csv(tmp_path / "rows.csv", index=False)  # fewer would not decide
    return tmp_path / "rows.csv"


IN_CI = ("model.txt", "model.cbm", "pipeline.joblib")  # one format of each importer; `make test-all` has the others


@pytest.mark.parametrize(
    "name", [name if name in IN_CI else pytest.param(name, marks=pytest.mark.long) for name in FILES]
)
def test_a_model_file_is_optimized_and_its_winner_gives_the_same_answers(name, rows, run):
    write, engine = FILES[name]
    write(rows.parent / name)
    trust = ["--trust"] if name.endswith((".pkl", ".joblib")) else []
    code, out, err = run(
        "optimize", rows.parent / name, "--data", rows, "--target", "target", "--budget", "600s", "--json", *trust
    )
    assert code in (cli.PASS, cli.UNDECIDED), err
    winner = json.loads(out)["winner"]
    found = {measurement["name"]: measurement for measurement in winner["evidence"]["measurements"]}
    assert winner["variant"]["engine"] == engine
    assert found["decision_churn"]["value"] <= 0.01


def test_an_onnx_graph_is_optimized(tmp_path, run):
    (tmp_path / "model.onnx").write_bytes(softmax(3, DOUBLE))
    table = pd.DataFrame(
        {"a": range(300), "b": [0.5, 1.5, 2.5] * 100, "c": [1.0, 0.0, 2.0] * 100, "y": [0, 1, 2] * 100}
    )
    table.to_csv(tmp_path / "rows.csv", index=False)
    words = ("optimize", tmp_path / "model.onnx", "--data", tmp_path / "rows.csv", "--target", "y", "--json")
    code, out, err = run(*words)
    assert code in (cli.PASS, cli.FAIL, cli.UNDECIDED), err
    assert json.loads(out)["winner"]["variant"]["engine"] == "onnxruntime"


def test_a_pickle_without_trust_is_refused_before_it_is_opened(rows, run):
    pickled(fitted(HistGradientBoostingClassifier(max_iter=2)), rows.parent / "model.pkl")
    code, _, err = run("optimize", rows.parent / "model.pkl", "--data", rows, "--target", "target")
    assert code != cli.PASS and "--trust" in err
