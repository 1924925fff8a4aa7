"""The way to ONNX, or to a library that has an engine, for models and files of which no engine is."""

from __future__ import annotations

from headway.core.contracts import ModelFile

_KERAS = "model.export('model.onnx', format='onnx')"
_TENSORFLOW = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
_JAX = "jax2onnx.to_onnx(function, [('B', d)], return_mode='file', output_path='model.onnx')"
_BY_LIBRARY = {
    "flax": _JAX,
    "h2o": "onnxmltools.convert_h2o(model.download_mojo())",
    "jax": _JAX,
    "jaxlib": _JAX,
    "keras": _KERAS,
    "mlflow": "load it with its own flavour (mlflow.sklearn.load_model), and give that model",
    "pyspark": "onnxmltools.convert_sparkml(model, 'model', [('features', FloatTensorType([None, d]))])",
    "statsmodels": "put model.params into the coef_ and intercept_ of a LinearRegression or LogisticRegression of "
    "scikit-learn, and give that model",
    "tensorflow": f"{_TENSORFLOW}, after tf.saved_model.save(model, 'FOLDER')",
    "tf_keras": _TENSORFLOW,
}
_BY_SUFFIX = {
    ".h5": f"keras.models.load_model('model.h5'), then {_KERAS}",
    ".keras": f"keras.models.load_model('model.keras'), then {_KERAS}",
    ".pb": _TENSORFLOW,
    ".tflite": "python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
}


def conversion_hint(model: object) -> str:
    """What makes of this model, or model file, one that an engine takes; ONNX where nothing better is known."""
    if isinstance(model, ModelFile):
        way = _BY_SUFFIX.get(model.suffix, "")
    else:
        libraries = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
        way = next((_BY_LIBRARY[each] for each in libraries if each in _BY_LIBRARY), "")
    return way or "save it as ONNX, and give that file"
