"""headway makes a trained model fast, proves that it is still right, ships it, and keeps it right."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
