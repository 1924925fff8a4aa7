"""Universal Binary JSON as XGBoost writes it, read within bounds: no count is believed that the bytes left cannot hold.

Numbers are big-endian, each value led by a letter of its type; arrays of one type lie in one piece.
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

DEEPEST = 32
_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_WHOLE = "iUIlL"
_WORDS: dict[str, bool | None] = {"Z": None, "T": True, "F": False}
_LETTERS = {np.dtype(form[1:]): letter for letter, form in _NUMBERS.items()}


def decode(content: bytes) -> Value:
    """The value that these bytes are; raises ValueError, with the place, where they are not one whole value."""
    reader = _Reader(content)
    value = reader.value(reader.letter(), 0)
    if reader.place != len(content):
        raise ValueError(f"byte {reader.place}: something follows the end")
    return value


def encode(value: Writable) -> bytes:
    """The bytes of a value: arrays of int32, uint8, float32 and the like in one piece, whole numbers as int64."""
    if isinstance(value, np.ndarray):
        letter = _LETTERS[value.dtype]
        return b"[$" + letter.encode() + b"#" + _length(value.size) + value.astype(_NUMBERS[letter]).tobytes()
    if isinstance(value, str):
        return b"S" + _text(value)
    if isinstance(value, Mapping):
        return b"{" + b"".join(_text(key) + encode(each) for key, each in value.items()) + b"}"
    if isinstance(value, Sequence):
        return b"[#" + _length(len(value)) + b"".join(encode(each) for each in value)
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
        if depth > DEEPEST:
            raise ValueError(f"byte {self.place}: nested deeper than {DEEPEST}")
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
