"""The CatBoost engine predicts as the library, and imports its models in every form."""

from __future__ import annotations

from dataclasses import replace

import catboost
import numpy as np
import pandas as pd
import pytest
from tests.engines.boosters import table
from tests.engines.catboosters import LOSSES, cbm, model

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Signature
from headway.engines.catboost import Catboost

QUIET = {"iterations": 3, "depth": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
LABELS = (table()[:, 2] > 0).astype(int)


def expected(fitted: catboost.CatBoost) -> np.ndarray:
    """The predictions of the model itself: probabilities of a classifier, else `predict`."""
    if not isinstance(fitted, catboost.CatBoostClassifier):
        return np.asarray(fitted.predict(table()))
    found = fitted.predict_proba(table())
    return found if found.shape[1] > 2 else found[:, 1]


def furthest(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted.reshape(found.shape)).max())


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_it_predicts_as_the_library(loss: str) -> None:
    found = Catboost(Catboost.import_model(model(loss)).content, {}).predict(table())
    assert found.shape == (400, 3 if loss.startswith("MultiClass") else 1) and found.dtype == np.float64
    assert furthest(found, expected(model(loss))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["Depthwise", "Lossguide"])
@pytest.mark.parametrize("loss", ["Logloss", "MultiClass", "RMSE"])
def test_asymmetric_trees_predict_as_the_library(loss: str, policy: str) -> None:
    content = Catboost.import_model(model(loss, grow_policy=policy)).content
    assert furthest(Catboost(content, {}).predict(table()), expected(model(loss, grow_policy=policy))) == 0


def test_a_file_answers_as_the_model_that_wrote_it() -> None:
    adopted = Catboost.import_model(ModelFile(content=cbm(), suffix=".cbm"))
    fitted = Catboost.import_model(model("Logloss", 7))
    assert adopted == replace(fitted, threads=0) and fitted.threads == 1  # the file does not say what predicts it
    assert furthest(Catboost(adopted.content, {}).predict(table()), expected(model())) == 0


def test_the_metadata_of_a_model_is_imported() -> None:
    frame = pd.DataFrame(table(), columns=list("abcd"))
    fitted = catboost.CatBoostClassifier(**QUIET).fit(frame, np.where(LABELS, "yes", "no"))
    adopted = Catboost.import_model(fitted)
    assert (adopted.names, adopted.classes, adopted.task, adopted.width) == (tuple("abcd"), ("no", "yes"), "binary", 4)
    assert adopted.absent == 0.0


@pytest.mark.parametrize(
    ("loss", "task"),
    [("Logloss", "binary"), ("MultiClass", "multiclass"), ("Poisson", "regression"), ("MAE", "regression")],
)
def test_the_task_is_that_of_the_loss(loss: str, task: str) -> None:
    assert Catboost.import_model(model(loss)).task == task


def test_names_that_only_count_columns_are_left_out() -> None:
    assert Catboost.import_model(model()).names == ()


@pytest.mark.parametrize("kind", ["text", "embedding"])
def test_columns_that_are_not_numeric_are_refused_by_name(kind: str) -> None:
    cells = table()[:80, 2].tolist()
    columns = {
        "text": ["late again" if index % 3 else "in time" for index in range(80)],
        "embedding": [[float(index % 3), 1.0] for index in range(80)],
    }
    frame = pd.DataFrame({"plane": columns[kind], "number": cells})
    columns = {f"{kind}_features": ["plane"]}
    fitted = catboost.CatBoostClassifier(**QUIET, **columns).fit(frame, LABELS[:80])
    with pytest.raises(EngineError, match=f"1 {kind} columns") as refusal:
        Catboost.import_model(fitted)
    assert "plane" in refusal.value.where and "_features" in refusal.value.hint


