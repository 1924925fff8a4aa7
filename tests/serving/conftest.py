"""One server of echo releases for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running import MIXED, Running, loaded, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """`flights` reads numbers a, b, c; `mixed` reads a number and a text; both answer the mean of the row."""
    with serving(loaded(), loaded(name="mixed", signature=MIXED)) as running:
        yield running
