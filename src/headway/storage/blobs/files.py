"""Blobs as files in a folder, named by the SHA-256 of their bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headway.core.errors import StoreError
from headway.core.record import digest_of
from headway.storage import atomic

_DIGEST = re.compile(r"sha256:([0-9a-f]{2})([0-9a-f]{62})")


class Files:
    """`<folder>/sha256/ab/cdef...`: files are written atomically, and hashed again on every read."""

    def __init__(self, address: Path | str) -> None:
        self._folder = Path(address)
        atomic.sweep(self._folder)

    def put(self, content: bytes) -> str:
        """Store bytes and return their digest; a damaged file is written again."""
        digest = digest_of(content)
        path = self._path(digest)
        if not self.create(content) and digest_of(path.read_bytes()) != digest:
            atomic.write(path, content, temporary=self._folder)
        return digest

    def create(self, content: bytes) -> bool:
        """Store bytes that are absent; return True for exactly one of all calls, the one that stored them."""
        path = self._path(digest_of(content))
        created = False
        if path.exists():
            return created
        try:
            atomic.make_folder(path.parent)
            with atomic.aside(self._folder) as new:
                atomic.create(new / path.name, content)
                with suppress(FileExistsError):  # another writer was first
                    os.link(new / path.name, path)
                    created = True
                atomic.sync(path.parent)
        except OSError as error:
            raise StoreError(f"cannot write {path.name!r}: {error.strerror}", where=str(path)) from error
        return created

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest; raises StoreError if they are absent or damaged."""
        path = self._path(digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"blob {digest} cannot be read: {error.strerror}", where=str(path), hint=_HINT) from error
        met = digest_of(content)
        if met != digest:
            raise StoreError(f"blob {digest} was altered: its bytes are now {met}", where=str(path), hint=_HINT)
        return content

    def digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in their order."""
        for path in sorted(self._folder.glob("sha256/??/*")):
            yield f"sha256:{path.parent.name}{path.name}"

    def _path(self, digest: str) -> Path:
        parts = _DIGEST.fullmatch(digest)
        if parts is None:
            raise StoreError(f"{digest!r} is not a digest", hint="sha256: and 64 hexadecimal digits")
        return self._folder / "sha256" / parts[1] / parts[2]


_HINT = "run the step that made it again (headway optimize), or restore the file from a backup"

plugin = Files
