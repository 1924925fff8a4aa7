"""Which keys a release answers: by hash, so that a key always gets the same side and a growing share keeps its keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_ALL = 1 << 64
_MASK = _ALL - 1


def assign(key: str, salt: str, share: float) -> bool:
    """Whether a key is the release's: a chance of `share` in [0, 1] over salts, for any two keys independent.

    Not for a secret: whoever knows the salt can find keys of either side.

    >>> [assign("anna", "first", share) for share in (0.0, 0.05, 0.25, 0.5, 1.0)]
    [False, False, False, False, True]
    """
    return key_hash(key, salt) < share * _ALL


def key_hash(key: str, salt: str) -> int:
    """The number in [0, 2^64) of a key, by which it is assigned, and known where only hashes are kept.

    Its CRC-32 is spread by multiply-shift, with a factor and a shift of the salt's own (Dietzfelbinger et al. 1996).
    """
    factor, shift = _salted(salt)
    return crc32(key.encode("utf-8", "surrogatepass")) * factor + shift & _MASK


def key_hashes(keys: Iterable[str], salt: str) -> Keys:
    """`key_hash` of many keys, uint64 [n]."""
    factor, shift = _salted(salt)
    sums = np.array([crc32(key.encode("utf-8", "surrogatepass")) for key in keys], dtype=np.uint64)
    return sums * np.uint64(factor) + np.uint64(shift)


def assigned(hashes: Keys, share: float) -> NDArray[np.bool_]:
    """`assign` of many keys by their hashes, bool [n]."""
    below = -int(-share * _ALL // 1)
    return hashes < np.uint64(below) if below < _ALL else np.ones(len(hashes), dtype=np.bool_)


@lru_cache(maxsize=256)
def _salted(salt: str) -> tuple[int, int]:
    """An odd factor and a shift, both below 2^64."""
    digest = hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little") | 1, int.from_bytes(digest[8:], "little")
