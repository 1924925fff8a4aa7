"""Read and write Universal Binary JSON as XGBoost does, and read the fields of a decoded document with checks.

Numbers are big-endian, each value starts with a letter for its type, and an array of one type is stored in one piece.
Counts are checked against the bytes that are left.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Value = None | bool | int | float | str | Array | list["Value"] | dict[str, "Value"]
# What can be written: as what is read, but of any kind of list or mapping.
Writable = None | bool | int | float | str | Array | Sequence["Writable"] | Mapping[str, "Writable"]

MAX_DEPTH = 32
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_WHOLE = "iUIlL"
_WORDS: dict[str, bool | None] = {"Z": None, "T": True, "F": False}
_LETTERS = {np.dtype(form[1:]): letter for letter, form in _NUMBERS.items()}


def decode_ubjson(content: bytes) -> Value:
    """The value that these bytes are; raises ValueError, with the place, where they are not one whole value."""
    reader = _Reader(content)
    value = reader.value(reader.letter(), 0)
    if reader.place != len(content):
        raise ValueError(f"byte {reader.place}: something follows the end")
    return value


def encode_ubjson(value: Writable) -> bytes:
    """The bytes of a value: arrays of int32, uint8, float32 and the like in one piece, whole numbers as int64."""
    if isinstance(value, np.ndarray):
        letter = _LETTERS[value.dtype]
        return b"[$" + letter.encode() + b"#" + _length(value.size) + value.astype(_NUMBERS[letter]).tobytes()
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, Mapping):
        return b"{" + b"".join(_text(key) + encode_ubjson(each) for key, each in value.items()) + b"}"
    if isinstance(value, Sequence):
        return b"[#" + _length(len(value)) + b"".join(encode_ubjson(each) for each in value)
    if value is None or isinstance(value, bool):
        return {None: b"Z", True: b"T", False: b"F"}[value]
    return _length(value) if isinstance(value, int) else b"D" + struct.pack(">d", value)


def _length(value: int) -> bytes:
    return b"L" + struct.pack(">q", value)


def _text(value: str) -> bytes:
    content = value.encode("utf-8")
    return _length(len(content)) + content


class _Reader:
    """Bytes, and the place up to which they were read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.content) - self.place:
            raise ValueError(f"byte {self.place}: cut short, {size} bytes are said to follow")
        self.place += size
        return self.content[self.place - size : self.place]

    def letter(self) -> str:
        return self.take(1).decode("latin-1")

    def value(self, letter: str, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise ValueError(f"byte {self.place}: nested deeper than {MAX_DEPTH}")
        if letter in _WORDS:
            return _WORDS[letter]
        if letter in _NUMBERS:
            number: int | float = self.numbers(letter, 1)[0].item()
            return number
        if letter == "S":
            return self.text(self.letter())
        if letter == "[":
            return self.array(depth)
        if letter == "{":
            return self.mapping(depth)
        raise ValueError(f"byte {self.place - 1}: no type of value is called {letter!r}")

    def numbers(self, letter: str, count: int) -> NDArray[np.generic]:
        kind = np.dtype(_NUMBERS[letter])
        return np.frombuffer(self.take(kind.itemsize * count), kind).astype(kind.newbyteorder("="))

    def count(self, letter: str) -> int:
        if letter not in _WHOLE:
            raise ValueError(f"byte {self.place - 1}: a count of type {letter!r}")
        count = int(self.numbers(letter, 1)[0].item())
        if not 0 <= count <= len(self.content):
            raise ValueError(f"byte {self.place}: {count} of them are said to follow")
        return count

    def text(self, letter: str) -> str:
        try:
            return self.take(self.count(letter)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {self.place}: no text before it") from error

    def array(self, depth: int) -> Value:
        letter = self.letter()
        if letter == "$":
            kind = self.letter()
            if kind not in _NUMBERS or self.letter() != "#":
                raise ValueError(f"byte {self.place}: an array of type {kind!r}")
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
                raise ValueError(f"byte {self.place}: {key!r} stands twice")
            found[key] = self.value(self.letter(), depth + 1)
        return found


Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Section:
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

    def parts(self) -> dict[str, Section]:
        """The fields that are themselves mappings."""
        return {key: self.part(key) for key, value in self._fields.items() if isinstance(value, dict)}

    def part(self, key: str) -> Section:
        """A field that is a mapping."""
        return Section(self._of(key), f"{self._prefix}{key}")

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
