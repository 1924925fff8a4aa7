"""One server of echo models for the tests that only send requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running import MIXED, Running, loaded, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """Serve `flights` with the numbers a, b, c and `mixed` with a number and a category.

    Both return the mean of the row.
    """
    with serving(loaded(), loaded(name="mixed", signature=MIXED)) as running:
        yield running
