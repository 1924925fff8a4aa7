"""The LightGBM engine predicts as the library; malformed text neither ends the process nor prints."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import OBJECTIVES, booster, table, targets, text

from headway.core.errors import EngineError, NotApplicable
from headway.engines.lightgbm import Lightgbm


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_predicts_as_the_library(objective: str) -> None:
    expected = booster(objective).predict(table())
    found = Lightgbm(text(objective).encode(), {}).predict(table())
    assert found.shape == (400, 3 if objective.startswith("multiclass") else 1)
    assert np.array_equal(found, expected.reshape(found.shape))


def test_linear_leaves_and_forests_answer_as_the_library_does() -> None:
    for parameters in ({"linear_tree": True}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}):
        expected = booster("regression", **parameters).predict(table())
        found = Lightgbm(text("regression", **parameters).encode(), {}).predict(table())
        assert np.allclose(found[:, 0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("threads", [{}, {"threads": 1}, {"threads": 2}])
def test_the_number_of_threads_changes_no_answer(threads: dict[str, int]) -> None:
    assert np.array_equal(Lightgbm(text().encode(), threads).predict(table())[:, 0], booster().predict(table()))


@pytest.mark.parametrize("threads", [-1, True, 1.5, "2"])
def test_an_invalid_number_of_threads_is_refused(threads: object) -> None:
    with pytest.raises(EngineError, match="'threads'"):
        Lightgbm(text().encode(), {"threads": threads})


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="no setting 'spin'") as refusal:
        Lightgbm(text().encode(), {"spin": True})
    assert refusal.value.hint == "threads"


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros((0, 5)), np.zeros(4)])
def test_rows_of_another_shape_are_refused_without_output(rows: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineError, match=r"the model reads \[n, 4\]"):
        Lightgbm(text().encode(), {}).predict(rows)
    assert capfd.readouterr() == ("", "")


def test_importing_a_booster_keeps_its_column_names_and_categories() -> None:
    content = Lightgbm.import_model(booster()).content
    assert content == text().encode() and b"pandas_categorical" in content


@pytest.mark.parametrize("kind", [lightgbm.LGBMClassifier, lightgbm.LGBMRegressor])
def test_a_fitted_estimator_is_imported(kind: type[lightgbm.LGBMModel]) -> None:
    rows = table()
    model = kind(n_estimators=5, verbose=-1, n_jobs=1).fit(rows, targets(rows, "binary"))
    expected = model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows)
    assert np.array_equal(Lightgbm(Lightgbm.import_model(model).content, {}).predict(rows)[:, 0], expected)


def test_a_booster_that_stopped_early_is_truncated_at_its_best_iteration() -> None:
    rows, late = table(), table(seed=1)
    data, watched = (lightgbm.Dataset(part, targets(part, "binary")) for part in (rows, late))
    stop = lightgbm.early_stopping(3, verbose=False)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    model = lightgbm.train(params, data, 200, [watched], callbacks=[stop], keep_training_booster=True)
    assert 0 < model.best_iteration < model.num_trees()
    assert np.array_equal(Lightgbm(Lightgbm.import_model(model).content, {}).predict(late)[:, 0], model.predict(late))


def test_an_unfitted_estimator_is_refused_with_a_hint() -> None:
    with pytest.raises(EngineError, match="LGBMClassifier is not fitted") as refusal:
        Lightgbm.import_model(lightgbm.LGBMClassifier())
    assert refusal.value.hint == "model.fit(X, y)"


@pytest.mark.parametrize("model", [None, "model.txt", b"tree\n", object()])
def test_models_of_other_libraries_do_not_apply(model: object) -> None:
    with pytest.raises(NotApplicable, match="not a model of LightGBM"):
        Lightgbm.import_model(model)


def test_a_model_that_the_library_rejects_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise lightgbm.basic.LightGBMError("too new")

    monkeypatch.setattr(lightgbm, "Booster", refuse)
    with pytest.raises(EngineError, match="cannot open the model: too new"):
        Lightgbm(text().encode(), {})


def test_a_truncated_text_is_refused_without_output(capfd: pytest.CaptureFixture[str]) -> None:
    content = text().encode()
    end = content.index(b"end of trees") + len(b"end of trees")
    for length in range(0, end, 37):
        with pytest.raises(EngineError):
            Lightgbm(content[:length], {})
    assert capfd.readouterr() == ("", "")


TOKENS = [
    "",
    " ",
    "-1",
    "0",
    "99999",
    "2147483648",
    "nan",
    "inf",
    "1e300",
    "=",
    "\n",
    "\n\n",
    "Tree=0\n",
    "x",
    "\0",
    "--1",
]
PLACE = st.floats(0, 1, exclude_max=True)


@pytest.mark.slow
@settings(max_examples=15 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["binary", "multiclass"]),
    st.lists(st.tuples(PLACE, st.integers(0, 12), st.sampled_from(TOKENS)), min_size=1, max_size=3),
)
def test_altered_text_is_refused_or_answers(
    capfd: pytest.CaptureFixture[str], objective: str, changes: list[tuple[float, int, str]]
) -> None:
    altered = text(objective, trees=3)
    end = altered.index("\nfeature_importances")
    for share, length, token in changes:
        at = int(share * end)
        altered = altered[:at] + token + altered[at + length :]
    try:
        answers = Lightgbm(altered.encode(), {"threads": 1}).predict(table()[:20])
    except EngineError as refusal:
        assert "LightGBM" in refusal.what
    else:
        assert len(answers) == 20
    assert capfd.readouterr() == ("", "")
