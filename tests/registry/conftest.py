"""A register, empty and with two releases."""

from __future__ import annotations

from pathlib import Path

import pytest
from releases import FILES, passed, register, release

from headway.registry.model_registry import ModelRegistry


@pytest.fixture
def ours(tmp_path: Path) -> ModelRegistry:
    return register(tmp_path)


@pytest.fixture
def two(ours: ModelRegistry) -> tuple[str, str]:
    """The digests of two releases that `flights@live` was moved to, one after the other, at 12:01 and 12:02."""
    digests = [ours.publish(release(made_at=when), FILES) for when in ("May", "June")]
    for digest in digests:
        ours.point("flights@live", digest, passed())
    return digests[0], digests[1]
