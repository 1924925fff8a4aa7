"""The object that `hw.optimize` returns: saved, copied, pickled, released, and called by scikit-learn's own tools."""

from __future__ import annotations

import copy
import json
import pickle
import urllib.request
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tests.pipeline.serve_command import served

import headway as hw
from headway import pipeline
from headway.core.errors import DataError, EngineError, Refused, StoreError
from headway.registry.project import open_project

pytestmark = pytest.mark.slow

NAMES = ["age", "income", "visits", "debt"]
LIMITS = {"max_change": 1e-6, "brier": 0.35}


def rows_and_labels(n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(3)
    rows = pd.DataFrame(random.normal(size=(n, 4)), columns=NAMES)
    odds = rows["age"] - rows["debt"]
    return rows, np.where(random.random(n) < 1 / (1 + np.exp(-odds)), "bad", "good")


X, Y = rows_and_labels()
OPTIONS = {"transforms": ["pipeline"], "policy": LIMITS}


@pytest.fixture(scope="module")
def model():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.fixture(scope="module")
def best(model):
    return hw.optimize(model, X, Y, **OPTIONS)


@pytest.fixture(scope="module")
def refused(model):
    return hw.optimize(model, X, Y, **OPTIONS | {"policy": {"brier": 1e-9}})


@pytest.fixture(scope="module")
def measured(model):
    return hw.evaluate(model, X, Y)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def double(rows: pd.DataFrame) -> pd.DataFrame:
    return rows * 2


# --- saved, copied, pickled


@pytest.mark.parametrize("copied", ["save", "joblib", "pickle", "deepcopy", "clone"])
def test_a_copy_answers_the_same(best, tmp_path, copied):
    path = tmp_path / "best"
    match copied:
        case "save":
            again = hw.load(best.save(path))
        case "joblib":
            joblib.dump(best, path)
            again = joblib.load(path)
        case "pickle":
            again = pickle.loads(pickle.dumps(best))
        case "deepcopy":
            again = copy.deepcopy(best)
        case _:
            again = clone(best)
    assert again.predict_proba(X).tolist() == best.predict_proba(X).tolist()
    assert again.predict(X).tolist() == best.predict(X).tolist()
    assert again.classes_.tolist() == best.classes_.tolist() and again.threshold == best.threshold


def test_a_pickled_result_still_has_its_search_table_report_and_display(best, tmp_path):
    again = pickle.loads(pickle.dumps(best))
    assert again.verdict == best.verdict and str(again) == str(best)
    pd.testing.assert_frame_equal(again.table, best.table)
    assert again.report(tmp_path / "report.html").exists() and "<img" in again._repr_html_()


def test_other_files_and_changed_ones_are_refused(best, tmp_path):
    path = best.save(tmp_path / "model.headway")
    content = path.read_bytes()
    path.write_bytes(content[:-400] + bytes([content[-400] ^ 1]) + content[-399:])
    with pytest.raises(StoreError, match=r"changed|not a file"):
        hw.load(path)
    joblib.dump(best, tmp_path / "best.joblib")
    with pytest.raises(StoreError, match=r"not a file that best\.save wrote\n.*\n  try: .*joblib\.load"):
        hw.load(tmp_path / "best.joblib")
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        hw.load("nothing.headway")


def test_a_saved_file_that_would_unpack_to_more_than_its_size_is_refused(tmp_path):
    path = tmp_path / "bomb.headway"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.json", b"{}")
        file.writestr("artifact", bytes(10_000_000))
    with pytest.raises(StoreError, match=r"not a file that best\.save wrote"):
        hw.load(path)


def test_a_result_with_custom_python_is_pickled_and_copied_but_not_saved(tmp_path):
    model = make_pipeline(FunctionTransformer(double), StandardScaler(), LogisticRegression()).fit(X, Y)
    best = hw.optimize(model, X, Y, **OPTIONS)
    for again in (pickle.loads(pickle.dumps(best)), copy.deepcopy(best)):
        assert again.predict(X).tolist() == model.predict(X).tolist()
    with pytest.raises(EngineError, match=r"custom Python code around it\n.*\n  try: joblib\.dump"):
        best.save(tmp_path / "model.headway")


# --- scikit-learn's own tools


def test_scikit_learn_scores_and_inspects_the_result_as_the_model(best, model):
    assert best.score(X, Y) == model.score(X, Y) and is_classifier(best)
    assert best.get_params() == {} and best.set_params() is best
    found, expected = (permutation_importance(one, X, Y, n_repeats=2, random_state=0) for one in (best, model))
    assert np.allclose(found.importances_mean, expected.importances_mean)


def test_cross_validation_says_why_not_and_what_to_use(best):
    with pytest.raises(
        ValueError, match=r"(?s)cannot be fitted again.*headway\.evaluate\(best, X, y\).*FrozenEstimator"
    ):
        cross_val_score(best, X, Y)
    assert np.isclose(cross_val_score(FrozenEstimator(best), X, Y).mean(), best.score(X, Y), atol=0.01)
    with pytest.raises(ValueError, match="has no parameter 'C'"):
        best.set_params(C=1.0)


def test_a_regression_is_scored_by_r2(home):
    y = X["age"] * 2 + np.random.default_rng(0).normal(size=len(X))
    model = LinearRegression().fit(X, y)
    best = hw.optimize(model, X, y, transforms=["pipeline"], policy={"r2.drop": 0.01})
    assert np.isclose(best.score(X, y), model.score(X, y))


def test_the_result_is_evaluated_and_compared_like_a_model(best, model, measured):
    assert hw.evaluate(best, X, Y)["roc_auc"].value == pytest.approx(measured["roc_auc"].value)
    assert hw.compare(model, best, X, Y)["roc_auc.drop"].value == pytest.approx(0.0)


# --- tables that are not quite right


@pytest.mark.parametrize(
    "table",
    [
        X[NAMES[::-1]],
        X.assign(extra=1.0),
        pl.DataFrame(X.to_dict("list")),
        pl.DataFrame(X.to_dict("list")).lazy(),
        X.to_numpy(),
    ],
    ids=["reordered", "extra", "polars", "lazy", "numpy"],
)
def test_tables_of_every_library_get_the_same_answers(best, table):
    assert best.predict_proba(table).tolist() == best.predict_proba(X).tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X.iloc[0], r"a Series of 4 values is one row or one column, not a table\n  try: .*X\.iloc\[\[0\]\]"),
        (pl.DataFrame(X.to_dict("list"))["age"], r"not a table\n  try: .*X\[0:1\]"),
        (X.to_numpy()[0], r"shape \(4,\).*\n.*\n  try: X\.reshape\(1, -1\)"),
        (X.to_numpy()[:, :3], r"shape \(400, 3\), the model reads \[n, 4\]"),
        (X.drop(columns="debt"), "lacks debt"),
    ],
    ids=["row", "column", "array", "narrow", "missing"],
)
def test_rows_of_another_shape_get_a_message_that_says_what_to_pass(best, rows, message):
    with pytest.raises(DataError, match=message):
        best.predict(rows)


