"""Walk the objects inside a fitted model, and find custom code among them.

A class is custom code unless its package is known to hold models and arrays; a function is unless it is listed below.
Custom code cannot be stored as data, and is reported with its path (`steps['ratio'].func: train.add_ratio`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, ModuleType
from typing import NamedTuple

import numpy as np

EXTERNAL_LIBRARIES = ("catboost", "lightgbm", "xgboost")
"""Libraries of models that have an engine of their own, which knows their contents."""
KNOWN_LIBRARIES = frozenset({"sklearn", "numpy", "scipy", "pandas", "polars", "headway", *EXTERNAL_LIBRARIES})
# Functions that fitted estimators hold; they have no side effects. Neither do ufuncs.
SAFE_FUNCTIONS = frozenset(
    {
        "numpy.clip",
        "numpy.mean",
        "numpy.nan_to_num",
        "numpy.round",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.utils.validation.check_array",
    }
)
_CALLS = (FunctionType, BuiltinFunctionType, MethodDescriptorType, MethodType, np.ufunc)  # `str.split` is the third
_LEAVES = (str, bytes, int, float, bool, complex, type, type(None), ModuleType, np.generic, np.random.RandomState)


class NestedObject(NamedTuple):
    """An object inside a model and its path: `steps['model']`, empty for the model itself."""

    path: str
    value: object


def walk_objects(model: object) -> Iterator[NestedObject]:
    """Yield every object inside a model once, parents before children.

    Functions, leaves and models of other libraries are not entered.
    """
    seen: dict[int, object] = {}
    waiting = [NestedObject("", model)]
    while waiting:
        here = waiting.pop()
        if isinstance(here.value, _LEAVES) or id(here.value) in seen:
            continue
        seen[id(here.value)] = here.value  # a reference, so that its id is not reused
        yield here
        if not is_function(here.value) and root_package(here.value) not in EXTERNAL_LIBRARIES:
            waiting += reversed(list(_children(here)))


def custom_code(model: object) -> list[str]:
    """Return the classes and functions that cannot be stored as data, each with its path."""
    return [
        f"{path}: {qualified_name(value)}" if path else qualified_name(value)
        for path, value in walk_objects(model)
        if is_custom(value)
    ]


def is_custom(value: object) -> bool:
    """Return whether an object is a function or an instance of unknown code."""
    if is_function(value):
        return not isinstance(value, np.ufunc) and qualified_name(value) not in SAFE_FUNCTIONS
    return root_package(value) == "__main__" or root_package(value) not in KNOWN_LIBRARIES | sys.stdlib_module_names


def is_function(value: object) -> bool:
    """Return whether an object is a function of Python or of an array library."""
    return isinstance(value, _CALLS) or type(value).__name__ == "_ArrayFunctionDispatcher"


def qualified_name(value: object) -> str:
    """Return the full name of a function, or of the class of an object."""
    kind = value if is_function(value) else type(value)
    return f"{getattr(kind, '__module__', None) or 'builtins'}.{getattr(kind, '__qualname__', kind)}"


def root_package(value: object) -> str:
    """Return the top-level package of the class of an object."""
    return type(value).__module__.partition(".")[0]


def _children(here: NestedObject) -> Iterator[NestedObject]:
    path, value = here
    if isinstance(value, dict):
        yield from (NestedObject(f"{path}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (_list_item(path, number, item) for number, item in enumerate(value))
    elif isinstance(value, np.ndarray):
        if value.dtype == object:
            yield from (NestedObject(f"{path}[{number}]", item) for number, item in enumerate(value.flat))
    elif isinstance(value, functools.partial):
        yield from (
            NestedObject(f"{path}.func", value.func),
            NestedObject(path, value.args),
            NestedObject(path, value.keywords),
        )
    elif not isinstance(value, type):
        # The state of an estimator, without functions that it creates again when it is opened.
        inner = value.__getstate__() if root_package(value) == "sklearn" else getattr(value, "__dict__", {})
        inner = inner if isinstance(inner, dict) else {}
        yield from (NestedObject(f"{path}.{key}" if path else key, item) for key, item in inner.items())


def _list_item(path: str, number: int, item: object) -> NestedObject:
    """Return an item of a list; a tuple that starts with a string, as a step does, is named by it."""
    if isinstance(item, tuple) and len(item) > 1 and isinstance(item[0], str):
        return NestedObject(f"{path}[{item[0]!r}]", item[1] if len(item) == 2 else item[1:])
    return NestedObject(f"{path}[{number}]", item)
