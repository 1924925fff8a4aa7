"""What a fitted model is made of: every object in it, where it stands, and which are somebody's own code.

A class is own code unless its package is known to hold models and arrays, a function unless it is on the list below:
such a thing cannot be kept as data, and is named (`steps['ratio'].func: train.add_ratio`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import NamedTuple

import numpy as np

OUTSIDE = ("catboost", "lightgbm", "xgboost")
"""Libraries of models that have an engine of their own, which knows what is inside one."""
LIBRARIES = frozenset({"sklearn", "numpy", "scipy", "pandas", "polars", "headway", *OUTSIDE})
# Functions that fitted estimators keep beside their numbers; they compute and do nothing else. Ufuncs are as harmless.
FUNCTIONS = frozenset(
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
_CALLS = (FunctionType, BuiltinFunctionType, MethodType, np.ufunc)
_LEAVES = (str, bytes, int, float, bool, complex, type, type(None), ModuleType, np.generic, np.random.RandomState)


class Placed(NamedTuple):
    """An object of a model, and the path that leads to it: `steps['model']`, empty for the model itself."""

    path: str
    value: object


def objects(model: object) -> Iterator[Placed]:
    """Every object that a model holds, each once and before those inside it.

    Functions, leaves and the models of other libraries are not entered.
    """
    seen: dict[int, object] = {}
    waiting = [Placed("", model)]
    while waiting:
        here = waiting.pop()
        if isinstance(here.value, _LEAVES) or id(here.value) in seen:
            continue
        seen[id(here.value)] = here.value  # kept, or another object could take its place in memory
        yield here
        if not is_call(here.value) and root_of(here.value) not in OUTSIDE:
            waiting += reversed(list(_inside(here)))


def own_code(model: object) -> list[str]:
    """Classes and functions of a model that cannot be kept as data, each with where it stands."""
    return [f"{path}: {named(value)}" if path else named(value) for path, value in objects(model) if is_own(value)]


def is_own(value: object) -> bool:
    """Whether an object is, or is of, code that is not known here."""
    if is_call(value):
        return not isinstance(value, np.ufunc) and named(value) not in FUNCTIONS
    return root_of(value) == "__main__" or root_of(value) not in LIBRARIES | sys.stdlib_module_names


def is_call(value: object) -> bool:
    """Whether an object is a function, of Python or of an array library."""
    return isinstance(value, _CALLS) or type(value).__name__ == "_ArrayFunctionDispatcher"


def named(value: object) -> str:
    """The full name of a function, or of the class of an object."""
    kind = value if is_call(value) else type(value)
    return f"{getattr(kind, '__module__', None) or 'builtins'}.{getattr(kind, '__qualname__', kind)}"


def root_of(value: object) -> str:
    """The package that the class of an object comes from."""
    return type(value).__module__.partition(".")[0]


def _inside(here: Placed) -> Iterator[Placed]:
    path, value = here
    if isinstance(value, dict):
        yield from (Placed(f"{path}[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (_item(path, number, each) for number, each in enumerate(value))
    elif isinstance(value, np.ndarray):
        if value.dtype == object:
            yield from (Placed(f"{path}[{number}]", each) for number, each in enumerate(value.flat))
    elif isinstance(value, functools.partial):
        yield from (Placed(f"{path}.func", value.func), Placed(path, value.args), Placed(path, value.keywords))
    elif not isinstance(value, type):
        # What an estimator keeps: functions that it makes anew when it is opened are left out.
        inner = value.__getstate__() if root_of(value) == "sklearn" else getattr(value, "__dict__", {})
        inner = inner if isinstance(inner, dict) else {}
        yield from (Placed(f"{path}.{key}" if path else key, each) for key, each in inner.items())


def _item(path: str, number: int, each: object) -> Placed:
    """An item of a list; what begins with a name, as a step does, goes by it."""
    if isinstance(each, tuple) and len(each) > 1 and isinstance(each[0], str):
        return Placed(f"{path}[{each[0]!r}]", each[1] if len(each) == 2 else each[1:])
    return Placed(f"{path}[{number}]", each)
