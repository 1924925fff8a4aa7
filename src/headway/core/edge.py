"""Edge package: a release for devices or browsers, written by `headway export edge` and signed."""

from __future__ import annotations

from typing import ClassVar

from headway.core.record import StoredRecord


class EdgePackage(StoredRecord, frozen=True, kw_only=True):
    """The files of a package: `files` maps each to its digest, and `release` is the digest of the release."""

    version: ClassVar[int] = 1

    name: str
    release: str
    headway: str
    files: dict[str, str]
