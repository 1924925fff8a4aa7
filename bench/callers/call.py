"""Interface between a caller and the worker: how a model is called, and what is prepared before the clock runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def as_it_is(value: Any) -> Any:
    """Return the value unchanged."""
    return value


@dataclass(frozen=True)
class Call:
    """The timed function `predict`, and `ready`, which prepares its rows before the clock runs.

    Predictions have shape [n], [n, 1] or [n, k].
    """

    predict: Callable[[Any], Any]
    ready: Callable[[Any], Any] = as_it_is


def on_frames(call: Call, names: Sequence[str]) -> Call:
    """Return the call with its rows as pandas DataFrames of these columns, made before the clock runs."""
    frame = importlib.import_module("pandas").DataFrame  # absent where a peer needs no pandas
    return Call(call.predict, ready=lambda rows: frame(rows, columns=list(names)))


@dataclass(frozen=True)
class Order:
    """What to open: the folder of the model, a folder for derived files, and the options of the caller."""

    model: Path
    directory: Path
    options: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """Return the path of a derived file that is reused between runs; create its folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / name
