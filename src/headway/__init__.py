"""Make a trained model fast, prove that it is still right, release it, and keep it right.

>>> import headway as hw
>>> sorted(hw.__all__)  # doctest: +NORMALIZE_WHITESPACE
['FeatureStore', 'GatewayClassifier', '__version__', 'compare', 'evaluate', 'feature_view', 'learning_curve',
 'load', 'load_encoder', 'optimize']
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"
__all__ = [
    "FeatureStore",
    "GatewayClassifier",
    "__version__",
    "compare",
    "evaluate",
    "feature_view",
    "learning_curve",
    "load",
    "load_encoder",
    "optimize",
]


def __getattr__(name: str) -> object:
    """Import a function when it is first used, so that `import headway` alone loads no library."""
    if name not in __all__:
        raise AttributeError(f"module 'headway' has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        return getattr(importlib.import_module("headway.api.calls"), name)
    except ModuleNotFoundError as error:
        library = (error.name or "headway").partition(".")[0]
        if library == "headway":
            raise
        install = importlib.import_module("headway.core.plugins").install(library)
        raise ModuleNotFoundError(f"headway.{name} needs {library!r}\n  try: {install}", name=error.name) from error


def __dir__() -> list[str]:
    """List the public names, so that tab completion offers them before they are imported."""
    return sorted({*globals(), *__all__})