def test_a_model_of_unnamed_columns_reads_a_table_by_position():
    model = LogisticRegression().fit(X.to_numpy(), Y)
    best = hw.optimize(model, X.to_numpy(), Y, **OPTIONS)
    assert best.predict(X).tolist() == model.predict(X.to_numpy()).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": Y, "y": X}, r"they are swapped\n  try: the order is headway\.optimize\(model, X, y\)"),
        ({"y": np.full(400, None)}, r"no finite value in 400 of 400 rows\n  at: the first is row 0"),
        ({"sample_weight": np.zeros(400)}, "every sample_weight is 0"),
        ({"sample_weight": np.full(400, -1.0)}, "negative, missing or no number in 400 rows"),
        ({"y": np.where(np.arange(400) < 3, np.inf, Y == "bad")}, r"no finite value in 3 of 400 rows"),
        (
            {"y": pd.DataFrame({"a": Y, "b": Y})},
            r"a table of 2 columns.*\n  try: pass one column, such as table\['a'\]",
        ),
        ({"X": X.to_numpy()[:, :3]}, r"shape \(400, 3\), the model reads \[n, 4\]\n  at: columns: age"),
    ],
    ids=["swapped", "no label", "zero weights", "negative weights", "infinite label", "two labels", "narrow"],
)
def test_wrong_arguments_get_a_message_with_a_hint(model, arguments, message):
    with pytest.raises(DataError, match=message):
        hw.optimize(model, **({"X": X, "y": Y} | arguments))


