"""ONNX Runtime on what the field's converters make of a model, on one thread; numbers are made float32 in the call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnxmltools
import onnxruntime
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatsOfMltools
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from callers.call import Call, Order


def of_lightgbm(order: Order) -> Call:
    """By onnxmltools, from the model's file."""

    def convert() -> Any:
        model = lightgbm.Booster(model_file=order.model / "model.txt")
        return onnxmltools.convert_lightgbm(model, initial_types=_matrix(model.num_feature()), zipmap=False)

    return _of_matrix(_graph(order, convert))


def of_xgboost(order: Order) -> Call:
    """By onnxmltools, from the estimator."""

    def convert() -> Any:
        model: xgboost.XGBClassifier = joblib.load(order.model / "model.joblib")
        return onnxmltools.convert_xgboost(model, initial_types=_matrix(model.n_features_in_))

    return _of_matrix(_graph(order, convert))


def of_sklearn(order: Order) -> Call:
    """By skl2onnx, for an estimator that reads a matrix."""

    def convert() -> Any:
        model = joblib.load(order.model / "model.joblib")
        types = [("rows", FloatTensorType([None, model.n_features_in_]))]
        return to_onnx(model, initial_types=types, options={id(model): {"zipmap": False}})

    return _of_matrix(_graph(order, convert))


def of_pipeline(order: Order) -> Call:
    """By skl2onnx, for a pipeline that reads a table; it is given each column as an array [n, 1], made beforehand."""
    model = joblib.load(order.model / "model.joblib")
    texts = set(model[0].transformers_[1][2])

    def convert() -> Any:
        kinds = {name: StringTensorType if name in texts else FloatTensorType for name in model.feature_names_in_}
        types = [(name, kind([None, 1])) for name, kind in kinds.items()]
        return to_onnx(model, initial_types=types, options={id(model): {"zipmap": False}})

    run = _session(_graph(order, convert)).run

    def ready(frame: Any) -> dict[str, Any]:
        return {name: frame[[name]].to_numpy(dtype=object if name in texts else np.float32) for name in frame.columns}

    return Call(lambda columns: run(["probabilities"], columns)[0], ready=ready)


def of_texts(order: Order) -> Call:
    """By skl2onnx, for a pipeline of a vectorizer and a classifier; it is given texts [n, 1], made beforehand.

    The converter's default locale, en_US, is missing in many containers.
    """

    def convert() -> Any:
        model = joblib.load(order.model / "model.joblib")
        types = [("texts", StringTensorType([None, 1]))]
        options = {id(model[0]): {"locale": "C.UTF-8"}, id(model[-1]): {"zipmap": False}}
        return to_onnx(model, initial_types=types, options=options)

    run = _session(_graph(order, convert)).run
    return Call(lambda texts: run(["probabilities"], {"texts": texts})[0], ready=lambda texts: texts.reshape(-1, 1))


def _matrix(columns: int) -> list[tuple[str, Any]]:
    return [("rows", FloatsOfMltools([None, columns]))]


def _graph(order: Order, convert: Callable[[], Any]) -> Path:
    file = order.file("model.onnx")
    if not file.exists():
        content = convert().SerializeToString()
        file.write_bytes(content)
    return file


def _session(file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _of_matrix(file: Path) -> Call:
    run = _session(file).run
    return Call(lambda rows: run(["probabilities"], {"rows": rows.astype(np.float32)})[0])
