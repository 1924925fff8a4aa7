"""How long what was served is kept: `[personal] retention`, as a length of time."""

from __future__ import annotations

import re
from datetime import timedelta

from headway.core.errors import ConfigError

_LENGTH = re.compile(r"([1-9]\d*)([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str, *, where: str = "[personal] retention") -> timedelta:
    """The length of a time such as `90d`, `12h` or `30m`; raises ConfigError for what is none.

    >>> length_of("12h")
    datetime.timedelta(seconds=43200)
    """
    found = _LENGTH.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is no length of time", where=where, hint="90d, 12h or 30m")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise ConfigError(f"{text!r} is longer than time is counted", where=where, hint="90d") from error
