"""Import one trusted file that may run code, as a subprocess, and write the result for the caller.

Usage: `python -m headway.optimization.importers.unpickle FILE RESULT [NAMES]`. Code in the file runs in this process
only. NAMES is a JSON file of the globals that the scan of the file named: its pickles may refer to no other.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec

from headway.core import plugins
from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, HeadwayError, Refused
from headway.optimization.importers.models import UnpickleResult, import_fitted_model, unsafe_opener

_LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "joblib", "lightgbm", "xgboost", "catboost", "torch")
_MODULES = {"scikit-learn": "sklearn"}


def main(path: str, answer: str, names: str = "") -> None:
    """Import the file, and write an UnpickleResult to `answer`."""
    allowed = set(msgspec.json.decode(Path(names).read_bytes(), type=list[tuple[str, str]])) if names else None
    file = ModelFile(content=Path(path).read_bytes(), suffix=Path(path).suffix.lower())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = _unpickle(file, allowed)
    messages = [str(warning.message).partition("\n")[0] for warning in caught]
    result = replace(result, where="; ".join(filter(None, [result.where, *messages[:1]])))
    Path(answer).write_bytes(msgspec.msgpack.encode(result))


def _unpickle(file: ModelFile, allowed: set[tuple[str, str]] | None) -> UnpickleResult:
    try:
        return UnpickleResult(model=_import_file(file, allowed))
    except HeadwayError as error:
        is_refused = isinstance(error, Refused)
        return UnpickleResult(what=error.what, where=error.where, hint=error.hint, is_refused=is_refused)
    except Exception as error:  # noqa: BLE001 - code in the file may raise anything
        traceback.print_exc()
        return _describe_error(error)


def _import_file(file: ModelFile, allowed: set[tuple[str, str]] | None) -> ImportedModel:
    engine = plugins.load_engine(unsafe_opener(file) or "sklearn")
    if not hasattr(engine, "opened"):
        raise EngineError(f"no engine opens a {file.suffix} file")
    with nullcontext() if allowed is None else only_globals(allowed):
        model = engine.opened(file)
    return import_fitted_model(model)


@contextmanager
def only_globals(allowed: set[tuple[str, str]]) -> Iterator[None]:
    """Refuse each global that an unpickler looks up and that is not among these: module and name.

    Every unpickler of Python reports a global before it imports it: that of pickle in C, those that joblib and torch
    derive from it, and the one that joblib calls for an array of objects.
    """
    refused: list[Refused] = []
    is_active = True

    def expect_named(event: str, args: tuple[object, ...]) -> None:
        if is_active and event == "pickle.find_class" and args[:2] not in allowed:
            what = f"the file refers to {args[0]}.{args[1]}, which its scan did not find"
            refused.append(Refused(what, hint="its library reads the file in another way than the scan: report it"))
            raise refused[0]

    sys.addaudithook(expect_named)  # Python has no way to remove one
    try:
        yield
    finally:
        is_active = False
        if refused:  # whatever the library made of it
            raise refused[0]


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
    main(*sys.argv[1:])
