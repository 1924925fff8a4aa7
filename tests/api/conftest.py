"""What holds for the tests of the Python API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headway.api import as_called


@pytest.fixture(scope="session", autouse=True)
def own_calls_are_not_timed() -> Iterator[None]:
    """Let the optimized form answer every batch: which of two calls is the faster is for test_as_called.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(as_called, "OWN_LIMIT_S", 0.0)
        yield
