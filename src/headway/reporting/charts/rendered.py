"""A chart as it is shown, without the libraries that draw it."""

from __future__ import annotations

from headway.core.record import Record


class RenderedChart(Record, frozen=True, kw_only=True):
    """A chart: its finding as title, a text alternative, how to read it, and an SVG for each size."""

    name: str
    title: str
    alt: str
    reading: tuple[str, ...]
    wide: str
    narrow: str
