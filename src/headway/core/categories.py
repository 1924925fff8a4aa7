"""Hash categories as CatBoost does, so that a row holds a string that no list of categories has.

A model with statistics of categories knows the hashes of its training strings, and not the strings themselves. The hash
is the lower half of CityHash64 (version 1.0.3, Pike and Alakuijala 2011) of the UTF-8 bytes.
"""

from __future__ import annotations

import functools
import struct

from headway.core.variant import Field

_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MULTIPLIER = 0x9DDFEA08EB382D69
_WORD = (1 << 64) - 1
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_MAX_CACHED = 1 << 16


def unseen_code(field: Field, category: str) -> float:
    """Return what a row holds for a category that its field does not list; the field must not refuse it."""
    if field.unseen == "hashed":
        return float(len(field.categories) + category_hash(category))
    return float(len(field.categories)) if field.unseen == "other" else float("nan")


@functools.lru_cache(_MAX_CACHED)
def category_hash(category: str) -> int:
    """Return the hash of a category, in [0, 2**32); a lone surrogate counts as a question mark."""
    return _city_hash(category.encode("utf-8", "replace")) & 0xFFFFFFFF


@functools.lru_cache(_MAX_CACHED)
def category_with_hash(value: int) -> str:
    """Return an ASCII string with this hash, which stands for an unknown string in the library's own model.

    The hash of 16 bytes can be inverted for their first half, given the second; one in 300 halves is ASCII.
    """
    number = 0
    while True:
        tail = bytes(_LETTERS[number // 26**power % 26] for power in range(8))
        last = int.from_bytes(tail, "little")
        seed = _rotate(last + 16, 16)
        mixed = _shift((value ^ last) * _INVERSE & _WORD) * _INVERSE & _WORD
        head = struct.pack("<Q", (_shift(mixed ^ seed) * _INVERSE & _WORD) ^ seed)
        if head.isascii() and 0 not in head:
            return (head + tail).decode("ascii")
        number += 1


def _city_hash(text: bytes) -> int:
    size = len(text)
    if size <= 16:
        return _hash_short(text, size)
    if size <= 32:
        first, second = _at(text, 0) * _K1 & _WORD, _at(text, 8)
        third, fourth = _at(text, size - 8) * _K2 & _WORD, _at(text, size - 16) * _K0 & _WORD
        return _hash_pair(
            _rotate(first - second, 43) + _rotate(third, 30) + fourth,
            first + _rotate(second ^ _K3, 20) - third + size,
        )
    return _hash_medium(text, size) if size <= 64 else _hash_long(text, size)


def _hash_short(text: bytes, size: int) -> int:
    if size > 8:
        first, last = _at(text, 0), _at(text, size - 8)
        return _hash_pair(first, _rotate(last + size, size)) ^ last
    if size >= 4:
        first, last = int.from_bytes(text[:4], "little"), int.from_bytes(text[-4:], "little")
        return _hash_pair(size + (first << 3), last)
    if not size:
        return _K2
    first = text[0] + (text[size >> 1] << 8)
    last = size + (text[-1] << 2)
    return _shift((first * _K2 ^ last * _K3) & _WORD) * _K2 & _WORD


def _hash_medium(text: bytes, size: int) -> int:
    def half(start: int, third: int, first: int) -> tuple[int, int]:
        second, fourth = _rotate(first + third, 52), _rotate(first, 37)
        first += _at(text, start + 8)
        fourth += _rotate(first, 7)
        first += _at(text, start + 16)
        return first + third, second + _rotate(first, 31) + fourth

    low, low_mix = half(0, _at(text, 24), _at(text, 0) + (size + _at(text, size - 16)) * _K0)
    high, high_mix = half(size - 32, _at(text, size - 8), _at(text, 16) + _at(text, size - 32))
    mixed = _shift(((low + high_mix) * _K2 + (high + low_mix) * _K0) & _WORD)
    return _shift((mixed * _K0 + low_mix) & _WORD) * _K2 & _WORD


def _hash_long(text: bytes, size: int) -> int:
    x, y, z = _at(text, 0), _at(text, size - 16) ^ _K1, _at(text, size - 56) ^ _K0
    v = _weak_hash(text, size - 64, size, y)
    w = _weak_hash(text, size - 32, size * _K1, _K0)
    z += _shift(v[1]) * _K1
    x, y = _rotate(z + x, 39) * _K1, _rotate(y, 33) * _K1
    for start in range(0, (size - 1) & ~63, 64):
        x = _rotate(x + y + v[0] + _at(text, start + 16), 37) * _K1 ^ w[1]
        y = _rotate(y + v[1] + _at(text, start + 48), 42) * _K1 ^ v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak_hash(text, start, v[1] * _K1, x + w[0])
        w = _weak_hash(text, start + 32, z + w[1], y)
        x, z = z & _WORD, x & _WORD
    return _hash_pair(_hash_pair(v[0], w[0]) + _shift(y & _WORD) * _K1 + z, _hash_pair(v[1], w[1]) + x)


def _weak_hash(text: bytes, start: int, first: int, second: int) -> tuple[int, int]:
    last = _at(text, start + 24)
    first += _at(text, start)
    second = _rotate(second + first + last, 21)
    third = first
    first += _at(text, start + 8) + _at(text, start + 16)
    second += _rotate(first, 44)
    return (first + last) & _WORD, (second + third) & _WORD


def _hash_pair(first: int, second: int) -> int:
    second &= _WORD
    mixed = _shift((first ^ second) * _MULTIPLIER & _WORD)
    return _shift((second ^ mixed) * _MULTIPLIER & _WORD) * _MULTIPLIER & _WORD


def _at(text: bytes, start: int) -> int:
    return int.from_bytes(text[start : start + 8], "little")


def _rotate(value: int, bits: int) -> int:
    value &= _WORD
    return (value >> bits | value << (64 - bits)) & _WORD


def _shift(value: int) -> int:
    return value ^ value >> 47
