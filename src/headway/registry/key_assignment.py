"""Assign the keys of requests to live or canary by their hashes; servers import this without the rest of rollouts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from headway.core.arrays import Bools
    from headway.evaluation.statistics.sequential import Keys

_KEY_SPACE = 1 << 64
_MASK = _KEY_SPACE - 1


def assign_key(key: str, salt: str, share: float) -> bool:
    """Return whether a key is assigned to the release: with probability `share` over salts, independently of others.

    Not for secrets: anyone who knows the salt can find keys of either arm.

    >>> [assign_key("anna", "first", share) for share in (0.0, 0.05, 0.25, 0.5, 1.0)]
    [False, False, False, False, True]
    """
    return key_hash(key, salt) < share * _KEY_SPACE


def is_drawn_for_audit(key: str, release: str, share: float) -> bool:
    """Return whether people check the answers of a release (its digest) to the rows of a key: for a share of the keys.

    The draw is another one than that of a rollout. A row without a key can get no label, so it is never drawn.
    """
    return bool(key) and assign_key(key, f"audit {release}", share)


def key_hash(key: str, salt: str) -> int:
    """Return the hash of a key in [0, 2^64), by which it is assigned, and identified where only hashes are stored.

    CRC-32 spread by multiply-shift, with a factor and a shift derived from the salt (Dietzfelbinger et al. 1996).
    """
    factor, shift = _hash_parameters(salt)
    return crc32(key.encode("utf-8", "surrogatepass")) * factor + shift & _MASK


def key_hashes(keys: Iterable[str], salt: str) -> Keys:
    """Return `key_hash` of many keys, uint64 [n]."""
    factor, shift = _hash_parameters(salt)
    sums = np.array([crc32(key.encode("utf-8", "surrogatepass")) for key in keys], dtype=np.uint64)
    return sums * np.uint64(factor) + np.uint64(shift)


def assign_hashes(hashes: Keys, share: float) -> Bools:
    """Return `assign_key` of many keys by their hashes, bool [n]."""
    below = -int(-share * _KEY_SPACE // 1)
    return hashes < np.uint64(below) if below < _KEY_SPACE else np.ones(len(hashes), dtype=np.bool_)


@lru_cache(maxsize=256)
def _hash_parameters(salt: str) -> tuple[int, int]:
    """Return an odd factor and a shift, both below 2^64."""
    digest = hashlib.blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little") | 1, int.from_bytes(digest[8:], "little")