def test_a_categorical_column_where_the_model_reads_numbers_is_refused() -> None:
    names = ("carrier", "gap", "number", "id")
    numbers = Signature(inputs=tuple(Field(name=name) for name in names))
    texts = Signature(inputs=(Field(name="carrier", datatype="BYTES"), *numbers.inputs[1:]))
    assert Catboost.bind(cbm(), numbers) == (cbm(), numbers)
    with pytest.raises(EngineError, match="column 'carrier' is categorical") as refusal:
        Catboost.bind(cbm(), texts)
    assert refusal.value.hint


@pytest.mark.parametrize("loss", ["RMSEWithUncertainty", "MultiQuantile:alpha=0.2,0.8"])
def test_several_outputs_are_refused_by_name(loss: str) -> None:
    with pytest.raises(EngineError, match="returns 2 outputs") as refusal:
        Catboost.import_model(model(loss))
    assert "each target" in refusal.value.hint


@pytest.mark.parametrize("threads", [{}, {"threads": 1}, {"threads": 2}])
def test_the_number_of_threads_changes_no_answer(threads: dict[str, int]) -> None:
    assert furthest(Catboost(cbm(), threads).predict(table()), expected(model())) == 0


@pytest.mark.parametrize("threads", [-1, True, 1.5, "2"])
def test_an_invalid_number_of_threads_is_refused(threads: object) -> None:
    with pytest.raises(EngineError, match="'threads'"):
        Catboost(cbm(), {"threads": threads})


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="no setting 'spin'") as refusal:
        Catboost(cbm(), {"spin": True})
    assert refusal.value.hint == "threads"


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros((0, 5)), np.zeros(4)])
def test_rows_of_another_shape_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"the model reads \[n, 4\]"):
        Catboost(cbm(), {}).predict(rows)


def test_the_order_of_rows_in_memory_changes_no_answer() -> None:
    assert np.array_equal(Catboost(cbm(), {}).predict(np.asfortranarray(table())), Catboost(cbm(), {}).predict(table()))


def test_an_unfitted_model_is_refused_with_a_hint() -> None:
    with pytest.raises(EngineError, match="CatBoostClassifier is not fitted") as refusal:
        Catboost.import_model(catboost.CatBoostClassifier())
    assert refusal.value.hint == "model.fit(X, y)"


def test_catboost_json_is_refused_with_a_hint(tmp_path) -> None:
    model().save_model(str(tmp_path / "model.json"), format="json")
    with pytest.raises(EngineError, match="JSON format is not supported") as refusal:
        Catboost.import_model(ModelFile(content=(tmp_path / "model.json").read_bytes(), suffix=".json"))
    assert refusal.value.hint == "model.save_model('model.cbm')"


@pytest.mark.parametrize("suffix", [".txt", ".json", ".ubj"])
def test_a_file_of_another_library_does_not_apply(suffix: str) -> None:
    with pytest.raises(NotApplicable, match="not a CatBoost model"):
        Catboost.import_model(ModelFile(content=b'{"learner": {}}', suffix=suffix))


@pytest.mark.parametrize("loss", ["Logloss", "MultiClass"])
def test_the_first_trees_predict_as_the_library_with_that_many(loss: str) -> None:
    content = Catboost.truncate(cbm(loss), 3)
    wanted = model(loss).predict(table(), prediction_type="Probability", ntree_end=3)
    found = Catboost(content, {}).predict(table())
    assert Catboost.rounds(cbm(loss)) == 7 and Catboost.rounds(content) == 3
    assert furthest(found, wanted[:, -found.shape[1] :]) < 1e-15


def test_asymmetric_trees_are_not_truncated() -> None:
    with pytest.raises(NotApplicable, match="not symmetric"):
        Catboost.rounds(cbm(grow_policy="Depthwise"))


def test_trees_without_a_split_predict_as_the_library() -> None:
    fitted = model("RMSE", grow_policy="Depthwise", min_data_in_leaf=1000)
    content = Catboost.import_model(fitted).content
    assert {len(tree.leaf) for tree in Catboost.forest(content).trees} == {1}
    assert furthest(Catboost(content, {}).predict(table()), expected(fitted)) == 0
