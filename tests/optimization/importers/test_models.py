"""Files that run code are opened only with trust, in a subprocess; errors in them are reported."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import types
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import catboost
import joblib
import lightgbm
import msgspec
import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
import sklearn
import xgboost
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, IsolationForest
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.engines.boosters import booster, table, targets
from tests.engines.graphs import DOUBLE, graph

from headway.api.in_memory_project import infer_task
from headway.core import plugins
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError, EngineError, Refused
from headway.core.plugins import load_blobs
from headway.core.record import digest_of
from headway.data.settings.model import ModelSection
from headway.engines.lightgbm import Lightgbm
from headway.engines.sklearn import Sklearn
from headway.optimization.importers import unpickle
from headway.optimization.importers.models import (
    UnpickleResult,
    declared_training_privacy,
    import_baseline,
    import_fitted_model,
    infer_signature,
    open_model_file,
)
from headway.scanning.canonical import named_globals
from headway.storage.blobs.files import Files

ROWS = np.nan_to_num(table()[:, :3])
LABELS = targets(table(), "binary").astype(int)


def model() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, LABELS)


def pickled(value: object, folder: Path, name: str = "model.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(value))
    return path


class Ends:
    """Kills the process that opens it, as a broken C library does."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.abort, ())


class Leaves:
    """Leaves a file behind when it is opened."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("name", ["model.pkl", "MODEL.PKL", "model.joblib", "model.pt", "model.model", "model"])
def test_a_file_that_can_run_code_is_refused_with_a_hint_and_not_run(name: str, tmp_path: Path) -> None:
    path = pickled(Leaves(str(tmp_path / "mark")), tmp_path, name)
    for trust in (False, True):
        with pytest.raises(Refused, match=r"unsafe: refers to \w+.mkdir, which is not on the list") as refusal:
            open_model_file(path, trust=trust)
        assert f"--digest {digest_of(path.read_bytes())}" in refusal.value.hint
    assert not (tmp_path / "mark").exists()


def test_a_pickle_without_a_known_danger_still_needs_trust(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="can run code when it is opened") as refusal:
        open_model_file(pickled(model(), tmp_path))
    assert "--trust" in refusal.value.hint


def test_a_named_digest_opens_that_file_alone(tmp_path: Path) -> None:
    path = pickled(model(), tmp_path)
    with pytest.raises(Refused, match="not the one whose digest was named") as refusal:
        open_model_file(path, trust="sha256:" + "0" * 64)
    assert digest_of(path.read_bytes()) in refusal.value.where
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_with_python().SerializeToString())
    with pytest.raises(Refused, match="the operator PyOp runs Python"):
        open_model_file(path)
    assert isinstance(open_model_file(path, trust=digest_of(path.read_bytes())), ModelFile)


def onnx_with_python() -> onnx.ModelProto:
    """Return a graph with an operator of a library that runs Python."""
    node = onnx.helper.make_node("PyOp", ["x"], ["y"], domain="com.microsoft")
    value = onnx.helper.make_tensor_value_info
    parts = [[value("x", onnx.TensorProto.FLOAT, [1])], [value("y", onnx.TensorProto.FLOAT, [1])]]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", *parts))


def test_a_file_that_is_data_needs_no_trust(tmp_path: Path) -> None:
    path = tmp_path / "model.TXT"
    path.write_bytes(b"tree\n")
    assert open_model_file(path) == ModelFile(content=b"tree\n", suffix=".txt")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot read the model file: No such file"):
        open_model_file(tmp_path / "model.pkl", trust=True)


def test_classes_that_are_not_judged_are_named_before_trust_is_asked_for(lost: type, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="can run code") as refusal:
        open_model_file(pickled(lost(), tmp_path))
    assert "not judged: refers to their_code.Ratio" in refusal.value.where


def test_a_file_that_was_not_read_to_its_end_is_refused_with_trust(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model())[:-20])
    with pytest.raises(Refused, match="the file is not judged") as refusal:
        open_model_file(path, trust=True)
    assert f"--digest {digest_of(path.read_bytes())}" in refusal.value.hint


@pytest.mark.slow
def test_a_trusted_joblib_file_is_imported_as_its_estimator(tmp_path: Path) -> None:
    check_import_of_joblib(tmp_path, compress=3)


def test_a_trusted_joblib_file_that_is_not_compressed_is_imported_as_well(opened_here: None, tmp_path: Path) -> None:
    check_import_of_joblib(tmp_path, compress=0)


def check_import_of_joblib(tmp_path: Path, *, compress: int) -> None:
    joblib.dump(model(), tmp_path / "model.joblib", compress=compress)
    imported = open_model_file(tmp_path / "model.joblib", trust=True)
    assert (
        isinstance(imported, ImportedModel)
        and imported.engine == "sklearn"
        and import_fitted_model(imported) is imported
    )
    assert np.array_equal(Sklearn(imported.content, {}).predict(ROWS)[:, 0], model().predict_proba(ROWS)[:, 1])


@pytest.mark.slow
def test_a_trusted_pickle_of_another_library_goes_to_its_engine(tmp_path: Path) -> None:
    imported = open_model_file(pickled(booster(), tmp_path), trust=True)
    assert isinstance(imported, ImportedModel) and imported.engine == "lightgbm"
    assert np.array_equal(Lightgbm(imported.content, {}).predict(table())[:, 0], booster().predict(table()))


@pytest.mark.slow
def test_a_file_that_kills_the_process_kills_only_the_subprocess(tmp_path: Path) -> None:
    path = pickled(Ends(), tmp_path)
    with pytest.raises(EngineError, match="opening the file ended Python with SIGABRT"):
        open_model_file(path, trust=digest_of(path.read_bytes()))


def outcome(path: Path) -> UnpickleResult:
    """The result of opening a trusted file, here without the subprocess."""
    answer = path.with_suffix(".answer")
    unpickle.main(str(path), str(answer))
    return msgspec.msgpack.decode(answer.read_bytes(), type=UnpickleResult)


@pytest.mark.slow
def test_an_unpickler_looks_up_no_global_that_the_scan_did_not_name(tmp_path: Path) -> None:
    path, answer, named = tmp_path / "model.joblib", tmp_path / "answer", tmp_path / "names"
    # joblib opens an array of objects with another unpickler than the file around it.
    joblib.dump({"model": model(), "halves": np.array([Fraction(1, 2)], dtype=object)}, path)
    names = named_globals(path.read_bytes())
    named.write_bytes(msgspec.json.encode(sorted(names - {("fractions", "Fraction")})))
    unpickle.main(str(path), str(answer), str(named))
    result = msgspec.msgpack.decode(answer.read_bytes(), type=UnpickleResult)
    assert result.is_refused and "refers to fractions.Fraction, which its scan did not find" in result.what


def test_more_classes_than_a_verdict_lists_are_refused_with_trust(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"(" + b"".join(b"ctheirs\nThing%d\n" % number for number in range(21)) + b"t.")
    with pytest.raises(Refused, match="refers to 21 classes that are not judged") as refusal:
        open_model_file(path, trust=True)
    assert "theirs.Thing20" in refusal.value.where


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of a module that is removed after the model was saved."""
    module = types.ModuleType("their_code")
    exec("class Ratio:\n    pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "their_code", module)
    return module.Ratio


def test_an_absent_module_is_named(lost: type, tmp_path: Path) -> None:
    path = pickled(lost(), tmp_path)
    del sys.modules["their_code"]
    found = outcome(path)
    assert found.what == "its model needs the module 'their_code', which is not installed"
    assert found.hint == "pip install their_code, or run headway where that module can be imported"


def test_a_class_missing_from_its_module_is_named(lost: type, tmp_path: Path) -> None:
    path = pickled(lost(), tmp_path)
    del sys.modules["their_code"].Ratio
    assert outcome(path).what == "its model needs 'Ratio' from the module 'their_code', which does not define it here"


def test_a_class_of_a_script_or_notebook_gets_a_hint(lost: type, tmp_path: Path) -> None:
    lost.__module__ = "__main__"
    sys.modules["__main__"].Ratio = lost
    path = pickled(lost(), tmp_path)
    del sys.modules["__main__"].Ratio
    assert outcome(path).hint.startswith("define it in an importable module, not in a script or notebook")


def test_a_pickle_of_another_version_is_refused_with_both_versions_and_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    here = sklearn.__version__.encode()
    content = pickle.dumps(model())
    assert content.count(here) == 1
    path.write_bytes(content.replace(here, b"0" * (len(here) - 4) + b".2.1"))
    found = outcome(path)
    assert "was made by scikit-learn" in found.what and f"{sklearn.__version__} is installed" in found.what
    assert "has no wheel for Python 3." in found.hint


def test_an_old_pickle_that_cannot_be_opened_is_refused_with_the_version_that_made_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    of_old = pickle.dumps(model()).replace(sklearn.__version__.encode(), b"0.9.1")
    path.write_bytes(of_old.replace(b"LogisticRegression", b"LogitRegressionOld"))
    assert outcome(path).what.startswith("this model was made by scikit-learn 0.9.1")


def test_a_booster_is_imported_even_if_its_classes_are_of_another_scikit_learn(tmp_path: Path) -> None:
    fitted = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(ROWS, LABELS)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(fitted).replace(sklearn.__version__.encode(), b"0.9.1"))
    found = outcome(path).model
    assert found and found.engine == "lightgbm" and found.classes == ("0", "1")


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04}", pickle.dumps(table())[:500]])
def test_a_file_that_is_not_a_pickle_is_reported_with_the_installed_versions(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    found = outcome(path)
    assert found.what.startswith("it cannot be opened: ") and "scikit-learn" in found.where and "skops" in found.hint


def test_an_object_that_is_not_a_model_is_refused_with_the_engines(tmp_path: Path) -> None:
    assert outcome(pickled({"a": 1}, tmp_path)).what == "no engine imports a builtins.dict"


def test_the_engine_of_the_models_library_is_tried_first() -> None:
    imported = import_fitted_model(lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(ROWS, LABELS))
    assert imported.engine == "lightgbm" and import_fitted_model(model()).engine == "sklearn"


NUMBERS = ROWS[:, 0] + 1.0
UNJUDGED = {
    "lightgbm": (lightgbm.LGBMRegressor(objective="quantile", n_estimators=2, verbose=-1), "a quantile"),
    "xgboost": (xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=0.9, n_estimators=2), "a quantile"),
    "catboost": (
        catboost.CatBoostRegressor(loss_function="Quantile", iterations=2, verbose=0, allow_writing_files=False),
        "a quantile",
    ),
    "linear": (QuantileRegressor(quantile=0.9), "a quantile"),
    "gradient boosting": (GradientBoostingRegressor(loss="quantile", n_estimators=2), "a quantile"),
    "histogram": (HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=2), "a quantile"),
    "last step": (make_pipeline(StandardScaler(), QuantileRegressor()), "a quantile"),
    "booster as last step": (
        make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(objective="quantile", n_estimators=2, verbose=-1)),
        "a quantile",
    ),
    "transformed target": (TransformedTargetRegressor(QuantileRegressor()), "a quantile"),
    "search": (GridSearchCV(QuantileRegressor(), {"quantile": [0.9]}, cv=2), "a quantile"),
    "hazards": (xgboost.XGBRegressor(objective="survival:cox", n_estimators=2), "a hazard"),
    "anomalies": (IsolationForest(n_estimators=2), "an anomaly score"),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_a_model_that_no_measure_judges_is_refused_by_what_it_predicts(name: str) -> None:
    fitted, predicted = UNJUDGED[name]
    fitted.fit(ROWS, NUMBERS - NUMBERS.min() + 1)
    with pytest.raises(EngineError, match="no measure of that yet") as refusal:
        import_fitted_model(fitted)
    assert predicted in refusal.value.what and refusal.value.hint


