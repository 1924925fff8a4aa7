"""A variant kept as a folder that bench/callers/of_headway.py opens."""

from __future__ import annotations

from pathlib import Path

from headway.core.contracts import Blobs
from headway.core.record import write
from headway.core.variant import Variant


def keep(variant: Variant, blobs: Blobs, place: Path) -> Path:
    """The folder with the variant and its artifact in it."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "variant").write_bytes(write(variant))
    (place / "artifact").write_bytes(blobs.get(variant.artifact.digest))
    return place
