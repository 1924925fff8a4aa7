"""A model of a library without an engine is refused with the conversion to a supported format."""

from __future__ import annotations

import types

import pytest

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError
from headway.optimization.importers.models import conversion_hint, import_fitted_model


def model_of(module: str) -> object:
    """An object of a class as that library's module makes it, or of a custom subclass."""
    base = types.new_class("Model", exec_body=lambda body: body.update(__module__=module))
    return types.new_class("Own", (base,), exec_body=lambda body: body.update(__module__="__main__"))()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "way"),
    [
        ("keras.src.models.sequential", "format='onnx'"),
        ("tensorflow.python.trackable.autotrackable", "tf2onnx.convert --saved-model"),
        ("flax.nnx.module", "jax2onnx.to_onnx"),
        ("jaxlib._jax", "jax2onnx.to_onnx"),
        ("pyspark.ml.classification", "convert_sparkml"),
        ("statsmodels.discrete.discrete_model", "coef_ and intercept_"),
        ("h2o.estimators.gbm", "convert_h2o"),
        ("mlflow.pyfunc", "mlflow.sklearn.load_model"),
        ("unknown.library", "save it as ONNX"),
    ],
)
def test_an_object_is_refused_with_the_conversion_for_its_library(module: str, way: str) -> None:
    with pytest.raises(EngineError, match=r"no engine imports a __main__\.Own") as refusal:
        import_fitted_model(model_of(module))
    assert way in refusal.value.hint
    assert "xgboost: " in refusal.value.where and "catboost: " in refusal.value.where


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "way"),
    [
        (".keras", "load_model('model.keras')"),
        (".h5", "format='onnx'"),
        (".pb", "--saved-model"),
        (".tflite", "--tflite"),
        (".pmml", "save it as ONNX"),
        ("", "save it as ONNX"),
    ],
)
def test_a_file_is_refused_with_the_conversion_for_its_suffix(suffix: str, way: str) -> None:
    with pytest.raises(EngineError, match=f"no engine imports this {suffix or 'nameless'} file") as refusal:
        import_fitted_model(ModelFile(content=b"\x89HDF", suffix=suffix))
    assert way in refusal.value.hint


@pytest.mark.parametrize("value", [None, 1.5, "a model", [1, 2], len])
def test_an_unknown_object_gets_the_general_hint(value: object) -> None:
    assert conversion_hint(value) == "save it as ONNX, and import that file"