CODE = {
    "lambda": (lambda rows: rows[:, 0], "a function is not a fitted model"),
    "partial": (functools.partial(sum), "a function is not a fitted model"),
    "builtin": (len, "a function is not a fitted model"),
    "class": (LogisticRegression, "the class LogisticRegression is not a fitted model"),
    "method": (model().predict, "a method of a LogisticRegression is not a model"),
    "class method": (dict.fromkeys, "a function is not a fitted model"),
}


@pytest.mark.parametrize("name", CODE)
def test_code_is_refused_in_one_sentence_before_an_engine_looks_at_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "load_engine", lambda name: pytest.fail(f"engine {name} was loaded"))
    code, sentence = CODE[name]
    with pytest.raises(EngineError) as refusal:
        import_fitted_model(code)
    assert refusal.value.what == sentence and not refusal.value.where and refusal.value.hint


THREADS = {
    "LGBMClassifier": lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1),
    "XGBClassifier": xgboost.XGBClassifier(n_estimators=2, n_jobs=1),
    "CatBoostClassifier": catboost.CatBoostClassifier(
        iterations=2, verbose=0, thread_count=1, allow_writing_files=False
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", THREADS)
def test_a_booster_runs_on_the_threads_that_its_user_set(name: str, tmp_path: Path) -> None:
    fitted = THREADS[name].fit(ROWS, LABELS)
    rows = pl.DataFrame(ROWS, schema=["a", "b", "c"]).with_columns(y=pl.Series(LABELS))
    dataset, blobs = Dataset(name="rows", table=rows, roles=Roles(target="y")), load_blobs("files")(tmp_path)
    native = {"LGBMClassifier": "booster_", "XGBClassifier": "get_booster"}.get(name)
    objects = [fitted]
    if native:
        inner = getattr(fitted, native)
        objects.append(inner() if callable(inner) else inner)
    for own in objects:
        variant = import_baseline(own, dataset, blobs)
        assert variant.settings == {"threads": 1}, type(own)
        assert variant.name.endswith("(baseline)") and "threads" not in variant.name


def test_a_booster_without_a_number_of_threads_leaves_them_to_its_library() -> None:
    fitted = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, LABELS)
    assert import_fitted_model(fitted).threads == 0


