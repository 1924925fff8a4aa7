"""Heavy work of interactive charts: the scripts that draw them in a browser."""

from __future__ import annotations

import gzip

from headway.reporting.charts.theme import browser_scripts


def bundle(snippet: str) -> bytes:
    """Return a script with the chart library and all that it needs, packed with gzip, the same bytes each time."""
    return gzip.compress(browser_scripts(snippet).encode(), 9, mtime=0)