def test_rows_without_a_label_count_for_the_changed_decisions_alone(model):
    y = np.where(np.arange(400) % 2 == 0, None, Y)
    best = hw.optimize(model, X, y, **OPTIONS)
    found = {name: best.search.winner.evidence.find(name).n_rows for name in ("roc_auc", "decision_churn")}
    assert 80 < found["roc_auc"] < 120 and found["decision_churn"] == 200


# --- what is shown


def test_the_table_is_a_frame_of_the_library_that_the_rows_came_as(best, model):
    assert isinstance(best.table, pd.DataFrame) and list(best.table.columns[:3]) == ["variant", "winner", "verdict"]
    assert best.table["winner"].sum() == 1 and {"max_change", "max_change.low", "why"} <= set(best.table.columns)
    of_polars = hw.optimize(model, pl.DataFrame(X.to_dict("list")), Y, **OPTIONS)
    assert isinstance(of_polars.table, pl.DataFrame) and len(of_polars.table) == len(best.table)


@pytest.mark.parametrize(("columns", "widest"), [("60", 80), ("100", 100), ("400", 160)])
def test_a_printed_result_fits_the_terminal(best, monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, str(best).splitlines())) <= widest


def test_a_printed_result_names_the_next_call(best, refused):
    assert "next: best.report(" in str(best) and 'best.release(folder="my-project")' in " ".join(str(best).split())
    assert "next: best.report(" in str(refused) and "best.release" not in str(refused)


def test_an_evaluation_counts_the_rows_of_the_data_and_not_the_timed_calls(measured):
    assert str(measured).startswith("measured on 400 rows:")


def test_a_notebook_shows_the_frontier_as_a_picture(best):
    html = best._repr_html_()
    assert '<img src="data:image/svg+xml;base64,' in html and 'alt="2 variants by time for one row' in html


# --- released


def test_a_release_needs_a_folder_that_stays(best, home):
    with pytest.raises(Refused, match=r'temporary folder.*\n.*\n  try: best\.release\(folder="my-project"\)'):
        best.release()
    released = best.release(folder=home / "kept", who="a test")
    assert f"signed in {home / 'kept'}" in str(released) and released.pointer == "live"
    assert np.array_equal(hw.load("model@live", project=home / "kept").predict_proba(X), best.predict_proba(X))


def test_a_pickled_result_is_released_into_a_folder(best, home):
    released = pickle.loads(pickle.dumps(best)).release(folder=home / "kept", who="a test")
    assert released.folder == str(home / "kept") and (home / "kept" / "headway.toml").is_file()


def test_a_result_of_a_folder_is_released_and_served_as_the_release_says(model, home):
    folder = home / "my-project"
    best = hw.optimize(model, X, Y, folder=folder, name="credit", **OPTIONS)
    words = str(best.release(who="a test")).splitlines()[-1].removeprefix("serve it: headway serve ").split()
    assert words == ["credit@live", "--project", str(folder)]
    with served(*words, "--port", "0", "--json", folder=home) as line:
        address = next(found for found in json.loads(line)["addresses"] if found.startswith("http"))
        columns = [
            {"name": name, "shape": [2, 1], "datatype": "FP64", "data": X[name].head(2).tolist()} for name in NAMES
        ]
        request = urllib.request.Request(
            f"{address}/v2/models/credit/infer",
            data=json.dumps({"inputs": columns}).encode(),
            headers={"Content-Type": "application/json"},
        )
        answer = json.load(urllib.request.urlopen(request))
    assert np.allclose(answer["outputs"][0]["data"], best.predict_proba(X.head(2))[:, 1])
    report = pipeline.watch(open_project(folder), source="log", every="1h")[
        0
    ]  # watched on the first day, without a table
    assert report.n_rows == 2 and report.status == "unknown" and report.drift is None


def test_a_person_releases_what_did_not_pass_in_python_too(refused, home):
    with pytest.raises(Refused, match=r'best\.release\(override="WHY"\)'):
        refused.release(folder=home / "project")
    refused.release(folder=home / "project", who="ann", override="a model of last year")
    record = open_project(home / "project").registry.resolve("model@live").release
    assert (record.verdict.by, record.verdict.why) == ("ann", "a model of last year")


def test_a_refused_release_leaves_no_project_behind(refused, home):
    with pytest.raises(Refused, match="nothing is released"):
        refused.release(folder=home / "kept")
    assert not Path(home / "kept" / "headway.toml").exists()
