"""Find the model file of an MLflow model: an address (`models:/`, `runs:/`) or a folder with an `MLmodel` file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headway.core.contracts import DeclaredColumn, ModelSource
from headway.core.errors import EngineError, PluginError
from headway.core.plugins import load_sibling

HEADER = "MLmodel"
INSTALL = "pip install 'headway[mlflow]'"
_ADDRESS = re.compile(r"(models|runs):/+(.+)")
_SUFFIXES = {".cb": ".cbm"}
_NUMBERS = frozenset({"boolean", "integer", "long", "float", "double"})


@dataclass(frozen=True, slots=True)
class _Flavor:
    """The key of a flavour's file in MLmodel, and its usual name."""

    key: str
    default: str


_FLAVORS = {
    "sklearn": _Flavor("pickled_model", "model.skops"),
    "lightgbm": _Flavor("data", "model.lgb"),
    "xgboost": _Flavor("data", "model.ubj"),
    "catboost": _Flavor("data", "model.cb"),
    "onnx": _Flavor("data", "model.onnx"),
}
_CONVERT = {
    "pytorch": "torch.onnx.export(model, ...), then mlflow.onnx.log_model",
    "tensorflow": "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx, then mlflow.onnx.log_model",
    "keras": "model.export('model.onnx', format='onnx'), then mlflow.onnx.log_model",
    "headway": "headway serve, or headway.load, in the project that released it",
}
_CONVERT_ANY = "log the model inside it with mlflow.sklearn, lightgbm, xgboost, catboost or onnx, and pass that one"


def is_address(model: object) -> bool:
    """Return whether a model is named by its address in MLflow.

    >>> is_address("models:/flights@champion"), is_address("model.txt")
    (True, False)
    """
    return isinstance(model, str | Path) and _ADDRESS.fullmatch(str(model)) is not None


def is_folder(path: Path) -> bool:
    """Return whether a folder is an MLflow model."""
    return (path / HEADER).is_file()


def model_name(address: str) -> str:
    """Return a name for the model at an address.

    >>> model_name("models:/flights@champion"), model_name("models:/flights/3"), model_name("runs:/5f2/model")
    ('flights', 'flights', 'model')
    """
    found = _ADDRESS.fullmatch(address)
    kind, path = (found[1], found[2]) if found else ("", address)
    name = path.partition("@")[0].partition("/")[0] if kind == "models" else path.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:64] or "model"


def download(address: str, folder: Path) -> Path:
    """Download the model at an address into a folder; return the folder with its MLmodel file.

    Raises
    ------
    PluginError
        If MLflow is not installed.
    ConfigError
        If no tracking server is set, or its address has a password.
    StoreError
        If the server has no such model, or does not answer.
    """
    return Path(_library("mlflow").download(address, folder))


def find_model(folder: Path, *, shown: str) -> ModelSource:
    """Return the model file of the flavour that an engine imports, with the columns that its signature declares.

    Parameters
    ----------
    shown : str
        What to call the model in an error.

    Raises
    ------
    EngineError
        If the MLmodel file cannot be read, or none of its flavours can be imported.
    """
    header = _read_header(folder, shown)
    flavors = header.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise EngineError("the MLmodel file lists no flavour", where=shown, hint=_CONVERT_ANY)
    name = next((name for name in _FLAVORS if isinstance(flavors.get(name), dict)), "")
    if not name:
        kinds = sorted(str(kind) for kind in flavors)
        hint = next((_CONVERT[kind] for kind in _CONVERT if kind in flavors), _CONVERT_ANY)
        raise EngineError(
            f"no engine imports this flavour of MLflow: {', '.join(kinds)}",
            where=f"{shown}; flavours that can be imported: {', '.join(_FLAVORS)}",
            hint=hint,
        )
    flavor = _FLAVORS[name]
    path = _inside(folder, flavors[name].get(flavor.key) or flavor.default, shown)
    code, suffix = flavors[name].get("code"), path.suffix.lower()
    return ModelSource(
        path=path,
        suffix=_SUFFIXES.get(suffix, suffix),
        columns=declared_columns(header.get("signature"), shown),
        code=str(_inside(folder, code, shown)) if code else "",
        runs_code=suffix == ".skops" and name != "sklearn",
    )


def declared_columns(signature: object, shown: str) -> tuple[DeclaredColumn, ...]:
    """Return the named columns of a signature in an MLmodel file; none for a tensor, or without a signature."""
    text = signature.get("inputs") if isinstance(signature, dict) else None
    try:
        inputs = msgspec.json.decode(text, type=list[dict[str, Any]]) if text else []
        return tuple(_column(column) for column in inputs if column.get("name"))
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError) as error:
        raise EngineError(
            "the signature in the MLmodel file cannot be read", where=shown, hint="mlflow.models.infer_signature(X, y)"
        ) from error


def _column(column: Mapping[str, Any]) -> DeclaredColumn:
    kind = str(column.get("type", ""))
    known = "FP64" if kind in _NUMBERS else "BYTES" if kind == "string" else ""
    return DeclaredColumn(name=str(column["name"]), datatype=known, is_required=column.get("required") is not False)


def _read_header(folder: Path, shown: str) -> Mapping[str, Any]:
    try:
        text = (folder / HEADER).read_text(encoding="utf-8")
        header = _library("mlmodel").parse(text)
    except (OSError, ValueError) as error:
        raise EngineError(
            "the MLmodel file cannot be read", where=shown, hint="mlflow.models.get_model_info(ADDRESS)"
        ) from error
    if not isinstance(header, dict):
        raise EngineError("the MLmodel file is not a mapping", where=shown, hint="log the model again")
    return header


def _inside(folder: Path, name: object, shown: str) -> Path:
    """Return a path of a model's folder; raise EngineError if it is missing, or leads out of the folder."""
    root = folder.resolve()
    try:
        path = (root / str(name)).resolve()
        what = "" if path.exists() else "is missing"
    except (OSError, ValueError):  # a name that no file can have
        path, what = root, "is missing"
    if not path.is_relative_to(root):
        what = "is outside the model's folder"
    if what:
        raise EngineError(f"the file {str(name)!r} of the MLmodel file {what}", where=shown, hint="log the model again")
    return path


def _library(name: str) -> Any:
    try:
        return load_sibling(__name__, name, reads="a model of MLflow")
    except PluginError as error:
        raise PluginError(error.what, where=error.where, hint=INSTALL) from error
