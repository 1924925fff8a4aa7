"""Rows with strings: tables, lists and object arrays are answered alike, and as the library of the model does."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from headway.api.in_memory_project import create_project
from headway.api.model import Model
from headway.api.tables import MAX_ROWS
from headway.core.errors import DataError
from headway.core.plugins import load_engine
from headway.data.matrix import matrix
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.importers.models import import_baseline


def table(rows: int = 150) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "port": random.choice(["a", "bé", "c"], rows),
            "gap": random.normal(size=rows),
            "hour": random.integers(0, 9, rows),
            "carrier": random.choice(["x", "y"], rows),
        }
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A classifier of the library, and the model of its compiled trees."""
    rows = table()
    labels = ((rows["port"] == "a") ^ (rows["gap"] > 0)).astype(int)
    library = catboost.CatBoostClassifier(
        iterations=8, depth=3, verbose=0, allow_writing_files=False, thread_count=1, one_hot_max_size=2
    ).fit(rows, labels, cat_features=["port", "carrier"])
    project = create_project(library, rows, labels, folder=tmp_path_factory.mktemp("project"))
    baseline = import_baseline(project.imported, project.rows, project.project.blobs)
    context = TransformContext(blobs=project.project.blobs, sample=matrix(project.rows.table, baseline.signature))
    variant = load_transform("trees")(baseline, context)[0]
    content = project.project.blobs.get(variant.artifact.digest)
    return library, Model(variant, load_engine(variant.engine)(content, variant.settings), content=content)


def test_lists_object_arrays_and_tables_are_answered_as_the_library_does(pair):
    library, model = pair
    rows = table(40)
    rows.loc[3, "port"] = "never seen"
    wanted = library.predict_proba(rows)
    cells = rows.to_numpy(object)
    shuffled = rows[["hour", "carrier", "gap", "port"]].assign(more="z")
    many = pd.concat([rows, rows])
    assert len(many) > MAX_ROWS
    for given in (rows, shuffled, cells, np.asfortranarray(cells), cells.tolist(), [tuple(row) for row in cells]):
        assert np.allclose(model.predict_proba(given), wanted, atol=1e-15)
        assert np.array_equal(model.predict(given), library.predict(rows))
    assert np.allclose(model.predict_proba(many), np.concatenate([wanted, wanted]), atol=1e-15)


def test_a_missing_category_is_the_string_that_users_of_the_library_write(pair):
    library, model = pair
    wanted = library.predict_proba(pd.DataFrame([["nan", 0.1, 3, "x"]], columns=table(1).columns))
    for missing in (None, float("nan")):
        assert np.allclose(model.predict_proba([[missing, 0.1, 3, "x"]]), wanted, atol=1e-15)


@pytest.mark.parametrize(
    "rows", [[["a", "b", 3, "x"]], [["a", 0.1, 3]], [[3, 0.1, 3, "x"]], [["a", 0.1, 3, []]], [], [{}], [["a"], 1]]
)
def test_lists_without_rows_of_the_model_are_rejected(pair, rows):
    with pytest.raises(DataError):
        pair[1].predict_proba(rows)


@pytest.mark.parametrize("library", [lightgbm.LGBMClassifier, xgboost.XGBClassifier])
def test_categories_that_are_numbers_are_answered_as_the_library_does(library, tmp_path):
    random = np.random.default_rng(0)
    store = pd.Categorical(
        np.where(random.random(400) < 0.1, np.nan, random.integers(10, 15, 400)), categories=range(10, 15)
    )
    rows = table(400)[["port", "gap"]].astype({"port": "category"}).assign(store=store)
    labels = ((rows["gap"] > 0) ^ (store == 12)).astype(int)
    options = {"verbose": -1} if library is lightgbm.LGBMClassifier else {"enable_categorical": True}
    rows["port"] = rows["port"].cat.rename_categories({"bé": "be"})  # XGBoost cuts other names
    model = library(n_estimators=9, n_jobs=1, **options).fit(rows, labels)
    project = create_project(model, rows, labels, folder=tmp_path)
    baseline = import_baseline(project.imported, project.rows, project.project.blobs)
    assert baseline.signature.inputs[2].categories == ("10", "11", "12", "13", "14")
    content = project.project.blobs.get(baseline.artifact.digest)
    opened = Model(baseline, load_engine(baseline.engine)(content, baseline.settings), content=content)
    wanted = model.predict_proba(rows)
    assert np.allclose(opened.predict_proba(rows), wanted, atol=1e-7)
    for row in range(30):
        assert np.allclose(opened.predict_proba(rows.iloc[[row]]), wanted[[row]], atol=1e-7)
