"""What holds for the tests of the Python API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headway.api import as_called


@pytest.fixture(scope="session", autouse=True)
def brief_comparison() -> Iterator[None]:
    """Compare the library's own calls for a tenth of a second: each search does that, and few tests are about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(as_called, "OWN_LIMIT_S", 0.1)
        yield
