"""Blobs in memory keep what they are given, by its digest."""

from __future__ import annotations

import pytest

from headway.core.errors import StoreError
from headway.core.record import digest_of
from headway.storage.in_memory import InMemoryBlobs


def test_blobs_are_found_by_their_digest():
    blobs = InMemoryBlobs()
    assert blobs.put(b"one") == blobs.put(b"one") == digest_of(b"one")
    assert blobs.create(b"two") and not blobs.create(b"two")
    assert blobs.get(digest_of(b"two")) == b"two"
    assert list(blobs.digests()) == sorted([digest_of(b"one"), digest_of(b"two")])
    with pytest.raises(StoreError, match="no blob sha256:"):
        blobs.get(digest_of(b"three"))
