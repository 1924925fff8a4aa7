"""Sparse rows: an optimized model answers them as its library does, whatever their form."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier

from headway.api.in_memory_project import create_project
from headway.api.model import Model
from headway.core.errors import DataError, RowRefused
from headway.core.plugins import load_engine
from headway.data.matrix import matrix
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.importers.models import import_baseline

WIDTH = 40
BOOSTED = {"n_estimators": 8, "n_jobs": 1, "random_state": 0}
LIGHTGBM = {**BOOSTED, "min_child_samples": 5, "verbose": -1}
MODELS = {
    "LightGBM": (lightgbm.LGBMClassifier(**LIGHTGBM), "trees"),
    "LightGBM, zero is missing": (lightgbm.LGBMClassifier(zero_as_missing=True, **LIGHTGBM), "trees"),
    "XGBoost": (xgboost.XGBClassifier(max_depth=3, **BOOSTED), "trees"),
    "random forest": (RandomForestClassifier(n_estimators=8, max_depth=5, random_state=0), "trees"),
    "logistic regression": (LogisticRegression(), "pipeline"),
    "SGD": (SGDClassifier(loss="log_loss", random_state=0), "pipeline"),
}
NO_MISSING = {"random forest", "logistic regression", "SGD"}


def table(rows: int = 200) -> sparse.csr_matrix:
    random = np.random.default_rng(0)
    return sparse.random(rows, WIDTH, 0.15, "csr", rng=random, data_rvs=lambda n: np.round(random.normal(size=n), 1))


def optimized(model, transform, folder) -> Model:
    rows = table()
    labels = (np.asarray(rows[:, :8].sum(axis=1)).ravel() > 0).astype(int)
    project = create_project(model.fit(rows, labels), rows[:60], labels[:60], folder=folder)
    baseline = import_baseline(project.imported, project.rows, project.project.blobs)
    sample = matrix(project.rows.table, baseline.signature)
    context = TransformContext(blobs=project.project.blobs, sample=sample)
    variant = load_transform(transform)(baseline, context)[0]
    content = project.project.blobs.get(variant.artifact.digest)
    return Model(variant, load_engine(variant.engine)(content, variant.settings), content=content)


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    model, transform = MODELS[request.param]
    return request.param, model, optimized(model, transform, tmp_path_factory.mktemp("project"))


@st.composite
def cells(draw):
    """Rows, columns and values of up to 60 cells in any order, some of them twice, zeros among them."""
    count = draw(st.integers(0, 60))
    seed = draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    values = np.round(random.normal(size=count), 1)
    values[random.random(count) < 0.1] = 0.0
    return random.integers(4, size=count), random.integers(WIDTH, size=count), values, random


def in_csr(rows, columns, values, *, dtype, index):
    """The cells as they come, neither sorted nor summed."""
    order = np.argsort(rows, kind="stable")
    found = sparse.csr_matrix((4, WIDTH), dtype=dtype)
    found.indptr = np.searchsorted(rows[order], np.arange(5)).astype(index)
    found.indices, found.data = columns[order].astype(index), values[order].astype(dtype)
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=cells(), dtype=st.sampled_from(["float64", "float32"]), index=st.sampled_from(["int32", "int64"]))
def test_it_answers_sparse_rows_as_its_library_does(pair, drawn, dtype, index):
    name, model, best = pair
    rows, columns, values, random = drawn
    if name not in NO_MISSING:
        values[random.random(len(values)) < 0.1] = np.nan
    found = in_csr(rows, columns, values, dtype=dtype, index=index)
    expected = found.copy()
    expected.sum_duplicates()
    assert np.abs(best.predict_proba(found) - model.predict_proba(expected)).max() < 1e-6
    assert np.array_equal(best.predict(found), model.predict(expected))
    assert found.nnz == len(values)


def test_other_sparse_formats_are_converted(pair):
    _, _, best = pair
    expected = best.predict_proba(table(20))
    for convert in (sparse.csc_matrix, sparse.coo_array, sparse.csr_array, sparse.lil_matrix, sparse.csc_array):
        assert np.array_equal(best.predict_proba(convert(table(20))), expected)


def test_wrong_shapes_and_types_are_data_errors(pair):
    _, _, best = pair
    with pytest.raises(DataError, match=r"rows have shape \(1, 41\), the model reads \[n, 40\]"):
        best.predict_proba(sparse.csr_matrix((1, WIDTH + 1)))
    with pytest.raises(DataError, match="complex128 holds no real numbers"):
        best.predict_proba(sparse.csr_matrix((1, WIDTH), dtype=complex))
    with pytest.raises(DataError, match=r"sparse rows have shape \(40,\)"):
        best.predict_proba(sparse.coo_array((WIDTH,)))


@pytest.mark.parametrize(
    ("pair", "value"),
    [("random forest", np.inf), ("logistic regression", np.nan), ("SGD", -np.inf)],
    indirect=["pair"],
)
def test_a_value_that_the_library_refuses_is_named(pair, value):
    _, _, best = pair
    rows = table(20).tolil()
    rows[13, 3] = value
    with pytest.raises(RowRefused, match="'x3' is") as refused:
        best.predict_proba(rows.tocsr())
    assert refused.value.where == "row 13"
