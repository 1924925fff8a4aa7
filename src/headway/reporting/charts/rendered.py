"""A chart as it is shown, without the libraries that draw it."""

from __future__ import annotations

from headway.core.record import Record


class RenderedChart(Record, frozen=True, kw_only=True):
    """A chart: its finding as title, a text alternative, how to read it, and an SVG for each size.

    `wide_spec` and `narrow_spec` are Vega-Lite specifications of the interactive chart, as JSON that may stand inside
    a `script` element; empty for a chart that has none.
    """

    name: str
    title: str
    alt: str
    reading: tuple[str, ...]
    wide: str
    narrow: str
    wide_spec: str = ""
    narrow_spec: str = ""
