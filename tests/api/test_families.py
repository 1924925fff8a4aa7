"""The Python of the README runs as printed, and its lines for each family of models: a speed-up, the same answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from catboost import CatBoostClassifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.house.pages import code_blocks
from xgboost import XGBClassifier

import headway
from headway.optimization.screening import answer_changing_steps

TABLE = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_NEW, Y, Y_NEW = train_test_split(*TABLE, test_size=0.5, random_state=0)
SCALED = make_column_transformer((StandardScaler(), make_column_selector(dtype_include=float)))
MODELS = {
    "xgboost": XGBClassifier(n_estimators=50, n_jobs=1),
    "catboost": CatBoostClassifier(iterations=50, thread_count=1, verbose=False, allow_writing_files=False),
    "scikit-learn": make_pipeline(SCALED, LogisticRegression()),
}
[EXAMPLE] = code_blocks("README.md", "python")
SPEEDUP = r"x [\d.,]+ \[[^]]+\] for one row as you call it"  # not shown where others take the cores
LINES = EXAMPLE[EXAMPLE.index("best = ") :]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["", *(pytest.param(name, marks=pytest.mark.long) for name in MODELS)])
def test_the_lines_of_the_readme_print_the_winner_and_a_verdict(family, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"hw": headway, "X_new": X_NEW, "y_new": Y_NEW}
    if family:
        names["model"] = MODELS[family].fit(X, Y)
    exec(LINES if family else EXAMPLE, names)
    model = names["model"]
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"^[^:]+: ({SPEEDUP}|no speedup measured), verdict (pass|undecided)", printed)
    moved = np.abs(names["best"].predict_proba(X_NEW) - model.predict_proba(X_NEW)).max()
    assert moved <= 1e-6 or answer_changing_steps(names["best"].variant)
    assert (names["best"].predict(X_NEW) != model.predict(X_NEW)).mean() <= 0.01
    assert (tmp_path / "report.html").exists()
