"""Blobs and releases as objects of an S3 bucket; blobs are named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from headway.core.errors import StoreError
from headway.core.record import digest_of
from headway.storage._s3 import Bucket

ADDRESS = "s3://BUCKET/PREFIX"
_DIGEST = re.compile(r"sha256:([0-9a-f]{2})([0-9a-f]{62})")
_BLOBS, _RELEASES = "blobs/sha256/", "releases/"


class S3:
    """`s3://bucket/prefix/blobs/sha256/ab/cdef...`: created once, and hashed again on every read.

    A release is `releases/NAME/DIGEST`, which lists its files by the digests of blobs. It is written last, so that an
    interrupted upload leaves no release.
    """

    def __init__(self, address: Path | str, *, timeout_s: float = 15.0) -> None:
        self._bucket = Bucket(str(address), timeout_s=timeout_s)

    def require_usable(self, state: Path) -> None:
        """Raise StoreError if the server ignores conditional writes; the folder remembers that it was checked."""
        self._bucket.require_conditional_writes(state)

    def put(self, content: bytes) -> str:
        """Store bytes and return their digest; a damaged object is written again."""
        digest = digest_of(content)
        key = _key(digest)
        if not (self._is_stored(key, content, digest) or self.create(content) or self._is_stored(key, content, digest)):
            self._bucket.put(key, content)
        return digest

    def create(self, content: bytes) -> bool:
        """Store bytes that are absent; return True for exactly one of all calls, the one that stored them."""
        return self._bucket.create(_key(digest_of(content)), content)

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest; raises StoreError if they are absent or damaged."""
        key = _key(digest)
        content = self._bucket.get(key)
        where = f"{self._bucket.address}/{key}"
        if content is None:
            raise StoreError(f"blob {digest} cannot be read: it is not there", where=where, hint=_HINT)
        met = digest_of(content)
        if met != digest:
            raise StoreError(f"blob {digest} was altered: its bytes are now {met}", where=where, hint=_HINT)
        return content

    def digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in their order."""
        for found in self._bucket.objects(_BLOBS):
            yield "sha256:" + found.key.removeprefix(_BLOBS).replace("/", "")

    def save_release(self, name: str, digest: str, contents: Mapping[str, bytes]) -> None:
        """Save the files of a release under its name and digest; saving it again replaces what differs."""
        listed = msgspec.json.encode({file: self.put(content) for file, content in sorted(contents.items())})
        key = _release_key(name, digest)
        if not self._bucket.create(key, listed) and self._bucket.get(key) != listed:
            self._bucket.put(key, listed)

    def load_release(self, name: str, digest: str) -> dict[str, bytes] | None:
        """Return the files of a release, not verified; None if there is none."""
        key = _release_key(name, digest)
        listed = self._bucket.get(key)
        if listed is None:
            return None
        try:
            files = msgspec.json.decode(listed, type=dict[str, str])
        except msgspec.MsgspecError as error:
            where = f"{self._bucket.address}/{key}"
            raise StoreError("the list of a release's files cannot be read", where=where, hint=_HINT) from error
        return {file: self.get(blob) for file, blob in files.items()}

    def releases(self, name: str) -> list[str]:
        """Return the digests of all releases of a name, sorted."""
        prefix = f"{_RELEASES}{name}/"
        return [f"sha256:{found.key.removeprefix(prefix)}" for found in self._bucket.objects(prefix)]

    def _is_stored(self, key: str, content: bytes, digest: str) -> bool:
        """Return whether an object has these bytes, by the server's MD5 of it, or by reading it where that is none."""
        found = self._bucket.head(key)
        if found is None or found.size_bytes != len(content):
            return False
        if found.etag == hashlib.md5(content, usedforsecurity=False).hexdigest():
            return True
        return digest_of(self._bucket.get(key) or b"") == digest


def _key(digest: str) -> str:
    parts = _DIGEST.fullmatch(digest)
    if parts is None:
        raise StoreError(f"{digest!r} is not a digest", hint="sha256: and 64 hexadecimal digits")
    return f"{_BLOBS}{parts[1]}/{parts[2]}"


def _release_key(name: str, digest: str) -> str:
    return f"{_RELEASES}{name}/{digest.removeprefix('sha256:')}"


_HINT = "run the step that made it again (headway optimize), or restore the object from a backup"

plugin = S3
