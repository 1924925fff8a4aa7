"""Functions of modules that are imported when they are called, and that a type checker finds by name.

::

    if TYPE_CHECKING:
        from headway.reporting import page
    else:  # with the library for charts
        page = LateModule("headway.reporting.page")
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LateFunction:
    """A function of a module that only the process which calls it imports; it can be sent to another process."""

    module: str
    name: str

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Import the module, and call the function."""
        return getattr(importlib.import_module(self.module), self.name)(*arguments, **keywords)


@dataclass(frozen=True, slots=True)
class LateModule:
    """Stands for a module that is not imported yet: each attribute is one of its functions."""

    module: str

    def __getattr__(self, name: str) -> LateFunction:
        """Return a function of the module."""
        if name.startswith("_"):
            raise AttributeError(name)
        return LateFunction(self.module, name)
