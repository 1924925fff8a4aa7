"""Text of C99 that is generated: tables of constants, strings and comments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import NotApplicable

MAX_SOURCE_BYTES = 100_000_000
"""Most bytes of C that are written: a compiler of a small machine takes minutes and gigabytes for more."""
_LINE = 120
_KEPT = re.compile(r"[ !#-\[\]-~]")


def template(name: str) -> str:
    """Return the C code of a file of this package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def table(kind: str, name: str, values: NDArray[Any] | Sequence[Any], *, is_aligned: bool = False) -> str:
    """Return a constant array of numbers, aligned as vector registers if the compiler can.

    An empty one has a 0, since C99 has no empty arrays.
    """
    values = np.asarray(values).ravel()
    expect_size(numbers_bytes(values) if kind in ("float", "double") else 2 * values.size)
    items = [number(value, is_float32=kind == "float") for value in values.tolist()]
    return _array(kind, name, items or ["0"], alignment=" ALIGNED" if is_aligned else "")


def numbers_bytes(values: NDArray[Any]) -> int:
    """Return about how many bytes of C numbers take: a finite one 20 to 24 with its comma, 0 takes 4."""
    nonzero = int(np.count_nonzero(values))
    return 21 * nonzero + 4 * (values.size - nonzero)


def expect_size(size_bytes: int) -> None:
    """Raise NotApplicable if C of this size is not written."""
    if size_bytes > MAX_SOURCE_BYTES:
        found, limit = size_bytes / 1e6, MAX_SOURCE_BYTES / 1e6
        raise NotApplicable(
            f"as C it takes {found:,.0f} MB or more, and at most {limit:,.0f} MB are written",
            hint="fit a smaller one: fewer n-grams (max_features=, n_features=), or fewer and smaller trees",
        )


def structures(kind: str, name: str, rows: NDArray[Any]) -> str:
    """Return a constant array of structures, whose fields are the integers of a row."""
    expect_size(2 * rows.size)
    items = ["{" + ",".join(map(str, row)) + "}" for row in rows.tolist()]
    return _array(kind, name, items or ["{0}"])


def _array(kind: str, name: str, items: Sequence[str], alignment: str = "") -> str:
    return f"static const {kind} {name}[{len(items)}]{alignment} = {{\n{_wrapped(items)}\n}};\n"


def number(value: float | int, *, is_float32: bool = False) -> str:
    """Return a number as C writes it, exactly.

    >>> number(0.1), number(0.5, is_float32=True), number(float("nan")), number(3)
    ('0x1.999999999999ap-4', '0x1.0000000000000p-1f', 'NAN', '3')
    """
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    return value.hex() + ("f" if is_float32 else "")


def string(text: str) -> str:
    r"""Return a string literal of UTF-8 in which nothing but plain ASCII stands for itself.

    >>> print(string('a"b??/'))
    "a\042b\077\077/"
    """
    escaped = "".join(
        chr(byte) if _KEPT.fullmatch(chr(byte)) and byte != 0x3F else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{escaped}"'


def comment(text: str) -> str:
    """Return text that can stand in a comment: one line of printable ASCII that neither ends it nor begins another.

    >>> comment("a */ b")
    'a * / b'
    """
    plain = "".join(character if " " <= character <= "~" and character != "\\" else "?" for character in text)
    return plain.replace("*/", "* /").replace("/*", "/ *")


def identifiers(names: Iterable[str]) -> list[str]:
    """Return a different part of an identifier for each name.

    >>> identifiers(["size", "Size!", "size_", "größe"])
    ['size', 'Size', 'size_2', 'gr_e']
    """
    found: dict[str, None] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "column"
        unique, count = plain, 1
        while unique in found:
            count += 1
            unique = f"{plain}_{count}"
        found[unique] = None
    return list(found)


def _wrapped(items: Sequence[str]) -> str:
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) + 2 > _LINE:
            lines.append(line)
            line = ""
        line += f"{item},"
    return "\n".join([*lines, line])
