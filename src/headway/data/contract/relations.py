"""A relation between columns, read from its text: `a <= b`, `a < b`, `a == b`, `a + b == c`, `a, b -> c`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from headway.core.errors import ConfigError

_NAME = r"\s*(`[^`]+`|[^\W\d]\w*)\s*"
_ORDER = re.compile(rf"{_NAME}(<=|<|==){_NAME}")
_SUM = re.compile(rf"{_NAME}\+{_NAME}=={_NAME}")
_TOLD = re.compile(rf"({_NAME}(?:,{_NAME})*)->{_NAME}")
_PLAIN = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How columns go together: `left` (one, the two of a sum, or those that tell another) and `right`."""

    kind: Literal["<=", "<", "==", "+", "->"]
    left: tuple[str, ...]
    right: str

    def __str__(self) -> str:
        left, right = [quoted(name) for name in self.left], quoted(self.right)
        if self.kind == "+":
            return f"{' + '.join(left)} == {right}"
        return f"{', '.join(left)} {self.kind} {right}"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it is about."""
        return (*self.left, self.right)


def relation_of(text: str) -> Relation:
    """The relation that a text says; raises ConfigError where it says none.

    >>> relation_of("start <= `end of stay`").columns
    ('start', 'end of stay')
    """
    if found := _SUM.fullmatch(text):
        return Relation(kind="+", left=(_bare(found[1]), _bare(found[2])), right=_bare(found[3]))
    if found := _ORDER.fullmatch(text):
        kind: Literal["<=", "<", "=="] = "<=" if found[2] == "<=" else "<" if found[2] == "<" else "=="
        return Relation(kind=kind, left=(_bare(found[1]),), right=_bare(found[3]))
    if found := _TOLD.fullmatch(text):
        left = tuple(_bare(name) for name in re.findall(_NAME, found[1]))
        return Relation(kind="->", left=left, right=_bare(found[found.re.groups]))
    raise ConfigError(
        f"{text!r} is no relation between columns",
        where="relations",
        hint="a <= b, a < b, a == b, a + b == c or a, b -> c; `names with spaces` in backquotes",
    )


def quoted(name: str) -> str:
    """The name of a column as a relation writes it."""
    return name if _PLAIN.fullmatch(name) else f"`{name}`"


def _bare(name: str) -> str:
    return name.strip("`")
