"""Pylignum (imported as lignum): its interpreter, and its trees compiled by the system's C compiler, on one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lignum

from callers.call import Call, Order

FILES = ("model.txt", "model.ubj", "model.cbm")


def interpreted(order: Order) -> Call:
    """Call Model.predict of the interpreter."""
    return _call(lignum.load(str(_file(order))))


def categories(order: Order) -> Call:
    """Call Model.predict of the interpreter on rows with strings: an object array, or with `lists` a list of rows."""
    model, as_lists = lignum.load(str(_file(order))), order.options.get("lists")
    ready = (lambda frame: frame.to_numpy(object).tolist()) if as_lists else (lambda frame: frame.to_numpy(object))
    return Call(_call(model).predict, ready=ready)


def compiled(order: Order) -> Call:
    """Call Model.predict of the compiled trees; the library is compiled once and stored."""
    file = order.file("trees.so")
    model = lignum.load(str(_file(order)))
    if file.exists():
        model.load_compiled(str(file))
    else:
        model.compile(library=str(file), work_dir=str(order.directory), flags="-O3 -march=native")
    return _call(model)


def _call(model: Any) -> Call:
    return Call(lambda rows: model.predict(rows, n_jobs=1, strategy="serial"))


def _file(order: Order) -> Path:
    for name in FILES:
        if (order.model / name).exists():
            return order.model / name
    raise RuntimeError("pylignum reads no models of scikit-learn")
