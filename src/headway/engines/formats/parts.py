"""Fields of a decoded file, each asked for by its kind: whatever else stands there is named with its place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Part:
    """A mapping inside a decoded file, which knows where it stands; every question raises ValueError with the place."""

    def __init__(self, value: object, where: str = "") -> None:
        self.where = where or "the whole"
        self._prefix = f"{where}." if where else ""
        self.need(isinstance(value, dict), "no mapping")
        self._fields: dict[str, object] = value if isinstance(value, dict) else {}

    def need(self, holds: bool, why: str) -> None:
        """Raise ValueError, with the place and the reason, unless this holds."""
        if not holds:
            raise ValueError(f"{self.where}: {why}")

    def has(self, key: str) -> bool:
        """Whether there is such a field."""
        return key in self._fields

    def parts(self) -> dict[str, Part]:
        """The fields that are themselves mappings."""
        return {key: self.part(key) for key, value in self._fields.items() if isinstance(value, dict)}

    def part(self, key: str) -> Part:
        """A field that is a mapping."""
        return Part(self._of(key), f"{self._prefix}{key}")

    def list(self, key: str) -> list[object]:
        """A field that is a list of anything."""
        value = self._of(key)
        if isinstance(value, np.ndarray):
            return list(value)
        if not isinstance(value, list):
            raise ValueError(f"{self._prefix}{key}: no list")
        return value

    def text(self, key: str) -> str:
        """A field that is a text."""
        value = self._of(key)
        if not isinstance(value, str):
            raise ValueError(f"{self._prefix}{key}: no text")
        return value

    def texts(self) -> dict[str, str]:
        """All fields, each a text."""
        return {key: self.text(key) for key in self._fields}

    def count(self, key: str, least: int, most: int) -> int:
        """A field that is a whole number in this range, as a number or a text."""
        value = self._of(key)
        digits = (
            value.removeprefix("-").isascii() and value.removeprefix("-").isdigit() if isinstance(value, str) else 0
        )
        number = int(value) if isinstance(value, str) and digits and len(value) < 20 else value
        if not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"{self._prefix}{key} is {value!r:.60}, not a whole number from {least} to {most}")
        return number

    def ints(self, key: str, size: int | None = None) -> Ints:
        """A field that is a list of whole numbers, so many where `size` says."""
        found = self._numbers(key, size)
        if found.dtype.kind not in "iub":
            raise ValueError(f"{self._prefix}{key}: no list of whole numbers")
        return found.astype(np.int64)

    def floats(self, key: str, size: int | None = None) -> Floats:
        """A field that is a list of numbers, so many where `size` says."""
        return self._numbers(key, size).astype(np.float64)

    def _numbers(self, key: str, size: int | None) -> NDArray[np.generic]:
        value = self._of(key)
        found = value if isinstance(value, np.ndarray) else _array(value)
        if found is None or found.ndim != 1 or found.dtype.kind not in "iufb":
            raise ValueError(f"{self._prefix}{key}: no list of numbers")
        if size is not None and len(found) != size:
            raise ValueError(f"{self._prefix}{key}: {len(found)} numbers in place of {size}")
        return found

    def _of(self, key: str) -> object:
        if key not in self._fields:
            raise ValueError(f"{self._prefix}{key} is not there")
        return self._fields[key]


def _array(value: object) -> NDArray[np.generic] | None:
    """A list of numbers as an array; an empty one is of whole numbers."""
    if not isinstance(value, list) or not all(isinstance(each, int | float) for each in value):
        return None
    return np.array(value) if value else np.zeros(0, np.int64)
