"""When a column is known, as a person writes it into headway.toml."""

from __future__ import annotations

import json
import re

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def known_line(column: str, when: str) -> str:
    """The line under `[data.known]`; a name that TOML would not take as it is stands in quotes.

    >>> line("mean area", "request")
    '[data.known] "mean area" = "request"'
    """
    return f"[data.known] {toml_key(column)} = {toml_string(when)}"


def toml_key(name: str) -> str:
    """A name as a key of TOML, in quotes where it must be."""
    return name if _BARE.fullmatch(name) else toml_string(name)


def toml_string(value: str) -> str:
    """A text of TOML, in quotes."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