def learned(names: list[str], **roles: object) -> tuple[ImportedModel, Dataset]:
    """A model of columns with these names, and a table of a, b and c."""
    fitted = LogisticRegression().fit(pd.DataFrame(ROWS[:, : len(names)], columns=names), LABELS)
    rows = pl.DataFrame(ROWS, schema=["a", "b", "c"]).with_columns(y=pl.Series(LABELS))
    return import_fitted_model(fitted), Dataset(name="rows", table=rows, roles=Roles(target="y", **roles))


def test_the_model_reads_its_named_columns_in_its_order() -> None:
    imported, rows = learned(["c", "a"])
    assert infer_signature(imported, rows).names == ("c", "a")


def test_a_column_that_the_table_lacks_is_named_with_the_nearest() -> None:
    imported, rows = learned(["a", "bb"])
    with pytest.raises(DataError, match="the model reads columns that the table lacks: bb") as refusal:
        infer_signature(imported, rows)
    assert refusal.value.hint == "rename b to bb"


def test_a_column_known_only_after_the_outcome_is_refused() -> None:
    imported, rows = learned(["a", "b"], known={"b": "outcome"})
    with pytest.raises(DataError, match="the model reads b: known only after the outcome"):
        infer_signature(imported, rows)


def test_a_table_of_another_width_is_refused() -> None:
    _, rows = learned(["a"])
    imported = import_fitted_model(LogisticRegression().fit(ROWS[:, :2], LABELS))
    with pytest.raises(DataError, match="the model reads 2 columns, and the table has 3 that are features"):
        infer_signature(imported, rows)


