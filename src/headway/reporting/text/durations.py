"""A length of time as people write it."""

from __future__ import annotations

import re

from headway.core.errors import ConfigError

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """The seconds of a length of time; raises ConfigError, with examples, for what is none.

    >>> parse_duration("90"), parse_duration("60s"), parse_duration("1.5m")
    (90.0, 60.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise ConfigError(f"{text!r} is no length of time", hint="60s, 5m, or 1h")
    return float(found[1]) * _SECONDS[found[2]]
