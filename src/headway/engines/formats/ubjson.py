"""Read and write Universal Binary JSON as XGBoost does, and read the fields of a decoded document with checks.

Numbers are big-endian, each value starts with a letter for its type, and an array of one type is stored in one piece.
Counts are checked against the remaining bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints

Array = NDArray[np.generic]
Value = None | bool | int | float | str | Array | list["Value"] | dict[str, "Value"]
# `Writable` accepts what `Value` does, with any kind of sequence or mapping.
Writable = None | bool | int | float | str | Array | Sequence["Writable"] | Mapping[str, "Writable"]

MAX_DEPTH = 32
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_INTEGERS = "iUIlL"
_CONSTANTS: dict[str, bool | None] = {"Z": None, "T": True, "F": False}
_LETTERS = {np.dtype(form[1:]): letter for letter, form in _NUMBERS.items()}


def decode_ubjson(content: bytes) -> Value:
    """Decode one value; raise ValueError, which names the byte, if the bytes are not one complete value."""
    reader = _Reader(content)
    value = reader.value(reader.letter(), 0)
    if reader.position != len(content):
        raise ValueError(f"byte {reader.position}: trailing bytes")
    return value


def encode_ubjson(value: Writable) -> bytes:
    """Encode a value: numeric arrays in one piece with their own type, integers as int64."""
    if isinstance(value, np.ndarray):
        letter = _LETTERS[value.dtype]
        return b"[$" + letter.encode() + b"#" + _length(value.size) + value.astype(_NUMBERS[letter]).tobytes()
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, Mapping):
        return b"{" + b"".join(_text(key) + encode_ubjson(item) for key, item in value.items()) + b"}"
    if isinstance(value, Sequence):
        return b"[#" + _length(len(value)) + b"".join(encode_ubjson(item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: b"Z", True: b"T", False: b"F"}[value]
    return _length(value) if isinstance(value, int) else b"D" + struct.pack(">d", value)


def _length(value: int) -> bytes:
    return b"L" + struct.pack(">q", value)


def _text(value: str) -> bytes:
    content = value.encode("utf-8")
    return _length(len(content)) + content


class _Reader:
    """Bytes, and the position up to which they were read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = content, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.content) - self.position:
            raise ValueError(f"byte {self.position}: truncated: {size} bytes expected")
        self.position += size
        return self.content[self.position - size : self.position]

    def letter(self) -> str:
        return self.take(1).decode("latin-1")

    def value(self, letter: str, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise ValueError(f"byte {self.position}: nested deeper than {MAX_DEPTH}")
        if letter in _CONSTANTS:
            return _CONSTANTS[letter]
        if letter in _NUMBERS:
            number: int | float = self.numbers(letter, 1)[0].item()
            return number
        if letter == "S":
            return self.text(self.letter())
        if letter == "[":
            return self.array(depth)
        if letter == "{":
            return self.mapping(depth)
        raise ValueError(f"byte {self.position - 1}: unknown type {letter!r}")

    def numbers(self, letter: str, count: int) -> NDArray[np.generic]:
        kind = np.dtype(_NUMBERS[letter])
        return np.frombuffer(self.take(kind.itemsize * count), kind).astype(kind.newbyteorder("="))

    def count(self, letter: str) -> int:
        if letter not in _INTEGERS:
            raise ValueError(f"byte {self.position - 1}: a count of type {letter!r}")
        count = int(self.numbers(letter, 1)[0].item())
        if not 0 <= count <= len(self.content):
            raise ValueError(f"byte {self.position}: truncated: {count} items expected")
        return count

    def text(self, letter: str) -> str:
        try:
            return self.take(self.count(letter)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {self.position}: not UTF-8 before it") from error

    def array(self, depth: int) -> Value:
        letter = self.letter()
        if letter == "$":
            kind = self.letter()
            if kind not in _NUMBERS or self.letter() != "#":
                raise ValueError(f"byte {self.position}: an array of type {kind!r}")
            return self.numbers(kind, self.count(self.letter()))
        if letter == "#":
            return [self.value(self.letter(), depth + 1) for _ in range(self.count(self.letter()))]
        found: list[Value] = []
        while letter != "]":
            found.append(self.value(letter, depth + 1))
            letter = self.letter()
        return found

    def mapping(self, depth: int) -> Value:
        found: dict[str, Value] = {}
        while (letter := self.letter()) != "}":
            key = self.text(letter)
            if key in found:
                raise ValueError(f"byte {self.position}: duplicate key {key!r}")
            found[key] = self.value(self.letter(), depth + 1)
        return found


class DocumentSection:
    """A mapping in a decoded document that knows its path; every method raises ValueError that names the field."""

    def __init__(self, value: object, where: str = "") -> None:
        self.where = where or "the document"
        self._prefix = f"{where}." if where else ""
        self.require(isinstance(value, dict), "not a mapping")
        self._fields: dict[str, object] = value if isinstance(value, dict) else {}

    def require(self, holds: bool, reason: str) -> None:
        """Raise ValueError, with the path and the reason, unless the condition holds."""
        if not holds:
            raise ValueError(f"{self.where}: {reason}")

    def has(self, key: str) -> bool:
        """Return whether there is such a field."""
        return key in self._fields

    def sections(self) -> dict[str, DocumentSection]:
        """Return the fields that are mappings."""
        return {key: self.section(key) for key, value in self._fields.items() if isinstance(value, dict)}

    def section(self, key: str) -> DocumentSection:
        """Return a field that is a mapping."""
        return DocumentSection(self._field(key), f"{self._prefix}{key}")

    def list(self, key: str) -> list[object]:
        """Return a field that is a list."""
        value = self._field(key)
        if isinstance(value, np.ndarray):
            return list(value)
        if not isinstance(value, list):
            raise ValueError(f"{self._prefix}{key}: not a list")
        return value

    def string(self, key: str) -> str:
        """Return a field that is a string."""
        value = self._field(key)
        if not isinstance(value, str):
            raise ValueError(f"{self._prefix}{key}: not a string")
        return value

    def strings(self) -> dict[str, str]:
        """Return all fields, each of which is a string."""
        return {key: self.string(key) for key in self._fields}

    def integer(self, key: str, minimum: int, maximum: int) -> int:
        """Return a field that is an integer in this range, stored as a number or as a string."""
        value = self._field(key)
        digits = value.removeprefix("-") if isinstance(value, str) else ""
        is_number = digits.isascii() and digits.isdigit() and len(str(value)) < 20
        number = int(value) if isinstance(value, str) and is_number else value
        if not isinstance(number, int) or not minimum <= number <= maximum:
            raise ValueError(f"{self._prefix}{key} is {value!r:.60}, not an integer from {minimum} to {maximum}")
        return number

    def ints(self, key: str, size: int | None = None) -> Ints:
        """Return a field that is a list of integers, of length `size` if it is given."""
        found = self._numbers(key, size)
        if found.dtype.kind not in "iub":
            raise ValueError(f"{self._prefix}{key}: not a list of integers")
        return found.astype(np.int64)

    def floats(self, key: str, size: int | None = None) -> Floats:
        """Return a field that is a list of numbers, of length `size` if it is given."""
        return self._numbers(key, size).astype(np.float64)

    def _numbers(self, key: str, size: int | None) -> NDArray[np.generic]:
        value = self._field(key)
        found = value if isinstance(value, np.ndarray) else _number_array(value)
        if found is None or found.ndim != 1 or found.dtype.kind not in "iufb":
            raise ValueError(f"{self._prefix}{key}: not a list of numbers")
        if size is not None and len(found) != size:
            raise ValueError(f"{self._prefix}{key}: {len(found)} numbers, expected {size}")
        return found

    def _field(self, key: str) -> object:
        if key not in self._fields:
            raise ValueError(f"{self._prefix}{key} is missing")
        return self._fields[key]


def _number_array(value: object) -> NDArray[np.generic] | None:
    """Return a list of numbers as an array; an empty list becomes int64."""
    if not isinstance(value, list) or not all(isinstance(number, int | float) for number in value):
        return None
    return np.array(value) if value else np.zeros(0, np.int64)
