"""headway makes a trained model fast, proves that it is still right, ships it, and keeps it right.

>>> import headway as hw
>>> sorted(hw.__all__)
['__version__', 'compare', 'evaluate', 'learning_curve', 'load', 'optimize']
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "evaluate", "learning_curve", "load", "optimize"]


def __getattr__(name: str) -> object:
    """The calls, imported when they are first asked for: `import headway` alone costs no library."""
    if name not in __all__:
        raise AttributeError(f"module 'headway' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module("headway.api.calls"), name)