def test_categories_without_a_categorical_column_are_refused() -> None:
    _, rows = learned(["a"])
    imported = replace(import_fitted_model(model()), categories=(("x", "y"),))
    with pytest.raises(DataError, match="the model reads 1 categorical columns, and the table has 0"):
        infer_signature(imported, rows)


def numbers(labels: np.ndarray, task: str) -> Dataset:
    """Rows of three numbers with labels."""
    table = pl.DataFrame(np.arange(3.0 * len(labels)).reshape(-1, 3) / 10, schema=["a", "b", "c"])
    return Dataset(name="rows", table=table.with_columns(y=pl.Series(labels)), roles=Roles(target="y", task=task))


TWO_HEADS = graph(
    [onnx.helper.make_node("MatMul", ["x", "w"], ["price"]), onnx.helper.make_node("MatMul", ["x", "v"], ["time"])],
    [("x", DOUBLE, [None, 3])],
    [("price", DOUBLE, [None, 1]), ("time", DOUBLE, [None, 2])],
    {"w": np.ones((3, 1)), "v": np.ones((3, 2))},
)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "binary", "ranking"])
def test_a_model_of_several_outputs_is_refused_by_name_where_the_task_needs_one(task: str, tmp_path: Path) -> None:
    rows = numbers(np.array([0.0, 1.0] * 4), task)
    with pytest.raises(EngineError, match=f"answers 3 numbers a row, and the task '{task}' needs one") as refusal:
        import_baseline(ModelFile(content=TWO_HEADS, suffix=".onnx"), rows, Files(tmp_path))
    assert refusal.value.where == "outputs: price, time" and "task='embedding'" in refusal.value.hint


