"""A variant stored as a folder that bench/callers/of_headway.py opens."""

from __future__ import annotations

from pathlib import Path

from headway.core.contracts import Blobs
from headway.core.record import write
from headway.core.variant import Variant


def save_artifact(variant: Variant, blobs: Blobs, directory: Path) -> Path:
    """Store a variant and its artifact in a folder, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "variant").write_bytes(write(variant))
    (directory / "artifact").write_bytes(blobs.get(variant.artifact.digest))
    return directory
