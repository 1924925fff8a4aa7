"""Import one trusted file that may run code, as a subprocess, and write the result for the caller.

Usage: `python -m headway.optimization.importers.unpickle FILE RESULT`. Code in the file runs in this process only.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec

from headway.core import plugins
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, HeadwayError
from headway.optimization.importers.models import UnpickleResult, import_fitted_model, unsafe_opener

_LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "joblib", "lightgbm", "xgboost", "catboost", "torch")
_MODULES = {"scikit-learn": "sklearn"}


def main(path: str, answer: str) -> None:
    """Import the file, and write an UnpickleResult to `answer`."""
    file = ModelFile(content=Path(path).read_bytes(), suffix=Path(path).suffix.lower())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = _unpickle(file)
    messages = [str(warning.message).partition("\n")[0] for warning in caught]
    result = replace(result, where="; ".join(filter(None, [result.where, *messages[:1]])))
    Path(answer).write_bytes(msgspec.msgpack.encode(result))


def _unpickle(file: ModelFile) -> UnpickleResult:
    try:
        return UnpickleResult(model=_import_file(file))
    except HeadwayError as error:
        return UnpickleResult(what=error.what, where=error.where, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - code in the file may raise anything
        traceback.print_exc()
        return _describe_error(error)


def _import_file(file: ModelFile) -> ImportedModel:
    engine = plugins.load_engine(unsafe_opener(file) or "sklearn")
    if not hasattr(engine, "opened"):
        raise EngineError(f"no engine opens a {file.suffix} file")
    return import_fitted_model(engine.opened(file))


def _describe_error(error: Exception) -> UnpickleResult:
    """Describe why a file could not be opened: an absent package or class, or another version of a library."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return UnpickleResult(
            what=f"its model needs the module {error.name!r}, which is not installed",
            hint=f"{plugins.install(package)}, or run headway where that module can be imported",
        )
    missing = _missing_name(error)
    if missing:
        name, module = missing
        own = "define it in an importable module, not in a script or notebook, and save the model again"
        return UnpickleResult(
            what=f"its model needs {name!r} from the module {module!r}, which does not define it here",
            where=f"installed here: {', '.join(_installed_modules())}",
            hint=own if module == "__main__" else "install the versions that wrote the file",
        )
    return UnpickleResult(
        what=f"it cannot be opened: {type(error).__name__}: {error}",
        where=f"installed here: {', '.join(_installed_modules())}",
        hint="install the versions that wrote it, or save it there in a data-only format: skops, ONNX",
    )


def _missing_name(error: Exception) -> tuple[str, str] | None:
    """Return the name that a pickle refers to and the module that lacks it; None for another error."""
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):  # since Python 3.14
        return str(error.name), error.obj.__name__
    found = re.match(r"Can't get attribute '([\w.]+)' on <module '([\w.]+)'", str(error))
    return (found[1], found[2]) if found else None


def _installed_modules() -> list[str]:
    """Return the versions of the libraries that were imported to open the file."""
    return [
        f"{name} {importlib.metadata.version(name)}"
        for name in _LIBRARIES
        if _MODULES.get(name, name) in sys.modules and _is_distribution(name)
    ]


def _is_distribution(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:  # xgboost comes as xgboost-cpu too
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
