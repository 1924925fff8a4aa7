"""Tiny mode: every part of a benchmark runs once on small settings, so that a broken one is noticed.

A module lists its small settings in `TINY`, by the names of its constants. Child processes inherit the mode through
HEADWAY_BENCH_TINY. Environments for peers are not created, and results are stored in a separate folder.
"""

from __future__ import annotations

import os
import sys

_VARIABLE = "HEADWAY_BENCH_TINY"


def is_tiny() -> bool:
    """Return whether this process runs in tiny mode."""
    return _VARIABLE in os.environ


def start() -> None:
    """Switch this process and its children to tiny mode."""
    os.environ[_VARIABLE] = "1"
    apply()


def apply() -> None:
    """In tiny mode, set the constants of every loaded module to those of its `TINY`."""
    if not is_tiny():
        return
    for module in list(sys.modules.values()):
        settings = getattr(module, "TINY", None)
        if isinstance(settings, dict):
            for name, value in settings.items():
                setattr(module, name, value)
