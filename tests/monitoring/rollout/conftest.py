from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.monitoring.rollout.served import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A project with a live release, another one published, and a log to be written."""
    made = Served(tmp_path)
    yield made
    made.close()