def test_a_model_of_several_outputs_is_an_embedding_and_classes_if_labels_say_so(tmp_path: Path) -> None:
    rows = numbers(np.array([0.0, 1.0] * 4), "embedding")
    assert import_baseline(ModelFile(content=TWO_HEADS, suffix=".onnx"), rows, Files(tmp_path)).task == "embedding"


@pytest.mark.parametrize(
    ("outputs", "of_kinds", "of_two"),
    [(0, "regression", "binary"), (1, "regression", "binary"), (63, "multiclass", "multiclass")],
)
def test_the_task_follows_from_labels_and_the_number_of_outputs(outputs: int, of_kinds: str, of_two: str) -> None:
    assert infer_task(pl.Series(np.arange(60.0) + 3), outputs=outputs) == of_kinds
    assert infer_task(pl.Series([0.0, 1.0]), outputs=outputs) == of_two


def test_the_values_that_a_model_refuses_are_part_of_its_signature(tmp_path: Path) -> None:
    rows = Dataset(
        name="rows",
        table=pl.DataFrame(ROWS, schema=["a", "b", "c"]).with_columns(y=pl.Series(LABELS)),
        roles=Roles(target="y", task="binary"),
    )
    variant = import_baseline(model(), rows, Files(tmp_path))
    assert {field.refuses for field in variant.signature.inputs} == {("missing", "infinite")}


def test_the_epsilon_that_a_model_declares_is_recorded():
    private = model()
    private.epsilon, private.accountant = 0.5, "budget"  # as the estimators of diffprivlib have them
    (finding,) = import_fitted_model(private).findings
    assert (finding.code, finding.severity, finding.measured) == ("E010", "note", 0.5)
    assert "epsilon 0.5; headway did not verify that" in finding.message


def test_the_epsilon_that_a_project_declares_is_recorded_with_its_delta_and_mechanism():
    assert declared_training_privacy(ModelSection()) == ()
    declared = ModelSection(epsilon=3.0, delta=1e-5, mechanism="DP-SGD")
    (finding,) = declared_training_privacy(declared)
    assert (finding.code, finding.measured) == ("E010", 3.0)
    assert "the project declares" in finding.message and "epsilon 3, delta 1e-05 (DP-SGD)" in finding.message
    for lacking, name in ((ModelSection(delta=1e-5), "delta"), (ModelSection(mechanism="DP-SGD"), "mechanism")):
        with pytest.raises(ConfigError, match=f"{name} is declared without an epsilon"):
            declared_training_privacy(lacking)


def test_an_epsilon_that_is_not_about_privacy_is_not_recorded():
    tube = model()
    tube.epsilon = 0.5
    assert import_fitted_model(tube).findings == ()
