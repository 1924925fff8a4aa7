"""Models that MLflow wrote are imported from their folder, by the flavour and the signature of their MLmodel file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import catboost
import lightgbm
import numpy as np
import onnx
import polars as pl
import pytest
import skops.io
import xgboost
from sklearn.linear_model import LogisticRegression
from tests.engines.boosters import booster, table, targets
from tests.engines.graphs import DOUBLE, graph
from tests.optimization.importers.test_models import Leaves

from headway.core.config import Config
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError, EngineError, Refused
from headway.core.plugins import load_blobs
from headway.data.settings.model import ModelSection
from headway.optimization.importers import mlflow
from headway.optimization.importers.models import default_name, import_baseline, import_fitted_model, open_model_file
from headway.optimization.training import model_path

NAMES = ["wind", "rain", "fog"]
ROWS = np.nan_to_num(table()[:, :3])
LABELS = targets(table(), "binary").astype(int)
DOUBLES = [{"name": name, "type": "double", "required": True} for name in NAMES]


def logged(folder: Path, flavors: object, *, inputs: object = DOUBLES, files: dict[str, bytes] | None = None) -> Path:
    """The folder of a model, written as MLflow 3.17 writes it; JSON is YAML as well."""
    folder.mkdir(exist_ok=True)
    signature = {"inputs": json.dumps(inputs), "outputs": None, "params": None} if inputs is not None else None
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": signature, "mlflow_version": "3.17"}))
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    return folder


def rows(**columns: object) -> Dataset:
    known = pl.DataFrame(ROWS, schema=NAMES).with_columns(y=pl.Series(LABELS))
    return Dataset(name="rows", table=known.with_columns(**columns), roles=Roles(target="y"))


def boosted() -> lightgbm.Booster:
    data = lightgbm.Dataset(ROWS, LABELS, feature_name=NAMES)
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 3)


def imported_from(folder: Path, *, trust: bool = False) -> ImportedModel:
    return import_fitted_model(open_model_file(folder, trust=trust))


def text_of(model: lightgbm.Booster) -> bytes:
    return model.model_to_string().encode()


LIGHTGBM = {"lightgbm": {"data": "model.lgb", "code": None}, "python_function": {"loader_module": "mlflow.lightgbm"}}


def test_a_booster_is_imported_with_the_columns_of_its_signature(tmp_path):
    found = imported_from(logged(tmp_path / "model", LIGHTGBM, files={"model.lgb": text_of(boosted())}))
    assert found.engine == "lightgbm" and found.names == tuple(NAMES)
    assert [column.datatype for column in found.columns] == ["FP64"] * 3
    variant = import_baseline(found, rows(), load_blobs("files")(tmp_path / "blobs"))
    assert variant.signature.names == tuple(NAMES)


@pytest.mark.slow
def test_models_of_xgboost_and_catboost_are_imported(tmp_path):
    trained = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, LABELS), 3)
    flavor = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.core.Booster", "model_format": "ubj"}}
    found = imported_from(logged(tmp_path / "x", flavor, files={"model.ubj": bytes(trained.save_raw("ubj"))}))
    assert (found.engine, found.names) == ("xgboost", tuple(NAMES))

    cats = catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(ROWS, LABELS)
    folder = logged(tmp_path / "c", {"catboost": {"data": "model.cb", "save_format": "cbm"}})
    cats.save_model(str(folder / "model.cb"))
    assert imported_from(folder).engine == "catboost"


@pytest.mark.slow
def test_a_graph_takes_the_names_of_the_signature(tmp_path):
    nodes = [onnx.helper.make_node("ReduceSum", ["rows", "axis"], ["scores"], keepdims=1)]
    content = graph(nodes, [("rows", DOUBLE, [None, 3])], [("scores", DOUBLE, [None, 1])], {"axis": np.array([1])})
    folder = logged(tmp_path / "model", {"onnx": {"data": "model.onnx"}}, files={"model.onnx": content})
    assert imported_from(folder).names == tuple(NAMES)


@pytest.mark.slow
def test_an_estimator_in_skops_needs_no_trust_and_a_pickle_does(opened_here, tmp_path):
    estimator = LogisticRegression().fit(ROWS, LABELS)
    flavor = {"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}
    folder = logged(tmp_path / "skops", flavor, files={"model.skops": skops.io.dumps(estimator)})
    assert imported_from(folder).classes == ("0", "1")

    flavor = {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}}
    harm = pickle.dumps(Leaves(str(tmp_path / "mark")))
    folder = logged(tmp_path / "harm", flavor, files={"model.pkl": harm})
    with pytest.raises(Refused, match="the file is unsafe") as refusal:
        open_model_file(folder, trust=True)
    assert "headway scan" in refusal.value.hint and not (tmp_path / "mark").exists()

    folder = logged(tmp_path / "pickle", flavor, files={"model.pkl": pickle.dumps(estimator)})
    found = imported_from(folder, trust=True)
    assert found.engine == "sklearn" and [column.name for column in found.columns] == NAMES


@pytest.mark.slow
def test_a_pickle_finds_the_code_that_was_logged_with_it(tmp_path):
    flavor = {"sklearn": {"pickled_model": "model.pkl", "code": "code"}}
    folder = logged(tmp_path / "model", flavor, files={"model.pkl": b"cshop_code\nSteps\n."})
    with pytest.raises(EngineError, match="the file 'code' of the MLmodel file is missing"):
        open_model_file(folder, trust=True)
    (folder / "code").mkdir()
    (folder / "code" / "shop_code.py").write_text("class Steps: pass\n")
    with pytest.raises(EngineError, match="the class Steps is not a fitted model"):
        open_model_file(folder, trust=True)


@pytest.mark.slow
def test_a_classifier_of_lightgbm_in_skops_is_opened_with_trust_alone(opened_here, tmp_path):
    fitted = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(ROWS, LABELS)
    flavor = {"lightgbm": {"data": "model.skops", "serialization_format": "skops"}}
    folder = logged(tmp_path / "model", flavor, files={"model.skops": skops.io.dumps(fitted)})
    with pytest.raises(Refused, match="can run code"):
        open_model_file(folder)
    found = imported_from(folder, trust=True)
    assert (found.engine, found.classes) == ("lightgbm", ("0", "1"))
    (folder / "model.skops").write_bytes(b"PK broken")
    with pytest.raises(Refused, match="the file is not judged"):
        open_model_file(folder, trust=True)


def test_a_missing_column_and_another_type_are_named(tmp_path):
    optional = [*DOUBLES, {"name": "gust", "type": "double", "required": False}]
    folder = logged(tmp_path / "model", LIGHTGBM, inputs=optional, files={"model.lgb": text_of(boosted())})
    found, blobs = imported_from(folder), load_blobs("files")(tmp_path / "blobs")
    import_baseline(found, rows(), blobs)
    few = rows()
    few = Dataset(name="rows", table=few.table.drop("fog"), roles=few.roles)
    with pytest.raises(DataError, match="signature declares columns that the table lacks: fog"):
        import_baseline(found, few, blobs)
    with pytest.raises(DataError, match="fog is String, the signature declares a number"):
        import_baseline(found, rows(fog=pl.lit("thick")), blobs)
    words = [*DOUBLES[:2], {"name": "fog", "type": "string"}]
    folder = logged(tmp_path / "words", LIGHTGBM, inputs=words, files={"model.lgb": text_of(boosted())})
    with pytest.raises(DataError, match="fog is Float64, the signature declares a string"):
        import_baseline(imported_from(folder), rows(), blobs)


def test_a_tensor_or_no_signature_declares_no_columns(tmp_path):
    tensor = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]
    for number, inputs in enumerate((tensor, None)):
        folder = logged(tmp_path / str(number), LIGHTGBM, inputs=inputs, files={"model.lgb": text_of(booster())})
        opened = open_model_file(folder)
        assert isinstance(opened, ModelFile) and opened.columns == ()


@pytest.mark.parametrize(
    ("flavors", "message", "hint"),
    [
        ({"python_function": {}}, "no engine imports this flavour of MLflow: python_function", "mlflow.sklearn"),
        ({"pytorch": {}, "python_function": {}}, "flavour of MLflow: python_function, pytorch", "torch.onnx.export"),
        ({}, "lists no flavour", "mlflow.sklearn"),
        ({"lightgbm": {"data": "../../secret"}}, "is outside the model's folder", "log the model again"),
        ({"lightgbm": {"data": "gone.lgb"}}, "'gone.lgb' of the MLmodel file is missing", "log the model again"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_a_hint(flavors, message, hint, tmp_path):
    (tmp_path / "secret").write_bytes(b"tree\n")
    with pytest.raises(EngineError, match=message) as refusal:
        open_model_file(logged(tmp_path / "model", flavors))
    assert hint in refusal.value.hint


@pytest.mark.parametrize("text", ["{", "[1]", "flavors: !!python/object/apply:os.mkdir [mark]", "a: \xff"])
def test_a_damaged_header_is_an_error_and_makes_no_objects(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MLmodel").write_bytes(text.encode("latin-1"))
    with pytest.raises(EngineError, match="MLmodel file"):
        open_model_file(tmp_path)
    assert not (tmp_path / "mark").exists()


def test_a_damaged_signature_is_an_error(tmp_path):
    folder = logged(tmp_path / "model", LIGHTGBM, files={"model.lgb": b"tree\n"})
    (folder / "MLmodel").write_text(json.dumps({"flavors": LIGHTGBM, "signature": {"inputs": "[1"}}))
    with pytest.raises(EngineError, match="signature in the MLmodel file cannot be read"):
        open_model_file(folder)


def test_a_folder_without_a_header_is_an_error(tmp_path):
    with pytest.raises(EngineError, match="neither an MLmodel file nor"):
        open_model_file(tmp_path)


def test_an_address_is_distinguished_from_a_path_and_gives_a_name():
    assert [mlflow.is_address(text) for text in ("models:/a/3", "runs:/5f/model", "models/a.txt", "models:")] == [
        *(True, True),
        *(False, False),
    ]
    assert default_name(Path("models:/late flights@champion")) == "late-flights"
    assert default_name(Path("runs:/5f2/trees")) == "trees" and default_name(Path("a/model.txt")) == "model"
    assert model_path(Config(ModelSection(file="models:/a@b"))) == Path("models:/a@b")
    assert model_path(Config(ModelSection(file="model.txt"), folder="shop")) == Path("shop/model.txt")
