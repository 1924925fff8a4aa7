"""A relation between columns, read from its text: `a <= b`, `a < b`, `a == b`, `a + b == c`, `a, b -> c`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from headway.core.errors import ConfigError

_NAME = r"\s*(`[^`]+`|[^\W\d]\w*)\s*"
_ORDER = re.compile(rf"{_NAME}(<=|<|==){_NAME}")
_SUM = re.compile(rf"{_NAME}\+{_NAME}=={_NAME}")
_DEPENDENCY = re.compile(rf"({_NAME}(?:,{_NAME})*)->{_NAME}")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How columns go together: `left` (one, the two of a sum, or those that tell another) and `right`."""

    kind: Literal["<=", "<", "==", "+", "->"]
    left: tuple[str, ...]
    right: str

    def __str__(self) -> str:
        left, right = [quote_column(name) for name in self.left], quote_column(self.right)
        if self.kind == "+":
            return f"{' + '.join(left)} == {right}"
        return f"{', '.join(left)} {self.kind} {right}"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it is about."""
        return (*self.left, self.right)


def parse_relation(text: str) -> Relation:
    """The relation that a text says; raises ConfigError where it says none.

    >>> relation_of("start <= `end of stay`").columns
    ('start', 'end of stay')
    """
    if found := _SUM.fullmatch(text):
        return Relation(kind="+", left=(_unquote(found[1]), _unquote(found[2])), right=_unquote(found[3]))
    if found := _ORDER.fullmatch(text):
        kind: Literal["<=", "<", "=="] = "<=" if found[2] == "<=" else "<" if found[2] == "<" else "=="
        return Relation(kind=kind, left=(_unquote(found[1]),), right=_unquote(found[3]))
    if found := _DEPENDENCY.fullmatch(text):
        left = tuple(_unquote(name) for name in re.findall(_NAME, found[1]))
        return Relation(kind="->", left=left, right=_unquote(found[found.re.groups]))
    raise ConfigError(
        f"{text!r} is no relation between columns",
        where="relations",
        hint="a <= b, a < b, a == b, a + b == c or a, b -> c; `names with spaces` in backquotes",
    )


def quote_column(name: str) -> str:
    """The name of a column as a relation writes it."""
    return name if _IDENTIFIER.fullmatch(name) else f"`{name}`"


def _unquote(name: str) -> str:
    return name.strip("`")
