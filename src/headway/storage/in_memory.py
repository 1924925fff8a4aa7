"""Blobs that last as long as their object: what a task works with, that has no store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headway.core.errors import StoreError
from headway.core.record import digest_of


class InMemoryBlobs:
    """Blobs in a dictionary; the address is not used."""

    def __init__(self, address: Path | str = "") -> None:
        self._contents: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        """Store bytes and return their digest."""
        self.create(content)
        return digest_of(content)

    def create(self, content: bytes) -> bool:
        """Store bytes that are absent; return True if this call stored them."""
        digest = digest_of(content)
        created = digest not in self._contents
        self._contents[digest] = content
        return created

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest; raises StoreError if they are absent."""
        try:
            return self._contents[digest]
        except KeyError as error:
            raise StoreError(f"no blob {digest} in memory") from error

    def digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in their order."""
        yield from sorted(self._contents)
