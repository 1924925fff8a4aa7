"""What a caller hands to the worker: how a model is asked, and what is made ready before the clock runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def as_it_is(value: Any) -> Any:
    """The value itself."""
    return value


@dataclass(frozen=True)
class Call:
    """`predict` is timed: from rows as `ready` gives them, before the clock runs, to answers [n], [n, 1] or [n, k]."""

    predict: Callable[[Any], Any]
    ready: Callable[[Any], Any] = as_it_is


@dataclass(frozen=True)
class Order:
    """What to open: the folder of the model, the folder `kept` for what is made of it, options of the caller's own."""

    model: Path
    kept: Path
    options: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """A file that is kept from run to run; its folder is there."""
        self.kept.mkdir(parents=True, exist_ok=True)
        return self.kept / name
